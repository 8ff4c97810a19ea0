"""The options of every tool that uses a trained network."""

from __future__ import annotations

from dataclasses import dataclass

from isnas.base.errors import UserError
from isnas.base.options import Component, option

#: What names a trained network.
WHAT_TO_GIVE = "a run folder of evaluate.py, or its weights.pt or weights.safetensors"


@dataclass(frozen=True)
class TrainedOptions(Component, title="Trained network"):
    """Which trained network a tool uses, and how many threads."""

    run: str = option("", "run folder of evaluate.py, or its weights file", positional=True, path=True)
    threads: int = option(0, "CPU threads; 0 leaves it to torch", minimum=0, maximum=1024)

    def validate(self) -> None:
        """Check what bounds on single options cannot say."""
        if not self.run:
            raise UserError(f"give {WHAT_TO_GIVE}")
