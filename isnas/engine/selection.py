"""The best of several searches, and all of them in a table.

ISTA-NAS, section 4.2: repeat the search with different seeds and take the architecture with the best validation
accuracy.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, pstdev

from isnas.base.files import replacing, write_json, write_text
from isnas.engine.progress import duration
from isnas.engine.seeds import SeedRuns
from isnas.space.genotype import genotype_from_json


@dataclass(frozen=True)
class SearchSummary:
    """What came out of one search; read from its run folder.

    ``trained_acc``: validation accuracy of the sub-network of the last epoch, before the final recovery, which may
    bring in operations that were never trained in their place; ``valid_acc``: of the architecture it found.
    ``num_architectures``: distinct ones among those at the end of the epochs and the final one; ``last_change``: the
    epoch after which the architecture was no longer the one of the epoch before, None if it never changed.
    ``params_millions`` and ``multiply_adds_millions``: of the derived network (20 cells, C = 36).
    """

    seed: int
    hash: str
    genotype: str
    trained_acc: float
    valid_acc: float
    held_out_acc: float | None
    params_millions: float
    multiply_adds_millions: float
    num_architectures: int
    last_change: int | None
    seconds: float


def summarize_search(seed: int, folder: Path) -> SearchSummary:
    """The summary of a finished search."""
    result = json.loads((folder / "genotype.json").read_text(encoding="utf-8"))
    final = _rows(folder / "metrics.jsonl")[-1]
    rows = _rows(folder / "genotypes.jsonl")
    hashes = [genotype_from_json(row["genotype"]).hash() for row in rows]
    changes = [row["epoch"] for row, before, now in zip(rows[1:], hashes, hashes[1:]) if now != before]
    return SearchSummary(
        seed=seed,
        hash=hashes[-1],
        genotype=result["text"],
        trained_acc=rows[-2]["valid_acc"],
        valid_acc=result["valid_acc"],
        held_out_acc=result.get("held_out_acc"),
        params_millions=final["derived/params_millions"],
        multiply_adds_millions=final["derived/multiply_adds_millions"],
        num_architectures=len(set(hashes)),
        last_change=changes[-1] if changes else None,
        seconds=final["time/seconds"],
    )


def select_best(runs: SeedRuns) -> None:
    """Write ``table.md`` and ``seeds.json`` over all seeds, and the files of the best one into ``best/``.

    The best has the highest validation accuracy; of equal ones the lower seed.

    Raises:
        UserError: when a seed has failed; the others are in the table all the same.
    """
    group = runs.group
    summaries = [summarize_search(seed, folder) for seed, folder in sorted(runs.finished.items())]
    if summaries:
        best = max(summaries, key=lambda row: row.valid_acc)
        _copy_result(runs.finished[best.seed], group.folder / "best")
        table = seeds_table(summaries, best.seed)
        write_json(group.folder / "seeds.json", {"best": best.seed, "seeds": [asdict(row) for row in summaries]})
        write_text(group.folder / "table.md", table)
        for line in table.splitlines():
            group.log(line)
        group.log(f"best seed {best.seed}: {group.folder / 'best' / 'genotype.json'}")
    runs.close()


def seeds_table(summaries: list[SearchSummary], best: int) -> str:
    """The searches as a Markdown table, the best in bold, with mean and standard deviation (of the seeds run)."""
    columns = ["seed", "architecture", "trained", "valid_acc", "held_out_acc", "parameters", "multiply-adds", "seen"]
    columns += ["last change", "time"]
    lines = [f"| {' | '.join(columns)} |", "|---:|---|" + "---:|" * (len(columns) - 2)]
    for row in summaries:
        seed = f"**{row.seed}**" if row.seed == best else str(row.seed)
        held_out = "" if row.held_out_acc is None else f"{row.held_out_acc:.2f}"
        change = "never" if row.last_change is None else f"epoch {row.last_change}"
        cells = [seed, row.hash, f"{row.trained_acc:.2f}", f"{row.valid_acc:.2f}", held_out]
        cells += [f"{row.params_millions:.2f} M", f"{row.multiply_adds_millions:.0f} M", str(row.num_architectures)]
        lines.append(f"| {' | '.join([*cells, change, duration(row.seconds)])} |")
    accuracies = [row.valid_acc for row in summaries]
    lines += [
        "",
        f"valid_acc over {len(summaries)} seeds: mean {mean(accuracies):.2f}, standard deviation "
        f"{pstdev(accuracies):.2f}; {len({row.hash for row in summaries})} different architectures. `trained` is the "
        "validation accuracy of the last epoch's sub-network, `valid_acc` that of the architecture of the recovery "
        "after it, `seen` the number of "
        "distinct architectures. Parameters and multiply-adds are of the derived network (20 cells, C = 36).",
    ]
    return "\n".join(lines) + "\n"


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _copy_result(run: Path, best: Path) -> None:
    """The files of a result, genotype.json last: while it is there, it belongs to the others."""
    best.mkdir(exist_ok=True)
    (best / "genotype.json").unlink(missing_ok=True)
    for path in sorted([*run.glob("cell_*"), run / "config.yaml", run / "weights.pt"]):
        with replacing(best / path.name) as temporary:
            shutil.copyfile(path, temporary)
    with replacing(best / "genotype.json") as temporary:
        shutil.copyfile(run / "genotype.json", temporary)
