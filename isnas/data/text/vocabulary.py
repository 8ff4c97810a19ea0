"""Words as numbers: the vocabulary of a text, and its three parts as streams of numbers."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from isnas.base.errors import UserError
from isnas.base.text import shown

#: Ends every line; no file holds it.
EOS = "<eos>"

#: Stands for every word that a text leaves out of its vocabulary.
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Different words; the number of a word is its place."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def digest(self) -> str:
        """Says whether another vocabulary differs in a word or their order."""
        return hashlib.sha256("\n".join(self.words).encode(errors="surrogatepass")).hexdigest()[:16]

    def ids(self, line: str) -> Tensor:
        """The numbers, int64 (words,), of the words of a line between blanks, without :data:`EOS`.

        A word that is not in the vocabulary is :data:`UNKNOWN`.

        Raises:
            UserError: for such a word, when :data:`UNKNOWN` is not in the vocabulary either.
        """
        words, unknown = line.split(), self.index.get(UNKNOWN)
        numbers = [self.index.get(word, unknown) for word in words]
        if None in numbers:
            word = words[numbers.index(None)]
            raise UserError(
                f"the word {shown(word)} is not among the {len(self):,} of the vocabulary, which has no {UNKNOWN}; use "
                "other words, or train on a text that holds it"
            )
        return torch.tensor(numbers, dtype=torch.int64)

    def text(self, ids: Tensor) -> str:
        """The words of numbers (any shape, in order) with blanks between, and a new line for each :data:`EOS`."""
        words = [self.words[number] for number in ids.flatten().tolist()]
        text = " ".join("\n" if word == EOS else word for word in words)
        return text.replace(" \n", "\n").replace("\n ", "\n")


@dataclass(frozen=True, eq=False)
class TextData:
    """A text: the numbers of its words, int64 (tokens,), in each part, every line ended by :data:`EOS`."""

    name: str
    train: Tensor
    valid: Tensor
    test: Tensor
    vocabulary: Vocabulary

    @cached_property
    def digest(self) -> str:
        """Says whether another text differs in a word of a part, in their order, or in the vocabulary."""
        digest = hashlib.sha256(self.vocabulary.digest.encode())
        for part in (self.train, self.valid, self.test):
            digest.update(f" {len(part)} ".encode())
            digest.update(part.numpy().data)
        return digest.hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """What must be the same when a run goes on, as plain values."""
        counts = {f"{name}_tokens": len(getattr(self, name)) for name in ("train", "valid", "test")}
        return counts | {"words": len(self.vocabulary), "text_digest": self.digest}

    def __str__(self) -> str:
        counts = " + ".join(f"{len(part):,}" for part in (self.train, self.valid, self.test))
        return f"{self.name}, {counts} tokens, {len(self.vocabulary):,} different words"


#: The words of the lines of a part.
Lines = Iterable[Iterable[str]]


def encode(name: str, train: Lines, valid: Lines, test: Lines) -> TextData:
    """A text of the words of its lines; :data:`EOS` is added to each line.

    The vocabulary is that of all three parts, in order of first occurrence, as the papers on the Penn Treebank have it.
    """
    index: dict[str, int] = {}
    first, second, third = (_stream(lines, index) for lines in (train, valid, test))
    return TextData(name, first, second, third, Vocabulary(tuple(index)))


def _stream(lines: Lines, index: dict[str, int]) -> Tensor:
    """The numbers of the words of ``lines``; new words are added to ``index``."""
    stream = array("q")
    for words in lines:
        stream.extend([index.setdefault(word, len(index)) for word in words])
        stream.append(index.setdefault(EOS, len(index)))
    assert stream, "a part without a line"
    return torch.frombuffer(stream, dtype=torch.int64).clone()
