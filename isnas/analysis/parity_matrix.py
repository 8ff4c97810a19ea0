"""The matrix A of parities that CoNAS measures with: orthonormality, coherence, restricted isometry over samples m.

The quantities are those of docs/conas.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import comb, log, log2, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isnas.analysis.options.parity_matrix import ParityMatrixOptions
from isnas.analysis.report import Report
from isnas.analysis.tables import Table
from isnas.base.options import to_dict
from isnas.base.random import generator
from isnas.engine.progress import progress
from isnas.sparse.boolean.parities import Bits, Parities, monomials, num_monomials

#: delta_2s below it lets l1 minimisation find every s-sparse vector from exact values (Candes, 2008).
CANDES = sqrt(2) - 1


_BLOCK = 1000  # samples whose parities are held in float32 at a time
_MOST_STEPS = 100  # of a search for a vector; it ends after about ten

Row = dict[str, Any]
Values = dict[str, Any]


@dataclass(frozen=True)
class Isometry:
    """How far ||A u||^2 / (m ||u||^2) is from 1 over k-sparse u; all but ``mean`` are lower bounds of delta_k.

    ``mean`` and ``largest`` of random vectors, ``supports`` of the worst vector on each of their supports, ``sought``
    of the vectors that :func:`sought_isometry` ends at.
    """

    mean: float
    largest: float
    supports: float
    sought: float


def analyse(options: ParityMatrixOptions) -> Report:
    """Measure, and put it into tables and a picture."""
    values = measure(options)
    return Report.of(parts_of(values), values, partial(draw, values))


def measure(options: ParityMatrixOptions) -> Values:
    """All figures: ``cubes`` per number of bits, ``theorem`` per order, ``matrices`` per m and order.

    The samples of one m are the first ones of every larger m.
    """
    n, d, orders = options.num_bits, options.degree, (options.monomials, 2 * options.monomials)
    natural, base_2 = ({k: rows_of_theorem(k, d, n, of) for k in orders} for of in (log, log2))
    counts = sorted(set(options.measurements))
    alpha = draw_bits(counts[-1], n, generator(options.seed, "parity_matrix", n))
    coherences = dict(zip(counts, coherence_of_first(alpha, d, counts)))
    points = [(k, m) for k in orders for m in counts]
    matrices = []
    for index in progress(0, len(points), "measuring"):
        k, m = points[index]
        random = generator(options.seed, "vectors", k)  # the same for every m
        isometry = measure_isometry(Parities(alpha[:m], d), k, options.vectors, options.starts, random)
        matrices.append({"order": k, "m": m, "coherence": coherences[m], **isometry.__dict__})
    return {
        "options": {key: value for key, value in to_dict(options).items() if key != "output"},
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "cubes": [{"n": bits, **cube_figures(bits, d)} for bits in range(1, options.cube_bits + 1)],
        "theorem": [{"order": k, "natural": natural[k], "base_2": base_2[k]} for k in orders],
        "matrices": matrices,
    }


def draw_bits(m: int, n: int, random: torch.Generator) -> Bits:
    """m uniform points of the cube of n bits."""
    return (2 * torch.randint(0, 2, (m, n), generator=random, dtype=torch.int8) - 1).numpy()


def cube_figures(n: int, degree: int) -> Row:
    """<chi_S, chi_T>, the mean of chi_S chi_T over the cube of n bits, of all sets of at most ``degree`` bits."""
    A = Parities(np.array(list(product([1, -1], repeat=n)), dtype=np.int8), min(degree, n)).dense()
    gram = A.T @ A / len(A)  # sums of +-1: exact, as is the division by a power of two
    diagonal = np.diagonal(gram)
    others = np.abs(gram - np.diag(diagonal))
    return {
        "points": len(A),
        "parities": A.shape[1],
        "largest_off_diagonal": float(others.max()),
        "diagonal": [float(diagonal.min()), float(diagonal.max())],
    }


def rows_of_theorem(order: int, degree: int, n: int, logarithm: Callable[[float], float]) -> float:
    """m = s log^2(s) d log(n) of CoNAS's Theorem 3.2, whose constant factors nobody knows left out."""
    return float(order * logarithm(order) ** 2 * degree * logarithm(n))


