"""Streamed batches: the same images for any number of workers, processes and starts, and what happens to bad ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from jpegs import damage, write_folder
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as vision

from isnas.apps import make_shards
from isnas.base import distributed
from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.random import generator
from isnas.data.data_options import ImageOptions
from isnas.data.large.crops import draw, random_box
from isnas.data.large.jitter import jitter_factors
from isnas.data.large.streams import StreamedBatches, default_workers
from isnas.data.opening import load_images, load_stream, make_batches
from isnas.data.small.batches import Batches
from isnas.data.small.datasets import load_dataset

SEED, SIZE, BATCH = 5, 24, 7
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANGES = (vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue)


def options(data: Path, **values) -> ImageOptions:
    given = {"dataset": "imagenet", "data": str(data), "image_size": SIZE, "workers": 0}
    return build(ImageOptions, given | values)


def stream(data: Path, train: bool = True, indices: Tensor | None = None, batch: int = BATCH, **values):
    given = options(data, **values)
    images = load_stream(given)
    part, purpose = (images.train, "train") if train else (images.test, "test")
    return make_batches(part, indices, batch, SEED, purpose, train, "cpu", given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp("images"))


def assert_same(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> None:
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def paths_of(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).rglob("*.jpg"))


def by_torchvision(path: Path, epoch: int, number: int) -> Tensor:
    """A training image, by torchvision's functions, with the numbers drawn for it."""
    draws = draw(SEED, "train", epoch, number)
    image = Image.open(path)
    left, top, right, bottom, _ = (int(edge) for edge in random_box(draws, *image.size))
    image = vision.resized_crop(image, top, left, bottom - top, right - left, [SIZE, SIZE])
    x = vision.to_tensor(vision.hflip(image) if draws.flip else image)
    factors = jitter_factors(torch.tensor(draws.jitter)).tolist()
    for change in np.argsort(draws.order):
        x = CHANGES[change](x, factors[change])
    return vision.normalize(x, MEAN, STD)


def test_a_training_batch_is_what_torchvision_makes_of_the_same_numbers(folder):
    batches, paths = stream(folder), paths_of(folder, "train")
    assert (len(batches), batches.num_images) == (3, 24)
    for epoch, step in ((0, 0), (4, 2)):
        x, labels = batches.batch(epoch, step)
        order = torch.randperm(24, generator=generator(SEED, "order", "train", epoch))
        numbers = order[step * BATCH :][:BATCH].tolist()
        expected = torch.stack([by_torchvision(paths[number], epoch, number) for number in numbers])
        torch.testing.assert_close(x, expected, atol=5e-5, rtol=0)
        assert labels.tolist() == [("ant", "bee", "cat").index(paths[number].parent.name) for number in numbers]
        assert x.dtype == torch.float32 and labels.dtype == torch.int64
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_an_evaluation_is_every_image_once_in_order_and_always_the_same(folder):
    batches = stream(folder, train=False, batch=4)
    x, labels = (torch.cat(parts) for parts in zip(*batches.epoch()))
    assert [len(y) for _, y in batches.epoch()] == [4, 4, 2] and len(batches) == 3
    assert labels.tolist() == [0] * 4 + [1] * 3 + [2] * 3
    for got, path in zip(x, paths_of(folder, "val")):
        image = vision.center_crop(vision.resize(Image.open(path), round(SIZE * 256 / 224)), [SIZE, SIZE])
        expected = vision.normalize(vision.to_tensor(image), MEAN, STD)
        assert (got - expected).abs().mean() < 0.1 / 255 / 0.22  # a tenth of a level
    assert_same(batches.batch(0, 2), batches.batch(9, 2))


def test_workers_prepare_the_same_batches_across_epochs_and_leave_the_global_generator_alone(folder):
    alone, workers = stream(folder), stream(folder, workers=2, prefetch=3)
    places = [(epoch, step) for epoch in (2, 3) for step in range(3)]
    before = torch.get_rng_state()
    received = []
    for place in places:
        received.append(workers.batch(*place))
        if place == places[0]:
            started = workers._parts
    assert workers._parts is started  # going on needs no new workers
    workers.close()
    assert torch.equal(torch.get_rng_state(), before)
    for place, batch in zip(places, received):
        assert_same(batch, alone.batch(*place))
    assert workers.data_seconds > 0 and alone.data_seconds > 0
    evaluation = stream(folder, train=False, batch=4, workers=2)
    for one, other in zip(evaluation.epoch(), stream(folder, train=False, batch=4).epoch(), strict=True):
        assert_same(one, other)


