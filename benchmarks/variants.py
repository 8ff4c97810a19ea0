"""Measurement matrices, distinct inputs and the interval of recovery, compared on reduced searches of Fashion-MNIST.

Runs tools/train_search.py with 3 seeds for each of 12 settings (configs/smoke/fashion_mnist_variants.yaml), each in a
folder below --folder, and prints one table. Stopped anywhere, the same command goes on.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parents[1]
MEASUREMENTS, RECOVERIES = ("uniform", "gaussian", "unit_gaussian"), ("epoch", "step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("variants"), help="where the runs are")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/smoke/fashion_mnist_variants.yaml")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--jobs", default="2", help="runs at a time")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    settings = list(itertools.product(MEASUREMENTS, (False, True), RECOVERIES))
    rows = []
    for measurement, distinct, recovery in settings:
        folder = arguments.folder / f"{measurement}-{'distinct' if distinct else 'plain'}-{recovery}"
        flags = ["--config", str(arguments.config), "--run_dir", str(folder), "--seeds", *arguments.seeds]
        flags += ["--measurement", measurement, "--recover_every", recovery, "--no_tensorboard"]
        flags += ["--jobs", arguments.jobs] + ["--distinct_inputs"] * distinct
        if (folder / "config.yaml").exists():
            flags = ["--resume", str(folder), "--jobs", arguments.jobs]
        if any(not (folder / f"seed-{seed}" / "genotype.json").exists() for seed in arguments.seeds):
            print(folder, flush=True)
            subprocess.run(
                [sys.executable, str(ROOT / "tools/train_search.py"), *flags], check=True, stdout=subprocess.DEVNULL
            )
        rows.append({"measurement": measurement, "distinct": distinct, "recovery": recovery, **summary(folder)})
    print(table(rows))
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n")


def summary(folder: Path) -> dict:
    """The figures of one setting, a list over seeds each."""
    seeds = json.loads((folder / "seeds.json").read_text())["seeds"]
    names = ("trained_acc", "valid_acc", "held_out_acc", "num_architectures", "last_change", "seconds")
    figures = {name: [row[name] for row in seeds] for name in names}
    metrics = [
        [json.loads(line) for line in (folder / f"seed-{row['seed']}" / "metrics.jsonl").read_text().splitlines()]
        for row in seeds
    ]
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
