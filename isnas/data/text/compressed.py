"""Files of the program ``compress`` (``.Z``): Lempel-Ziv-Welch with codes that grow from 9 bits, read as data."""

from __future__ import annotations

import numpy as np

_CLEAR = 256
_FEWEST_BITS, _MOST_BITS = 9, 16


def uncompress(data: bytes, most: int) -> bytes:
    """What was compressed.

    Behind the bytes 1f 9d and one with the widest code w (10 to 16 bits, and the mark 80: there may be codes that clear
    the table) stand codes, lowest bits first. Each stands for a string: below 256 for its byte, from 257 on for those
    of a table, to which every code but the first adds the string before it and the first byte of its own. Codes have
    one bit more once the table has used up a width, w at most, when it stays as it is. Code 256 clears the table; the
    next code then begins at a multiple of eight codes from where the present width began.

    Raises:
        ValueError: when it is no such file, is damaged, or would be more than ``most`` bytes; its message says so.
    """
    widest = data[2] & 0x1F if len(data) > 2 else 0
    if data[:2] != b"\x1f\x9d" or data[2] & 0xE0 != 0x80 or not _FEWEST_BITS < widest <= _MOST_BITS:
        raise ValueError("it does not begin as compress writes it")
    bytes_alone = [bytes([value]) for value in range(256)] + [b""]
    place, bits, table, last = 3, _FEWEST_BITS, bytes_alone.copy(), b""
    parts: list[bytes] = []
    size = 0
    while place < len(data):
        begin, many = place, 1 << (bits - 1)  # all codes of this width, or of the widest some of them
        place += many * bits // 8
        for number, code in enumerate(_codes(data[begin:place], bits)):
            if code == _CLEAR:
                place = begin + -(-(number + 1) // 8) * bits
                bits, table, last = _FEWEST_BITS, bytes_alone.copy(), b""
                break
            if code > len(table) or (code == len(table) and not last):
                raise ValueError(f"a code, {code}, stands for nothing yet")
            entry = table[code] if code < len(table) else last + last[:1]
            if last and len(table) < 1 << widest:
                table.append(last + entry[:1])
            parts.append(entry)
            last = entry
            size += len(entry)
            if size > most:
                raise ValueError(f"it holds more than {most:,} bytes")
        else:
            bits = min(bits + 1, widest)
    return b"".join(parts)


def _codes(data: bytes, bits: int) -> list[int]:
    """The whole codes in ``data``."""
    places = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    rows = places[: len(places) // bits * bits].reshape(-1, bits)
    codes: list[int] = (rows @ (1 << np.arange(bits))).tolist()
    return codes