def coherence_of_first(alpha: Bits, degree: int, counts: list[int]) -> list[float]:
    """max over S != T of |a_S^T a_T| / m for the first m samples of alpha, for every m of ``counts``, ascending.

    chi_S chi_T is the parity of the bits in one of S and T alone, which are 1 to 2 ``degree``; and every set of so
    many bits is such a difference. So it is the largest |sum over samples of chi_U| over these U, of which there are
    a third as many as pairs of columns at degree 2. The first ``degree`` bits of U are its head and the rest its tail,
    and the sums are products of columns of heads with those of tails: whole numbers below 2^24, exact in float32.
    """
    n = alpha.shape[1]
    names = monomials(n, degree)
    ends = [num_monomials(n, size) for size in range(degree + 1)]
    blocks: list[tuple[NDArray[np.intp], slice]] = []  # heads with the same last bit, tails of one size after it
    for last in range(n):
        heads = np.array([k for k in range(ends[degree - 1], ends[degree]) if names[k][-1] == last], dtype=np.intp)
        for size in range(1, degree + 1):
            after = comb(n - 1 - last, size)  # sets of bits after the last: those of this size that come last
            if len(heads) and after:
                blocks.append((heads, slice(ends[size] - after, ends[size])))
    sums = [np.zeros((len(heads), tails.stop - tails.start), dtype=np.float32) for heads, tails in blocks]
    of_columns, done, found = np.zeros(len(names)), 0, []
    for m in counts:
        for first in range(done, m, _BLOCK):
            A = Parities(alpha[first : min(first + _BLOCK, m)], degree).matrix.astype(np.float32)
            of_columns += A.sum(1, dtype=np.float64)
            for total, (heads, tails) in zip(sums, blocks):
                total += A[heads] @ A[tails].T
        done = m
        largest = [np.abs(of_columns[1:]).max(), *(max(total.max(), -total.min()) for total in sums)]
        found.append(float(max(largest)) / m)
    return found


def measure_isometry(parities: Parities, order: int, vectors: int, starts: int, random: torch.Generator) -> Isometry:
    """Of ``vectors`` random supports with normal entries, and of ``starts`` searches."""
    m, p = parities.shape
    deviations, worst = np.empty(vectors), 0.0
    for number in range(vectors):
        places = torch.randperm(p, generator=random)[:order].sort().values.numpy()
        u = torch.randn(order, generator=random, dtype=torch.float64).numpy()
        columns = parities.columns(places)
        gram = columns.T @ columns / m
        deviations[number] = abs(u @ gram @ u / (u @ u) - 1.0)
        worst = max(worst, float(np.abs(np.linalg.eigvalsh(gram) - 1.0).max()))
    sought = max(sought_isometry(parities, order, random) for _ in range(starts))
    return Isometry(float(deviations.mean()), float(deviations.max()), worst, sought)


def sought_isometry(parities: Parities, order: int, random: torch.Generator) -> float:
    """||A u||^2 / m - 1 of a u of length 1 with ``order`` entries at which a sparse power iteration ends.

    From the vector r = A u, a random one at first, the next support has the columns most correlated with r, and the
    next u is the first eigenvector of A_T^T A_T there (as in the truncated power method of Yuan and Zhang, 2013).
    """
    m = parities.shape[0]
    r = torch.randn(m, generator=random, dtype=torch.float64).numpy()
    best = 0.0
    for _ in range(_MOST_STEPS):
        places = np.sort(np.argsort(-np.abs(parities.correlate(r)), kind="stable")[:order])
        columns = parities.columns(places)
        eigenvalues, vectors = np.linalg.eigh(columns.T @ columns / m)
        if eigenvalues[-1] - 1.0 <= best + 1e-9:
            break
        best = float(eigenvalues[-1] - 1.0)
        r = columns @ vectors[:, -1]
    return best


