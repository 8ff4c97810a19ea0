"""Runs a tool, kills it at random moments, resumes it, and says what came out; every training tool's test uses it."""

import json
import random
import re
import shlex
import time
from contextlib import suppress

import torch
from starting import Script, run_script

#: Log lines and metrics that hold times, or speak of the interruption.
TIMED = re.compile(
    r"time left|peak memory|recovery \d+ times|resuming|no checkpoint|run folder|genotype file|trained network|"
    r"pictures|report |next: |damaged"
)


def run_tool(name, *arguments, folder, limit=600):
    """Run a tool to its end."""
    return run_script(f"tools/{name}", *arguments, folder=folder, limit=limit)


def run_and_kill(name, *arguments, run_dir, kills, longest, seed=0):
    """Start the tool and kill it ``kills`` times, then let it finish.

    Two kills of three come up to ``longest`` seconds after the log has grown, the others while the tool starts.
    Returns the last line of the log at each kill, "" before there is one.
    """
    rng = random.Random(seed)
    reached = []
    for attempt in range(kills + 1):
        place = ["--resume", run_dir] if (run_dir / "config.yaml").exists() else [*arguments, "--run_dir", run_dir]
        with open(run_dir.parent / f"{run_dir.name}.out", "a") as output:
            process = Script(f"tools/{name}", *place, folder=run_dir.parent, stdout=output, stderr=output)
        if attempt == kills:
            assert process.wait(timeout=600) == 0, (run_dir.parent / f"{run_dir.name}.out").read_text()[-2000:]
        else:
            before = log_size(run_dir)
            if attempt % 3 == 2:
                time.sleep(rng.uniform(0.05, 1.0))
            else:
                while log_size(run_dir) == before and process.poll() is None:
                    time.sleep(0.02)
                time.sleep(rng.uniform(0.0, longest))
            process.kill()
            process.wait()
            reached.append(log_lines(run_dir)[-1] if log_size(run_dir) else "")
    return reached


def kill_when(name, *arguments, run_dir, reached):
    """Start the tool, or go on with it, and kill it as soon as ``reached(state)`` is true of its checkpoint.

    Returns the state from which the run will go on.
    """
    place = ["--resume", run_dir] if (run_dir / "config.yaml").exists() else [*arguments, "--run_dir", run_dir]
    with open(run_dir.parent / f"{run_dir.name}.out", "a") as output:
        process = Script(f"tools/{name}", *place, folder=run_dir.parent, stdout=output, stderr=output)
    while process.poll() is None and not reached(checkpoint(run_dir)):
        time.sleep(0.005)
    process.kill()
    process.wait()
    state = checkpoint(run_dir)
    assert reached(state), (run_dir.parent / f"{run_dir.name}.out").read_text()[-2000:]
    return state


def differences(run, straight):
    """What two folders of the same run do not share, times and what speaks of interruptions left out; [] is right."""
    names, others = ({str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (run, straight))
    found = [f"only in one: {name}" for name in sorted(names ^ others) if "events.out" not in name]
    found += [] if log_lines(run) == log_lines(straight) else ["log.txt"]
    found += [] if board(run) == board(straight) else ["tb"]
    for path in sorted(path for path in straight.iterdir() if path.name in names):
        mine = run / path.name
        if path.suffix == ".pt":
            same = torch_bytes(mine) == torch_bytes(path)
        elif path.suffix in (".json", ".jsonl"):
            same = untimed(mine) == untimed(path)
        elif path.suffix in (".svg", ".png"):
            same = mine.read_bytes() == path.read_bytes()
        else:
            continue
        found += [] if same else [path.name]
    return found


def torch_bytes(path):
    """Every tensor and plain value of a file by its path in it, without times and the records' marks."""
    found, waiting = {}, [("", torch.load(path, weights_only=True))]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{place}/{key}", part) for key, part in items]
        elif not re.search("seconds|^/records", place):
            tensor = isinstance(value, torch.Tensor)
            found[place] = (str(value.dtype), value.shape, value.numpy().tobytes()) if tensor else repr(value)
    return found


def untimed(path):
    """The rows of a file of JSON without times, memory, the command and the commit."""
    rows = [json.loads(line) for line in ([path.read_text()] if path.suffix == ".json" else path.open())]
    return [
        {key: value for key, value in row.items() if not re.search("seconds|peak|command|commit", key)} for row in rows
    ]


def board(run):
    """What TensorBoard would plot, but for times and memory."""
    if not (run / "tb").exists():
        return []
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tb"))
    events.Reload()
    tags = [tag for tag in sorted(events.Tags()["scalars"]) if not re.search("seconds|peak", tag)]
    return [(tag, event.step, event.value) for tag in tags for event in events.Scalars(tag)]


def checkpoint(run_dir):
    """The state from which the run would go on, empty before there is one."""
    for name in ("checkpoint.pt", "checkpoint_previous.pt"):  # the last one is away while the next takes its place
        with suppress(FileNotFoundError):
            return torch.load(run_dir / name, weights_only=True)["state"]
    return {}


def log_size(run_dir):
    """Bytes in the run's log, 0 before there is one."""
    return (run_dir / "log.txt").stat().st_size if (run_dir / "log.txt").exists() else 0


def log_lines(run_dir):
    """The log without its times: what two runs of the same search must share."""
    lines = (run_dir / "log.txt").read_text().splitlines()
    return [line.split(" ", 3)[3] for line in lines if not TIMED.search(line)] or [""]


def next_commands(run_dir):
    """The words of the commands with which a finished run's log ends."""
    lines = (run_dir / "log.txt").read_text().splitlines()
    return [shlex.split(line.partition(" next: ")[2]) for line in lines if " next: " in line]


def metrics(run_dir):
    """The rows of metrics.jsonl without times and memory."""
    return untimed(run_dir / "metrics.jsonl")
