"""A trained language model in one file that needs nothing else: architecture, sizes, vocabulary, weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from isnas.base.errors import UserError
from isnas.base.files import write_tensors
from isnas.base.text import one_line, shown
from isnas.data.text.texts import TEXTS
from isnas.data.text.vocabulary import EOS, Vocabulary
from isnas.engine.weights import read_weights, require_fitting, require_plain
from isnas.space.recurrent.genotype import RecurrentGenotype, genotype_from_json
from isnas.space.recurrent.network import RecurrentNetwork

FORMAT = "isnas language model 1"

#: The largest network that is built from a file: units of the state, and words.
_MOST_UNITS, _MOST_WORDS = 100_000, 10_000_000


@dataclass(frozen=True)
class TrainedModel:
    """A network, on the CPU and in eval mode, and what is known about it; ``text`` is the name of its text."""

    network: RecurrentNetwork
    genotype: RecurrentGenotype
    vocabulary: Vocabulary
    text: str


def save_model(
    path: Path, network: RecurrentNetwork, genotype: RecurrentGenotype, nhid: int, vocabulary: Vocabulary, text: str
) -> None:
    """Write a network."""
    content = {
        "format": FORMAT,
        "genotype": genotype.to_json(),
        "nhid": nhid,
        "words": list(vocabulary.words),
        "text": text,
        "weights": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
    }
    write_tensors(path, content)


def is_model(content: Any) -> bool:
    """Whether the content of a weights file is a language model's."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_model(file: Path) -> TrainedModel:
    """The language model in a weights file. Nothing in the file is executed.

    Raises:
        UserError: when the file is damaged, of another kind, of another architecture than it says, or of numbers that
            are not finite.
    """
    content = read_weights(file)
    if not is_model(content):
        raise UserError(f"{file} does not hold a language model; train one with evaluate.py --space recurrent")
    try:
        weights = content.pop("weights")
        require_plain(content)
        genotype = genotype_from_json(content["genotype"])
        vocabulary, nhid, text = _vocabulary(content["words"]), content["nhid"], content["text"]
        if type(nhid) is not int or not 1 <= nhid <= _MOST_UNITS:
            raise ValueError(f"nhid must be a whole number from 1 to {_MOST_UNITS:,}, not {shown(nhid)}")
        if text not in TEXTS:
            raise ValueError(f"unknown text {shown(text)}")
        with torch.device("meta"):
            network = RecurrentNetwork(
                genotype.recurrent, genotype.concat, vocabulary=len(vocabulary), ninp=nhid, nhid=nhid
            )
    except Exception as error:  # a file that was changed by hand can be wrong anywhere
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file} does not describe a language model ({one_line(reason)})") from None
    try:
        require_fitting(weights, network, file.stat().st_size)
    except ValueError as error:
        raise UserError(f"the weights in {file} are not of the network that it describes: {error}") from None
    network.load_state_dict(weights, assign=True)
    return TrainedModel(network.eval(), genotype, vocabulary, text)


def _vocabulary(words: Any) -> Vocabulary:
    if not isinstance(words, list) or not 1 <= len(words) <= _MOST_WORDS:
        raise ValueError("its words are no list")
    if not all(isinstance(word, str) and word.split() == [word] for word in words) or len(set(words)) < len(words):
        raise ValueError("its words must be different and without blanks")
    if EOS not in words:
        raise ValueError(f"{EOS} is not among its words")
    return Vocabulary(tuple(words))
