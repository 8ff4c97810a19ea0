"""``python tools/analyse.py COMMAND`` answers a question with a table, its numbers and pictures; --help lists them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.analysis.commands import main
from isnas.base.errors import run_tool

if __name__ == "__main__":
    run_tool(main)
