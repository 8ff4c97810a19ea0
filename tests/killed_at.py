"""killed_at.py FOLDER EVENT NAME COUNT TOOL ARGUMENTS...: runs a tool, which is killed before an operation on a file.

It is the COUNT-th EVENT (open for writing, rename, remove, mkdir) on a file NAME below FOLDER, where the number of the
process in the names of temporary files is left out. With EVENT "list" nothing is killed and all of them are written,
one a line, into the file NAME.
"""

import os
import re
import runpy
import signal
import sys

FOLDER, EVENT, NAME, COUNT = sys.argv[1:5]
met = 0


def watch(event, arguments):
    """Count what is done to files in the folder; end the process when it is the one."""
    global met
    kind = event.removeprefix("os.")
    if kind not in ("open", "rename", "remove", "mkdir") or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    if kind == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    path, descriptor = os.fsdecode(arguments[1 if kind == "rename" else 0]), arguments[-1]
    beside = os.readlink(f"/proc/self/fd/{descriptor}") if kind != "open" and descriptor != -1 else ""
    path = os.path.abspath(os.path.join(beside, path))
    name = re.sub(r"unfinished-\d+", "unfinished", os.path.basename(path))
    name = re.sub(r"events\.out.*", "events", name)
    if not path.startswith(FOLDER):
        return
    if EVENT == "list":
        with open(NAME, "a") as file:  # outside of the folder
            file.write(f"{kind} {name}\n")
    elif (kind, name) == (EVENT, NAME):
        met += 1
        if met == int(COUNT):
            os.kill(os.getpid(), signal.SIGKILL)


sys.argv = sys.argv[5:]
sys.addaudithook(watch)
runpy.run_path(sys.argv[0], run_name="__main__")
