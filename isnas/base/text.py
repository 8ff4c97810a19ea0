"""Text that others wrote: read whatever their editor made of it, and shown in a message without taking it over."""

from __future__ import annotations

import codecs
import json
import reprlib
from pathlib import Path
from typing import Any

#: Byte order marks and what they say; UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_text(path: Path) -> str:
    """The text in a file: UTF-8, or what its byte order mark says, without the mark, and with ``\\n`` between lines.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not such text; its message says so.
    """
    data = path.read_bytes()
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file, read as :func:`read_text` does.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not JSON, or nested too deeply to be read; its message says so.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def shown(value: Any, limit: int = 80) -> str:
    """``value`` for a message: like ``repr``, of at most about ``limit`` characters however large it is."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxstring, shortened.maxlong, shortened.maxother = 2, limit, limit, limit
    try:
        text = printable(shortened.repr(value))
    except ValueError:  # Python writes no integer of more than some thousand digits
        text = "a number of thousands of digits"
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def printable(text: str) -> str:
    """``text`` with everything that is not to be seen as an escape: no line can be forged, no terminal steered."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
