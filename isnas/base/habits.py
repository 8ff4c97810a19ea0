"""What people type who come from other tools: one table of their flags, and what each of them means here."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Habit(NamedTuple):
    """Flags that mean ``option`` in other tools; ``why`` they are, or are not, other names of it here.

    Without ``instead`` they mean exactly the same, and are taken for it. With it nothing is guessed: a message says
    what to type instead, ``{}`` being the value that was given. "" among the words is a word that follows no flag; an
    ``option`` "" is one that no command needs to have.
    """

    words: tuple[str, ...]
    option: str
    why: str
    instead: str = ""


#: Of two rows with a word the first whose option a command has counts.
HABITS = (
    Habit(("lr",), "learning_rate", "an abbreviation (timm)"),
    Habit(("lr_min", "min_lr"), "learning_rate_min", "an abbreviation (timm)"),
    Habit(("arch_lr",), "arch_learning_rate", "an abbreviation"),
    Habit(("wd",), "weight_decay", "an abbreviation"),
    Habit(("arch_wd",), "arch_weight_decay", "an abbreviation"),
    Habit(("bs", "b"), "batch_size", "an abbreviation (timm's -b)"),
    Habit(("num_epochs", "n_epochs"), "epochs", "the same number"),
    Habit(("num_workers", "j"), "workers", "the same number (torch's DataLoader)"),
    Habit(("data_dir", "data_path", "tmp_data_dir"), "data", "the same folder (timm, PC-DARTS)"),
    Habit(("img_size",), "image_size", "the same side (timm)"),
    Habit(("random_seed",), "seed", "the same number"),
    Habit(("clip_grad",), "grad_clip", "the same norm (timm)"),
    Habit(("label_smoothing",), "label_smooth", "the same share (torch)"),
    Habit(("print_freq",), "report_freq", "the same number of steps (torchvision)"),
    Habit(("genotype",), "arch", "the same architecture"),
    Habit(("model_path", "weights", "checkpoint"), "run", "the file of a trained network (DARTS's test.py)"),
    Habit(
        ("gpu", "gpu_id"), "device", "a device has one name, of whatever kind it is (DARTS)", "give --device cuda:{}"
    ),
    Habit(("cuda",), "device", "the same", "give --device cuda"),
    Habit(("cpu", "no_cuda"), "device", "the same", "give --device cpu"),
    Habit(
        ("gpus", "parallel", "local_rank"),
        "timeout_minutes",
        "a process has one GPU",
        "torchrun --nproc_per_node GPUS tools/TOOL.py ... starts a process for each GPU",
    ),
    Habit(("workers", "num_workers", "j"), "", "there are none", "images in memory need no workers: leave it out"),
    Habit(("fp16", "bf16"), "amp", "precision is one option with three values", "give --amp fp16 or --amp bf16"),
    Habit(("opt", "optimizer"), "momentum", "there is one", "weights are trained by SGD alone: leave it out"),
    Habit(
        ("sched", "scheduler", "lr_scheduler"),
        "lr_schedule",
        "its values are others (timm)",
        "give --lr_schedule cosine or linear",
    ),
    Habit(
        ("output", "output_dir", "out"),
        "run_dir",
        "timm makes a folder for each run in it, --run_dir is that of the run",
        "give --run_dir {}",
    ),
    Habit(
        ("model_path",),
        "run_dir",
        "DARTS has it for what is written",
        "what is trained goes into --run_dir FOLDER",
    ),
    Habit(
        ("arch", "auxiliary", "dataset", "init_channels", "layers", "cutout", "drop_path_prob"),
        "run",
        "DARTS's test.py has them, as its files hold weights alone",
        "the file of the network says it: leave it out",
    ),
    Habit(("model",), "arch", "timm's names are others", "an architecture is given as --arch"),
    Habit(("set",), "dataset", "PC-DARTS's names are others", "give --dataset cifar10 or another one"),
    Habit(("",), "arch", "an architecture is one option among many", "did you mean --arch {}?"),
)


def own_name(word: str, options: Collection[str]) -> str:
    """The one of ``options`` that the name ``word`` means exactly, else ``word`` as it is."""
    if word in options:
        return word
    rows = (row for row in HABITS if not row.instead and word in row.words and row.option in options)
    return next((row.option for row in rows), word)


def advice(word: str, value: str, options: Collection[str]) -> str:
    """What to type instead of a flag ``word``, which is none of ``options``, with its value; "" where nothing is known.

    ``word`` "" is for a ``value`` that follows no flag.
    """
    rows = (row for row in HABITS if row.instead and word in row.words and row.option in {"", *options})
    return next((row.instead.format(value or "...") for row in rows), "")
