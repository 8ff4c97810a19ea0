"""A trained language model in one file that needs nothing else: architecture, sizes, vocabulary, weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from isnas.base.errors import UserError
from isnas.base.text import one_line, shown
from isnas.data.text.texts import TEXTS
from isnas.data.text.vocabulary import EOS, Vocabulary
from isnas.engine.hub import HubMixin
from isnas.engine.language.options import LanguageOptions
from isnas.engine.trained import LANGUAGE_MODEL, Trained, trained_of, weights_file
from isnas.engine.weights import fill, read_weights, require_plain, write_weights
from isnas.space.recurrent.genotype import RecurrentGenotype, genotype_from_json
from isnas.space.recurrent.network import RecurrentNetwork

FORMAT = f"{LANGUAGE_MODEL} 1"

#: The largest network that is built from a file: units of the state, and words; and the most columns that test it.
_MOST_UNITS, _MOST_WORDS, _MOST_COLUMNS = 100_000, 10_000_000, 1_000_000


@dataclass(frozen=True)
class TrainedModel(HubMixin):
    """A network, on the CPU and in eval mode, and what is known about it.

    ``text`` is the name of its text, ``data`` the folder in which that was, and ``columns`` those in which it tested.
    """

    network: RecurrentNetwork
    genotype: RecurrentGenotype
    vocabulary: Vocabulary
    text: str
    data: str
    columns: int

    task: ClassVar[str] = "text-generation"

    def content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "genotype": self.genotype.to_json(),
            "nhid": self.network.embedding.shape[1],
            "words": list(self.vocabulary.words),
            "text": self.text,
            "data": self.data,
            "columns": self.columns,
            "weights": {name: tensor.cpu() for name, tensor in self.network.state_dict().items()},
        }

    @classmethod
    def of_content(cls, content: Any, file: Path) -> TrainedModel:
        return model_of(content, file)

    def about(self) -> str:
        return f"A language model of the words of {self.text}, {len(self.vocabulary):,} of them."


def save_model(
    path: Path, network: RecurrentNetwork, genotype: RecurrentGenotype, vocabulary: Vocabulary, options: LanguageOptions
) -> None:
    """Write a network; ``options`` are those of its training. It is a safetensors file where ``path`` ends so."""
    text, columns = options.text_record.name, options.test_batch_size
    write_weights(path, TrainedModel(network, genotype, vocabulary, text, options.data, columns).content())


def load_any(path: Path) -> Trained | TrainedModel:
    """The network of images or the language model in a weights file, or in the run folder ``path``.

    Raises:
        UserError: as :func:`load_model` and :func:`isnas.engine.trained.load_trained` do.
    """
    file = weights_file(path)
    content = read_weights(file)
    return model_of(content, file) if is_model(content) else trained_of(content, file)


def is_model(content: Any) -> bool:
    """Whether the content of a weights file is a language model's."""
    return isinstance(content, dict) and content.get("format") == FORMAT


def load_model(file: Path) -> TrainedModel:
    """The language model in a weights file. Nothing in the file is executed.

    Raises:
        UserError: when the file is damaged, of another kind, of another architecture than it says, or of numbers that
            are not finite.
    """
    return model_of(read_weights(file), file)


def model_of(content: Any, file: Path) -> TrainedModel:
    """The language model in the content of the weights file ``file``.

    Raises:
        UserError: as :func:`load_model` does.
    """
    if not is_model(content):
        raise UserError(f"{file} does not hold a language model; train one with evaluate.py --space recurrent")
    try:
        weights = content.pop("weights")
        require_plain(content)
        genotype = genotype_from_json(content["genotype"])
        vocabulary, text, data = _vocabulary(content["words"]), content["text"], content["data"]
        nhid, columns = _whole(content, "nhid", _MOST_UNITS), _whole(content, "columns", _MOST_COLUMNS)
        if text not in TEXTS or not isinstance(data, str) or "\0" in data:
            raise ValueError(f"there is no text {shown(text)} in {shown(data)}")
        with torch.device("meta"):
            network = RecurrentNetwork(
                genotype.recurrent, genotype.concat, vocabulary=len(vocabulary), ninp=nhid, nhid=nhid
            )
    except Exception as error:  # a file that was changed by hand can be wrong anywhere
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file} does not describe a language model ({one_line(reason)})") from None
    fill(network, weights, file)
    return TrainedModel(network.eval(), genotype, vocabulary, text, data, columns)


def _whole(content: dict[str, Any], name: str, most: int) -> int:
    value = content[name]
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most:,}, not {shown(value)}")
    return value


def _vocabulary(words: Any) -> Vocabulary:
    if not isinstance(words, list) or not 1 <= len(words) <= _MOST_WORDS:
        raise ValueError("its words are no list")
    if not all(isinstance(word, str) and word.split() == [word] for word in words) or len(set(words)) < len(words):
        raise ValueError("its words must be different and without blanks")
    if EOS not in words:
        raise ValueError(f"{EOS} is not among its words")
    return Vocabulary(tuple(words))
