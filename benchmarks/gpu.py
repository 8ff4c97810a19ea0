"""One command for a GPU that was met for the first time: it proves the steps there, and measures them.

Proofs are those of tests/gpu, run by pytest: every method's step against the CPU's in float64 and float32, in both
layouts, lower precision, recomputation, checkpoints, a killed search, no waits, and two processes where there are two
GPUs. Measured are the time of a step of every method, its images per second, its memory beside the estimate of
isnas/nets/memory.py, the share of the time in which the GPU waits for kernels to be started, and what --compile and
--recompute change. What no time is left for is skipped, and named.

Without a GPU the proofs are those of tests/fake_cuda, on a device that has no numbers, and nothing is measured.
"""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from common import ROOT, SEARCH_SIZES, TINY_SIZES, make_parser, write_figures
from precision import TRAINING, build, peak_memory, stepper, wait
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from isnas.base.errors import first_line
from isnas.base.files import markdown_table, write_text
from isnas.engine.run import find_device
from isnas.methods.registry import SEARCHES

#: Parts of the proofs, and seconds that each needs at least to be begun; together two and a half minutes on an H100.
PROOFS = {
    "tests/gpu/test_device_steps.py": 60,
    "tests/gpu/test_device_runs.py": 30,
    "tests/gpu/test_device_processes.py": 30,
    "tests/gpu/test_device_language.py": 15,
}
FAKE_PROOFS = {"tests/fake_cuda/test_fake_cuda.py": 60}
#: A proof that takes a second on a CPU, to see that proofs run.
QUICK_PROOFS = {"tests/gpu/test_device_steps.py::test_recomputation_changes_no_number[random_ws]": 1}

FULL = TRAINING | {"batch_size": 96}
ONE_STAGE = {name: value for name, value in FULL.items() if name != "arch"} | {"arch_init_scale": 0.5}
TWO_STAGE = SEARCH_SIZES | {"arch_init_scale": 0.5}
#: Steps that are measured: the method and its options; the most telling first, as the last may be skipped.
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "two-stage": ("two_stage", TWO_STAGE | {"batch_size": 64}),
    "two-stage, batch 256": ("two_stage", TWO_STAGE | {"batch_size": 256}),
    "training": ("evaluation", FULL),
    "one-stage": ("one_stage", ONE_STAGE),
    "DARTS": ("darts", SEARCH_SIZES | {"batch_size": 64}),
    "PC-DARTS": ("pc_darts", SEARCH_SIZES | {"batch_size": 256}),
    "random search with weight sharing": ("random_ws", SEARCH_SIZES | {"batch_size": 64}),
    "CoNAS": ("conas", SEARCH_SIZES | {"batch_size": 64}),
    "sampled recovery": ("sampled_recovery", SEARCH_SIZES | {"batch_size": 64, "warmup_portion": 0.0}),
    "two-stage, batch 256, recompute": ("two_stage", TWO_STAGE | {"batch_size": 256, "recompute": True}),
    "training, recompute": ("evaluation", FULL | {"recompute": True}),
    "one-stage, recompute": ("one_stage", ONE_STAGE | {"recompute": True}),
    "DARTS, recompute": ("darts", SEARCH_SIZES | {"batch_size": 64, "recompute": True}),
    "two-stage, batch 256, bf16": ("two_stage", TWO_STAGE | {"batch_size": 256, "amp": "bf16"}),
    "training, bf16": ("evaluation", FULL | {"amp": "bf16"}),
    "training, compile": ("evaluation", FULL | {"compile": True}),
    "two-stage, batch 256, compile": ("two_stage", TWO_STAGE | {"batch_size": 256, "compile": True}),
}
QUICK_STEPS = ("two-stage", "training", "one-stage")
#: Seconds that must be left for a step to be measured; compilation takes longest.
LEAST_SECONDS, LEAST_TO_COMPILE = 20, 120
WARM_UP, REPEATS, PROFILED = 3, 10, 3

#: Characters of what a failed test says.
MOST_WORDS = 500


class TimeIsUpError(BaseException):
    """Not an Exception, which a compiler would take for one of its own."""


class Clock:
    """The time that is left, and what it was too short for."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.skipped: list[str] = []

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()

    def allows(self, name: str, seconds: float) -> bool:
        """Whether there is so much time for a part; it is skipped if not."""
        if self.left < seconds:
            self.skipped.append(name)
        return self.left >= seconds

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """A part that ends when the time is up, and is skipped then."""

        def end(number: int, frame: object) -> None:
            raise TimeIsUpError

        before = signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3))
        try:
            yield
        except TimeIsUpError:
            self.skipped.append(name)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def prove(name: str, device: str) -> dict[str, Any]:
    """How many of pytest's tests passed, which failed and what the first of them says, and why others were skipped."""
    environment = os.environ | {"ISNAS_TEST_DEVICE": device}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", name]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that its tests have started
            process.wait()
            raise
        if not report.exists():
            return {"passed": 0, "failed": [name], "skipped": [], "message": output.strip()[-MOST_WORDS:]}
        cases = list(ElementTree.parse(report).iter("testcase"))
    parts = [(str(case.get("name")), part.tag, str(part.get("message"))) for case in cases for part in case]
    wrong = {name: message for name, tag, message in parts if tag in ("failure", "error")}
    skipped = [message for _, tag, message in parts if tag == "skipped"]
    found = {"passed": len(cases) - len(wrong) - len(skipped), "failed": list(wrong), "skipped": sorted(set(skipped))}
    return found | {"message": next(iter(wrong.values()), "").strip()[:MOST_WORDS]}


