"""Write the table that ``isnas count --table`` prints anew, after a change of the published architectures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.apps.count import TABLE
from isnas.apps.counting import table
from isnas.base.files import write_text

if __name__ == "__main__":
    write_text(TABLE, table() + "\n")
