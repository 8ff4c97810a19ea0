"""The one training of a language model, from text to result.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from isnas.base.distributed import check_same, is_main
from isnas.base.errors import DivergedError
from isnas.base.options import fixed_values
from isnas.data.text.batches import Window
from isnas.data.text.texts import load_text
from isnas.data.text.vocabulary import TextData
from isnas.engine.architectures import log_genotype
from isnas.engine.language.averages import WordAverages, WordScores
from isnas.engine.language.options import LanguageOptions, ModelOptions
from isnas.engine.language.tables import Judged, Tables, tables_of
from isnas.engine.language.trained import save_model
from isnas.engine.loop import Loop, SameData, Stateful
from isnas.engine.next_commands import after_training
from isnas.engine.records import read_rows
from isnas.engine.run import Run, set_up, start_run
from isnas.engine.run_page import end_run
from isnas.nets.count import num_params
from isnas.space.recurrent.genotype import RecurrentGenotype
from isnas.space.recurrent.network import RecurrentNetwork
from isnas.train.stepping import Stepping
from isnas.train.train_options import StepOptions

#: Options that do not decide how good a trained network is, or that its architecture's hash stands for.
_NO_SETTINGS = ("arch", "seed", "seeds")


class Model(Protocol):
    """A language model in training: :class:`isnas.methods.language_model.LanguageModel`."""

    Options: ClassVar[type[ModelOptions]]
    architecture: RecurrentGenotype
    network: RecurrentNetwork
    stepping: Stepping
    losses: list[float]
    best_epoch: int
    rolled_back: int

    def __init__(self, options: Any, sizes: dict[str, Any], stepping: Stepping) -> None: ...

    @property
    def result(self) -> RecurrentNetwork: ...

    def begin_epoch(self) -> None: ...

    def step(self, words: tuple[Tensor, Tensor], rate: float, epoch: int, step: int) -> Tensor: ...

    def validated(self, loss: float, epoch: int) -> list[str]: ...

    def roll_back(self) -> bool: ...

    def take_best(self) -> RecurrentNetwork: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def train_language(kind: type[Model], options: ModelOptions) -> Path:
    """One training, in a run folder of its own, which it returns.

    Raises:
        UserError: for a mistake of the user's, before anything is written where that is possible.
    """
    device = set_up(options)
    text = load_text(options)
    tables = tables_of(text, options, device)
    stepping = make_stepping(options, device)
    model = kind(options, options.sizes(len(text.vocabulary)), stepping)
    words = same_words(text)
    run = start_run(options, "eval", device)
    parts: dict[str, Stateful] = {"words": words, "model": model, "cost": stepping.cost}
    averages = partial(WordAverages, device)
    loop = Loop(run, options.epochs, lambda epoch: len(tables.windows(epoch)), device, parts, averages, at_once=False)
    if loop.global_step == 0:
        genotype = model.architecture
        run.write_json("genotype.json", {"genotype": genotype.to_json(), "text": str(genotype)})
        log_genotype(run, genotype)
        log_text(run, text, model.network)

    for epoch in loop.epochs():
        try:
            values = one_epoch(loop, model, tables, epoch)
        except DivergedError:
            if not model.roll_back():
                raise
            run.log(f"went back to the network of epoch {model.best_epoch}, the best so far", event=True)
            continue
        run.records.metrics(loop.global_step, epoch, values | loop.resources() | log_cost(run, stepping))

    network = model.take_best()
    test = score(loop, network, tables.test, "test", watch=False)
    write_results(loop, options, model, network, text, test)
    end_run(run, after_training(run.folder, text.vocabulary))
    return run.folder


def one_epoch(loop: Loop[WordAverages], model: Model, tables: Tables, epoch: int) -> dict[str, float | None]:
    """Train for an epoch and validate; the figures by name, ``averaging`` being 1 if the average was validated.

    Raises:
        DivergedError: when a loss or a weight is no longer a number.
    """
    run, windows = loop.run, tables.windows(epoch)
    if loop.step == 0:
        model.begin_epoch()
    model.network.train()
    for step in loop.steps():
        if step == 0:
            run.log(f"epoch {epoch} lr {tables.options.learning_rate:e}, {len(windows)} windows")
        words = tables.words(windows[step])
        loss = model.step(words, windows[step].rate, epoch, step)
        loop.averages.add(loss, words[0].numel())
    trained = loop.averages.scores()
    run.log(f"train_ppl {trained.perplexity:.4f}")
    averaging = model.result is not model.network
    valid = score(loop, model.result, tables.valid, "valid")
    for line in model.validated(valid.loss, epoch):
        run.log(line)
    values = {"lr": tables.options.learning_rate, **trained.named("train"), **valid.named("valid")}
    return values | {"averaging": float(averaging)}


def score(
    loop: Loop[WordAverages], network: RecurrentNetwork, part: Judged, split: str, watch: bool = True
) -> WordScores:
    """Log and return what a network makes of a part of the text; with ``watch`` a signal may stop it.

    Raises:
        DivergedError: when the loss is not finite.
        PreemptedError: when a signal has come.
    """
    watched: Callable[[Iterable[Window]], Iterable[Window]] = loop.watch if watch else iter
    scores = part.scores(network, watch=watched)
    loop.run.log(f"{split} {scores}")
    loop.check(scores)
    return scores


def make_stepping(options: LanguageOptions, device: torch.device) -> Stepping:
    """How steps of a language model are taken: in full precision."""
    return Stepping(StepOptions(grad_accum=options.grad_accum, tf32=options.tf32, channels_last=False), device)


def same_words(text: TextData) -> SameData:
    """The part of a checkpoint that says which text it is of; all processes must have the same.

    Raises:
        UserError: when they have not.
    """
    words = SameData("words", **text.facts())
    check_same(words.facts, "give every process the same text by --data")
    return words


def log_text(run: Run, text: TextData, network: RecurrentNetwork) -> None:
    """Log the text, and the size of the network."""
    run.log(str(text))
    run.log(f"param size = {num_params(network) / 1e6:.6f}MB")


def log_cost(run: Run, stepping: Stepping) -> dict[str, float]:
    """Log how many words went forward and backward so far; returns it by name, for metrics."""
    passes = stepping.cost.image_passes
    run.log(f"word passes {passes:,.0f}")
    return {"cost/word_passes": passes}


def write_results(
    loop: Loop[WordAverages],
    options: ModelOptions,
    model: Model,
    network: RecurrentNetwork,
    text: TextData,
    test: WordScores,
) -> None:
    """Write the trained network, pictures of the cell and of the training, and result.json; rank 0 writes."""
    if not is_main():
        return
    run = loop.run
    from isnas.draw.training_curves import draw_course  # matplotlib is slow to import
    from isnas.space.recurrent.picture import draw_genotype

    genotype, rows = model.architecture, read_rows(run.folder / "metrics.jsonl")
    weights = run.folder / f"weights.{options.weights_format}"
    save_model(weights, network, genotype, text.vocabulary, options)
    pictures = [*draw_genotype(genotype, run.folder), *draw_course(rows, run.folder)]
    valid = WordScores(min(model.losses))
    result: dict[str, Any] = {
        "arch": str(fixed_values(options)["arch"]),
        "hash": genotype.hash(),
        "text": text.name,
        "text_digest": text.digest,
        "seed": options.seed,
        "epochs": options.epochs,
        "best_epoch": model.best_epoch,
        "valid_ppl": valid.finite_perplexity,
        "test_ppl": test.finite_perplexity,
        "params_millions": num_params(network) / 1e6,
        "seconds": loop.seconds,
        "word_passes": model.stepping.cost.image_passes,
        "rolled_back": model.rolled_back,
        "settings": {key: value for key, value in fixed_values(options).items() if key not in _NO_SETTINGS},
    }
    run.write_json("result.json", result)
    run.log(f"valid_ppl {valid.perplexity:.4f} test_ppl {test.perplexity:.4f} of epoch {model.best_epoch}")
    run.log(f"trained network {weights}")
    run.log(f"pictures {' '.join(map(str, pictures))}")
