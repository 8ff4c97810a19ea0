"""The one search for a recurrent cell, from text to genotype.json, whatever the method."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from isnas.base.distributed import is_main
from isnas.base.files import write_json, write_tensors
from isnas.data.text.texts import load_text
from isnas.engine.architectures import log_genotype
from isnas.engine.language.averages import WordAverages, WordScores
from isnas.engine.language.options import MeasuringOptions
from isnas.engine.language.tables import Judged, Tables, tables_of
from isnas.engine.language.training import log_cost, log_text, make_stepping, same_words
from isnas.engine.loop import Loop, Stateful
from isnas.engine.method import Report
from isnas.engine.next_commands import after_search
from isnas.engine.records import MEASUREMENTS, METRICS, read_rows
from isnas.engine.run import Run, set_up, start_run
from isnas.engine.run_page import end_run
from isnas.space.connections import Connections, Support
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.network import RecurrentNetwork
from isnas.space.recurrent.space import RecurrentSpace
from isnas.train.stepping import Stepping


class Method(Protocol):
    """A search: :class:`isnas.methods.language_search.LanguageSearch`."""

    Options: ClassVar[type[MeasuringOptions]]
    network: RecurrentNetwork
    space: RecurrentSpace
    stepping: Stepping
    support: Support

    def __init__(self, options: Any, sizes: dict[str, Any], stepping: Stepping) -> None: ...

    def begin_epoch(self) -> None: ...

    def before_step(self, step: int) -> None: ...

    def step(self, words: tuple[Tensor, Tensor], rate: float, epoch: int, step: int) -> Tensor: ...

    def choose(self, judge: Any) -> Iterator[dict[str, Any] | None]: ...

    def genotype(self) -> RecurrentGenotype: ...

    def report(self) -> Report: ...

    def beside(self) -> dict[str, RecurrentGenotype]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def search_language(kind: type[Method], options: MeasuringOptions) -> Path:
    """One search, in a run folder of its own, which it returns.

    Raises:
        UserError: for a mistake of the user's, before anything is written where that is possible.
    """
    device = set_up(options)
    text = load_text(options)
    tables = tables_of(text, options, device, deviation=0.0)
    stepping = make_stepping(options, device)
    method = kind(options, options.sizes(len(text.vocabulary)), stepping)
    words = same_words(text)
    run = start_run(options, "search", device)
    parts: dict[str, Stateful] = {"words": words, "method": method, "cost": stepping.cost}
    loop = Loop(
        run, options.epochs, lambda epoch: len(tables.windows(epoch)), device, parts, partial(WordAverages, device)
    )
    if loop.global_step == 0:
        log_text(run, text, method.network)

    for epoch in loop.epochs():
        windows = tables.windows(epoch)
        if loop.step == 0:
            method.begin_epoch()
        method.network.train()
        for step in loop.steps():
            method.before_step(loop.global_step)
            if step == 0:
                run.log(f"epoch {epoch} lr {options.learning_rate:e}, {len(windows)} windows")
                log_genotype(run, method.genotype())
            drawn = tables.words(windows[step])
            loop.averages.add(method.step(drawn, windows[step].rate, epoch, step), drawn[0].numel())
        trained = loop.averages.scores()
        run.log(f"train_ppl {trained.perplexity:.4f}")
        valid = validate(loop, method, tables)
        values: dict[str, float | None] = {
            "lr": options.learning_rate,
            **trained.named("train"),
            **valid.named("valid"),
        }
        values |= loop.resources() | log_cost(run, stepping)
        record(loop, method, values)

    finish(loop, method, tables, tables.valid.first(options.measure_rows))
    return run.folder


def validate(loop: Loop[WordAverages], method: Method, tables: Tables, watch: bool = True) -> WordScores:
    """Log and return what the connections that run now make of the text that validates.

    Drawn at random, without batch normalisation, they may make no number of it; this says nothing of the weights.
    """
    connections = Connections(method.support)
    scores = tables.valid.scores(method.network, connections, loop.watch if watch else iter)
    loop.run.log(f"valid {scores}")
    return scores


def record(loop: Loop[WordAverages], method: Method, values: dict[str, float | None], **marks: bool) -> None:
    """A row of metrics.jsonl and one of genotypes.jsonl."""
    genotype = method.genotype()
    loop.run.records.metrics(loop.global_step, loop.epoch, {**values, **marks})
    row: dict[str, Any] = {"epoch": loop.epoch, "valid_loss": values["valid/loss"], "hash": genotype.hash()}
    loop.run.records.row("genotypes.jsonl", {**row, "genotype": genotype.to_json(), **marks})


def finish(loop: Loop[WordAverages], method: Method, tables: Tables, measured: Judged) -> None:
    """Let the method choose by what is ``measured``, validate its choice, and write it with pictures and weights."""
    run, stepping = loop.run, method.stepping

    def judge(support: Support) -> float:
        stepping.cost.add_scored((len(measured.table) - 1) * tables.options.valid_batch_size)
        return measured.scores(method.network, Connections(support)).loss

    for row in loop.stages(method.choose(judge)):
        if row is not None:
            run.records.row(MEASUREMENTS, row)
    genotype = method.genotype()
    run.log("after the last epoch:")
    log_genotype(run, genotype)
    valid = validate(loop, method, tables, watch=False)
    lines, reported = method.report()
    for line in lines:
        run.log(line)
    values: dict[str, float | None] = {**valid.named("valid"), **reported}
    values |= loop.resources() | log_cost(run, stepping)
    record(loop, method, values, final=True)
    facts = {"valid_ppl": valid.finite_perplexity, "word_passes": stepping.cost.image_passes}
    write_results(run, method, genotype, facts)
    end_run(run, after_search(run.folder, tables.options))


def write_results(run: Run, method: Method, genotype: RecurrentGenotype, facts: dict[str, Any]) -> None:
    """Write the weights, the picture of the cell and, last, genotype.json: the run is done; rank 0 writes."""
    if not is_main():
        return
    weights = {name: tensor.cpu() for name, tensor in method.network.state_dict().items()}
    write_tensors(run.folder / "weights.pt", {"network": weights})
    from isnas.draw.training_curves import draw_course  # matplotlib is slow to import

    rows = read_rows(run.folder / METRICS)
    pictures = [*method.space.draw(genotype, run.folder), *draw_course(rows, run.folder)]
    for name, other in method.beside().items():
        write_json(run.folder / f"{name}.json", {"genotype": other.to_json(), "text": str(other)})
    write_json(run.folder / "genotype.json", {"genotype": genotype.to_json(), "text": str(genotype), **facts})
    run.log(f"genotype file {run.folder / 'genotype.json'}")
    run.log(f"pictures {' '.join(map(str, pictures))}")
