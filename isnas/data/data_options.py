"""Which dataset a tool works on, and at what size: the options, held against the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import Component, option
from isnas.data.catalogue import CATALOGUE
from isnas.data.decoding import MAX_MEGAPIXELS

_SCALED = [f"{record.name}: {record.scaled_to}" for record in CATALOGUE.values() if record.scaled_to]
_OF_ANY_SIZE = [f"{record.name}: from the images" for record in CATALOGUE.values() if not record.image_size]
_OWN = [record.name for record in CATALOGUE.values() if record.own_folder]
_EXTRA = [f"{record.name}: train on its {record.extra.num_images:,}" for record in CATALOGUE.values() if record.extra]


@dataclass(frozen=True)
class DataOptions(Component):
    """Which images a tool works on."""

    dataset: str = option("cifar10", "the images to work on", choices=CATALOGUE)
    data: str = option(
        "",
        "folder that holds the dataset; none means data/ in the repository, or here where isnas is installed",
        free=True,
        path=True,
    )
    image_size: int | None = option(
        None,
        f"side to scale the images to; none means the dataset's own ({'; '.join(_SCALED + _OF_ANY_SIZE)})",
        minimum=8,
        maximum=512,
    )
    max_train_images: int | None = option(
        None,
        "train on so many images only, the same ones for every seed, in the classes' proportions",
        minimum=1,
        maximum=10**9,
    )
    grey: bool = option(False, "turn colour images into grey ones of one channel")
    max_bad_images: int = option(
        0,
        f"{' or '.join(_OWN)}: go on without so many images that cannot be read; more end the run",
        minimum=0,
        maximum=10**9,
        free=True,
    )
    svhn_extra: bool = option(True, f"{'; '.join(_EXTRA)} extra images too")

    max_image_megapixels: int = option(
        MAX_MEGAPIXELS,
        f"{' and '.join(_OWN)}: refuse images of more million pixels, each of which may take 16 bytes in decoding",
        minimum=1,
        maximum=10**6,
        free=True,
    )

    def validate(self) -> None:
        """Raise a :class:`UserError` for options that contradict each other."""
        record = CATALOGUE[self.dataset]
        if self.data and not record.needs_files:
            raise UserError(f"--data has no effect with --dataset {self.dataset}, which needs no files")
        if record.own_folder and not self.data:
            raise UserError(
                f"--dataset {self.dataset} needs --data FOLDER, the folder of its images (docs/datasets.md)"
            )
        if self.max_image_megapixels != MAX_MEGAPIXELS and not record.own_folder:
            raise UserError(f"--max_image_megapixels has no effect with --dataset {self.dataset}; leave it out")
        if self.max_bad_images and not record.own_folder:
            raise UserError(f"--max_bad_images has no effect without --dataset {' or '.join(_OWN)}; leave it out")
        if not self.svhn_extra and record.extra is None:
            raise UserError(f"--no_svhn_extra has no effect with --dataset {self.dataset}; leave it out")
