"""From what a user writes after ``--arch`` to a recurrent genotype."""

from __future__ import annotations

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.base.text import digits, shown
from isnas.space.genotype_files import genotype_of
from isnas.space.recurrent.genotype import RecurrentGenotype, genotype_from_text, read_genotype
from isnas.space.recurrent.published import ALIASES, PUBLISHED, published
from isnas.space.recurrent.space import RecurrentSpace

#: The forms of an architecture, for messages.
FORMS = (
    f"a published recurrent cell ({', '.join(PUBLISHED)}), a genotype.json, a run folder, Genotype(...) text, "
    "or random:SEED"
)


def resolve_genotype(text: str, space: RecurrentSpace = RecurrentSpace()) -> RecurrentGenotype:  # noqa: B008  # a value
    """The genotype that ``text`` names: a published name, a .json file, a run folder, ``Genotype(...)`` text, or a
    random one of ``space``, as :func:`random_genotype` draws it.

    Raises:
        UserError: when it is none of these.
    """
    if not text:
        raise UserError(f"give --arch: {FORMS}")
    if is_random(text):
        seed = digits(text.partition(":")[2], 2**63 - 1)
        if seed is None:
            raise UserError(f"a random cell is written random:SEED with a number from 0 up, not {shown(text)}")
        return random_genotype(seed, space)
    return genotype_of(text, genotype_from_text, lambda name: published(name).genotype, read_genotype, PUBLISHED, FORMS)


def is_random(text: str) -> bool:
    """Whether ``text`` asks for a random architecture, be it that it does so in the wrong way."""
    return text.partition(":")[0] == "random"


def random_genotype(
    seed: int,
    space: RecurrentSpace = RecurrentSpace(),  # noqa: B008  # a value
    connections: int = 1,
) -> RecurrentGenotype:
    """A random cell: per node any ``connections`` of the candidates, one as in the published cells."""
    return space.genotype(space.random(generator(seed, "random recurrent architecture"), connections))


def lasting_genotype(text: str) -> str:
    """What names the same cell when files are gone: a name or a seed as it is, or the cell in a file as text.

    Raises:
        UserError: when there is none.
    """
    genotype, text = resolve_genotype(text), ALIASES.get(text, text)
    return text if is_random(text) or text in PUBLISHED else str(genotype)