def test_going_on_at_a_step_gives_the_batches_of_a_run_that_never_stopped(folder):
    whole = list(stream(folder).epoch(1))
    resumed = stream(folder)
    for one, other in zip(resumed.epoch(1, first_step=1), whole[1:], strict=True):
        assert_same(one, other)
    assert_same(resumed.batch(1, 0), whole[0])
    with pytest.raises(IndexError, match="step 3 of 3"):
        resumed.batch(1, 3)


def test_epochs_seeds_and_purposes_differ_and_an_epoch_repeats_no_image(folder):
    given = options(folder)
    images = load_stream(given).train
    others = [(SEED, "train", 1), (SEED + 1, "train", 0), (SEED, "other", 0)]
    first = stream(folder).batch(0, 0)[0]
    for seed, purpose, epoch in others:
        assert not torch.equal(
            make_batches(images, None, BATCH, seed, purpose, True, "cpu", given).batch(epoch, 0)[0], first
        )
    seen = torch.cat([x for x, _ in stream(folder, color_jitter=False).epoch()])
    assert len(seen.flatten(1).unique(dim=0)) == 21


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_several_processes_are_the_batch_of_one(folder, world_size, monkeypatch):
    whole = {"train": [*stream(folder).epoch(3)], "test": [*stream(folder, train=False, batch=9).epoch()]}
    parts: dict[str, list] = {"train": [], "test": []}
    monkeypatch.setattr(distributed, "world_size", lambda: world_size)
    for rank in range(world_size):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts["train"].append([*stream(folder).epoch(3)])
        parts["test"].append([*stream(folder, train=False, batch=9).epoch()])
    for name, expected in whole.items():
        for step, batch in enumerate(expected):
            x, labels = (torch.cat(tensors) for tensors in zip(*(part[step] for part in parts[name])))
            torch.testing.assert_close(x, batch[0], atol=1e-6, rtol=0)
            assert torch.equal(labels, batch[1])
    assert [len(y) for _, y in parts["test"][-1]] == [9 // world_size, 0]  # of the last image nothing is left
    assert parts["test"][-1][1][0].shape == (0, 3, SIZE, SIZE)


def test_only_the_chosen_images_are_read_with_the_numbers_they_have_in_the_whole(folder):
    given = options(folder, max_train_images=12)
    images = load_stream(given).train
    assert torch.bincount(images.labels).tolist() == [4, 4, 4]
    used = torch.tensor([1, 5, 6, 7, 11])
    batches = make_batches(images, used, 5, SEED, "train", True, "cpu", given)
    x, labels = batches.batch(0, 0)
    numbers = images.chosen[used].tolist()
    order = [n for n in torch.randperm(24, generator=generator(SEED, "order", "train", 0)).tolist() if n in numbers]
    expected = torch.stack([by_torchvision(paths_of(folder, "train")[number], 0, number) for number in order])
    torch.testing.assert_close(x, expected, atol=5e-5, rtol=0)
    assert sorted(labels.tolist()) == images.labels[used].tolist()
    with pytest.raises(UserError, match="a batch of 6 images is larger than train, which has 5"):
        make_batches(images, used, 6, SEED, "train", True, "cpu", given)


def test_flip_and_jitter_can_be_left_out(folder):
    plain = stream(folder, flip="never", color_jitter=False)
    x, _ = plain.batch(0, 0)
    numbers = torch.randperm(24, generator=generator(SEED, "order", "train", 0))[:BATCH].tolist()
    for got, number in zip(x, numbers):
        draws, image = draw(SEED, "train", 0, number), Image.open(paths_of(folder, "train")[number])
        left, top, right, bottom, _ = (int(edge) for edge in random_box(draws, *image.size))
        image = vision.resized_crop(image, top, left, bottom - top, right - left, [SIZE, SIZE])
        torch.testing.assert_close(got, vision.normalize(vision.to_tensor(image), MEAN, STD), atol=1e-5, rtol=0)


def test_shards_hold_the_same_samples_as_the_folder_they_are_made_of(folder, tmp_path, capsys):
    make_shards.main(["--data", str(folder), "--output", str(tmp_path), "--images_per_shard", "5"])
    files, packed = (load_stream(options(data)) for data in (folder, tmp_path))
    assert files.info == packed.info and files.info.classes == ("ant", "bee", "cat")
    for one, other in ((files.train, packed.train), (files.test, packed.test)):
        contents = [
            sorted((part.source.read(k), int(part.labels[k])) for k in range(len(part))) for part in (one, other)
        ]
        assert contents[0] == contents[1]
        assert one.digest != other.digest
    batches = stream(tmp_path)
    x, labels = batches.batch(0, 0)
    again = stream(tmp_path, workers=2, data_format="webdataset")
    again.batch(0, 2)
    assert_same(again.batch(0, 0), (x, labels))
    numbers = packed.train.source.shuffled(generator(SEED, "order", "train", 0))[:BATCH].tolist()
    for got, number in zip(x, numbers):
        copy = tmp_path / "copy.jpg"
        copy.write_bytes(packed.train.source.read(number))
        torch.testing.assert_close(got, by_torchvision(copy, 0, number), atol=5e-5, rtol=0)


@pytest.fixture
def damaged(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "damaged"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_training_image_gives_its_place_to_the_next_of_the_order(damaged, workers):
    order = torch.randperm(24, generator=generator(SEED, "order", "train", 0)).tolist()
    paths = paths_of(damaged, "train")
    whole = stream(damaged).batch(0, 0)
    names = [damage(paths[order[2]]), damage(paths[order[3]])]
    batches = stream(damaged, workers=workers, max_bad_images=2)
    x, labels = batches.batch(0, 0)
    assert len(labels) == BATCH
    kept = [0, 1, 4, 4, 4, 5, 6]  # places 2 and 3 are taken by what is at place 4
    assert_same((x, labels), (whole[0][kept], whole[1][kept]))
    told = batches.share_bad_images()
    assert sorted(line.split(" (")[0] for line in told) == sorted(names) and all("truncated" in line for line in told)
    assert len(list(batches.epoch(0))) == 3 and batches.share_bad_images() == []
    with pytest.raises(UserError, match=r"\.jpg cannot be read \(.*truncated.*\), after 1 others for train; .* than 1"):
        for _ in stream(damaged, workers=workers, max_bad_images=1).epoch():
            pass


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_image_is_left_out_of_an_evaluation(damaged, workers):
    paths = paths_of(damaged, "val")
    whole = torch.cat([x for x, _ in stream(damaged, train=False, batch=4).epoch()])
    for path in (paths[1], paths[8], paths[9]):
        path.write_bytes(b"text")
    batches = stream(damaged, train=False, batch=4, max_bad_images=3, workers=workers)
    for _ in range(2):
        parts = list(batches.epoch())
        assert [len(y) for _, y in parts] == [3, 4, 0]
        assert_same((torch.cat([x for x, _ in parts]), torch.empty(0)), (whole[[0, 2, 3, 4, 5, 6, 7]], torch.empty(0)))
    assert batches.share_bad_images() == [f"{path} (it is not an image)" for path in (paths[1], paths[8], paths[9])]


def test_by_default_the_first_bad_image_ends_the_run_with_its_name(damaged):
    name = damage(paths_of(damaged, "val")[5])
    batches = stream(damaged, train=False, batch=4)
    batches.batch(0, 0)
    with pytest.raises(UserError, match=r"cannot be read \(.*truncated.*\); replace it, or go on .* than 0") as error:
        batches.batch(0, 1)
    assert str(error.value).startswith(name)
    paths_of(damaged, "val")[9].unlink()
    gone = stream(damaged, train=False, batch=4)
    assert gone.num_images == 9


def test_a_training_set_without_a_single_whole_image_ends_too(damaged):
    batches = stream(damaged, max_bad_images=30)
    for path in paths_of(damaged, "train"):
        path.unlink()
    with pytest.raises(UserError, match="none of the images for train can be read"):
        batches.batch(0, 0)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "the shard {} is truncated; fetch or make it anew"),
        (Path.unlink, "cannot read the shard {}: No such file or directory; fetch or make it anew"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot read the shard {}: Is a directory"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "none of the images for train can be read"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_vanishes_or_changes_ends_the_run_with_its_name(folder, tmp_path, workers, spoil, words, capsys):
    make_shards.main(["--data", str(folder), "--output", str(tmp_path)])
    batches = stream(tmp_path, workers=workers, max_bad_images=30)
    shard = tmp_path / "train-000000.tar"
    spoil(shard)
    with pytest.raises(UserError, match=words.format(shard)):
        batches.batch(0, 0)


def test_the_order_of_the_classes_is_that_of_classes_txt(damaged):
    assert load_stream(options(damaged)).info.classes == ("ant", "bee", "cat")
    (damaged / "classes.txt").write_text("cat\nant\n\nbee\n")
    images = load_stream(options(damaged))
    assert images.info.classes == ("cat", "ant", "bee")
    assert images.info.facts()["classes"] == ["cat", "ant", "bee"]
    for number in range(len(images.test)):
        name = images.test.source.name(number)
        assert Path(name).parent.name == images.info.classes[images.test.labels[number]]
    (damaged / "classes.txt").write_text("cat\nant\ncat\n")
    with pytest.raises(UserError, match=r"classes.txt names cat twice"):
        load_stream(options(damaged))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "val" / "dog").mkdir(), "val has dog, which train has not; make them agree"),
        (
            lambda f: (f / "val" / "bee").rename(f / "val" / "dog"),
            "train has bee, .*; val has dog, which train has not",
        ),
        (
            lambda f: (f / "classes.txt").write_text("ant\nbee\nfly\n"),
            "classes.txt has fly, which train has not; train h",
        ),
        (lambda f: shutil.rmtree(f / "val"), r"has train but neither test nor val; --data must hold train/CLASS"),
        (lambda f: [p.unlink() for p in (f / "train" / "bee").iterdir()], r"train/bee holds no image"),
        (lambda f: shutil.rmtree(f), "does not exist; give the folder"),
    ],
)
def test_a_folder_of_another_layout_is_a_user_error(damaged, spoil, words):
    spoil(damaged)
    with pytest.raises(UserError, match=words):
        load_stream(options(damaged))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dataset": "fake", "workers": 3}, "--workers has no effect without --dataset imagenet"),
        ({"dataset": "fake", "color_jitter": False}, "--color_jitter has no effect without --dataset imagenet"),
        ({"dataset": "fake", "max_bad_images": 1}, "--max_bad_images has no effect without --dataset imagefolder or"),
        ({"dataset": "imagenet"}, "--dataset imagenet needs --data FOLDER"),
        (
            {"dataset": "imagenet", "data": "x", "workers": 0, "prefetch": 4},
            "--prefetch has no effect with --workers 0",
        ),
    ],
)
def test_options_without_effect_are_refused(values, words):
    with pytest.raises(UserError, match=words):
        build(ImageOptions, values)


