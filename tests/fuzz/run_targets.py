"""Fuzz targets for what a run reads of itself, checkpoints and records, and for the problems it solves."""

import io
import json
import tempfile
import warnings
from fractions import Fraction
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from fuzz.harness import Target
from fuzz.mutation import damaged, grafted, odd
from page_runs import write_search, write_training
from settings import CPU, make_setting

import isnas.sparse.convex  # noqa: F401  # or every process would import it anew
from isnas.analysis.pages import kind_of_options
from isnas.base.options import build
from isnas.engine.averages import Averages
from isnas.engine.language.averages import WordAverages
from isnas.engine.language.training import make_stepping
from isnas.engine.loop import Loop, SameData
from isnas.engine.results import Best
from isnas.engine.run import start_run
from isnas.engine.run_page import run_page
from isnas.methods.languages import LANGUAGE_SEARCHES, LANGUAGE_TRAININGS
from isnas.methods.registry import METHODS, make_options
from isnas.sparse.solvers import make_solver

TINY = {"dataset": "digits", "init_channels": 2, "layers": 3, "num_nodes": 2, "tensorboard": False, "device": "cpu"}
SEARCHED = TINY | {"operations": ("max_pool_3x3", "skip_connect")}
OF_TEXT = {"data": "text", "nhid": 3, "batch_size": 4, "tensorboard": False, "device": "cpu"}
LANGUAGES = {f"language {name}": kind for name, kind in {**LANGUAGE_SEARCHES, **LANGUAGE_TRAININGS}.items()}


def odd_tensor(rng):
    """A plain value, or a tensor of a kind that no state holds."""
    choices = (
        lambda: torch.zeros(3).to_sparse(),
        lambda: torch.zeros(10**6, device="meta"),
        lambda: torch.full((2,), float("nan")),
        lambda: torch.zeros(2, dtype=torch.complex64),
        lambda: torch.zeros(1).expand(10**9),
        lambda: torch.zeros((), dtype=torch.bool),
        lambda: torch.tensor([2**62]),
        lambda: torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8),
        lambda: torch.nn.Parameter(torch.zeros(2)),
    )
    return rng.choice(choices)() if rng.random() < 0.5 else odd(rng)


def saved(tree, **keywords):
    """The bytes of a file of torch's, or another one with less in it if that cannot be written."""
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.save(tree, buffer, **keywords)
    except (RecursionError, NotImplementedError, RuntimeError):
        return saved({"state": 0})
    return buffer.getvalue()


@lru_cache(maxsize=16)
def loaded(data):
    """The tree in such a file."""
    return torch.load(io.BytesIO(data), weights_only=True)


def options_of(name, **others):
    """The options of a method's run, on images or on text."""
    own = {"evaluation": {"arch": "random:1"}, "pc_darts": {"partial_channels": 2, "arch_start_epoch": 0}}
    own |= {"language evaluation": {"arch": "DARTS_V2", "nonmono": 0}}
    if name in LANGUAGES:
        return build(LANGUAGES[name].Options, OF_TEXT | own.get(name, {}) | others)
    return make_options(name, **(TINY if name == "evaluation" else SEARCHED) | own.get(name, {}), **others)


@cache
def parts(name):
    """What a checkpoint of a method's run holds."""
    options = options_of(name)
    if name in LANGUAGES:
        method = LANGUAGES[name](options, options.sizes(9), make_stepping(options, CPU))
        method.descent.state = method.network.first_state(options.batch_size)
        if name == "language evaluation":
            for epoch, loss in enumerate((3.0, 2.0, 4.0)):
                method.validated(loss, epoch)
            assert method.average is not None
        return {"words": SameData("words", digest="0"), "method": method, "cost": method.stepping.cost}
    setting = make_setting(options, steps=5)
    method = METHODS[name].build(options, setting)
    images = SameData("images", **setting.info.facts(train=10))
    return {"images": images, "method": method, "best": Best(), "cost": method.stepping.cost}


