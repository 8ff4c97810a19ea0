"""How long a search may last for a given cost in image passes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

_MOST_EPOCHS = 10**6  # as --epochs


def steps_within(
    budget: float,
    steps_per_epoch: int,
    passes_of_step: Callable[[int], float],
    passes_of_choice: Callable[[int], float],
) -> int:
    """The most steps of a search that costs no more than ``budget`` image passes; 0 where one is too many.

    No search has more than a million epochs.

    ``passes_of_step(epoch)`` are those of a step in an epoch, ``passes_of_choice(steps)`` those of the choice after so
    many steps, which does not fall with their number.
    """

    def spent(steps: int) -> float:
        epochs, rest = divmod(steps, steps_per_epoch)
        whole = sum(map(passes_of_step, range(epochs))) * steps_per_epoch
        return whole + rest * passes_of_step(epochs) + passes_of_choice(steps)

    return bisect_right(range(1, _MOST_EPOCHS * steps_per_epoch + 1), budget, key=spent)
