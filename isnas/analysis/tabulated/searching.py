"""Carries out one search on a tabulated benchmark, and says what came out: its rows."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from isnas.analysis.kendall import kendall
from isnas.analysis.tabulated.benchmarks import Benchmark
from isnas.analysis.tabulated.suite import COMMON, Means, Search
from isnas.analysis.tabulated.table import Table
from isnas.analysis.tabulated.training import TEST_BATCH, Trainer
from isnas.base.random import generator
from isnas.data.small.batches import Batches
from isnas.engine.averages import evaluate
from isnas.engine.in_memory import search_in_memory, train_in_memory
from isnas.methods.one_stage import OneStage
from isnas.methods.registry import METHODS, SEARCHES, make_options
from isnas.methods.sampled_recovery import SampledRecovery, ScoredSpace
from isnas.space.batch_norm import BatchNorm, still_statistics
from isnas.space.connections import Connections, Support
from isnas.space.space import Network

#: Architectures of the table, and images, by which a super-net's ranking is held against the table's.
RANKED, RANKING_IMAGES = 100, 500
CPU = torch.device("cpu")


class Searcher:
    """Searches on the images of a trainer, and trains what is found and not in the table."""

    def __init__(self, trainer: Trainer, table: Table) -> None:
        self.trainer, self.table, self.benchmark = trainer, table, trainer.benchmark
        trained = dict(zip(table.cells, table.scores))
        in_order = [cell for cell in self.benchmark.order if cell in trained]
        self.ranked = {self.benchmark.supports[cell]: trained[cell] for cell in in_order}

    def rows(self, search: Search, trainings: int, seed: int) -> list[dict[str, Any]]:
        """The row of a search with a budget of so many trainings, and those of its variants."""
        values, budget = settings_of(search, self.benchmark, len(self.trainer.dataset.train), trainings, seed)
        start = time.perf_counter()
        if METHODS[search.method] is OneStage:
            support, figures = self._one_stage(values)
            found = {search.name: support}
        else:
            found, figures = self._search(search, values | {"budget": budget})
        shared = {"budget": trainings, "seed": seed}
        figures |= {"seconds": round(time.perf_counter() - start, 1)}
        rows = [{"search": name, **shared, "support": support} for name, support in found.items()]
        return [rows[0] | figures, *rows[1:]]

    def trained_row(self, support: Support) -> dict[str, Any]:
        """The row of an architecture that the table does not have, which is trained as those of the table."""
        losses, accs = zip(*self.trainer.train(support, range(self.benchmark.seeds)))
        rounded = {"loss": [round(loss, 5) for loss in losses], "acc": [round(acc, 3) for acc in accs]}
        return {"trained": support, **rounded}

    def _search(self, search: Search, values: dict[str, Any]) -> tuple[dict[str, Support], dict[str, Any]]:
        """What a search and its variants find, and its figures."""
        done = search_in_memory(SEARCHES[search.method], make_options(search.method, **values), self.trainer.dataset)
        method, space = done.method, done.setting.space
        method.network.eval()
        scores = evaluate(lambda x: method.predict(x).logits, done.valid.epoch(), CPU)
        passes = done.setting.stepping.cost.image_passes
        figures: dict[str, Any] = {"passes": passes, "search_acc": round(scores.top1, 3)}
        if search.method != "random":
            count = len(self.ranked) if search.ranks_all else min(RANKED, len(self.ranked))
            figures |= {"tau": self._tau(method.network, done.judging, count), "ranked": count}
        found = {search.name: space.support(method.genotype())}
        if isinstance(method, SampledRecovery):
            halves = method.architecture.halves()
            figures["scores"] = [[[float(f"{value:.4g}") for value in half] for half in rows] for rows in halves]
            for name, own in search.variants.items():
                options = replace(method.options, **own)
                again = ScoredSpace(options, space, generator(options.seed, "architecture"))
                again.take_over(halves)
                found[name], _ = again.recover()
        return found, figures

    def _one_stage(self, values: dict[str, Any]) -> tuple[Support, dict[str, Any]]:
        """What a one-stage run finds, and its figures, the accuracy being its own network's on the test images."""
        options = make_options("one_stage", **values)
        method = train_in_memory(OneStage, options, self.trainer.dataset)
        assert isinstance(method, OneStage)
        method.network.eval()
        test = Batches(self.trainer.dataset.test, None, TEST_BATCH, 0, "test", None, CPU)
        scores = evaluate(lambda x: method.predict(x).logits, test.epoch(), CPU)
        passes = method.stepping.cost.image_passes
        figures: dict[str, Any] = {"passes": passes, "search_acc": round(scores.top1, 3)}
        figures |= {"search_epochs": method.search_epochs}
        return options.make_space().support(method.genotype()), figures

    def _tau(self, network: Network, images: Batches, count: int) -> float | None:
        """Kendall's tau (b) of the sub-networks' losses and those of the table, for its first ``count`` cells."""
        x, labels = _first(images, RANKING_IMAGES)
        ranked = list(self.ranked.items())[:count]
        shared = np.array([sub_network_loss(network, support, x, labels) for support, _ in ranked])
        tau = kendall(shared, np.array([loss for _, loss in ranked]))[1]
        return None if tau is None else round(tau, 4)


def settings_of(
    search: Search, benchmark: Benchmark, images: int, trainings: int, seed: int
) -> tuple[dict[str, Any], int]:
    """The options of a search that has ``trainings`` of an architecture on so many images, and that in image passes."""
    budget = trainings * benchmark.epochs * _whole(images, benchmark.batch_size)
    means = Means(trainings, budget / _whole(images // 2, COMMON["batch_size"]))
    values = {**benchmark.settings, **COMMON, **search.settings, **search.of_means(means)}
    return values | {"seed": seed, "threads": 1, "device": "cpu"}, budget


@torch.no_grad()
def sub_network_loss(network: Network, support: Support, x: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy of a sub-network without coefficients, normalised by the batch's own statistics."""
    network.train()
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    with still_statistics(norms):
        loss = F.cross_entropy(network(x, Connections(support)).logits, labels)
    return float(loss)


def _first(images: Batches, count: int) -> tuple[Tensor, Tensor]:
    """The first images and their labels, or all if there are fewer."""
    batches = [images.batch(0, step) for step in range(min(len(images), -(-count // images.batch_size)))]
    x, labels = (torch.cat(parts)[:count] for parts in zip(*batches))
    return x.contiguous(memory_format=torch.channels_last), labels


def _whole(count: int, batch_size: int) -> int:
    """So many images in whole batches."""
    return count // batch_size * batch_size
