"""``isnas COMMAND ...``: the commands by name, and how each is started.

``python tools/COMMAND.py ...`` and ``python -m isnas COMMAND ...`` are the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

from isnas.base.errors import run_tool
from isnas.base.late import late
from isnas.base.options import Options, parse, parse_command
from isnas.base.preemption import begin


class Command(NamedTuple):
    """What a command does, the module whose ``main`` does it, examples, and whether it trains: see :func:`begin`."""

    what: str
    module: str
    examples: tuple[str, ...] = ()
    trains: bool = False

    @property
    def about(self) -> str:
        """What its help says; see :func:`isnas.base.options.parse`."""
        return "\n".join([f"{self.what[0].upper()}{self.what[1:]}.", *self.examples])


#: The examples of those without are in :mod:`isnas.analysis.commands`.
COMMANDS = {
    "train_search": Command(
        "search a cell by two-stage ISTA-NAS, or by another method",
        "train_search",
        ("--config cifar10_twostage --seeds 0 1 2 3 4", "--method darts --unrolled --dataset digits --run_dir search"),
        trains=True,
    ),
    "train_onestage": Command(
        "search and train a network in one run, by one-stage ISTA-NAS",
        "train_onestage",
        ("--config cifar10_onestage --auxiliary --cutout", "--config smoke/digits_onestage --run_dir one_stage"),
        trains=True,
    ),
    "evaluate": Command(
        "train the network of an architecture, and test it",
        "evaluate",
        ("--config cifar10_evaluate --arch ISTA_twostage", "--config smoke/digits_evaluate --arch search"),
        trains=True,
    ),
    "evaluate_imagenet": Command(
        "train the ImageNet network of an architecture with the papers' settings, and test it",
        "evaluate_imagenet",
        ("--arch ISTA_onestage --data imagenet", "--arch search --data shards --batch_size 512 --amp bf16"),
        trains=True,
    ),
    "test": Command(
        "test a trained network on its dataset, or a language model on its text",
        "tester",
        ("trained", "trained/weights.pt --data images --output tested"),
    ),
    "predict": Command(
        "classify image files with a trained network, or go on from words",
        "predict",
        ("trained three.png photo.jpg --top 5", 'model --prompt "in the beginning" --length 20'),
    ),
    "export": Command(
        "write a trained network as a torch.export program or an ONNX model",
        "export",
        ("trained --format onnx --fold", "trained --output network.pt2 --no_normalise"),
    ),
    "summarize": Command("tables over run folders", "summarize"),
    "analyse": Command("answer a question with a table, its numbers and pictures", "analyse"),
    "visualize": Command(
        "draw the cells of an architecture",
        "visualize",
        ("ISTA_twostage --output pictures", "--arch search --name found"),
    ),
    "count": Command(
        "parameters and multiply-adds of an architecture's network",
        "count",
        ("ISTA_twostage", "--arch search --network imagenet"),
    ),
    "memory": Command(
        "the peak memory of a training step on a GPU, without a GPU",
        "memory",
        ("--config cifar10_onestage", "--config cifar10_darts --batch_sizes 64 128 --gpus 2"),
    ),
    "make_shards": Command(
        "pack a folder of images into shards",
        "make_shards",
        ("--data imagenet --output shards", "--data images --output shards --images_per_shard 500"),
    ),
}


def options_of(name: str, options: type[Options], argv: list[str]) -> Options:
    """The options of a command, from the words after it.

    Raises:
        UserError: for anything the user got wrong.
    """
    return parse(options, argv, COMMANDS[name].about, elsewhere=late("isnas.methods.elsewhere:elsewhere"))


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
    about = "Neural architecture search by sparse coding.\ntrain_search --config cifar10_twostage\ncount ISTA_twostage"
    parse_command({name: command.what for name, command in COMMANDS.items()}, argv, about)
