"""What can be done with what a run has left, as commands to copy, with which its log ends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from isnas.base.configs import config_file
from isnas.base.errors import UserError
from isnas.base.launched import command
from isnas.base.options import to_dict
from isnas.base.text import read_json
from isnas.base.yaml_text import read_config
from isnas.data.text.vocabulary import EOS, UNKNOWN, Vocabulary
from isnas.engine.harness_options import SearchOptions
from isnas.engine.language.options import LanguageOptions
from isnas.space.which import CELLS

#: A language model is asked to go on from so many words, the first different ones of its text.
_WORDS = 3


def after_search(folder: Path, options: SearchOptions | LanguageOptions) -> list[str]:
    """The training of what a search in ``folder`` has found, or the best of its seeds, on the same images or text.

    Where the search had a config with one for trainings in its space beside it, that is taken: ``digits_evaluate.yaml``
    beside ``digits_twostage.yaml``, ``conas_t1_evaluate.yaml`` beside ``cifar10_conas_t1.yaml``,
    ``digits_chain_evaluate.yaml`` beside ``digits_chain.yaml``.
    """
    of_text, space = isinstance(options, LanguageOptions), to_dict(options).get("space", CELLS)
    config = _config_of_training(folder, options.dataset, space)
    words = [*(["--config", config] if config else []), "--arch", str(folder)]
    if of_text and options.dataset != LanguageOptions.dataset and not config:
        words += ["--dataset", options.dataset]
    if options.data and (config or of_text):  # without, evaluate.py finds the images of the search by itself
        words += ["--data", options.data]
    return [command("evaluate", *words)]


def after_training(folder: Path, vocabulary: Vocabulary | None = None) -> list[str]:
    """What tests, uses and exports the network in ``folder``, or the language model that has this ``vocabulary``."""
    run = str(folder)
    if vocabulary is not None:
        prompt = " ".join([word for word in vocabulary.words if word not in (EOS, UNKNOWN)][:_WORDS])
        return [command("test", run), command("predict", run, "--prompt", prompt)]
    return [command("test", run), command("predict", run, "IMAGE"), command("export", run)]


def _config_of_training(folder: Path, dataset: str, space: str) -> str:
    """The config for trainings beside that of the search in ``folder``, named as that is; "" where there is none."""
    try:
        words = [str(word) for word in read_json(folder / "env.json")["command"]]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    flat = [part for word in words for part in (word.split("=", 1) if word.startswith("--config=") else [word])]
    given = next((Path(after) for word, after in pairwise(flat) if word == "--config"), None)
    if given is None:
        return ""
    stems = given.stem, given.stem.removeprefix(f"{dataset}_"), dataset
    beside = (str(given.with_name(f"{stem}_evaluate{given.suffix}")) for stem in stems)
    return next((name for name in beside if _space_of(config_file(name)) == space), "")


def _space_of(config: Path) -> str:
    """The space that a config names; "" where there is no config."""
    try:
        return str(read_config(config).get("space", CELLS))
    except UserError:
        return ""
