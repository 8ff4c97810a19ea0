"""From what a user writes after ``--arch`` to a genotype."""

from __future__ import annotations

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.base.text import digits, shown
from isnas.space.cells.genotype import Genotype, genotype_from_text, read_genotype
from isnas.space.cells.published import PUBLISHED, published
from isnas.space.cells.space import CellSpace
from isnas.space.connections import support_of
from isnas.space.genotype_files import genotype_of

#: The forms of an architecture, for messages.
FORMS = (
    f"a published name ({', '.join(PUBLISHED)}), a genotype.json, a run folder, Genotype(...) text, random:SEED, "
    "random_distinct:SEED, random_wired:SEED, or random_wired:SEED:CONNECTIONS"
)

#: What stands before the first colon of a random architecture.
RANDOM = ("random", "random_distinct", "random_wired")

#: How many of the candidates randomly wired cells have, on average (CoNAS, appendix A.8).
WIRED_PORTION = 0.25


def resolve_genotype(text: str, space: CellSpace = CellSpace()) -> Genotype:  # noqa: B008  # a value
    """The genotype that ``text`` names: a published name, a .json file, a run folder, ``Genotype(...)`` text, or a
    random one of ``space``, as :func:`random_genotype` or :func:`randomly_wired` draws it.

    Raises:
        UserError: when it is none of these.
    """
    if is_random(text):
        return _random(text, space)
    return genotype_of(text, genotype_from_text, lambda name: published(name).genotype, read_genotype, PUBLISHED, FORMS)


def is_random(text: str) -> bool:
    """Whether ``text`` asks for a random architecture, be it that it does so in the wrong way."""
    return text.partition(":")[0] in RANDOM


def _random(text: str, space: CellSpace) -> Genotype:
    kind, *numbers = text.split(":", 2)
    most = sum(space.sizes)
    seed = digits(numbers[0], 2**63 - 1) if numbers else None
    connections = digits(numbers[1], most) if len(numbers) == 2 else None
    if kind == "random_wired":
        if seed is None or (len(numbers) == 2 and not connections):
            raise UserError(
                f"randomly wired cells are written random_wired:SEED with a number from 0 up, or "
                f"random_wired:SEED:CONNECTIONS with 1 to {most} of the candidates, not {shown(text)}"
            )
        return randomly_wired(seed, space, connections)
    if seed is None or len(numbers) == 2:
        raise UserError(f"a random architecture is written {kind}:SEED with a number from 0 up, not {shown(text)}")
    return random_genotype(seed, space, distinct_inputs=kind == "random_distinct")


def random_genotype(
    seed: int,
    space: CellSpace = CellSpace(),  # noqa: B008  # a value
    connections: int = 2,
    distinct_inputs: bool = False,
) -> Genotype:
    """Random cells: per node any ``connections`` of the candidates, as the space of ISTA-NAS has them.

    With ``distinct_inputs`` from distinct predecessors, the random baseline of DARTS (ICLR 2019).
    """
    rng = generator(seed, "random architecture")
    return space.genotype(space.random(rng, connections, distinct_inputs))


def randomly_wired(
    seed: int,
    space: CellSpace = CellSpace(),  # noqa: B008  # a value
    connections: int | None = None,
) -> Genotype:
    """Cells in which each candidate is there with probability 1/4, as in CoNAS's Table 5.

    With ``connections`` = K as many of the candidates of all nodes together, any K of them as likely as any others. A
    node without any is connected as :meth:`isnas.space.cells.space.CellSpace.connected` has it, beside the K.

    Raises:
        UserError: when there is such a node, and skip_connect is not among the space's operations.
    """
    import torch

    rng, count = generator(seed, "random wiring"), sum(space.sizes)
    if connections is None:
        active = torch.rand(count, generator=rng, device=rng.device) < WIRED_PORTION
    else:
        active = torch.randperm(count, generator=rng, device=rng.device) < connections
    return space.genotype(space.connected(support_of(active.tolist(), space.sizes)))
