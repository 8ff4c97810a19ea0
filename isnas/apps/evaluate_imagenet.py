"""Train the ImageNet network of an architecture and test it: evaluate.py with configs/imagenet_evaluate.yaml.

Of a chain it is configs/imagenet_chain_evaluate.yaml. A one-stage architecture is trained as in the paper, without its
extra BNs, unless there is --onestage. For many GPUs see docs/cluster.md.
"""

from __future__ import annotations

from pathlib import Path

from isnas.apps.console import COMMANDS
from isnas.base.configs import CONFIGS
from isnas.base.options import stored_or_given
from isnas.methods.registry import parse_run, space_of_arch
from isnas.space.which import CHAIN


def main(argv: list[str]) -> Path:
    """One training, or one per seed; the config comes in where none is named. Returns the run's folder."""
    named = any(word.split("=")[0] in ("--config", "--resume") for word in argv)
    space = stored_or_given(argv, "space") or space_of_arch(argv)
    config = CONFIGS / ("imagenet_chain_evaluate.yaml" if space == CHAIN else "imagenet_evaluate.yaml")
    words = argv if named else ["--config", str(config), *argv]
    about = COMMANDS["evaluate_imagenet"].about
    _, options = parse_run(words, ("evaluation",), "evaluation", about)
    options = options.self_contained()

    from isnas.analysis.selection import train_seeds
    from isnas.methods.evaluation import Evaluation

    return train_seeds(Evaluation, options)
