"""How often a sparse polynomial of bits is found again from samples of it: the phase diagram of CoNAS's recovery.

A polynomial f of s monomials is planted, measured at m random points, and recovered as a search recovers the loss of
its architectures; the recovery is told s. See docs/conas.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import nan, sqrt
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import sklearn
import torch

from isnas.analysis.options.planted import PlantedOptions
from isnas.analysis.parity_matrix import draw_bits
from isnas.analysis.report import Report
from isnas.analysis.tables import Table
from isnas.base.errors import UserError
from isnas.base.options import to_dict
from isnas.base.random import generator
from isnas.engine.progress import progress
from isnas.sparse.boolean.parities import Array, Bits, monomials
from isnas.sparse.boolean.polynomial import MOST_CONNECTED, Polynomial, Term
from isnas.sparse.boolean.recovery import RecoverySettings, recover, weight_share

#: Samples and monomials of CoNAS's experiments, of which more is told.
PAPER = (1000, 10)


LEAST, MOST = 0.5, 1.0  # sizes of planted coefficients

Row = dict[str, Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One recovery: whether the monomials are those planted, and whether f is least at the minimum that was found.

    ``right`` is the share of the planted monomials among those found, ``excess`` f at the found minimum above its least
    value in its standard deviations, NaN where the minimum found could not be computed.
    """

    support: bool
    minimum: bool
    right: float
    excess: float
    nonzeros: int
    weight_share: float | None
    largest_error: float


def analyse(options: PlantedOptions) -> Report:
    """Plant and recover, and put it into tables and a picture."""
    values = measure(options)
    return Report.of(parts_of(values), values, partial(draw, values))


def measure(options: PlantedOptions) -> Values:
    """``cells``: figures per noise, s and m, means over the trials.

    A trial of one s has one polynomial, whose points and noise at one m are the first ones of every larger m, and whose
    noise differs in its scale alone.
    """
    counts, sizes, noises = sorted({*options.measurements}), sorted({*options.monomials}), sorted({*options.noises})
    outcomes: dict[tuple[float, int, int], list[Outcome]] = {
        (noise, s, m): [] for noise in noises for s in sizes for m in counts
    }
    points = [(s, trial) for s in sizes for trial in range(options.trials)]
    for index in progress(0, len(points), "recovering"):
        s, trial = points[index]
        random = generator(options.seed, "planted", options.num_bits, s, trial)
        f = plant(options.num_bits, options.degree, s, options.planted_constant, random)
        alpha = draw_bits(counts[-1], options.num_bits, random)
        normal = torch.randn(counts[-1], generator=random, dtype=torch.float64).numpy()
        values, scale = f(alpha), deviation(f)
        for noise in noises:
            for m in counts:
                y = values[:m] + noise * scale * normal[:m]
                outcomes[noise, s, m].append(outcome(f, alpha[:m], y, options))
    return {
        "options": {key: value for key, value in to_dict(options).items() if key != "output"},
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "cells": [
            {"noise": noise, "s": s, "m": m, **{name: _mean([getattr(each, name) for each in of]) for name in _FIGURES}}
            for (noise, s, m), of in outcomes.items()
        ],
    }


_FIGURES = tuple(Outcome.__dataclass_fields__)


def _mean(values: list[float | None]) -> float | None:
    """Mean of what is known, neither None nor NaN; of nothing, None."""
    known = [float(value) for value in values if value is not None and value == value]
    return mean(known) if known else None


def plant(n: int, degree: int, s: int, constant: float, random: torch.Generator) -> Polynomial:
    """``s`` different monomials of 1 to ``degree`` bits, coefficients of random sign and size in [0.5, 1], a constant.

    It is drawn anew while it connects more bits than an exact minimum can be computed of, which with ``s`` at most a
    quarter of n is next to never.
    """
    names = monomials(n, degree)
    while True:
        places = 1 + torch.randperm(len(names) - 1, generator=random)[:s]
        signs = 2.0 * torch.randint(0, 2, (s,), generator=random) - 1.0
        sizes = LEAST + (MOST - LEAST) * torch.rand(s, generator=random, dtype=torch.float64)
        drawn = [Term(names[place], value) for place, value in zip(places.tolist(), (signs * sizes).tolist())]
        f = Polynomial((Term((), constant), *drawn))
        if all(len(component) <= MOST_CONNECTED for component in f.components()):
            return f


def deviation(f: Polynomial) -> float:
    """Standard deviation of f over the cube: the root of the sum of squares of all but the constant (Parseval)."""
    return sqrt(sum(term.coefficient**2 for term in f.terms if term.bits))


