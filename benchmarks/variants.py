"""Measurement matrices, distinct inputs and the interval of recovery, compared on reduced searches of Fashion-MNIST.

Runs tools/train_search.py with 3 seeds for each of 12 settings (configs/smoke/fashion_mnist_variants.yaml), each in a
folder below --folder, and prints one table. Stopped anywhere, the same command goes on.
"""

import itertools
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import TINY_RUN, as_flags, make_runs_parser, run_tool

from isnas.base.files import write_json
from isnas.engine.records import read_rows

MEASUREMENTS, RECOVERIES = ("uniform", "gaussian", "unit_gaussian"), ("epoch", "step")
QUICK = [("gaussian", True, "step")]


def main() -> None:
    arguments = make_runs_parser(__doc__, "variants", "fashion_mnist_variants.yaml").parse_args()
    settings, sizes = list(itertools.product(MEASUREMENTS, (False, True), RECOVERIES)), {}
    if arguments.quick:
        settings, sizes, arguments.seeds, arguments.jobs = QUICK, TINY_RUN, [0], 1
    results = [f"seed-{seed}/genotype.json" for seed in arguments.seeds]
    rows = []
    for measurement, distinct, recovery in settings:
        folder = arguments.folder / f"{measurement}-{'distinct' if distinct else 'plain'}-{recovery}"
        own = {"measurement": measurement, "distinct_inputs": distinct, "recover_every": recovery}
        flags = ["--config", str(arguments.config), *as_flags(sizes | own | {"seeds": arguments.seeds})]
        run_tool("train_search.py", folder, flags, as_flags({"jobs": arguments.jobs}), results, arguments.quick)
        rows.append({"measurement": measurement, "distinct": distinct, "recovery": recovery, **summary(folder)})
    print(table(rows))
    if arguments.output:
        write_json(arguments.output, rows)


def summary(folder: Path) -> dict[str, Any]:
    """The figures of one setting, a list over seeds each."""
    seeds = json.loads((folder / "seeds.json").read_text())["seeds"]
    names = ("trained_acc", "valid_acc", "held_out_acc", "num_architectures", "last_change", "seconds")
    figures = {name: [row[name] for row in seeds] for name in names}
    metrics = [read_rows(folder / f"seed-{row['seed']}" / "metrics.jsonl") for row in seeds]
    figures["support_changes"] = [sum(row["recovery/num_changes"] for row in rows) for rows in metrics]
    figures["distinct_share"] = [rows[-1]["arch/distinct_inputs"] for rows in metrics]
    figures["sign_agreement"] = [mean(row["arch/c_z_sign_agreement"] for row in rows) for rows in metrics]
    return figures


def table(rows: list[dict]) -> str:
    """One line per setting: mean and standard deviation over the seeds, or each seed's figure."""
    lines = [
        "| A | inputs | recovery | trained | after the final recovery | architectures seen | support changes "
        "| last change | nodes with distinct inputs | sign of c as z | minutes |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        trained, final = (with_spread(row[key]) for key in ("trained_acc", "valid_acc"))
        listed = [", ".join(map(str, row[key])) for key in ("num_architectures", "support_changes", "last_change")]
        shares = [f"{mean(row[key]):.2f}" for key in ("distinct_share", "sign_agreement")]
        setting = [row["measurement"], "distinct" if row["distinct"] else "plain", row["recovery"]]
        cells = [*setting, trained, final, *listed, *shares, f"{mean(row['seconds']) / 60:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_spread(values: list[float]) -> str:
    """Mean and sample standard deviation, which one value does not have."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