def busy_seconds(step: Any, device: torch.device) -> float:
    """Seconds of a step in which the GPU has a kernel to run."""
    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        for _ in range(PROFILED):
            step()
        wait(device)
    kernels = [event for event in trace.key_averages() if event.device_type == DeviceType.CUDA]
    return 1e-6 * sum(event.self_device_time_total for event in kernels) / PROFILED


def measure(
    name: str, values: dict[str, Any], device: torch.device, image_size: int, warm_up: int, repeats: int
) -> dict[str, float]:
    """Seconds of a step, images per second, GiB beside the estimate, and the share of time without a kernel."""
    gc.collect()  # the step before this one
    method = build(name, device, image_size, **values)
    size = values["batch_size"]
    step = stepper(name, method, size, image_size)
    for _ in range(warm_up):
        step()
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    wait(device)
    seconds = (time.perf_counter() - start) / repeats
    batches = len(method.splits) if name in SEARCHES else 1
    row = {"seconds": seconds, "images_per_second": batches * size / seconds}
    row["estimated_gib"] = peak_memory(name, method, size, image_size).total_gib
    if device.type == "cuda":
        row["measured_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        row["waiting"] = max(0.0, 1.0 - busy_seconds(step, device) / seconds)
    return row


def tables(proofs: dict[str, dict[str, Any]], steps: dict[str, dict[str, float]], failed: dict[str, str]) -> str:
    """All of it as Markdown; ``failed`` are the steps that could not be measured, and why."""
    rows = [[name, str(each["passed"]), str(len(each["failed"]))] for name, each in proofs.items()]
    parts = [markdown_table(["proofs", "passed", "failed"], rows)] if rows else []
    for each in proofs.values():
        first = each["failed"][:5]
        parts += [f"Failed, the first {len(first)}: {', '.join(first)}. {each['message']}"] if first else []
    reasons = sorted({reason for each in proofs.values() for reason in each["skipped"]})
    parts += [f"Tests that were skipped: {'; '.join(reasons)}."] if reasons else []
    rows = []
    for name, row in steps.items():
        cells = [f"{1e3 * row['seconds']:.1f}", f"{row['images_per_second']:,.0f}", f"{row['estimated_gib']:.2f}"]
        if "measured_gib" in row:
            ratio = row["measured_gib"] / row["estimated_gib"]
            cells += [f"{row['measured_gib']:.2f}", f"{ratio:.2f}", f"{row['waiting']:.0%}"]
        rows.append([name, *cells, *[""] * (6 - len(cells))])
    header = ["step", "ms", "images a second", "estimated, GiB", "measured", "ratio", "GPU waits"]
    parts += [markdown_table(header, rows)] if rows else []
    parts += [f"Not measured, {name}: {reason}" for name, reason in failed.items()]
    return "\n\n".join(parts)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="all that it may take")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables as Markdown")
    arguments = parser.parse_args()
    clock = Clock(arguments.minutes)
    device = find_device("cpu" if arguments.quick else "auto", 1 if arguments.quick else 0)
    proofs, steps, image_size, warm_up, repeats = PROOFS, STEPS, 32, WARM_UP, REPEATS
    if arguments.quick:
        title, proofs, image_size = "On a CPU, at sizes that tell nothing.", QUICK_PROOFS, 16
        warm_up = repeats = 1
        steps = {name: (method, tiny(values)) for name, (method, values) in STEPS.items() if name in QUICK_STEPS}
    elif device.type == "cuda":
        title = f"On {torch.cuda.get_device_name(device)}, torch {torch.__version__}."
    else:
        title = "There is no GPU: the proofs are of a device without numbers, and nothing was measured."
        proofs, steps = FAKE_PROOFS, {}
    print(title, flush=True)
    proven: dict[str, dict[str, Any]] = {}
    for name, least in proofs.items():
        if clock.allows(name, least):
            with clock.running(name):
                proven[name] = prove(name, device.type)
                print(f"{name}: {proven[name]['passed']} passed, {len(proven[name]['failed'])} failed", flush=True)
    measured: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for name, (method, values) in steps.items():
        if clock.allows(name, LEAST_TO_COMPILE if values.get("compile") else 0 if arguments.quick else LEAST_SECONDS):
            try:
                with clock.running(name):
                    measured[name] = measure(method, values, device, image_size, warm_up, repeats)
                    print(f"{name}: {measured[name]}", flush=True)
            except Exception as error:  # too little memory, no compiler: the other steps can still be measured
                failed[name] = first_line(error)
    text = f"{title}\n\n{tables(proven, measured, failed)}\n"
    text += f"\nNo time was left for: {', '.join(clock.skipped)}.\n" if clock.skipped else ""
    print(f"\n{text}")
    if arguments.table:
        write_text(arguments.table, text)
    figures = {"title": title, "proofs": proven, "steps": measured, "failed": failed, "skipped": clock.skipped}
    write_figures(arguments.output, figures, device)
    if any(each["failed"] for each in proven.values()):
        sys.exit("a proof failed")


def tiny(values: dict[str, Any]) -> dict[str, Any]:
    """The same options for a second on a CPU."""
    return values | TINY_SIZES | {"batch_size": 4}


if __name__ == "__main__":
    main()
