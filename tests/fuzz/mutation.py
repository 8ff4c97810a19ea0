"""Damage, drawn from a seeded generator: to bytes, to text, and to trees of plain values."""

import struct

#: Integers at the ends of what files and languages hold.
SIZES = (0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)

#: What a line of text may hold that its reader does not expect.
_WORDS = """null true off no nan inf -inf .nan .inf 1e400 1e30 0 -1 010 0x10 1_0 1:30 12:30:00 2026-01-01 0.1e-320 - ~
[ ] { } *a **a # ' " \x1b[2J \ufeff \u0663 e\u0301 \ud7ff !!python/name:os.system range(0) __import__('os')"""
WORDS = (
    *(*_WORDS.split(), "", " ", "\n", "\r\n", "\t", "\0", "\u2028", "- ", ": ", "? ", "---\n", "...\n", "range(2, 99)"),
    *("9" * 30, "9" * 5000, "1" * 400, "[" * 3000, "{a: " * 400, "(" * 300, "&a [*a, *a]", "<<: {}", "%YAML 9.9"),
    *("!!binary aGk=", "lambda: 0"),
)

_CHANGES = ("flip", "flip", "flip", "set", "cut", "behead", "drop", "splice", "splice", "number", "noise")


def damaged(rng, data, others=()):
    """``data`` after one to four changes; slices may come out of ``others`` too."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        other, place = rng.choice([data, *others]), rng.randrange(len(data) + 1)
        start = rng.randrange(len(other) + 1)
        piece = other[start : start + rng.choice((1, 4, 32, 512, len(other)))]
        change = rng.choice(_CHANGES)
        if change in ("flip", "set") and place < len(data):
            data[place] = data[place] ^ 1 << rng.randrange(8) if change == "flip" else rng.randrange(256)
        elif change == "cut":
            del data[place:]
        elif change == "behead":
            del data[: rng.randrange(65)]
        elif change == "drop":
            del data[place : place + len(piece)]
        elif change == "splice":
            data[place : place + rng.choice((0, len(piece)))] = piece
        elif change == "number":
            code, value = rng.choice((">H", "<H", ">I", "<I", ">Q", "<Q")), rng.choice(SIZES)
            number = struct.pack(code, value % (1 << 8 * struct.calcsize(code)))
            data[place : place + len(number)] = number
        else:
            data[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
    return bytes(data)


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
