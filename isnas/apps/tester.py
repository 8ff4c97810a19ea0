"""Test a trained network on the test images of its dataset: accuracy, loss, and the accuracy of each class.

Of a language model the perplexity on its test text.
"""

from __future__ import annotations

from dataclasses import dataclass

from isnas.apps.console import options_of
from isnas.base.options import option
from isnas.base.preemption import imported
from isnas.engine.trained_options import TrainedOptions


@dataclass(frozen=True)
class TestOptions(TrainedOptions, title="Test"):
    """Where a network is tested; all else is in its file."""

    data: str = option("", "folder of the dataset or text, when it is not where it was in the training", path=True)
    device: str = option("auto", "cpu, cuda, cuda:N, mps, or auto: cuda if it is there")
    max_bad_images: int = option(
        0,
        "imagenet or imagefolder: go on without so many images that cannot be read, or as many as the training might",
        minimum=0,
        maximum=10**9,
    )
    max_image_megapixels: int | None = option(
        None, "refuse images of more million pixels; none means as many as in the training", minimum=1, maximum=10**6
    )
    batch_size: int | None = option(
        None,
        "images at a time, of a text columns; none means as many as in the training",
        minimum=1,
        maximum=10**6,
    )

    output: str = option(
        "", "folder for the confusion matrix and the wrong images; none means that of the weights", path=True
    )


def main(argv: list[str]) -> None:
    """Test the network that ``argv`` names."""
    options = options_of("test", TestOptions, argv)

    from isnas.apps.testing import test

    imported()
    test(options)
