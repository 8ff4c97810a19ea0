"""A tool that is started in a way that it must refuse: one line that says what to do, and no file made or changed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from starting import run_script


@dataclass(frozen=True)
class Case:
    """A command line, words of its error, and what is in the working folder beforehand."""

    name: str
    argv: list[str]
    words: list[str]
    prepare: Callable[[Path], object] = lambda folder: None
    tool: str = "train_search.py"
    notes: Sequence[str] = ()  # lines before the error


def run_tool(tool: str, argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    # no licence, no network (nothing listens on port 9), and matplotlib's font cache stays where it is
    home, cache = folder.parent / "home", os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    changes = {"HOME": str(home), "XDG_CACHE_HOME": cache, "OMP_NUM_THREADS": "1"}
    changes |= {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    environment = {k: v for k, v in os.environ.items() if k not in ("MOSEKLM_LICENSE_FILE", "no_proxy", "NO_PROXY")}
    return run_script(f"tools/{tool}", *argv, folder=folder, environment=environment | changes, limit=120)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def outcome(case: Case, folder: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """What the tool said, and the paths that are new, gone or changed."""
    case.prepare(folder)
    before = contents(folder)
    result = run_tool(case.tool, case.argv, folder)
    after = contents(folder)
    missing = object()
    return result, {path for path in {*before, *after} if before.get(path, missing) != after.get(path, missing)}


def beside(case: Case, template: Path) -> Case:
    """The case with a copy of the folder ``template`` in its own, before what else is in it."""

    def prepare(folder: Path) -> None:
        shutil.copytree(template, folder / template.name)
        case.prepare(folder)

    return replace(case, prepare=prepare)


@contextmanager
def started(cases: list[Case], root: Path) -> Iterator[dict[str, Future]]:
    """All cases under way, two at a time, each in a folder of its own."""
    with ThreadPoolExecutor(2) as pool:
        futures = {}
        for case in cases:
            folder = root / case.name.replace(" ", "-")
            folder.mkdir()
            futures[case.name] = pool.submit(outcome, case, folder)
        yield futures
        pool.shutdown(cancel_futures=True)


def check(case: Case, future: Future) -> None:
    result, changed = future.result()
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout, lines[:-1]) == (2, "", list(case.notes)), result.stderr + result.stdout
    assert lines[-1].startswith(f"{case.tool}: error: ")
    assert [word for word in case.words if word not in lines[-1]] == [], lines[-1]
    assert changed == set()
