"""How far work has come, as a bar on standard error where that is a terminal; of several processes rank 0's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from isnas.base import screen
from isnas.base.distributed import is_main
from isnas.base.text import printable

Item = TypeVar("Item")

#: Seconds after which work that is mostly done in no time gets a bar.
SOON = 1.0


def bar(
    items: Iterable[Item], description: str, total: int | None = None, first: int = 0, delay: float = 0.0
) -> Iterator[Item]:
    """The items one by one, with a bar after ``delay`` seconds.

    ``total`` is their number with the ``first`` ones, which are done already; a sequence knows it itself.
    """
    shown = printable(description)
    return iter(tqdm(items, shown, total, leave=False, initial=first, delay=delay, disable=_hidden()))


@contextmanager
def stages(total: int, description: str) -> Iterator[Callable[[], object]]:
    """A block of work in so many stages; what it gives is to be called at the end of each."""
    with tqdm(desc=printable(description), total=total, leave=False, disable=_hidden()) as shown:
        yield shown.update


def _hidden() -> bool:
    return not (is_main() and screen.has_bars())