def test_what_streams_cannot_do_is_refused(folder):
    with pytest.raises(UserError, match="--dataset imagenet is too large for this tool"):
        load_dataset(options(folder))
    with pytest.raises(UserError, match="--grey has no effect with --dataset imagenet"):
        load_images(options(folder, grey=True))
    refused = {"--cutout": {"cutout": True}, "--autoaugment svhn": {"autoaugment": "svhn"}}
    refused |= {"--crop_padding 0": {"crop_padding": 0}}
    for flag, values in refused.items():
        with pytest.raises(UserError, match=f"{flag} cannot be had with --dataset imagenet"):
            stream(folder, **values)


def test_one_function_makes_batches_of_both_kinds(folder):
    small = build(ImageOptions, {"dataset": "fake"})
    batches = make_batches(load_images(small).train, torch.arange(40), 20, SEED, "train", True, "cpu", small)
    assert isinstance(batches, Batches) and (batches.augment.padding, batches.num_images) == (4, 40)
    assert isinstance(make_batches(load_images(small).test, None, 20, 0, "test", False, "cpu", small), Batches)
    assert isinstance(stream(folder, train=False), StreamedBatches)
    assert load_images(build(ImageOptions, {"dataset": "imagenet", "data": str(folder)})).info.image_size == 224