def loop_of(name, run):
    """The loop of two epochs of a run."""
    averages = WordAverages if name in LANGUAGES else Averages
    return Loop(run, 2, lambda epoch: 5, CPU, parts(name), partial(averages, CPU), name != "language evaluation")


@cache
def page_files():
    """The files of a search and of a training that a page is made of."""
    with tempfile.TemporaryDirectory() as place:
        folders = [write(Path(place) / write.__name__) for write in (write_search, write_training)]
        return [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]


def make_page(rng):
    """The files of a run, some of them damaged, or values of any kind in place of others."""
    given = rng.choice(page_files())
    files = dict(given)
    for name in rng.choices(sorted(files), k=rng.choice((1, 2, 4))):
        if name.endswith(".json") and rng.random() < 0.7:
            files[name] = as_json(grafted(rng, json.loads(given[name])))
        elif name.endswith(".jsonl") and rng.random() < 0.7:
            rows = [json.loads(line) for line in given[name].splitlines()]
            files[name] = b"".join(as_json(grafted(rng, row)) + b"\n" for row in rows)
        else:
            files[name] = damaged(rng, given[name], list(given.values()))
    return files


def as_json(value):
    """A value as JSON, or what cannot be written as text of it."""
    try:
        return json.dumps(value, default=str).encode()
    except (ValueError, TypeError, RecursionError):
        return repr(value).encode(errors="replace") if not isinstance(value, dict | list) else b"{}"


def check_page(files, folder):
    """There is a page, which is whole."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    text = run_page(folder, kind_of_options(folder))
    assert text.startswith("<!DOCTYPE html>") and text.endswith("</html>\n") and text.count("<script>") == 1
    text.encode()


@cache
def run_files(name):
    """The files of a run of a method that was stopped in its second epoch."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        run = start_run(options_of(name, run_dir=str(folder)), "search", CPU)
        loop = loop_of(name, run)
        for _ in range(2):
            run.records.metrics(loop.global_step, loop.epoch, {"valid/acc": 50.0})
            run.records.row("genotypes.jsonl", {"epoch": loop.epoch, "hash": "0" * 12})
            loop.epoch, loop.global_step = loop.epoch + 1, loop.global_step + 5
            loop.save()
        run.records.close()
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_checkpoint(rng, names=tuple(METHODS)):
    """A method, whether its checkpoint is another one, and the run's files."""
    name = rng.choice(names)
    files = dict(run_files(name))
    kind = rng.random()
    if kind < 0.5:
        tree = loaded(files["checkpoint.pt"])
        files["checkpoint.pt"] = saved(grafted(rng, tree, odd_tensor), _use_new_zipfile_serialization=kind > 0.03)
        return name, True, files
    names = ["checkpoint.pt"] if kind < 0.7 else rng.choices(list(files), k=rng.choice((1, 2)))
    for each in names:
        files[each] = damaged(rng, run_files(name)[each], (run_files(name)["checkpoint_previous.pt"],))
        if rng.random() < 0.05:
            del files[each]
    return name, False, files


def check_checkpoint(given, folder):
    """The checkpoint is one of those there were, the records are as long as then, and the run can go on."""
    name, other, files = given
    for each, content in files.items():
        (folder / each).write_bytes(content)
    run = start_run(options_of(name, resume=str(folder)), "search", CPU)
    try:
        whole = [loaded(run_files(name)[each]) for each in ("checkpoint.pt", "checkpoint_previous.pt")]
        found = run.state
        loop = loop_of(name, run)
        if not other and found is not None:
            (state,) = [each for each in whole if same(found, each["state"])]
            for each, (size, _) in state["records"].items():
                there = (folder / each).stat().st_size if (folder / each).exists() else 0
                assert each == "log.txt" or there == size, f"{each} had {size} bytes, it has {there}"
        assert 0 <= loop.epoch <= 2 and 0 <= loop.step <= 5 and loop.seconds >= 0.0, "no place in a run"
    finally:
        run.records.close()


