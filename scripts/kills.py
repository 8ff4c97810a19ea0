#!/usr/bin/env python3
"""Kills small runs at random times and before operations on files, resumes them, compares them with whole ones.

    python scripts/kills.py --kills 200

Every tensor, line of the log, metric and file must be that of the run that was never stopped, and no other file may
be left. A table by tool and kind of kill; exit code 1 when something differs.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT), str(ROOT / "tests")]

from killing import differences, log_size  # noqa: E402
from starting import Script  # noqa: E402

from isnas.base.files import markdown_table  # noqa: E402

_COMMON = "--dataset digits --max_train_images 160 --image_size 8 --init_channels 4 --layers 3 --seed 1 --threads 1"
_COMMON += " --device cpu --report_freq 1 --batch_size 20 --checkpoint_minutes 0.00001"
_SEARCH = f"{_COMMON} --held_out_portion 0.2 --epochs 2"

#: The runs by the tool's name and method.
RUNS = {
    "train_search.py two_stage": f"{_SEARCH} --recover_every 2 --arch_learning_rate 0.05",
    "train_search.py darts": f"{_SEARCH} --method darts --unrolled --num_nodes 2",
    "train_search.py pc_darts": f"{_SEARCH} --method pc_darts --arch_start_epoch 1 --num_nodes 2",
    "train_search.py random": f"{_SEARCH} --method random --samples 2",
    "train_search.py random_ws": f"{_SEARCH} --method random_ws --samples 6 --sample_batches 1 --finalists 2",
    "train_search.py conas": f"{_SEARCH} --method conas --measurements 6 --measure_batches 1 --monomials 2 --stages 2",
    "train_search.py sampled_recovery": f"{_SEARCH} --method sampled_recovery --num_nodes 2 --shift",
    "train_onestage.py one_stage": f"{_COMMON} --max_search_epochs 2 --epochs 2 --arch_learning_rate 0.03 "
    "--termination_interval 2 --epsilon 0.15 --learning_rate 0.1",
    "evaluate.py evaluation": f"{_COMMON} --arch ISTA_twostage --epochs 2 --ema_decay 0.9 --save_best",
}

TIMES = ("at a random time", "while it starts")
OPERATIONS = {
    "open": "before opening",
    "rename": "before renaming",
    "remove": "before removing",
    "mkdir": "before making",
}


class Killed:
    """One run after the other of a kind, each killed several times, in a folder of their own."""

    def __init__(self, name, folder, seed):
        self.tool, self.arguments = name.split()[0], RUNS[name].split()
        self.folder, self.rng = folder, random.Random(f"{name} {seed}")
        self.straight = folder / "straight"
        start = time.monotonic()
        operations = folder / "operations"
        for _ in range(2):  # to its end; and again, where nothing is left to do
            code = self._start(self.straight, "list", operations, 0).wait(600)
            assert code == 0, (folder / "straight.out").read_text()[-2000:]
        self.seconds = (time.monotonic() - start) / 2
        self.operations = Counter(operations.read_text().splitlines())

    def run(self, number, kills):
        """One run, killed so often; how often it was by kind, and what differs in the end."""
        run, done = self.folder / f"run-{number}", Counter()
        for _ in range(kills):
            kind = self.rng.choice((*TIMES, "operation", "operation", "operation"))
            if kind == "operation":
                event, name = self.rng.choice(list(self.operations)).split()
                most = self.operations[f"{event} {name}"]
                process = self._start(run, event, name, self.rng.randint(1, max(1, most // self.rng.choice((1, 2, 4)))))
                kind = OPERATIONS[event]
            else:
                process, before = self._start(run), log_size(run)
                while kind == TIMES[0] and log_size(run) == before and process.poll() is None:
                    time.sleep(0.01)
                time.sleep(self.rng.uniform(0.0, self.seconds / 2 if kind == TIMES[0] else 0.7))
                process.kill()
            if process.wait(600) == -9:
                done[kind] += 1
            elif process.returncode:
                return done, [self._said(run)]
        if self._start(run).wait(600):
            return done, [self._said(run)]
        return done, differences(run, self.straight)

    def _start(self, run, event="none", name="none", count=0):
        place = ["--resume", run] if (run / "config.yaml").exists() else [*self.arguments, "--run_dir", run]
        with open(run.with_suffix(".out"), "a") as output:
            script = ["tests/killed_at.py", run, event, name, count, ROOT / "tools" / self.tool, *place]
            return Script(*script, folder=self.folder, stdout=output, stderr=output)

    def _said(self, run):
        return run.with_suffix(".out").read_text()[-400:]


def main():
    """Kill, resume, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="in all (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="decides when and where (default: 0)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--each", type=int, default=8, help="kills of one run (default: 8)")
    options = parser.parse_args()
    start, wrong = time.monotonic(), []
    table = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.processes) as pool:

        def kill(name):
            folder = Path(place, name.replace(" ", "-"))
            folder.mkdir()
            kinds, killed, number = table[name], Killed(name, folder, options.seed), 0
            while kinds.total() < options.kills / len(RUNS):
                number += 1
                done, found = killed.run(number, min(options.each, -(-options.kills // len(RUNS)) - kinds.total()))
                kinds.update(done)
                wrong.extend(f"{name}, run {number}: {each}" for each in found)
                print(f"{name}: {kinds.total()} kills, differences: {found or 'none'}", flush=True)
            kinds["runs"] = number

        list(pool.map(kill, RUNS))
    columns = [*TIMES, *OPERATIONS.values()]
    rows = [[name, str(table[name].pop("runs")), *(str(table[name][kind]) for kind in columns)] for name in RUNS]
    rows = [[*row, str(sum(map(int, row[2:])))] for row in rows]
    print(markdown_table(("run", "runs", *columns, "kills"), rows))
    total = sum(int(row[-1]) for row in rows)
    print(f"\n{total} kills in {(time.monotonic() - start) / 60:.0f} minutes, {len(wrong)} differences")
    print("\n".join(wrong))
    sys.exit(int(bool(wrong)))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
