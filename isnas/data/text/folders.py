"""A folder of text: three files of one sentence per line, its words between blanks, under one of two customs of names.

``train.txt``, ``valid.txt`` and ``test.txt``, as most have them; or ``ptb.train.txt`` and so on, as the Penn Treebank's
come.
"""

from __future__ import annotations

from pathlib import Path

from isnas.base.errors import UserError
from isnas.base.files import write_text
from isnas.base.text import read_text
from isnas.data.class_folders import folders_in, some
from isnas.data.sources import data_root
from isnas.data.text.texts import CUSTOMS, WANTED
from isnas.data.text.vocabulary import EOS, TextData, encode

#: The most bytes of one file; its words take about three times as many in memory while it is read.
LARGEST_FILE_BYTES = 2**30

_HINTS = 100


def read_folder(name: str, data: str) -> TextData:
    """The text in the folder ``data`` (``~`` is understood), called ``name``.

    A line is what is between newlines, a word what is between blanks of any kind; a line without words is kept, as
    :data:`isnas.data.text.vocabulary.EOS` alone. Links are followed, as in folders of images.

    Raises:
        UserError: when the folder or a file is missing, there are files of both customs, or a file is no text, holds no
            word, or more bytes than :data:`LARGEST_FILE_BYTES`.
    """
    root = data_root(data)
    try:
        paths = _find(root)
    except OSError as error:
        raise UserError(f"cannot read the data folder {root}: {error.strerror}") from None
    train, valid, test = (map(str.split, lines_of(path)) for path in paths)
    return encode(name, train, valid, test)


def write_folder(text: TextData, folder: Path) -> None:
    """Write the parts of a text as the files that :func:`read_folder` reads; ``folder`` must be there."""
    for name, part in zip(CUSTOMS[0], (text.train, text.valid, text.test), strict=True):
        write_text(folder / name, text.vocabulary.text(part))


def _find(root: Path) -> list[Path]:
    """The three files in a folder."""
    if not root.exists():
        raise UserError(f"the data folder {root} does not exist; --data names the folder of {WANTED}")
    found = [[name for name in names if (root / name).exists()] for names in CUSTOMS]
    if all(found):
        raise UserError(f"{root} holds both {found[0][0]} and {found[1][0]}; leave the files that are meant")
    for names, there in zip(CUSTOMS, found, strict=True):
        missing = [name for name in names if name not in there]
        if there and missing:
            raise UserError(f"{root} holds {' and '.join(there)} but not {' and '.join(missing)}; add the rest")
        if there:
            return [root / name for name in names]
    raise UserError(f"the data folder {root} holds no text{_hint(root)}; --data names the folder of {WANTED}")


def _hint(root: Path) -> str:
    """Words on what is in a folder without text: a folder with text, or those of images."""
    folders = folders_in(root)
    for name in folders[:_HINTS]:
        if any((root / name / names[0]).exists() for names in CUSTOMS):
            return f", but {root / name} does: give that folder"
    return f" but folders ({some(folders)}), as images have them" if folders else ""


def lines_of(path: Path) -> list[str]:
    """The lines of a file of text.

    Raises:
        UserError: when it is missing or no text, holds no word or :data:`isnas.data.text.vocabulary.EOS`, or has more
            bytes than :data:`LARGEST_FILE_BYTES`.
    """
    try:
        text = read_text(path, LARGEST_FILE_BYTES)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}; give a text of words with blanks between") from None
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes, so it is no text; give one of words with blanks between")
    if not text.strip():
        raise UserError(f"{path} is empty; put at least a line of words into it")
    lines = text.split("\n")
    if EOS in text:
        for number, line in enumerate(lines, 1):
            if EOS in line.split():
                raise UserError(f"line {number} of {path} holds {EOS}, which is added to every line; take it out")
    return lines[:-1] if not lines[-1] else lines
