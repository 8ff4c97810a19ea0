"""``python tools/analyse.py COMMAND`` answers a question with a table, its numbers and pictures; --help lists them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import run_tool
from isnas.base.preemption import begin

if __name__ == "__main__":
    begin()

from isnas.analysis.commands import main

if __name__ == "__main__":
    run_tool(main)
