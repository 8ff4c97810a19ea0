"""The datasets that there are, a row for each; loaders, options, estimates and documentation all read it here."""

from __future__ import annotations

from isnas.base.files import markdown_table
from isnas.base.late import late
from isnas.data.dataset_record import DatasetRecord
from isnas.data.sources import Extra, Source

_DIGITS = tuple("0123456789")

_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

_RECORDS = (
    DatasetRecord(
        name="digits",
        shown="scikit-learn's digits; a fixed fifth of each class is the test set",
        classes=_DIGITS,
        side=8,
        scaled_to=16,
        channels=1,
        num_train=1437,
        num_test=360,
        flip=False,
        reader=late("isnas.data.small.readers:read_digits"),
    ),
    DatasetRecord(
        name="fashion_mnist",
        shown="Zalando's clothes and shoes",
        classes=(
            *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
            *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
        ),
        side=28,
        channels=1,
        num_train=60_000,
        num_test=10_000,
        source=Source(
            torchvision="FashionMNIST",
            megabytes=31,
            files=(
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte",
            ),
            shown="idx, also `.gz`",
            folder="FashionMNIST/raw",
            others=("raw", "."),
            remedy="install Debian's package dataset-fashion-mnist and leave --data out, or put {files} into {folder}",
            gzipped=True,
            debian="fashion-mnist",
        ),
        reader=late("isnas.data.small.readers:read_idx_pairs"),
    ),
    DatasetRecord(
        name="cifar10",
        shown="photographs of animals and vehicles",
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        side=32,
        channels=3,
        num_train=50_000,
        num_test=10_000,
        # of its training images, with the digits that DARTS has
        statistics=((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)),
        source=Source(
            torchvision="CIFAR10",
            megabytes=170,
            files=(*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"),
            shown="python version",
            folder="cifar-10-batches-py",
            others=(".",),
            remedy="unpack https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz so that {files} are in {folder}",
        ),
        reader=late("isnas.data.small.readers:read_cifar", labels_key="labels"),
    ),
    DatasetRecord(
        name="cifar100",
        shown="photographs of animals, plants, people and things, by their fine classes",
        classes=tuple(_CIFAR100_CLASSES.split()),
        side=32,
        channels=3,
        num_train=50_000,
        num_test=10_000,
        source=Source(
            torchvision="CIFAR100",
            megabytes=169,
            files=("train", "test"),
            shown="python version",
            folder="cifar-100-python",
            others=(".",),
            remedy="unpack https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz so that {files} are in {folder}",
        ),
        reader=late("isnas.data.small.readers:read_cifar", labels_key="fine_labels"),
    ),
    DatasetRecord(
        name="svhn",
        shown="Street View House Numbers, cropped digits",
        classes=_DIGITS,
        side=32,
        channels=3,
        num_train=73_257,
        num_test=26_032,
        flip=False,
        source=Source(
            torchvision="SVHN",
            megabytes=246,
            files=("train_32x32.mat", "test_32x32.mat"),
            shown="`*_32x32.mat`",
            folder=".",
            others=("svhn", "SVHN"),
            remedy="put {files} from http://ufldl.stanford.edu/housenumbers into {folder}",
            downloads=({"split": "train"}, {"split": "test"}),
            extra=Extra(531_131, 1329, ("extra_32x32.mat",), ({"split": "extra"},), "--no_svhn_extra"),
        ),
        reader=late("isnas.data.small.readers:read_svhn_splits"),
    ),
    DatasetRecord(
        name="imagefolder",
        shown="[your own](#own-images), in memory",
        own_folder=True,
        reader=late("isnas.data.small.folders:read_class_folders"),
    ),
    DatasetRecord(
        name="imagenet",
        shown="[ILSVRC 2012](#imagenet), or yours in its layout, read as needed",
        class_count=1000,
        scaled_to=224,
        channels=3,
        num_train=1_281_167,
        num_test=50_000,
        statistics=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # as torchvision's models have them
        own_folder=True,
    ),
    DatasetRecord(
        name="fake",
        shown="made up: a pattern for each class, under noise",
        classes=tuple(f"pattern {number}" for number in range(10)),
        side=32,
        channels=3,
        num_train=2000,
        num_test=500,
        reader=late("isnas.data.small.readers:make_fake"),
    ),
)

#: Every dataset by its name, in the order in which they are listed.
CATALOGUE = {record.name: record for record in _RECORDS}

#: What may lie in a data folder into which a dataset is downloaded: other datasets, their archives, the Bible's text.
BESIDE = {"cifar-10-python.tar.gz", "cifar-100-python.tar.gz", "bible.data"}.union(
    *(record.source.names() for record in _RECORDS if record.source)
)


def catalogue_table() -> str:
    """The table of datasets in docs/datasets.md."""
    header = ["name", "images", "training + test", "classes", "size", "looked for below the data folder", "flip"]
    return markdown_table(header, map(_cells, CATALOGUE.values()), num_words=len(header))


def _cells(record: DatasetRecord) -> list[str]:
    own = ", or yours" if record.own_folder else ""
    counts = classes = size = "yours"
    if record.num_train is not None:
        extra = f" + {record.extra.num_images:,} extra, and" if record.extra else " +"
        counts = f"{record.num_train:,}{extra} {record.num_test:,}{own}"
    if record.num_classes:
        classes = f"{record.num_classes:,}{own}"
    if record.channels:
        colour = "RGB" if record.channels == 3 else "grey"
        found = f"{record.side} x {record.side}" if record.side else "any"
        change = "crops of" if record.streamed else "scaled to"
        size = f"{found} {colour}" + (f", {change} {record.scaled_to} x {record.scaled_to}" if record.scaled_to else "")
    flip = "yes" if record.flip else "no"
    return [f"`{record.name}`", record.shown, counts, classes, size, _places(record), flip]


def _places(record: DatasetRecord) -> str:
    source = record.source
    if source is None:
        return "`--data` is needed" if record.needs_files else "needs no files"
    places = ", ".join(f"`{place}`" for place in (source.folder, *source.others))
    return f"{places} ({source.shown})" + (f"; Debian's `dataset-{source.debian}`" if source.debian else "")
