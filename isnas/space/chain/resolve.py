"""From what a user writes after ``--arch`` to a chain."""

from __future__ import annotations

from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.base.text import digits, shown
from isnas.base.yaml_text import read_config
from isnas.space.chain.candidates import SKIP
from isnas.space.chain.genotype import ChainGenotype, genotype_from_text, read_genotype
from isnas.space.chain.published import PUBLISHED, published
from isnas.space.chain.space import ChainSpace
from isnas.space.chain.widths import WIDTHS
from isnas.space.genotype_files import config_of, genotype_of

#: The forms of an architecture, for messages.
FORMS = (
    f"a published chain ({', '.join(PUBLISHED)}), a genotype.json, a run folder, Genotype(chain=...) text, "
    "random:SEED, or all:CANDIDATE, as in all:k3_e3"
)


def resolve_genotype(text: str, space: ChainSpace = ChainSpace()) -> ChainGenotype:  # noqa: B008  # a value
    """The genotype that ``text`` names: a published name, a .json file, a run folder, ``Genotype(...)`` text, or of
    ``space`` a random one or one of a single candidate.

    Raises:
        UserError: when it is none of these.
    """
    if not text:
        raise UserError(f"give --arch: {FORMS}")
    kind, _, rest = text.partition(":")
    if kind == "random":
        seed = digits(rest, 2**63 - 1)
        if seed is None:
            raise UserError(f"a random chain is written random:SEED with a number from 0 up, not {shown(text)}")
        return random_genotype(seed, space)
    if kind == "all":
        return uniform_genotype(rest, space)
    return genotype_of(text, genotype_from_text, lambda name: published(name).genotype, read_genotype, PUBLISHED, FORMS)


def is_of_space(text: str) -> bool:
    """Whether ``text`` asks for a chain that depends on the space, be it that it does so in the wrong way."""
    return text.partition(":")[0] in ("random", "all")


def random_genotype(seed: int, space: ChainSpace = ChainSpace()) -> ChainGenotype:  # noqa: B008  # a value
    """A random chain: of each block any candidate, all of them equally likely."""
    return space.genotype(space.random(generator(seed, "random chain")))


def uniform_genotype(name: str, space: ChainSpace = ChainSpace()) -> ChainGenotype:  # noqa: B008  # a value
    """The chain all of whose blocks have one candidate.

    Of ``skip`` it is the lightest chain: blocks that cannot be skipped have their first candidate, k3_e3.

    Raises:
        UserError: when it is no candidate of the space.
    """
    if name not in space.operations:
        raise UserError(
            f"a chain of one candidate is written all:CANDIDATE with one of {', '.join(space.operations)}, not "
            f"{shown(f'all:{name}')}"
        )
    if name == SKIP:
        return space.genotype(space.connected(((),) * len(space.sizes)))
    return space.genotype(tuple((names.index(name),) for names in space.candidates))


def widths_of(text: str) -> str:
    """The widths of a published chain's network, or of the run that ``text`` names; ``""`` where nothing says."""
    if text in PUBLISHED:
        return PUBLISHED[text].widths
    try:
        file = config_of(text)
        found = read_config(file).get("widths") if file else None
    except UserError:  # a file that says nothing
        return ""
    return found if isinstance(found, str) and found in tuple(WIDTHS) else ""
