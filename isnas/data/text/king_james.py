"""The King James Bible, as Debian's package bible-kjv-text has it: 31,102 verses of English of 1611, in 1,189 chapters.

It is public domain (but for printing in the United Kingdom), as long as the Penn Treebank, and one line per verse. The
package's file, ``bible.data``, is a header and what ``compress`` makes of the text; nothing of the package is run.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from pathlib import Path

from isnas.base.errors import UserError
from isnas.base.text import one_line, shown
from isnas.data import sources
from isnas.data.text.compressed import uncompress
from isnas.data.text.vocabulary import UNKNOWN, TextData, encode

FILE = "bible.data"

#: Where Debian's package has it.
DEBIAN_FILE = Path("/usr/lib") / FILE

#: Of so many chapters in a row, the one in the middle is for validation and the last one for the test.
CHAPTERS = 14

#: A word that occurs less often in the training part is ``<unk>`` everywhere.
FEWEST_OCCURRENCES = 2

_LARGEST_FILE_BYTES, _LARGEST_TEXT_BYTES = 2**23, 2**24
_MAGIC = b"EC02"
_HEAD = 92
_PACKAGE = "Debian's package bible-kjv-text"
_VERSE = re.compile(r"(?a)(\d?[A-Za-z]+\d+):\d+ (.+)")
_TOKEN = re.compile(rf"{UNKNOWN}|[^\W\d_]+(?:['-][^\W\d_]+)*|\d+|[^\w\s]|_")


def normalised(line: str) -> str:
    """A line as the text has it: in lower case, with blanks between words, numbers and marks of punctuation.

    A word is of letters, with an apostrophe or a hyphen between some: ``Aaron's`` is one. ``<unk>`` stays as it is, so
    that nothing happens to a line that is so already.
    """
    return " ".join(_TOKEN.findall(line.lower()))


def read_king_james(name: str, data: str) -> TextData:
    """The text, of which each verse is a line, from :data:`FILE` in the folder ``data``.

    Without ``data`` it is looked for in the usual data folder, then where Debian's package has it. Parts are of whole
    chapters (:data:`CHAPTERS`), so that all three are of every book's kind; rare words are ``<unk>``
    (:data:`FEWEST_OCCURRENCES`).

    Raises:
        UserError: when it is missing, damaged or another file.
    """
    folder = sources.data_root(data)
    places = [folder / FILE] if data else [folder / FILE, DEBIAN_FILE]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise UserError(
            f"there is no {' and no '.join(map(str, places))}; install {_PACKAGE}, or give a text of your own with "
            "--data FOLDER (docs/datasets.md)"
        )
    try:
        with found.open("rb") as file:
            content = _text(file.read(_LARGEST_FILE_BYTES))
        parts = _parts(content)
    except OSError as error:
        raise UserError(f"cannot read {found}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{found} is not the file of {_PACKAGE}: {one_line(error)}; install it anew") from None
    counts = Counter(word for line in parts[0] for word in line)
    train, valid, test = (_without_rare(lines, counts) for lines in parts)
    return encode(name, train, valid, test)


def _text(content: bytes) -> str:
    """The text in the package's file.

    Its header is of big-endian numbers of four bytes from byte 80 on: one without meaning, the bytes of text to which
    an offset is kept, how many such there are, the offsets, and the size of the file. The text follows.

    Raises:
        ValueError: when it is another file, or damaged.
    """
    if content[: len(_MAGIC)] != _MAGIC or len(content) < _HEAD:
        raise ValueError(f"it begins with {shown(content[:4])} instead of {shown(_MAGIC)}")
    window, offsets = struct.unpack(">2I", content[_HEAD - 8 : _HEAD])
    begin = _HEAD + 4 * (offsets + 1)
    (size,) = struct.unpack(">I", content[begin - 4 : begin].rjust(4, b"\0"))
    if size != len(content):
        raise ValueError(f"it has {len(content):,} bytes, its header says {size:,}")
    return uncompress(content[begin:], min(window * offsets, _LARGEST_TEXT_BYTES)).decode("ascii")


def _parts(text: str) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    """The words of the verses of the training, validation and test part, by chapters.

    Raises:
        ValueError: when a line is no verse, or a part has none.
    """
    parts: tuple[list[list[str]], list[list[str]], list[list[str]]] = [], [], []
    chapters: dict[str, list[list[str]]] = {}
    for number, line in enumerate(text.splitlines()[1:], 2):  # the first one says what text it is
        verse = _VERSE.fullmatch(line)
        if verse is None:
            raise ValueError(f"line {number} is no verse: {shown(line)}")
        chapter, words = verse.groups()
        if chapter not in chapters:
            place = len(chapters) % CHAPTERS
            chapters[chapter] = parts[{CHAPTERS // 2 - 1: 1, CHAPTERS - 1: 2}.get(place, 0)]
        chapters[chapter].append(normalised(words).split())
    if not all(parts):
        raise ValueError(f"it has {len(chapters)} chapters, fewer than {CHAPTERS}")
    return parts


def _without_rare(lines: list[list[str]], counts: Counter[str]) -> list[list[str]]:
    return [[word if counts[word] >= FEWEST_OCCURRENCES else UNKNOWN for word in line] for line in lines]
