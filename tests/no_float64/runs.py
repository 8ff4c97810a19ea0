"""Small runs on a device without float64, and the same on the CPU; prints what differs, a JSON object by case.

Both compute in one layout, with torch's own batch normalisation. ``test_no_float64.py`` runs it.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from killing import metrics
from small_device import SMALL, small_device
from small_texts import write_text

from isnas.base import preemption
from isnas.base.errors import PreemptedError
from isnas.base.options import build
from isnas.base.precision import ExactSums, exact_device, has_float64
from isnas.engine import run as runs
from isnas.engine.language.search import search_language
from isnas.engine.language.training import train_language
from isnas.engine.records import Records
from isnas.engine.search import search
from isnas.engine.training import train
from isnas.methods.evaluation import Evaluation
from isnas.methods.language_model import LanguageModel
from isnas.methods.language_search import RecurrentConas
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import SEARCHES, make_options
from isnas.space import batch_norm

CPU = torch.device("cpu")
TINY = {
    "dataset": "digits",
    "max_train_images": 256,
    "image_size": 8,
    "batch_size": 64,
    "init_channels": 4,
    "layers": 3,
}
TINY |= {"num_nodes": 1, "tensorboard": False, "epochs": 2, "seed": 3, "channels_last": False, "report_freq": 1}
TINY |= {"operations": ("max_pool_3x3", "skip_connect", "sep_conv_3x3"), "threads": 1}
QUICK = {"arch_init_scale": 0.1, "arch_learning_rate": 0.05}
TEXT = {"nhid": 6, "batch_size": 4, "bptt": 5, "valid_batch_size": 2, "tensorboard": False, "epochs": 2}
FIXED = {
    "image_size": 16,
    "max_search_epochs": 1,
    "epochs": 1,
    "termination_interval": "2",
    "epsilon": 0.15,
    "auxiliary": True,
}
TARGET = {
    "arch": "random:1",
    "image_size": 16,
    "epochs": 1,
    "auxiliary": True,
    "cutout": True,
    "cutout_length": 4,
    "ema_decay": 0.9,
}
CELL = "Genotype(recurrent=[('relu', 0), [('tanh', 0), ('sigmoid', 1)]], concat=range(1, 3))"

#: Cases in which a run is stopped and goes on.
STOPPED = ("two_stage", "darts", "sampled_recovery", "one_stage", "evaluation", "language model")

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "two_stage": (SEARCHES["two_stage"], QUICK | {"recover_every": "step"}),
    "two_stage released": (SEARCHES["two_stage"], QUICK | {"preset": "released", "grad_clip": 0.5}),
    "darts": (SEARCHES["darts"], QUICK),
    "darts unrolled": (SEARCHES["darts"], QUICK | {"unrolled": True}),
    "pc_darts": (SEARCHES["pc_darts"], QUICK | {"partial_channels": 2, "arch_start_epoch": 0}),
    "random_ws": (SEARCHES["random_ws"], {"samples": 4, "sample_batches": 1, "finalists": 2}),
    "conas": (SEARCHES["conas"], {"measurements": 12, "measure_batches": 1, "monomials": 2}),
    "sampled_recovery": (SEARCHES["sampled_recovery"], {}),
    "sampled_recovery gradient": (SEARCHES["sampled_recovery"], {"measure": "gradient"}),
    "one_stage": (OneStage, QUICK | FIXED | {"drop_path_prob": 0.4, "grad_accum": 2}),
    "evaluation": (Evaluation, TARGET | {"drop_path_prob": 0.2}),
    "language search": (RecurrentConas, {"measurements": 12, "monomials": 2, "stages": 1}),
    "language model": (LanguageModel, {"arch": CELL, "nonmono": 0, "alpha": 0.1}),
}


def started(name: str, folder: Path, device: str, **others: Any) -> None:
    """A run of a case from its beginning, or resumed, to its end."""
    kind, values = CASES[name]
    values = values | others | {"device": device}
    values |= {} if "resume" in others else {"run_dir": str(folder)}
    if kind in (RecurrentConas, LanguageModel):
        text = folder.parent / "text"
        if not text.exists():
            write_text(text, lines=(20, 8, 8))
        values = TEXT | values | {"data": str(text)}
        (train_language if kind is LanguageModel else search_language)(kind, build(kind.Options, values))
    else:
        method = next((each for each, row in SEARCHES.items() if row is kind), None)
        method = method or ("one_stage" if kind is OneStage else "evaluation")
        options = make_options(method, **TINY | values)
        (train if kind in (OneStage, Evaluation) else search)(kind, options)


def stopped(name: str, folder: Path, at: int) -> None:
    """A run on the device that a signal stops in a step, and that goes on."""
    kind = CASES[name][0]
    own, count = kind.step, 0

    def step(self: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == at:
            signal.raise_signal(signal.SIGTERM)
        return own(self, *arguments)

    with patch.object(kind, "step", step):
        try:
            started(name, folder, "mps")
        except PreemptedError:
            preemption._State.asked_by = None
            for records in [each for each in gc.get_objects() if type(each) is Records]:
                records.close()  # as the end of the process would
        else:
            raise AssertionError("it was not stopped")
    started(name, folder, "mps", resume=str(folder))


def same(one: Any, other: Any) -> bool:
    """Whether two trees are equal in every bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two run folders."""
    found = []
    if metrics(one) != metrics(other):
        found.append(f"metrics {metrics(one)} {metrics(other)}")
    for name in ("genotype.json", "genotypes.jsonl"):
        texts = [(run / name).read_text() for run in (one, other) if (run / name).exists()]
        found += [name] if len(set(texts)) > 1 else []
    weights = [torch.load(run / "weights.pt", weights_only=True) for run in (one, other)]
    return found + ([] if same(*weights) else ["weights"])


def compared(name: str, folder: Path) -> dict[str, Any]:
    """How a run on the device differs from that on the CPU, and one that was stopped from one that was not."""
    started(name, folder / "cpu", "cpu")
    started(name, folder / "device", "mps")
    state = torch.load(folder / "device" / "checkpoint.pt", weights_only=True)["state"]
    b = [value for key, value in state["method" if "method" in state else "model"].get("architecture", {}).items()]
    if name in STOPPED:
        stopped(name, folder / "stopped", 3)
    return {
        "from the CPU": differences(folder / "device", folder / "cpu"),
        "from not being stopped": differences(folder / "stopped", folder / "device") if name in STOPPED else [],
        "architecture": sorted({str(value.dtype) for value in b if value.is_floating_point()}),
    }


def checks() -> dict[str, Any]:
    """That the device refuses what it must, and what the package makes of it."""
    refused = []
    host = torch.ones(3, dtype=torch.float64)
    for make in (
        lambda: host.to(SMALL),
        lambda: torch.zeros(2, dtype=torch.float64, device=SMALL),
        lambda: torch.ones(2, device=SMALL).double(),
        lambda: torch.ones(3, device=SMALL) + torch.ones(3),
        lambda: torch.ones(3).to(SMALL, non_blocking=True),
    ):
        try:
            make()
        except (TypeError, RuntimeError, AssertionError) as error:
            refused.append(type(error).__name__)
    sums, on_host = ExactSums(2, SMALL), ExactSums(2, CPU)
    rng = torch.Generator().manual_seed(0)
    for number in torch.randn(700, generator=rng) * 1e3:
        sums.include(number.to(SMALL), 3.0)
        on_host.include(number, 3.0)
    assert sums.sums.device.type == "cpu" and torch.equal(sums.total(), on_host.total())
    return {"refused": refused, "has": [has_float64(SMALL), has_float64(CPU)], "exact": str(exact_device(SMALL))}


def main(names: list[str]) -> None:
    """Print what became of the cases."""
    torch.set_num_threads(1)
    preemption.begin_child()  # signals are heard
    find: Callable[..., torch.device] = lambda name, *others: SMALL if name == "mps" else CPU  # noqa: E731
    found: dict[str, Any] = {}
    with (
        small_device(),
        patch.object(runs, "find_device", find),
        patch.object(batch_norm, "_sums_plainly", lambda x: False),
        tempfile.TemporaryDirectory() as place,
    ):
        found["checks"] = checks()
        for name in names or CASES:
            try:
                found[name] = compared(name, Path(place) / name.replace(" ", "_"))
            except Exception:
                found[name] = {"error": traceback.format_exc()}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
