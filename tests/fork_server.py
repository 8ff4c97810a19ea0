"""Starts scripts in processes of their own that have their imports already; see starting.py, which talks to it.

fork_server.py SOCKET

It imports what the tools need, runs nothing of it, and forks for every request: a guard that tells how the script has
ended, and from it the process in which the script runs as ``__main__`` and ends as any other. It ends with its parent,
when its standard input is closed.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback

#: What scripts import, many of them late: the solvers of CVXPY, TensorBoard and ONNX are left to those that need them.
MODULES = (
    *("torch._dynamo.decorators", "torch._dynamo.eval_frame", "torch._dynamo.convert_frame", "torch.testing"),
    *("torch.distributed.nn.functional", "torch._subclasses.fake_tensor", "torch.utils.data", "torchvision"),
    *("sklearn.datasets", "sklearn.model_selection", "matplotlib.figure", "matplotlib.textpath"),
    *("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg"),
    *("PIL.PngImagePlugin", "PIL.JpegImagePlugin"),
    *("isnas.analysis.commands", "isnas.analysis.selection", "isnas.analysis.step_memory", "isnas.engine.trained"),
    *("isnas.analysis.language_runs", "isnas.apps.counting", "isnas.apps.exporting", "isnas.apps.packing"),
    *("isnas.apps.predicting", "isnas.apps.testing", "isnas.data.small.readers", "isnas.space.cells.picture"),
    *("isnas.draw.training_curves", "isnas.methods.conas", "isnas.methods.darts", "isnas.methods.evaluation"),
    *("isnas.methods.language_model", "isnas.methods.language_search", "isnas.methods.one_stage"),
    *("isnas.methods.pc_darts", "isnas.methods.random_search", "isnas.methods.random_ws"),
    *("isnas.methods.sampled_recovery", "isnas.methods.two_stage"),
)


def requested(place):
    """Serve for ever; in a process that is to run a script, return its request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place}.new")
    listener.listen(64)
    os.rename(f"{place}.new", place)  # whoever finds it can connect
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards leave no zombies
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork():
            connection.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        request, outputs = received(connection)
        child = os.fork()
        if not child:
            connection.close()
            for number, output in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
                os.dup2(output, number)
            return request
        connection.sendall(json.dumps({"pid": child}).encode() + b"\n")
        _, status = os.waitpid(child, 0)
        connection.sendall(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode() + b"\n")
        os._exit(0)


def received(connection):
    """A request and the files for its standard output and error."""
    text, outputs, _, _ = socket.recv_fds(connection, 1 << 16, 2)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 16)
    return json.loads(text), outputs


def preload():
    """Import what takes long."""
    for name in MODULES:
        importlib.import_module(name)


def ended():
    """Run the script to its end, as the interpreter would but for taking itself apart; the exit code."""
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    preload()
    gc.freeze()  # what is there is left where it is
    request = requested(sys.argv[1])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["command"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os._exit(ended())
