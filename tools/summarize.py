"""Tables over run folders: the command ``runs`` of tools/analyse.py."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import run_tool
from isnas.base.preemption import begin

if __name__ == "__main__":
    begin()

from isnas.analysis.commands import answer

main = partial(answer, "runs")

if __name__ == "__main__":
    run_tool(main)
