"""Write a trained network as a torch.export program or an ONNX model, and check the file against the network.

Beside network.pt2 or network.onnx goes network.pt2.json or network.onnx.json: what goes in and what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isnas.apps.console import options_of
from isnas.base.errors import UserError
from isnas.base.options import option
from isnas.base.preemption import imported
from isnas.engine.trained_options import TrainedOptions

#: The same as isnas.nets.export.SUFFIXES, without importing torch.
FORMATS = {"torch": ".pt2", "onnx": ".onnx"}


@dataclass(frozen=True)
class ExportOptions(TrainedOptions, title="File"):
    """What is written, and where to."""

    format: str = option("torch", "torch.export program (.pt2) or ONNX model (.onnx)", choices=FORMATS)
    output: str = option(
        "", "the file; none means network.pt2 or network.onnx beside the weights; it is replaced", path=True
    )
    fold: bool = option(False, "take batch normalisations into the convolutions before them; the function stays")
    normalise: bool = option(
        True, "the file takes pixels in [0, 1] and normalises them itself; --no_normalise: it takes normalised images"
    )

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        suffix = FORMATS[self.format]
        if self.output and Path(self.output).suffix != suffix:
            raise UserError(f"--output {self.output} must end in {suffix}, as --format is {self.format}")


def main(argv: list[str]) -> None:
    """Export the network that ``argv`` names."""
    options = options_of("export", ExportOptions, argv)

    from isnas.apps.exporting import export

    imported()
    export(options)