def outcome(f: Polynomial, alpha: Bits, y: Array, options: PlantedOptions) -> Outcome:
    """Recover as many monomials as f has, the constant among them unless it is beside them."""
    names = {term.bits for term in f.terms}
    if options.constant == "intercept":
        names -= {()}
    settings = RecoverySettings(
        monomials=len(names),
        degree=options.degree,
        weight=options.lasso_lambda,
        form=options.lasso_form,
        method=options.recovery,
        constant=options.constant,
    )
    found = recover(alpha, y, settings)
    recovered = {term.bits: term.coefficient for term in found.polynomial.terms}
    planted = {term.bits: term.coefficient for term in f.terms if term.bits in names}
    excess = excess_of(f, found.polynomial)
    return Outcome(
        support=recovered.keys() == planted.keys(),
        minimum=bool(excess < 1e-9),
        right=len(recovered.keys() & planted.keys()) / len(planted),
        excess=excess,
        nonzeros=found.nonzeros,
        weight_share=weight_share(found, y, settings),
        largest_error=max(abs(recovered.get(bits, 0.0) - value) for bits, value in planted.items()),
    )


def excess_of(f: Polynomial, found: Polynomial) -> float:
    """f where ``found`` is least minus the least f, in standard deviations of f; other bits are off, as in CoNAS."""
    try:
        place = found.minimiser()
    except UserError:  # it connects too many bits
        return nan
    n = 1 + max((*f.variables, *found.variables))
    point = np.array([place.get(bit, -1) for bit in range(n)], dtype=np.int8)
    best = f.minimiser()
    least = np.array([best.get(bit, -1) for bit in range(n)], dtype=np.int8)
    return float(f(point) - f(least)) / deviation(f)


def parts_of(values: Values) -> list[Table | str]:
    """The shares over m and s, and more of CoNAS's own sizes where they are among them."""
    options, cells = values["options"], values["cells"]
    counts = sorted({cell["m"] for cell in cells})
    shares = {(cell["noise"], cell["s"], cell["m"]): cell for cell in cells}
    rows = [
        [f"{100 * noise:g} %", f"{s}", what, *(f"{100 * shares[noise, s, m][what]:.0f}" for m in counts)]
        for noise, s in dict.fromkeys((cell["noise"], cell["s"]) for cell in cells)
        for what in ("support", "minimum")
    ]
    how = f"lasso, {options['lasso_form']} form, lambda = {options['lasso_lambda']:g}"
    how = how if options["recovery"] == "lasso" else options["recovery"]
    title = (
        f"Planted polynomials whose support and whose minimum are found exactly, in % of {options['trials']}, by m "
        f"(n = {options['num_bits']}, d = {options['degree']}; {how})."
    )
    parts: list[Table | str] = [Table("planted", title, ["noise", "s", "found", *map(str, counts)], rows, num_words=3)]
    own = [cell for cell in cells if (cell["m"], cell["s"]) == PAPER]
    if own:
        title = f"At CoNAS's m = {PAPER[0]} and s = {PAPER[1]}: means over the {options['trials']}."
        columns = {
            "noise": [f"{100 * cell['noise']:g} %" for cell in own],
            **{key: [f"{100 * cell[key]:.0f} %" for cell in own] for key in ("support", "minimum")},
            "planted monomials": [f"{100 * cell['right']:.0f} %" for cell in own],
            "excess": ["" if cell["excess"] is None else f"{cell['excess']:.3f}" for cell in own],
            "nonzeros": [f"{cell['nonzeros']:,.0f}" for cell in own],
            "largest error": [f"{cell['largest_error']:.4f}" for cell in own],
            "lambda / lambda_max": ["" if (share := cell["weight_share"]) is None else f"{share:.1e}" for cell in own],
        }
        parts.append(Table("planted_paper", title, list(columns), list(zip(*columns.values()))))
    return parts


def draw(values: Values, folder: Path) -> list[Path]:
    """The phase diagram: exact supports above, exact minima below, a column per noise."""
    from isnas.draw.heat_maps import HeatMap, draw_heat_maps  # matplotlib is slow to import

    cells = values["cells"]
    noises, sizes, counts = (list(dict.fromkeys(cell[key] for cell in cells)) for key in ("noise", "s", "m"))
    shares = {(cell["noise"], cell["s"], cell["m"]): cell for cell in cells}
    panels = [
        [
            HeatMap(
                f"{what} found, noise {100 * noise:g} %",
                [f"{s}" for s in sizes],
                [f"{m}" for m in counts],
                [[shares[noise, s, m][what] for m in counts] for s in sizes],
            )
            for noise in noises
        ]
        for what in ("support", "minimum")
    ]
    label = f"share of {values['options']['trials']} polynomials (cells: %)"
    return draw_heat_maps(panels, folder, "planted", "samples m", "monomials s", label)
