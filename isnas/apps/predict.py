"""Use a trained network: the most probable classes of image files, as text or as JSON lines.

Or a language model: --prompt goes on from words, --text_file says the perplexity of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isnas.apps.console import options_of
from isnas.base.errors import UserError
from isnas.base.options import changed, option
from isnas.base.preemption import imported
from isnas.data.data_options import MAX_MEGAPIXELS
from isnas.engine.trained_options import TrainedOptions

#: The options that a network of images has, and those of a language model.
OF_IMAGES = ("images", "top", "json", "output", "skip_bad", "max_image_megapixels", "batch_size")
OF_TEXT = ("prompt", "text_file", "length", "temperature", "seed")


@dataclass(frozen=True)
class PredictOptions(TrainedOptions, title="Prediction"):
    """Which images are classified, and what is said of them; or what a language model is asked."""

    images: tuple[str, ...] = option(
        (), "image files of any size, grey or in colour, or folders of them", positional=True, path=True
    )
    top: int = option(3, "classes to print per image, the most probable ones", minimum=1, maximum=10**6)
    json: bool = option(False, "print a line of JSON per image")
    output: str = option("", "a .csv file for the answers, instead of printing them", path=True)
    skip_bad: bool = option(False, "leave out files that cannot be read as images, and say which")
    device: str = option("auto", "cpu, cuda, cuda:N, mps, or auto: cuda if it is there")
    max_image_megapixels: int = option(MAX_MEGAPIXELS, "refuse images of more million pixels", minimum=1, maximum=10**6)
    batch_size: int = option(256, "images at a time", minimum=1, maximum=10**6)
    prompt: str = option("", "words from which a language model goes on")
    text_file: str = option("", "a text, a sentence per line, of which it gives the perplexity", path=True)
    length: int = option(50, "words after the prompt", minimum=1, maximum=10**6)
    temperature: float = option(
        1.0, "divides the scores of the words that are drawn; 0: always the likeliest", minimum=0.0, maximum=1e6
    )
    seed: int = option(0, "decides what is drawn", minimum=0, maximum=2**63 - 1)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not (self.images or self.prompt or self.text_file):
            raise UserError(
                f"give one image file or more after {self.run}; of a language model, --prompt or --text_file"
            )
        if self.output and (self.json or Path(self.output).suffix != ".csv"):
            raise UserError(f"--output {self.output} must end in .csv, and goes without --json")
        drawing = changed(self, ("length", "temperature", "seed"))
        if drawing and not self.prompt:
            raise UserError(f"--{drawing[0]} is for what goes on from a --prompt; give one, or leave it out")


def main(argv: list[str]) -> None:
    """Answer what ``argv`` asks."""
    options = options_of("predict", PredictOptions, argv)

    from isnas.apps.predicting import answer

    imported()
    answer(options)
