"""Searches of CoNAS as their run folders tell them: what was measured in every stage, and what is recovered from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import numpy as np

from isnas.analysis.language_summary import text_name
from isnas.analysis.reading import Row, cannot_read, integer, number, optional_number, percent, read_lines, text
from isnas.analysis.search_runs import SearchRun, grouped, require, space_of
from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.base.text import shown
from isnas.engine.records import MEASUREMENTS
from isnas.methods.conas_recovery import end_stage, usable
from isnas.methods.options.stages import StageOptions
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.space import CellSpace
from isnas.space.connections import support_of
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.options import RecurrentSpaceOptions
from isnas.space.recurrent.space import RecurrentSpace
from isnas.space.which import RECURRENT
from isnas.sparse.boolean.parities import Array, Bits

#: The loss of what a search ended with, on the batches of the measurements; a key of the last row of metrics.jsonl.
LOSS_OF_RESULT = "choice/loss"


@dataclass(frozen=True)
class Stage:
    """What was measured in a stage, counted from 1.

    ``encoders`` (m, n): +1 where a candidate was there and -1 where not; ``losses`` (m,) in nats, NaN where it was not
    finite, and ``accuracies`` (m,) in percent, or none on text.
    """

    number: int
    encoders: Bits
    losses: Array
    accuracies: Array

    @property
    def finite(self) -> Array:
        """The losses that are."""
        return self.losses[np.isfinite(self.losses)]


@dataclass(frozen=True)
class ConasRun:
    """A search of CoNAS: the ``name`` of its settings, its stages, and how it recovers.

    ``data``: the name of its images or text; ``later``: how it recovers after the first stage; ``exponential``: whether
    it is exp(loss), the perplexity, of which it makes a polynomial.
    """

    name: str
    search: SearchRun
    space: CellSpace | RecurrentSpace
    stages: tuple[Stage, ...]
    options: StageOptions
    data: str
    later: StageOptions
    exponential: bool = False

    def options_of(self, stage: Stage) -> StageOptions:
        """How it recovers in a stage."""
        return self.options if stage.number == 1 else self.later

    def measured(self, stage: Stage) -> Array:
        """What it recovers from, (m,): the losses, or their exponentials."""
        if not self.exponential:
            return stage.losses
        with np.errstate(over="ignore"):  # an infinite one is left out
            return np.exp(stage.losses)

    @property
    def loss_of_result(self) -> float | None:
        """The loss of what it ended with, as measurements are made; None before, or where it is not finite."""
        return optional_number(self.search.metrics[-1], LOSS_OF_RESULT)

    def usable(self, stage: Stage) -> tuple[Bits, Array]:
        """The encoders (k, n) and losses (k,), or their exponentials, that a recovery takes."""
        kept, losses = usable(self.measured(stage), self.options_of(stage))
        return stage.encoders[kept], losses

    def after(self, stage: Stage, mask: Bits, options: StageOptions) -> Bits:
        """What is fixed after a stage, (n,), where ``mask`` was before it: 0 for a free bit.

        Raises:
            UserError: when the measurements are too few, or too many bits are connected.
        """
        measured = self.measured(stage)
        try:
            return np.array(end_stage(stage.encoders > 0, measured, mask.tolist(), options)[0], dtype=np.int8)
        except UserError as error:
            raise UserError(f"{self.search.folder}, stage {stage.number}: {error}") from None

    def genotype(self, mask: Bits) -> Genotype | RecurrentGenotype:
        """The cells of a mask (n,): what is at +1 is there, what is at -1 or free is not."""
        support = support_of([bool(bit == 1) for bit in mask], self.space.sizes)
        pool_bn = self.search.config.get("pool_bn") is True
        return self.space.genotype(self.space.connected(support), pool_bn=pool_bn)


def conas_among(searches: Sequence[SearchRun]) -> list[ConasRun]:
    """The searches of CoNAS among these, as far as they have measured anything.

    Raises:
        UserError: when there is none, or a file is not as a run leaves it.
    """
    own = [run for run in searches if run.method == "conas"]
    found = [_read(name, run) for name, runs in grouped(own).items() for run in runs]
    measured = [run for run in found if run.stages]
    require(measured, "a search of CoNAS that has measured architectures")
    return measured


@dataclass(frozen=True)
class Replay:
    """What the recoveries of a search fixed, computed anew from its measurements.

    ``masks``: before the first stage, before the second, ..., and after the last one if the search has ended; (n,) with
    0 where a bit is free. ``warnings``: where that is not what the run did.
    """

    masks: tuple[Bits, ...]
    warnings: tuple[str, ...]


def replay(run: ConasRun) -> Replay:
    """Recover stage by stage, with the run's settings (CoNAS, Algorithm 1).

    Where the measurements of a stage are not of the bits that were fixed so, what they have in common is taken instead.

    Raises:
        UserError: when the measurements of a stage are of no use.
    """
    masks, warnings = [np.zeros(sum(run.space.sizes), dtype=np.int8)], []
    kept = {int(name.removeprefix("stage_")): each for name, each in run.search.beside.items() if "stage_" in name}
    if run.search.found:
        kept[len(run.stages)] = run.search.found
    for stage in run.stages:
        fixed = masks[-1] != 0
        if (stage.encoders[:, fixed] != masks[-1][fixed]).any():
            first = stage.encoders[0]
            masks[-1] = np.where((stage.encoders == first).all(0), first, 0).astype(np.int8)
            warnings.append(
                f"{run.search.folder}: stage {stage.number} did not measure what the stages before lead to; the bits "
                "that its measurements have in common are taken for fixed"
            )
        if stage.number == len(run.stages) and not run.search.found:
            break  # it may go on
        masks.append(run.after(stage, masks[-1], run.options_of(stage)))
        if stage.number in kept and kept[stage.number].hash != run.genotype(masks[-1]).hash():
            warnings.append(
                f"{run.search.folder}: the measurements of stage {stage.number} lead to another architecture than the "
                "one that it found"
            )
    return Replay(tuple(masks), tuple(warnings))


def _read(name: str, search: SearchRun) -> ConasRun:
    on_text = search.config.get("space") == RECURRENT
    space = _recurrent_space(search) if on_text else space_of(search)
    try:
        names = {field.name for field in fields(StageOptions)}
        values = {key: value for key, value in search.config.items() if key in names}
        options = build(StageOptions, values)
        stages = tuple(_stages(read_lines(search.folder / MEASUREMENTS), sum(space.sizes)))
        optional_number(search.metrics[-1], LOSS_OF_RESULT)
        data = text_name(search.config) if on_text else text(search.config, "dataset")
        later = build(StageOptions, values | {"monomials": search.config["later_monomials"]}) if on_text else options
    except (OSError, ValueError, KeyError) as error:
        raise cannot_read(search.folder, error) from None
    exponential = on_text and search.config.get("measured") == "perplexity"
    return ConasRun(name, search, space, stages, options, data, later, exponential)


def _recurrent_space(search: SearchRun) -> RecurrentSpace:
    try:
        names = {field.name for field in fields(RecurrentSpaceOptions)}
        values = {key: value for key, value in search.config.items() if key in names}
        return build(RecurrentSpaceOptions, values).make_space()
    except UserError as error:
        raise cannot_read(search.folder, error) from None


def _stages(rows: Sequence[Row], num_bits: int) -> Iterator[Stage]:
    """The rows by stages, each of which has its rows one after the other."""
    for place, (name, group) in enumerate(groupby(rows, key=lambda row: integer(row, "stage")), start=1):
        if name != place:
            raise ValueError(f"{MEASUREMENTS} has stage {name} where stage {place} belongs")
        own = list(group)
        if [integer(row, "number") for row in own] != list(range(len(own))):
            raise ValueError(f"{MEASUREMENTS} does not have the measurements of stage {place} from 0 on, one by one")
        bits = [text(row, "bits") for row in own]
        for each in bits:
            if len(each) != num_bits or set(each) - {"0", "1"}:
                raise ValueError(f"bits is {shown(each)}, not {num_bits} times 0 or 1")
        encoders = np.array([[1 if bit == "1" else -1 for bit in each] for each in bits], dtype=np.int8)
        losses = [float("nan") if row.get("loss") is None else float(number(row, "loss")) for row in own]
        accuracies = [float(percent(row, "acc")) for row in own if "acc" in row]
        yield Stage(place, encoders, np.array(losses), np.array(accuracies))
