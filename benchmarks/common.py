"""What benchmarks share: their flags, images, the timing of steps in turn, runs of the tools, the files of figures.

They are run in a checkout in which isnas can be imported: after ``pip install -e .``, or with PYTHONPATH set to it.
"""

import argparse
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isnas.base.files import write_json
from isnas.data.dataset_info import DatasetInfo
from isnas.engine.method import Setting
from isnas.engine.run import environment
from isnas.train.stepping import Stepping

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
WARM_UP = 3

#: The super-net of the papers' CIFAR-10 search, and the smallest network that has everything, by its options.
SEARCH_SIZES = {"init_channels": 16, "layers": 8}
TINY_SIZES = {"init_channels": 4, "layers": 3}

#: A run of a tool that takes a second, by its options; it needs no files.
TINY_RUN = TINY_SIZES | {"dataset": "digits", "image_size": 16, "max_train_images": 64, "batch_size": 16, "epochs": 1}


def make_parser(doc: str | None, output: str = "write the figures as JSON") -> argparse.ArgumentParser:
    """The flags that all have; ``doc`` is the benchmark's docstring."""
    assert doc
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it runs: sizes that tell nothing")
    parser.add_argument("--output", type=Path, metavar="FILE", help=output)
    return parser


def make_steps_parser(doc: str | None) -> argparse.ArgumentParser:
    """Those of the ones that time steps of several random architectures."""
    parser = make_parser(doc)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--topologies", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20, help="steps per topology")
    return parser


def make_runs_parser(doc: str | None, folder: str, config: str = "") -> argparse.ArgumentParser:
    """Those of the ones that run tools; ``folder`` is where the runs are, ``config`` a file of configs/smoke or ""."""
    parser = make_parser(doc)
    parser.add_argument("--folder", type=Path, default=Path(folder), help="where the runs are")
    if config:
        parser.add_argument("--config", type=Path, default=ROOT / "configs/smoke" / config)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    return parser


def setting(options: Any, image_size: int = 32) -> Setting:
    """Where a method finds itself with random colour images of 10 classes, on the CPU, a step being an epoch."""
    info = DatasetInfo("random", tuple("0123456789"), (0.5,) * 3, (0.25,) * 3, image_size, flip=True)
    sizes = options.sizes(info.channels, info.num_classes)
    return Setting(options.make_space(), sizes, info, Stepping(options, CPU), lambda epoch: 1)


def random_batch(count: int, image_size: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images of noise (count, 3, image_size, image_size), channels last, and labels (count,)."""
    labels = torch.randint(10, (count,), generator=rng)
    x = torch.randn(count, 3, image_size, image_size, generator=rng)
    return x.to(memory_format=torch.channels_last), labels


def seconds_in_turn(
    steps: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = WARM_UP, device: torch.device = CPU
) -> dict[str, list[float]]:
    """Seconds of each step, taken one after the other ``repeats`` times; before that they touch their memory."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(-warm_up, repeats):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def write_figures(output: Path | None, figures: Mapping[str, Any], device: torch.device = CPU) -> None:
    """Write figures, with what they depend on, if there is a file to write."""
    if output:
        facts = environment(device)
        kept = {key: facts[key] for key in ("packages", "accelerator", "processor", "threads", "commit")}
        write_json(output, kept | {**figures})


def as_flags(values: Mapping[str, Any]) -> list[str]:
    """Options as the flags of a command line."""
    flags = []
    for name, value in values.items():
        words = value if isinstance(value, list) else [] if isinstance(value, bool) else [value]
        flags += [f"--{'no_' * (value is False)}{name}", *map(str, words)]
    return flags


def run_tool(
    tool: str, folder: Path, flags: Sequence[str], free: Sequence[str], results: Iterable[str], here: bool = False
) -> None:
    """Run a tool in a folder, go on with what is there, or leave it when all its ``results`` are.

    ``free`` flags may change when a run goes on. ``here``: in this process, where imports cost their time once.
    """
    if all((folder / result).exists() for result in results):
        return
    begun = (folder / "config.yaml").exists()
    given = [*(["--resume", str(folder)] if begun else [*flags, "--run_dir", str(folder)]), *free, "--no_tensorboard"]
    path = ROOT / "tools" / tool
    print(folder, flush=True)
    if here:
        main = import_module(f"isnas.apps.{path.stem}").main
        with redirect_stdout(io.StringIO()):
            main(given)
    else:
        subprocess.run([sys.executable, str(path), *given], check=True, stdout=subprocess.DEVNULL)
