"""How architectures and networks of images are read from files again, a row for each space."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from isnas.base.late import late
from isnas.space.which import CELLS, CHAIN, space_of_json

if TYPE_CHECKING:
    from isnas.space.space import AnyGenotype, Network


class InFiles(NamedTuple):
    """Of a space: its genotype from parsed JSON, its target network, and a check of that one's sizes.

    The check, of the sizes, the number of tensors in the file and the genotype, sees that the network can be built, in
    no more time than its weights allow; it raises a ValueError. Of ``in_channels`` and ``num_classes`` it need not.
    """

    genotype: Callable[[Any], AnyGenotype]
    target_network: Callable[..., Network]
    check_sizes: Callable[[dict[str, Any], int, Any], None]


def _row(folder: str) -> InFiles:
    module = f"isnas.space.{folder}"
    return InFiles(
        late(f"{module}.genotype:genotype_from_json"),
        late(f"{module}.network:target_network"),
        late(f"{module}.network:check_sizes"),
    )


#: By the name of the space.
IN_FILES = {CELLS: _row("cells"), CHAIN: _row("chain")}


def row_of(genotype: Any) -> InFiles:
    """The row of the space of a genotype in parsed JSON; of no other's, that of cells, which says what is wrong."""
    return IN_FILES.get(space_of_json(genotype) or CELLS, IN_FILES[CELLS])
