"""``isnas COMMAND ...``: the commands by name, and how each is started.

``python tools/COMMAND.py ...`` and ``python -m isnas COMMAND ...`` are the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

from isnas.base.errors import run_tool
from isnas.base.options import parse_command
from isnas.base.preemption import begin


class Command(NamedTuple):
    """What a command does, the module whose ``main`` does it, and whether it trains: see :func:`begin`."""

    what: str
    module: str
    trains: bool = False


COMMANDS = {
    "train_search": Command("search a cell by two-stage ISTA-NAS, or by another method", "train_search", trains=True),
    "train_onestage": Command("search and train a network in one run, by one-stage ISTA-NAS", "train_onestage", True),
    "evaluate": Command("train the network of an architecture, and test it", "evaluate", trains=True),
    "evaluate_imagenet": Command("the same for ImageNet, with the papers' settings", "evaluate_imagenet", trains=True),
    "test": Command("test a trained network on its dataset, or a language model on its text", "tester"),
    "predict": Command("classify image files with a trained network, or go on from words", "predict"),
    "export": Command("write a trained network as a torch.export program or an ONNX model", "export"),
    "summarize": Command("tables over run folders", "summarize"),
    "analyse": Command("answer a question with a table, its numbers and pictures", "analyse"),
    "visualize": Command("draw the cells of an architecture", "visualize"),
    "count": Command("parameters and multiply-adds of an architecture's network", "count"),
    "memory": Command("the peak memory of a training step on a GPU, without a GPU", "memory"),
    "make_shards": Command("pack a folder of images into shards", "make_shards"),
}


def main() -> NoReturn:
    """Start the command that the first word names, or list them all."""
    words = sys.argv[1:]
    if not words or words[0] not in COMMANDS:
        sys.argv[0] = "isnas"
        run_tool(_listed)
    sys.argv = [f"isnas {words[0]}", *words[1:]]
    start(words[0])


def start(name: str) -> NoReturn:
    """Run a command with the words of ``sys.argv`` after the first, which messages call the program."""
    command = COMMANDS[name]
    begin(command.trains)  # first of all, as the imports take seconds
    run_tool(import_module(f"isnas.apps.{command.module}").main)


def _listed(argv: list[str]) -> None:
    parse_command(
        {name: command.what for name, command in COMMANDS.items()}, argv, "Neural architecture search by sparse coding."
    )
