"""Train the ImageNet network of an architecture and test it, top-1 and top-5: evaluate.py with the papers' settings.

A one-stage architecture is trained as in the paper, without its extra BNs, unless there is --onestage. For many GPUs
see docs/cluster.md.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from evaluate import EvaluateOptions, train

from isnas.base.errors import run_tool
from isnas.base.options import option, parse


@dataclass(frozen=True)
class EvaluateImageNetOptions(EvaluateOptions):
    """All settings of a training on ImageNet; the defaults are ISTA-NAS's, for 8 GPUs."""

    dataset: str = option("imagenet", "the images to work on", choices=("imagenet", "fake"))
    stem: str = option("imagenet", "before the cells: imagenet divides the size by 8", choices=("imagenet",))
    init_channels: int = option(48, "channels C of the first cells", minimum=2)
    layers: int = option(14, "number of cells", minimum=3)
    epochs: int = option(250, "passes over the training images", minimum=1)
    batch_size: int = option(1024, "images per step, over all processes", minimum=1)
    learning_rate: float = option(0.5, "SGD's learning rate after the warm-up", above=0.0, maximum=1e6)
    lr_schedule: str = option(
        "linear", "how SGD's learning rate falls from epoch to epoch", choices=("cosine", "linear")
    )
    warmup_epochs: int = option(5, "epochs in which SGD's learning rate rises to its full value", minimum=0)
    weight_decay: float = option(3e-5, "l2 penalty on the weights", minimum=0.0, maximum=1e6)
    auxiliary: bool = option(True, "train with an auxiliary head after the second reduction cell")
    label_smooth: float = option(0.1, "share of a label that is spread over all classes", minimum=0.0, below=1.0)
    drop_path_prob: float = option(0.0, "probability that drop-path leaves a connection out", minimum=0.0, below=1.0)
    save_best: bool = option(True, "keep the network of the best test accuracy too, as weights_best.pt")


def main(argv: list[str]) -> None:
    """One training, or one per seed."""
    train(parse(EvaluateImageNetOptions, argv, "Train and test the ImageNet network of an architecture."))


if __name__ == "__main__":
    run_tool(main)
