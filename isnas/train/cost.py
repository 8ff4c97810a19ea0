"""What a run costs in image passes: forward and backward of one image are 1, forward alone 1/3."""

from __future__ import annotations

from typing import Any


class Cost:
    """The image passes of a run so far, over all processes; part of its checkpoint."""

    def __init__(self) -> None:
        self.thirds = 0

    def add_trained(self, images: int) -> None:
        """Count images that went forward and backward."""
        self.thirds += 3 * images

    def add_scored(self, images: int) -> None:
        """Count images that went forward alone."""
        self.thirds += images

    @property
    def image_passes(self) -> float:
        """All of them."""
        return self.thirds / 3

    def state_dict(self) -> dict[str, Any]:
        """The count, in thirds of a pass."""
        return {"thirds": self.thirds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if type(state["thirds"]) is not int or state["thirds"] < 0:
            raise ValueError("the cost is no count of image passes")
        self.thirds = state["thirds"]
