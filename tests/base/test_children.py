"""Processes that a run has started do not outlive it."""

import os
import signal
import subprocess
import sys
import time

import pytest

CODE = """
import multiprocessing, time
from isnas.base import preemption

def work():
    preemption.end_with_parent()
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(60)

child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(number):
    parent = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(number)
    parent.communicate(timeout=30)  # ends when nobody has the child's output any more
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until the system has taken it away
            os.kill(child, 0)
            time.sleep(0.05)
