"""How stable what a search finds is: what the cells of its seeds have in common, against random cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import stdev

import torch

from isnas.analysis.options.agreement import AgreementOptions
from isnas.analysis.reading import cannot_read, integer
from isnas.analysis.report import Report
from isnas.analysis.search_runs import SearchRun, grouped, read_all, require, space_of
from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.base.random import generator
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.space import CellSpace

TITLE = (
    "Connections (operation and predecessor) that the cells found by two seeds have in common, node by node, as a "
    "share of those they have; mean over all pairs of seeds. `random`: what cells have in common whose connections are "
    "drawn uniformly, |a| |b| / n at a node of n candidates, exactly; ± the standard deviation of that mean over as "
    "many random cells ({draws} simulated sets)."
)
COUNTS_TITLE = (
    "Operations of the cells found: mean number over the seeds, all cells searched; `none` is a connection left out."
)


@dataclass(frozen=True)
class Agreement:
    """Shares (of 1) that the cells of all pairs of seeds have in common, and what chance gives: at each node, of all.

    ``deviation``: of the share of all, over sets of as many random cells. ``operations``: mean number of each.
    """

    search: str
    images: str
    seeds: tuple[int, ...]
    nodes: dict[str, float]
    chance_nodes: dict[str, float]
    share: float
    chance: float
    deviation: float
    operations: dict[str, float]


def analyse(options: AgreementOptions) -> Report:
    """Compare the cells that the seeds of each search have found.

    Raises:
        UserError: when no search has two seeds, or one has found no cells.
    """
    searches = [run for run in read_all(options.runs).searches if run.found]
    require(searches, "a finished search")
    groups = {name: runs for name, runs in grouped(searches).items() if len(runs) > 1}
    if not groups:
        raise UserError("no two of these runs are seeds of one search; give two seeds or more")
    found = [agree(name, runs, options) for name, runs in groups.items()]
    header = ["search", "images", "seeds", "pairs", *_short(found), "all", "random"]
    rows = [
        [
            *(each.search, each.images, str(len(each.seeds)), str(len(each.seeds) * (len(each.seeds) - 1) // 2)),
            *(_percent(each.nodes[name]) if name in each.nodes else "" for name in _nodes(found)),
            *(_percent(each.share), f"{_percent(each.chance)} ± {100 * each.deviation:.1f}"),
        ]
        for each in found
    ]
    tables = [Table("agreement", TITLE.format(draws=options.draws), header, rows, 2)]
    operations = list(dict.fromkeys(name for each in found for name in each.operations))
    counts = [[each.search, *(f"{each.operations.get(name, 0.0):.1f}" for name in operations)] for each in found]
    tables.append(Table("operations", COUNTS_TITLE, ["search", *operations], counts))
    return Report.of(tables, {"searches": [asdict(each) for each in found]}, partial(draw, found))


def agree(name: str, runs: Sequence[SearchRun], options: AgreementOptions) -> Agreement:
    """What the cells of the seeds of a search have in common."""
    space = space_of(runs[0])
    cells = [genotype_nodes(run, space) for run in runs]
    pairs = list(combinations(cells, 2))
    common = [[(Counter(a) & Counter(b)).total() for a, b in zip(*pair)] for pair in pairs]
    sizes = [[(len(a) + len(b)) / 2 for a, b in zip(*pair)] for pair in pairs]
    expected = [[len(a) * len(b) / n for a, b, n in zip(*pair, space.sizes)] for pair in pairs]
    by_node, chance = (
        {
            node: _ratio([row[place] for row in some], [row[place] for row in sizes])
            for place, node in enumerate(space.node_names)
        }
        for some in (common, expected)
    )
    everything = [sum(map(sum, values)) for values in (common, sizes, expected)]
    counts = Counter(operation for cell in cells for node in cell for operation, _ in node)
    left_out = sum(max(0, _sparseness(runs[0]) - len(node)) for cell in cells for node in cell)
    numbers = {operation: counts[operation] / len(cells) for operation in space.operations}
    return Agreement(
        search=name,
        images=str(runs[0].config["dataset"]),
        seeds=tuple(run.seed for run in runs),
        nodes=by_node,
        chance_nodes=chance,
        share=everything[0] / max(everything[1], 1e-9),
        chance=everything[2] / max(everything[1], 1e-9),
        deviation=chance_deviation(space, cells, options),
        operations=numbers | ({"none": left_out / len(cells)} if left_out else {}),
    )


def genotype_nodes(run: SearchRun, space: CellSpace) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The connections of every node that is searched, of what a search found, the normal cell's first.

    Raises:
        UserError: when that is not of its space.
    """
    assert run.found is not None
    genotype = run.found.genotype
    if not isinstance(genotype, Genotype):
        raise UserError(f"{run.folder} has searched another space; agreement compares cells")
    try:
        space.support(genotype)
    except UserError as error:
        raise UserError(f"{run.folder} cannot be read ({error})") from None
    return (genotype.normal + genotype.reduce)[: len(space.sizes)]


def chance_deviation(
    space: CellSpace, cells: Sequence[tuple[tuple[tuple[str, int], ...], ...]], options: AgreementOptions
) -> float:
    """The standard deviation of the share of all over sets of random cells with as many connections at each node."""
    rng = generator(options.seed, "agreement")
    scale = sum((len(a) + len(b)) / 2 for pair in combinations(cells, 2) for a, b in zip(*pair))
    shares = []
    for _ in range(options.draws):
        total = 0
        for place, size in enumerate(space.sizes):
            drawn = [set(torch.randperm(size, generator=rng)[: len(cell[place])].tolist()) for cell in cells]
            total += sum(len(a & b) for a, b in combinations(drawn, 2))
        shares.append(total / max(scale, 1e-9))
    return stdev(shares)


def draw(found: Sequence[Agreement], folder: Path) -> list[Path]:
    """Write ``agreement.png`` and ``agreement.svg``: what seeds have in common, and what random cells have."""
    from isnas.draw.curves import Panel, Series, draw_panels  # matplotlib is slow to import

    panels = []
    chances = {name: share for each in found for name, share in each.chance_nodes.items()}
    for cell in dict.fromkeys(name.split()[0] for name in chances):
        nodes = [name for name in chances if name.startswith(cell)]
        series = [Series(each.search, [100 * each.nodes.get(name, 0.0) for name in nodes]) for each in found]
        chance = Series("random cells", [100 * chances[name] for name in nodes])
        numbers = [name.split()[-1] for name in nodes]
        panels.append(Panel(f"{cell} cell: in common (%)", numbers, series, xlabel="node", reference=chance))
    return draw_panels([panels], folder, "agreement")


def _sparseness(run: SearchRun) -> int:
    try:
        return integer(run.config, "sparseness")
    except ValueError as error:
        raise cannot_read(run.folder, error) from None


def _ratio(some: Sequence[float], of: Sequence[float]) -> float:
    return sum(some) / sum(of) if sum(of) else 0.0


def _nodes(found: Sequence[Agreement]) -> list[str]:
    return list(dict.fromkeys(name for each in found for name in each.nodes))


def _short(found: Sequence[Agreement]) -> list[str]:
    return [name.replace(" node ", " ") for name in _nodes(found)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
