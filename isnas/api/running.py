"""Searches and trainings as functions: the commands ``train_search``, ``evaluate`` and ``train_onestage``.

Their options are the flags of the command by their names, checked as those are: a number of a flag is a number, what a
flag says by being there is True or False, a list is a list, and None leaves one out. ``config`` names a file of options
or one that comes with the package, ``resume`` a folder whose run goes on.

A run is the same as on a command line with the same options, to the last bit, files included. Signals are left alone:
Ctrl-C raises KeyboardInterrupt, and ``resume`` goes on at the last checkpoint. The number of threads, the device and
whatever else belongs to the process are afterwards what they were.
"""

from __future__ import annotations

import os
from typing import Any

from isnas.api.cells import Architecture
from isnas.api.process import run_command
from isnas.api.results import SearchResult, TrainResult, read_search, read_training


def search(dataset: str | None = None, *, show_log: bool = True, **options: Any) -> SearchResult:
    """Search an architecture by two-stage ISTA-NAS (NeurIPS 2020, Algorithm 1), or by another ``method``.

    Args:
        dataset: The images to search on, cifar10 when neither this nor a ``config`` says so; with
            ``space="recurrent"`` the text. ``space="chain"`` searches a chain of blocks.
        show_log: Print the lines of log.txt as they are written; on a terminal, one for each epoch.
        options: Of ``isnas train_search``, such as ``method``, ``epochs``, ``init_channels``, ``layers``, ``seed``,
            ``run_dir``, ``device``. With ``seeds`` there is a run for each, in processes of their own, and the result
            is that of the best.

    Raises:
        UserError: for a mistake in the options, before anything is written where that is possible.
    """
    return read_search(run_command("train_search", {"dataset": dataset, **options}, show_log))


def train(
    genotype: Architecture | SearchResult | str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    *,
    show_log: bool = True,
    **options: Any,
) -> TrainResult:
    """Train the target network of an architecture and test it, as the DARTS family does.

    Args:
        genotype: The architecture, the result of a search, or what ``--arch`` takes: a published name, genotype.json,
            the folder of a search, text, or ``random:SEED``. None where a ``config`` or a run to ``resume`` has one.
        dataset: The images to train on, cifar10 when neither this nor a ``config`` says so; of a recurrent cell the
            text.
        show_log: As in :func:`search`.
        options: Of ``isnas evaluate``, such as ``epochs``, ``init_channels``, ``layers``, ``batch_size``, ``seed``,
            ``run_dir``, ``device``. With ``seeds`` there is a run for each, in processes of their own, and the figures
            are the means.

    Raises:
        UserError: for a mistake in the options, before anything is written where that is possible, and for a training
            that diverges.
    """
    text = genotype.folder if isinstance(genotype, SearchResult) else genotype
    text = str(text) if isinstance(text, Architecture) else text
    return read_training(run_command("evaluate", {"arch": text, "dataset": dataset, **options}, show_log))


def one_stage(dataset: str | None = None, *, show_log: bool = True, **options: Any) -> TrainResult:
    """Search and train a network in one run by one-stage ISTA-NAS (NeurIPS 2020, Algorithm 2).

    Args:
        dataset: The images, cifar10 when neither this nor a ``config`` says so.
        show_log: As in :func:`search`.
        options: Of ``isnas train_onestage``, such as ``epsilon``, ``max_search_epochs``, ``epochs``, ``seed``,
            ``run_dir``, ``device``; ``seeds`` as in :func:`train`.

    Raises:
        UserError: as :func:`train` does.
    """
    return read_training(run_command("train_onestage", {"dataset": dataset, **options}, show_log))
