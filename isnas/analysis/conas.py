"""What CoNAS's stages measured: losses by stages (its Figure 4), and how much of them sparse polynomials explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from isnas.analysis.conas_runs import ConasRun, Replay, Stage, conas_among, replay
from isnas.analysis.explained import Explained, explained, lasso_fit, sparse_fit
from isnas.analysis.options.conas import ConasOptions
from isnas.analysis.report import Report
from isnas.analysis.search_runs import read_all
from isnas.analysis.tables import Table
from isnas.engine.progress import progress
from isnas.sparse.boolean.parities import Bits

#: Shares of the variance from which on the paper's assumption holds, and holds in part.
HOLDS, IN_PART = 0.9, 0.5
#: Measurements in a fold, at least.
_LEAST_IN_FOLD = 4

STAGES_TITLE = (
    "What the stages measured in the super-net. `missing`: architectures without a finite loss; `fixed`: bits that are "
    "so before the stage, and how many of them are on; `loss`: mean ± standard deviation, in nats, so on text of the "
    "logarithm of the perplexity; `least`: of the best one of the stage, which in the first stage is what a random "
    "search of as many measurements finds; `found`: of the architecture that the search ended with, measured in the "
    "same way."
)
EXPLAINED_TITLE = (
    "Share of the variance of the losses that polynomials of the free bits explain on held-out measurements, R^2, mean "
    "± standard deviation over {folds} folds; 0 % is what the mean of the other folds explains. Degree 1 and 2: LASSO "
    "with a free constant, of {weights} weights the best by cross-validation within the training part. `s terms`: what "
    "the search recovers, of its s terms alone. `assumption`: that s terms, recovered from so many measurements, stand "
    "for the loss holds where they explain {holds:.0%} or more, in part from {in_part:.0%} on."
)


@dataclass(frozen=True)
class StageSummary:
    """A stage in numbers: losses in nats, the mean accuracy in percent, shares of the variance where computed.

    ``found``: the loss of what the search ended with, in its last stage.
    """

    stage: int
    measured: int
    missing: int
    unused: int
    fixed: int
    fixed_on: int
    mean: float | None
    deviation: float | None
    accuracy: float | None
    least: float | None
    found: float | None
    degree1: Explained | None = None
    degree2: Explained | None = None
    terms: Explained | None = None

    @property
    def assumption(self) -> str:
        """Whether it holds that the loss is a sparse polynomial."""
        if self.terms is None:
            return ""
        share = self.terms.mean
        return "holds" if share >= HOLDS else "holds in part" if share >= IN_PART else "does not hold"


@dataclass(frozen=True)
class Course:
    """A search of CoNAS by its stages."""

    search: str
    data: str
    seed: int
    stages: tuple[StageSummary, ...]

    @property
    def label(self) -> str:
        """For pictures."""
        return f"{self.search}, {self.data}, seed {self.seed}"


def analyse(options: ConasOptions) -> Report:
    """Summarise the stages of the runs."""
    runs = conas_among(read_all(options.runs, of_text=True).searches)
    replays = [replay(run) for run in runs]
    places = [(run, stage) for run in range(len(runs)) for stage in range(len(runs[run].stages))]
    summaries: list[list[StageSummary]] = [[] for _ in runs]
    for place in progress(0, len(places), "stages"):
        number, stage = places[place]
        summaries[number].append(_summarize(runs[number], replays[number], stage, options))
    courses = [Course(run.name, run.data, run.search.seed, tuple(stages)) for run, stages in zip(runs, summaries)]
    parts = [_stages_table(courses)]
    if any(stage.terms for course in courses for stage in course.stages):
        parts.append(_explained_table(courses, options))
    warnings = tuple(warning for replayed in replays for warning in replayed.warnings)
    values = {"searches": [asdict(course) for course in courses]}
    return replace(Report.of(parts, values, partial(draw, courses)), warnings=warnings)


def _summarize(run: ConasRun, replayed: Replay, place: int, options: ConasOptions) -> StageSummary:
    stage, mask = run.stages[place], replayed.masks[place]
    losses = stage.finite
    last = stage.number == len(run.stages)
    return StageSummary(
        stage=stage.number,
        measured=len(stage.losses),
        missing=len(stage.losses) - len(losses),
        unused=len(losses) - len(run.usable(stage)[1]),
        fixed=int((mask != 0).sum()),
        fixed_on=int((mask == 1).sum()),
        mean=float(losses.mean()) if len(losses) else None,
        deviation=float(losses.std(ddof=1)) if len(losses) > 1 else None,
        accuracy=float(stage.accuracies.mean()) if len(stage.accuracies) else None,
        least=float(losses.min()) if len(losses) else None,
        found=run.loss_of_result if last else None,
        **(_explained(run, stage, mask, options) if options.explain else {}),
    )


def _explained(run: ConasRun, stage: Stage, mask: Bits, options: ConasOptions) -> dict[str, Explained]:
    alpha, losses = run.usable(stage)
    alpha = alpha[:, mask == 0]
    if len(losses) < _LEAST_IN_FOLD * max(options.folds, options.inner_folds) or not alpha.shape[1]:
        return {}
    fits = {f"degree{degree}": lasso_fit(degree, options.weights, options.inner_folds) for degree in (1, 2)}
    fits["terms"] = sparse_fit(run.options_of(stage).settings())
    return {
        name: explained(fit, alpha, losses, options.folds, options.seed, stage.number) for name, fit in fits.items()
    }


def _stages_table(courses: Sequence[Course]) -> Table:
    header = [
        "search",
        "data",
        "seed",
        "stage",
        "measured",
        "missing",
        "fixed",
        "loss",
        "least",
        "found",
        "accuracy (%)",
    ]
    unused = any(stage.unused for course in courses for stage in course.stages)
    rows = []
    for course in courses:
        for stage in course.stages:
            spread = "" if stage.deviation is None else f" ± {stage.deviation:.4f}"
            rows.append(
                [
                    *(course.search, course.data, str(course.seed), str(stage.stage), str(stage.measured)),
                    *(str(stage.missing), f"{stage.fixed} ({stage.fixed_on} on)", f"{_loss(stage.mean)}{spread}"),
                    *(
                        _loss(stage.least),
                        _loss(stage.found),
                        "" if stage.accuracy is None else f"{stage.accuracy:.2f}",
                        *([str(stage.unused)] if unused else []),
                    ),
                ]
            )
    return Table("conas", STAGES_TITLE, [*header, *(["above max_loss"] if unused else [])], rows, 3)


def _explained_table(courses: Sequence[Course], options: ConasOptions) -> Table:
    header = ["search", "data", "assumption", "seed", "stage", "degree 1", "degree 2", "s terms"]
    rows = [
        [
            *(course.search, course.data, stage.assumption, str(course.seed), str(stage.stage)),
            *("" if share is None else str(share) for share in (stage.degree1, stage.degree2, stage.terms)),
        ]
        for course in courses
        for stage in course.stages
    ]
    words = {"folds": options.folds, "weights": options.weights, "holds": HOLDS, "in_part": IN_PART}
    return Table("conas_explained", EXPLAINED_TITLE.format(**words), header, rows, 3)


def draw(courses: Sequence[Course], folder: Path) -> list[Path]:
    """Write ``conas_figure4.png`` and ``.svg``: mean loss by stages, and one standard deviation around it."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    lines = []
    for course in courses:
        stages = [stage for stage in course.stages if stage.mean is not None]
        means, spreads = [stage.mean or 0.0 for stage in stages], [stage.deviation or 0.0 for stage in stages]
        low, high = ([m + sign * spread for m, spread in zip(means, spreads)] for sign in (-1, 1))
        lines.append(Line(course.label, [stage.stage for stage in stages], means, low, high))
    return draw_lines(
        [LinePanel("losses of the sampled architectures", lines, "stage", "loss")], folder, "conas_figure4"
    )


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
