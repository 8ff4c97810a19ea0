"""The small runs whose results are held against golden.json: real tools, as processes of one thread on the CPU."""

from pathlib import Path
from typing import NamedTuple

from launching import launch

COMMON = "--dataset digits --max_train_images 160 --layers 3 --seed 1 --threads 1 --device cpu --no_tensorboard"
SMALL = f"{COMMON} --image_size 8 --init_channels 4 --report_freq 1"

# 4 steps of 16 images an epoch; b moves fast, so that supports change
SEARCH = f"{SMALL} --batch_size 16 --epochs 2 --held_out_portion 0.2 --arch_init_scale 0.1 --arch_learning_rate 0.05"

# nodes terminate one after another, all before training alone begins
ONE_STAGE = "--batch_size 40 --learning_rate 0.1 --max_search_epochs 2 "
ONE_STAGE += "--arch_init_scale 0.1 --arch_learning_rate 0.03 --termination_interval 2 --epsilon 0.15"

TRAINED = "--auxiliary --image_size 16 --drop_path_prob 0.4 --cutout --cutout_length 6"  # drop-path from epoch 1 on


class GoldenRun(NamedTuple):
    """A tool, its arguments but for the run folder, and the number of processes that run it.

    ``relative`` is how far other kernels may take the numbers of the summary: further where rounding turns the
    sign of small gradients of b, and so the first steps that Adam takes (most of all in bf16), and with the auxiliary
    head, which normalises over one pixel of each image.
    """

    tool: str
    arguments: str
    processes: int = 1
    relative: float = 1e-3


RUNS = {
    "two-stage": GoldenRun("train_search.py", SEARCH),
    "two-stage, recovery every step": GoldenRun("train_search.py", f"{SEARCH} --recover_every step", relative=0.02),
    "two-stage, distinct inputs": GoldenRun("train_search.py", f"{SEARCH} --distinct_inputs"),
    "two-stage, bf16": GoldenRun("train_search.py", f"{SEARCH} --amp bf16", relative=0.15),
    "two-stage, two processes": GoldenRun("train_search.py", f"{SEARCH} --recover_every 2", 2),
    "one-stage": GoldenRun("train_onestage.py", f"{SMALL} {ONE_STAGE} {TRAINED} --epochs 2", relative=0.03),
    "one-stage, two processes": GoldenRun("train_onestage.py", f"{SMALL} {ONE_STAGE} --epochs 1", 2),
    "evaluation": GoldenRun(
        "evaluate.py",
        f"{SMALL} {TRAINED} --arch ISTA_twostage --batch_size 20 --epochs 2 --ema_decay 0.9 --label_smooth 0.1",
        relative=0.03,
    ),
}


def perform(name: str, folder: Path) -> Path:
    """Do the run in ``folder``; its run folder."""
    tool, arguments, processes, _ = RUNS[name]
    codes, outputs = launch(f"tools/{tool}", [*arguments.split(), "--run_dir", "run"], processes, folder)
    assert not any(codes), outputs
    return folder / "run"