def parts_of(values: Values) -> list[Table | str]:
    """The figures as tables, and what they say of the theorems."""
    options, orders = values["options"], [row["order"] for row in values["theorem"]]
    n, d = options["num_bits"], options["degree"]
    cubes = Table(
        "cubes",
        f"Parities of degree {d} at most over whole cubes: largest |<chi_S, chi_T>|, and <chi_S, chi_S>.",
        ["n", "points", "parities", "S not T", "S = T"],
        [
            [
                *(f"{row['n']}", f"{row['points']:,}", f"{row['parities']:,}", f"{row['largest_off_diagonal']:g}"),
                " to ".join(f"{value:g}" for value in sorted(set(row["diagonal"]))),
            ]
            for row in values["cubes"]
        ],
        num_words=0,
    )
    theorem = Table(
        "theorem",
        f"m = k log^2(k) d log(n) of Theorem 3.2 at d = {d}, n = {n}, without its constants, which are not known.",
        ["order k", "natural logarithms", "logarithms to base 2"],
        [[f"{row['order']}", f"{row['natural']:,.0f}", f"{row['base_2']:,.0f}"] for row in values["theorem"]],
        num_words=0,
    )
    matrices = Table(
        "matrices",
        f"A of m samples, n = {n}, d = {d}: coherence, and how far ||A u||^2 / (m ||u||^2) is from 1 over k-sparse u "
        f"({options['vectors']:,} random ones, {options['starts']} searches). All but the mean are lower bounds of "
        "delta_k, coherence too, which is delta_2.",
        ["order k", "m", "coherence", "random u, mean", "random u, largest", "worst on their supports", "sought u"],
        [
            [
                f"{row['order']}",
                f"{row['m']:,}",
                *(f"{row[key]:.3f}" for key in ("coherence", "mean", "largest", "supports", "sought")),
            ]
            for row in values["matrices"]
        ],
        num_words=0,
    )
    return [cubes, theorem, matrices, verdict(values["matrices"], orders[-1])]


def verdict(matrices: list[Row], order: int) -> str:
    """Up to which m Candes' condition on delta_2s is known to fail; that it holds no lower bound can say."""
    bounds = {row["m"]: max(row["supports"], row["sought"]) for row in matrices if row["order"] == order}
    failing = [m for m, bound in bounds.items() if bound >= CANDES]
    threshold = f"delta_{order} < sqrt(2) - 1 = {CANDES:.3f}"
    if not failing:
        return f"{threshold} (Candes): no m is known to fail."
    return f"{threshold} (Candes) fails at m = {', '.join(f'{m:,}' for m in failing)}."


def draw(values: Values, folder: Path) -> list[Path]:
    """Coherence and the lower bounds of delta over m, a panel per order, Theorem 3.2's m as vertical lines."""
    from isnas.draw.lines import Line, LinePanel, draw_lines  # matplotlib is slow to import

    panels = []
    for theorem in values["theorem"]:
        order = theorem["order"]
        rows = [row for row in values["matrices"] if row["order"] == order]
        counts = [row["m"] for row in rows]
        names = {
            "coherence": "coherence",
            "random u, mean": "mean",
            "random u, largest": "largest",
            "worst u on random supports": "supports",
            "sought u": "sought",
        }
        lines = [Line(label, counts, [row[key] for row in rows]) for label, key in names.items()]
        if order == values["theorem"][-1]["order"]:
            lines.append(Line("$\\sqrt{2} - 1$", counts, [CANDES] * len(counts)))
        marks = [theorem["natural"], theorem["base_2"]]
        title = f"lower bounds of $\\delta_{{{order}}}$"
        panels.append(LinePanel(title, lines, "m; dashed: Theorem 3.2's, without constants", "", marks=marks, log="xy"))
    return draw_lines(panels, folder, "parity_matrix")
