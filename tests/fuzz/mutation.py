"""Damage, drawn from a seeded generator: to bytes, to text, and to trees of plain values."""

import struct

#: Integers at the ends of what files and languages hold.
SIZES = (0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)

#: What a line of text may hold that its reader does not expect.
WORDS = (
    *("", " ", "\n", "\r\n", "\t", "\0", "\x1b[2J", "\ufeff", "\u0663", "\u2028", "e\u0301", "\ud7ff", "'", '"', "#"),
    *("-", "- ", ": ", "? ", "~", "null", "true", "off", "no", "nan", "inf", "-inf", ".nan", ".inf", "1e400", "1e30"),
    *("0", "-1", "010", "0x10", "1_0", "1:30", "12:30:00", "2026-01-01", "9" * 30, "9" * 5000, "0.1e-320", "1" * 400),
    *(
        "[",
        "]",
        "{",
        "}",
        "[" * 3000,
        "{a: " * 400,
        "(" * 300,
        "&a [*a, *a]",
        "*a",
        "<<: {}",
        "!!python/name:os.system",
    ),
    *(
        "!!binary aGk=",
        "%YAML 9.9",
        "---\n",
        "...\n",
        "range(2, 99)",
        "range(0)",
        "__import__('os')",
        "lambda: 0",
        "**a",
    ),
)


def damaged(rng, data, others=()):
    """``data`` after one to four changes; slices may come out of ``others`` too."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(_CHANGES)(rng, data, rng.choice([data, *others]))
    return bytes(data)


def _flip(rng, data, _):
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng, data, _):
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _cut(rng, data, _):
    del data[rng.randrange(len(data) + 1) :]


def _behead(rng, data, _):
    del data[: rng.randrange(min(len(data), 64) + 1)]


def _drop(rng, data, _):
    start, end = _slice(rng, data)
    del data[start:end]


def _splice(rng, data, other):
    start, end = _slice(rng, other)
    place = rng.randrange(len(data) + 1)
    data[place : place + rng.choice((0, end - start))] = other[start:end]


def _number(rng, data, _):
    code, value = rng.choice((">H", "<H", ">I", "<I", ">Q", "<Q")), rng.choice(SIZES)
    number = struct.pack(code, value & ((1 << 8 * struct.calcsize(code)) - 1))
    place = rng.randrange(len(data) + 1)
    data[place : place + len(number)] = number


def _noise(rng, data, _):
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.randbytes(rng.choice((1, 4, 100)))


def _slice(rng, data):
    start = rng.randrange(len(data) + 1)
    return start, min(start + rng.choice((1, 4, 32, 512, len(data))), len(data))


_CHANGES = (_flip, _flip, _flip, _set, _cut, _behead, _drop, _splice, _splice, _number, _noise)


def misspelt(rng, text):
    """``text`` with words in it that do not belong there, or lines and characters that are missing or repeated."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.randrange(len(text) + 1)
        end = min(start + rng.choice((0, 1, 1, 8, 60)), len(text))
        added = rng.choice((rng.choice(WORDS), rng.choice(WORDS), text[start:end] * 2, ""))
        text = text[:start] + added + text[end:]
    return text


def odd(rng):
    """A plain value that hardly anything is made for."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice((None, True, False, [], {}, "", b"", (), 0, -1, 1.5, -0.0))
    if kind == 1:
        return rng.choice((-1, 1)) * rng.choice((*SIZES, 10**30, 10**400, 10**4000))
    if kind == 2:
        return rng.choice((float("nan"), float("inf"), -float("inf"), 1e308, 5e-324))
    if kind == 3:
        return rng.choice((rng.choice(WORDS), "x" * 100_000, "\x1b]0;title\x07\nforged line"))
    if kind == 4:
        return rng.choice(([odd(rng)], {"a": odd(rng)}, [0] * 10_000, {str(k): k for k in range(1000)}))
    nested = rng.choice(([], 0))
    for _ in range(rng.choice((3, 90, 400))):
        nested = rng.choice(([nested], {"a": nested}))
    return nested


def grafted(rng, tree, value=odd):
    """A copy of a tree of dicts and lists with one to three parts replaced, gone, repeated, or new ones beside them."""
    tree = [_copied(tree)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = tree
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = rng.choice(keys) if keys else None
            inner = None if key is None else place[key]
            if not isinstance(inner, dict | list) or not inner or (place is not tree and rng.random() < 0.15):
                break
            place = inner
        change = "replace" if place is tree else rng.choice(("replace", "replace", "replace", "remove", "add"))
        if change == "remove" and key is not None:
            del place[key]
        elif isinstance(place, list):
            place[len(place) if change == "add" or key is None else key :] = [value(rng)] + (
                [] if change == "add" or key is None else place[key + 1 :]
            )
        else:
            place[rng.choice(("new", 3, "epoch")) if change == "add" or key is None else key] = value(rng)
    return tree[0]


def _copied(tree):
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    return [_copied(value) for value in tree] if isinstance(tree, list | tuple) else tree