def same(one, other):
    """Whether two trees are equal in every bit."""
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        return one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return one == other


SOLVERS = ("homotopy", "ista", "fista", "clarabel")
VALUES = (0.0, -0.0, 1.0, 1e-300, 1e300, -1e308, 5e-324, 1e-160, 1e155, 1e-8, float("nan"), float("inf"))


def make_problem(rng):
    """A solver, matrices, a lambda, vectors b, and vectors to start from or None."""
    seeded = np.random.default_rng(rng.randrange(2**32))
    shapes = rng.choice((((7, 14), (7, 21)), ((1, 1),), ((5, 2),), ((7, 35),), ((3, 8), (2, 8))))
    matrices, targets = ([seeded.standard_normal(s) for s in part] for part in (shapes, [(m,) for m, _ in shapes]))
    for _ in range(rng.choice((0, 1, 1, 2))):
        which = rng.randrange(len(shapes))
        array = rng.choice((matrices, targets))[which]
        change = rng.randrange(4)
        if change == 0:
            with np.errstate(over="ignore"):
                array *= 10.0 ** rng.choice((-320, -300, -170, -155, -9, -3, 3, 9, 150, 160, 290, 300))
        elif change == 1:
            array[tuple(rng.randrange(n) for n in array.shape)] = rng.choice(VALUES)
        elif change == 2:
            array[...] = array[:1]  # of one rank; a vector of equal entries
        else:
            array[...] = np.round(array)
    lam = rng.choice((1e-5, 1e-5, 1e-3, 0.1, 1.0, 30.0, 1e-300, 1e300, 5e-324, 1e-12))
    solver = rng.choices(SOLVERS, (6, 3, 3, 1))[0]
    warm = (
        None
        if rng.random() < 0.7
        else [seeded.standard_normal(n) * 10.0 ** rng.choice((-300, 0, 0, 300)) for _, n in shapes]
    )
    return solver, matrices, lam, targets, warm


def check_problem(given, folder):
    """What counts as converged is: by the duality gap in fractions, which neither round nor overflow."""
    solver, matrices, lam, targets, warm = given
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = None if solver == "homotopy" else 2000
        solutions = make_solver(solver, matrices, lam, limit).solve(targets, warm)
    for A, b, solution in zip(matrices, targets, solutions, strict=True):
        assert solution.z.shape == (A.shape[1],) and solution.z.dtype == np.float64
        if solution.converged:
            assert np.isfinite(A).all() and np.isfinite(b).all() and np.isfinite(solution.z).all(), "not of numbers"
            gap, allowed = exact_gap(A, b, lam, solution.z)
            assert gap <= 2 * allowed, (
                f"{solver}: a gap {float(gap / allowed):.3g} times what is allowed" if allowed else "a gap"
            )


def exact_gap(A, b, lam, z):
    """The duality gap, and the largest one that counts as solved, as fractions."""
    A, b, z = ([list(map(Fraction, row)) for row in A.tolist()], *(list(map(Fraction, v.tolist())) for v in (b, z)))
    lam = Fraction(lam)
    residual = [target - sum(a * v for a, v in zip(row, z) if v) for row, target in zip(A, b)]
    largest = max(abs(sum(r * row[j] for r, row in zip(residual, A))) for j in range(len(z)))
    shrink = lam / max(largest, lam)
    objective = sum(r * r for r in residual) / 2 + lam * sum(map(abs, z))
    dual = sum(shrink * r * t - (shrink * r) ** 2 / 2 for r, t in zip(residual, b))
    return objective - dual, objective / 10**9 + sum(t * t for t in b) / (2 * 10**13)


TARGETS = (
    Target("checkpoints", make_checkpoint, check_checkpoint, inputs=50, mebibytes=200),
    Target(
        "language-checkpoints", partial(make_checkpoint, names=tuple(LANGUAGES)), check_checkpoint, 50, mebibytes=200
    ),
    Target("lasso", make_problem, check_problem, inputs=200),
    Target("page", make_page, check_page),
)
