"""Starts one program as several processes that meet over loopback, as torchrun or srun would."""

import os
import resource
import socket

from starting import ROOT, Script


def start(script, arguments, processes, folder, largest_file=None, own=()):
    """The started processes by rank, their output in ``rank-N.out`` of the folder.

    ``own`` are further arguments by rank, where only some have them or each has others; what is
    written beyond ``largest_file`` (bytes) fails, as on a full disk.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1"}
        place |= {"MASTER_PORT": port, "OMP_NUM_THREADS": 1, "GLOO_SOCKET_IFNAME": "lo"}
        place |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        with open(folder / f"rank-{rank}.out", "w") as output:
            environment = os.environ | {key: str(value) for key, value in place.items()}
            words = [*arguments, *dict(own).get(rank, ())]
            process = Script(script, *words, folder=folder, environment=environment, stdout=output, stderr=output)
        if largest_file:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        started.append(process)
    return started


def finish(started, folder, limit=300):
    """Wait for all; their exit codes and outputs by rank."""
    try:
        codes = [process.wait(timeout=limit) for process in started]
    finally:
        for process in started:
            process.kill()
    return codes, [(folder / f"rank-{rank}.out").read_text() for rank in range(len(started))]


def launch(script, arguments, processes, folder, limit=300):
    """Run it to the end."""
    return finish(start(script, arguments, processes, folder), folder, limit)
