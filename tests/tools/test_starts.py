"""Tools started from nothing, as a user does: signals while they import, and what is at the other end of their output.

The other tests of tools start them with their imports done, so only these see the first seconds.
"""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
from killing import differences, run_tool
from starting import ROOT

from isnas.base import preemption

TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))
#: What each tool is told, so that it goes on to what needs torch.
WORDS = {"predict.py": ["run", "image.png"], "export.py": ["run"], "test.py": ["run"], "analyse.py": ["runs", "run"]}
WORDS |= {"summarize.py": ["run"], "make_shards.py": ["--data", "in", "--output", "out"]}
WORDS |= {"visualize.py": ["--arch", "random:0"], "evaluate.py": ["--arch", "random:0"]}
WORDS |= {"evaluate_imagenet.py": ["--arch", "random:0", "--data", "in"]}
TRAINING = ("evaluate.py", "evaluate_imagenet.py", "train_onestage.py", "train_search.py")


def started(tool, *arguments, **popen):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | popen.pop("environment", {})
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    command = [sys.executable, str(ROOT / "tools" / tool), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **streams)


def wait_for_import(process, module="libtorch_cpu.so"):
    """Wait until a process is loading torch, which takes it a second or more."""
    while process.poll() is None and module not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.01)


def signalled(tool, number, after):
    """How a tool ends by a signal so many seconds after it has begun to load torch."""
    process = started(tool, *WORDS.get(tool, []))
    wait_for_import(process)
    time.sleep(after)
    process.send_signal(number)
    output, said = process.communicate(timeout=60)
    return process.returncode, output.decode(), said.decode()


@pytest.mark.parametrize("tool", TOOLS)
def test_ctrl_c_while_a_tool_imports(tool):
    code, output, said = signalled(tool, signal.SIGINT, 0.02 * TOOLS.index(tool))
    assert (code, output, said) == (130, "", f"{tool}: stopped by the user\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
def test_a_signal_while_a_training_imports(name):
    tool = TRAINING[len(name) % 4]
    code, output, said = signalled(tool, getattr(signal, name), 0.1)
    assert (code, output) == (85, "")
    assert said == f"{tool}: stopped by {name} before the first step; start it again\n"


def test_text_that_the_terminal_cannot_show(tmp_path):
    """The title of the table holds a plus-minus sign, which ASCII lacks."""
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    result = {"arch": "x", "hash": "0123", "seed": 0, "epochs": 1, "test_acc": 90.0, "test_acc_top5": 99.0}
    result |= {
        "test_error": 10.0,
        "valid_acc": None,
        "params_millions": 1.0,
        "seconds": 1.0,
        "settings": {"dataset": "digits"},
    }
    (tmp_path / "result.json").write_text(json.dumps(result | {"multiply_adds_millions": 1.0}))
    process = started("summarize.py", tmp_path, environment={"PYTHONIOENCODING": "ascii"})
    output, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    assert rb"mean \xb1 standard deviation" in output, output


def test_a_reader_that_closes_early():
    reader, writer = os.pipe()
    os.close(reader)
    process = started("count.py", "--arch", "DARTS_V2", stdout=writer)
    os.close(writer)
    assert (process.communicate(timeout=60)[1].decode(), process.returncode) == ("", 141)


def test_a_terminal_that_goes_away_does_not_end_a_training(tmp_path):
    """Both outputs are a terminal, which closes when the log begins; nothing sends the process a signal."""
    terminal, end = pty.openpty()
    small = ["--dataset", "digits", "--image_size", 8, "--init_channels", 2, "--layers", 3, "--max_train_images", 200]
    small += ["--epochs", 2, "--batch_size", 50, "--report_freq", 1, "--no_tensorboard", "--device", "cpu"]
    log = tmp_path / "run/log.txt"
    process = started("train_search.py", *small, "--run_dir", tmp_path / "run", stdout=end, stderr=end)
    os.close(end)
    while process.poll() is None and not (log.exists() and log.read_text()):
        time.sleep(0.01)
    os.close(terminal)
    process.wait(timeout=120)
    assert process.returncode == 0 and "genotype file" in log.read_text()


def test_ctrl_c_saves_a_run_and_it_goes_on(tmp_path):
    """In a terminal, which sends the signal to all processes in it."""
    words = ["--dataset", "digits", "--image_size", 8, "--init_channels", 2, "--layers", 3, "--max_train_images", 200]
    words += ["--epochs", 3, "--batch_size", 50, "--report_freq", 1, "--no_tensorboard", "--device", "cpu"]
    run, straight = tmp_path / "run", tmp_path / "straight"
    terminal, end = pty.openpty()
    process = started(
        "train_search.py", *words, "--run_dir", run, stdin=end, stdout=end, stderr=end, preexec_fn=take_terminal
    )
    os.close(end)
    while process.poll() is None and "train 001" not in text_of(run / "log.txt"):
        time.sleep(0.01)
    os.write(terminal, b"\x03")
    assert process.wait(timeout=120) == 130
    assert re.search(rf"stopped by Ctrl-C at epoch \d, step \d and saved; --resume {run} goes on", shown_on(terminal))
    for words_of_run in (["--resume", run], [*words, "--run_dir", straight]):
        run_tool("train_search.py", *words_of_run, folder=tmp_path)
    assert differences(run, straight) == []


def take_terminal():
    """Make standard input the terminal of a new session, whose Ctrl-C reaches it."""
    heed_ctrl_c()
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def heed_ctrl_c():
    """Undo what a shell does to a process in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def text_of(path):
    return path.read_text() if path.exists() else ""


def shown_on(terminal):
    """What a terminal has shown, whose other end is closed, as one line."""
    shown = b""
    with suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    return " ".join(shown.decode().split())


def test_a_second_ctrl_c_ends_at_once():
    code = "import time; from isnas.base import preemption; preemption.begin(trains=True); preemption.listen()"
    code += "\ntry:\n    print(1, flush=True); time.sleep(60)\nexcept KeyboardInterrupt:\n    print(2)"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, preexec_fn=heed_ctrl_c, **streams)
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == b"-c: Ctrl-C: saving at the next step; once more ends it at once\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == (b"2\n", b"")


def test_signals_are_left_alone_where_no_tool_runs():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    preemption.listen()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
