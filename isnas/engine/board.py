"""What TensorBoard shows of a run: the numbers of its metrics, architectures as text, in the end cells and settings.

It is made of the run's files alone, from the start or as they grow, so that a resumed run has what a straight one has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isnas.engine.run_files import pictures_of_architecture

METRICS, GENOTYPES, FOLDER = "metrics.jsonl", "genotypes.jsonl", "tb"
#: The figures by which a table of settings compares runs, as far as they have them.
_COMPARED = ("test/acc", "valid/acc", "held_out/acc", "valid/perplexity", "train/loss", "derived/params_millions")


class Board:
    """Writes TensorBoard's only file in a run folder, beginning with what the run's files hold."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self.folder, self.writer = folder, SummaryWriter(folder / FOLDER, flush_secs=30)
        self.tags: set[str] = set()
        self.shown = ""
        for name, add in ((METRICS, self.metrics), (GENOTYPES, self.genotype)):
            path = folder / name
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                add(json.loads(line))

    def metrics(self, row: Mapping[str, Any]) -> None:
        """The numbers of a row of metrics.jsonl, at its step."""
        for key, value in row.items():
            if key not in ("step", "epoch") and isinstance(value, int | float):
                self.writer.add_scalar(key, value, row["step"])
                self.tags.add(key)

    def genotype(self, row: Mapping[str, Any]) -> None:
        """The architecture in a row of genotypes.jsonl, at its epoch, when it is not that of the row before."""
        text = genotype_text(row["genotype"]) if "genotype" in row else ""
        if text != self.shown:
            self.writer.add_text("genotype", text, row["epoch"])
        self.shown = text

    def finish(self, settings: Mapping[str, Any]) -> None:
        """The pictures of the architecture, and the run's settings beside its last figures."""
        import numpy as np
        from PIL import Image
        from torch.utils.tensorboard.summary import hparams

        for path in pictures_of_architecture(self.folder, "png"):
            with Image.open(path) as picture:
                self.writer.add_image(path.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")
        plain = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in settings.items()}
        for summary in hparams(plain, {tag: 0.0 for tag in _COMPARED if tag in self.tags}):
            assert self.writer.file_writer is not None
            self.writer.file_writer.add_summary(summary)

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


def genotype_text(genotype: Mapping[str, Any]) -> str:
    """A genotype in JSON as the text that ``--arch`` takes: the pairs of each node in a list of its own."""
    return f"Genotype({', '.join(f'{name}={_with_pairs(value)!r}' for name, value in genotype.items())})"


def _with_pairs(value: Any) -> Any:
    """Lists of text and a number as tuples."""
    match value:
        case [str(name), int(place)]:
            return name, place
        case list():
            return [_with_pairs(each) for each in value]
    return value
