"""Starts the repository's scripts as processes that need not import torch anew, by fork_server.py.

What a script does, how it ends, and what signals do to it are as in a process that was started from nothing.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Lock

ROOT = Path(__file__).resolve().parents[1]
_starting = Lock()


class Script:
    """A script that was started, with the methods of ``subprocess.Popen`` that the tests use."""

    def __init__(self, script, *arguments, folder, environment=None, stdout=None, stderr=None):
        self.args = [str(ROOT / script), *map(str, arguments)]
        request = {"command": self.args, "folder": str(folder), "environment": dict(environment or os.environ)}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        outputs = [(sys.__stdout__ if output is None else output).fileno() for output in (stdout, stderr)]
        text = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._connection, [text], outputs)
        self._connection.sendall(text[sent:])
        self._answers = self._connection.makefile()
        self.returncode = None
        self.pid = json.loads(self._answers.readline())["pid"]

    def poll(self):
        """The exit code, None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0.0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout=None):
        """The exit code, once there is one."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = json.loads(self._answers.readline())["code"]
            self._connection.close()
        return self.returncode

    def send_signal(self, number):
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def run_script(script, *arguments, folder, environment=None, limit=600):
    """Run a script to its end, as ``subprocess.run`` does."""
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2)]
        started = Script(
            script, *arguments, folder=folder, environment=environment, stdout=outputs[0], stderr=outputs[1]
        )
        try:
            code = started.wait(limit)
        finally:
            started.kill()
        texts = []
        for output in outputs:
            output.seek(0)
            texts.append(output.read())
    return subprocess.CompletedProcess(started.args, code, *texts)


def _server():
    """The socket of this process's server, which is started at first."""
    with _starting:
        return _started()


@cache
def _started():
    folder = tempfile.mkdtemp(prefix="scripts-")
    place = os.path.join(folder, "socket")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, str(ROOT / "tests/fork_server.py"), place]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    atexit.register(_end, server, place)
    while not os.path.exists(place):
        assert server.poll() is None, "the server of scripts has not started"
        time.sleep(0.01)
    return place


def _end(server, place):
    server.kill()
    server.wait()
    os.unlink(place)
    os.rmdir(os.path.dirname(place))
