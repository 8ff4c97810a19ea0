"""``isnas predict`` from a clone, without installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.apps.console import start

if __name__ == "__main__":
    start("predict")
