#!/usr/bin/env python3
"""Writes the text that language models work on by default as the files that --data FOLDER reads.

python scripts/write_text.py FOLDER
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from isnas.base.errors import UserError, run_tool  # noqa: E402
from isnas.base.text import shown  # noqa: E402
from isnas.data.text.folders import write_folder  # noqa: E402
from isnas.data.text.texts import TextOptions, load_text  # noqa: E402
from isnas.data.text.vocabulary import UNKNOWN  # noqa: E402


def main(argv):
    """Write train.txt, valid.txt and test.txt into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    folder = parser.parse_args(argv).folder
    text = load_text(TextOptions())
    if folder.exists():
        raise UserError(f"{shown(str(folder))} is there already; name a new folder")
    folder.mkdir(parents=True)
    write_folder(text, folder)
    unknown = text.vocabulary.index[UNKNOWN]
    print(f"{len(text.vocabulary):,} different words")
    for name, part in (("train", text.train), ("valid", text.valid), ("test", text.test)):
        share = (part == unknown).double().mean().item()
        print(f"{name}: {len(part):,} words and ends of lines, {share:.2%} of them {UNKNOWN}")


if __name__ == "__main__":
    run_tool(main)
