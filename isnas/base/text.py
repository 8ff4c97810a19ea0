"""Text that others wrote: read whatever their editor made of it, and shown in a message without taking it over."""

from __future__ import annotations

import codecs
import difflib
import json
import re
import reprlib
from collections.abc import Iterable
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

_NUMBER = re.compile(r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|\.?(inf|nan))", re.ASCII | re.IGNORECASE)


def read_text(path: Path, largest: int | None = None) -> str:
    """The text in a file: UTF-8, or what its byte order mark says, without the mark, and with ``\\n`` between lines.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not such text, or has more than ``largest`` bytes; its message says so.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # one would be waited for, the other may never end
        raise ValueError("it is a pipe or a device; write it into a file first")
    with path.open("rb") as file:
        data = file.read() if largest is None else file.read(largest + 1)
    if largest is not None and len(data) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    mark, encoding = next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, largest: int | None = None) -> Any:
    """The value in a JSON file, read as :func:`read_text` does.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it is not JSON, gives a key twice, is nested too deeply to be read, or has more than
            ``largest`` bytes; its message says so.
    """
    return parse_json(read_text(path, largest))


def parse_json(text: str) -> Any:
    """The value that ``text`` is in JSON.

    Raises:
        ValueError: when it is none, gives a key twice, or is nested too deeply to be read; its message says so.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"it gives {shown(key)} twice")
        values[key] = value
    return values


def whole_number(text: str) -> int:
    """The integer that ``text`` writes in the digits 0 to 9; ``50.0`` and ``5e1`` are 50 too, below 2^53.

    Raises:
        ValueError: when it writes none, or one of thousands of digits.
    """
    if re.fullmatch(r"[+-]?[0-9]+", text):
        return int(text)
    value = number(text)
    if not value.is_integer() or abs(value) > 2**53:  # float has no other integer for certain
        raise ValueError
    return int(value)


def digits(text: str, most: int) -> int | None:
    """The number from 0 to ``most`` that ``text`` writes in the digits 0 to 9 and nothing else; None if it does not."""
    if not re.fullmatch(r"[0-9]{1,40}", text) or int(text) > most:
        return None
    return int(text)


def number(text: str) -> float:
    """The number that ``text`` writes in the digits 0 to 9, with a point and an exponent or without; inf and nan.

    Raises:
        ValueError: when it writes none.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text.replace(".", "", 1) if text[-1] in "fFnN" else text)


def shown(value: Any, limit: int = 80) -> str:
    """``value`` for a message: like ``repr``, of at most about ``limit`` characters however large it is."""
    shortened = reprlib.Repr()
    shortened.maxlevel, shortened.maxstring, shortened.maxlong, shortened.maxother = 2, limit, limit, limit
    try:
        text = printable(shortened.repr(value))
    except ValueError:  # Python writes no integer of more than some thousand digits
        text = "a number of thousands of digits"
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def brief(value: Any, limit: int = 80) -> str:
    """``value`` for a message, as it is printed where that is short, and otherwise :func:`shown`."""
    return printable(value) if isinstance(value, str) and len(value) <= limit else shown(value, limit)


def closest(word: str, names: Iterable[str], least: float = 0.6) -> str:
    """The one of ``names`` that ``word`` may have meant, in capitals or not; "" where none is so near.

    ``least`` is of the share of letters that both have in common, in their order.
    """
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=least)
    return folded[near[0]] if near else ""


def one_line(error: BaseException | str, limit: int = 200) -> str:
    """What an error says, on one line of at most ``limit`` characters; its kind when it says nothing."""
    text = printable(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def printable(text: str) -> str:
    """``text`` with everything that is not to be seen as an escape: no line can be forged, no terminal steered."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
