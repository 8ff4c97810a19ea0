"""Cells trained with one budget on Fashion-MNIST: a found one, two published ones, three random ones.

Runs tools/evaluate.py with 3 seeds for each (configs/smoke/fashion_mnist_evaluate.yaml), each in a folder below
--folder, and prints the table of tools/summarize.py. Stopped anywhere, the same command goes on.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / "docs/results/fashion_mnist_twostage.json"
ARCHITECTURES = {"found": str(FOUND), "ISTA_twostage": "ISTA_twostage", "DARTS_V2": "DARTS_V2"}
ARCHITECTURES |= {f"random-{seed}": f"random:{seed}" for seed in range(3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("cells"), help="where the runs are")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/smoke/fashion_mnist_evaluate.yaml")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--jobs", default="2", help="runs at a time")
    arguments = parser.parse_args()
    folders = {arguments.folder / name: arch for name, arch in ARCHITECTURES.items()}
    for folder, arch in folders.items():
        flags = ["--config", str(arguments.config), "--arch", arch, "--run_dir", str(folder), "--no_tensorboard"]
        flags += ["--seeds", *arguments.seeds, "--jobs", arguments.jobs]
        if (folder / "config.yaml").exists():
            flags = ["--resume", str(folder), "--jobs", arguments.jobs]
        if any(not (folder / f"seed-{seed}" / "result.json").exists() for seed in arguments.seeds):
            print(folder, flush=True)
            command = [sys.executable, str(ROOT / "tools/evaluate.py"), *flags]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, str(ROOT / "tools/summarize.py"), *map(str, folders)], check=True)


if __name__ == "__main__":
    main()
