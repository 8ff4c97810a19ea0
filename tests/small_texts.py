"""Small texts in a folder, and what trains on them in float64, as the tools build it."""

import torch

from isnas.base.options import build
from isnas.base.random import generator
from isnas.data.text.batches import fixed_windows, pair
from isnas.engine.language.training import make_stepping

CPU = torch.device("cpu")
WORDS = 11
SMALL = {"data": "text", "nhid": 5, "batch_size": 6, "bptt": 4, "valid_batch_size": 3, "device": "cpu"}


def drawn_words(rows, columns, name):
    """A table of random numbers of words."""
    return torch.randint(WORDS, (rows, columns), generator=generator(0, "words", name))


def in_windows(table, length):
    """The inputs and targets of a table, so many rows at a time."""
    return (pair(table, window) for window in fixed_windows(len(table), length))


def make_language(kind, dtype=torch.float64, device=CPU, **values):
    """A search or a training of a vocabulary of :data:`WORDS`, whose gates are open enough for a cell to matter."""
    options = build(kind.Options, SMALL | values)
    made = kind(options, options.sizes(WORDS), make_stepping(options, device))
    made.network.to(dtype)
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.mul_(15.0)
    return made


def write_text(folder, lines=(150, 40, 30), words=9, name=""):
    """A text whose next word has few choices, as three files; returns the folder."""
    rng = generator(0, "a small text", name)
    folder.mkdir(parents=True)
    for part, count in zip(("train", "valid", "test"), lines, strict=True):
        made = []
        for word, *steps in torch.randint(words, (count, 8), generator=rng).tolist():
            line = [word]
            for step in steps:
                line.append((3 * line[-1] + step // 4) % words)
            made.append(" ".join(f"w{word}" for word in line))
        (folder / f"{part}.txt").write_text("\n".join(made) + "\n")
    return folder