def test_the_default_number_of_workers_is_a_processs_share_of_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert default_workers() == 12
    for processes, workers in (("1", 12), ("8", 1), ("5", 2), ("64", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert default_workers() == workers
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", " 3 ")
    assert default_workers() == 3
    for name, text in (("SLURM_CPUS_PER_TASK", "4(x2)"), ("LOCAL_WORLD_SIZE", "x"), ("LOCAL_WORLD_SIZE", "9" * 5000)):
        monkeypatch.setenv(name, text)
        with pytest.raises(UserError, match=f"{name} must be a number of nine digits at most, not .{{3,90}}; set"):
            default_workers()


def test_a_digest_tells_other_files_under_the_same_names_apart(damaged, tmp_path, capsys):
    make_shards.main(["--data", str(damaged), "--output", str(tmp_path / "a"), "--images_per_shard", "5"])
    before, moved = load_stream(options(damaged)).train, Path(shutil.copytree(damaged, tmp_path / "moved"))
    assert load_stream(options(moved)).train.digest == before.digest
    digests = {before.digest, load_stream(options(moved, max_train_images=12)).train.digest}
    one, other = (sorted((moved / "train" / name).iterdir()) for name in ("ant", "bee"))
    for first, second in zip(one, other, strict=True):  # the same names, each with the other's image
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
    digests.add(load_stream(options(moved)).train.digest)
    assert len(digests) == 3
    make_shards.main(["--data", str(moved), "--output", str(tmp_path / "b"), "--images_per_shard", "5"])
    packed = [load_stream(options(tmp_path / name)).train for name in "ab"]
    assert packed[0].digest != packed[1].digest
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    assert load_stream(options(tmp_path / "c")).train.digest == packed[0].digest
