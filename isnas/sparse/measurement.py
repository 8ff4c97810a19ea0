"""Measurement matrices A (m, n): drawn once per node and fixed for the run."""

from __future__ import annotations

import numpy as np
import torch

from isnas.sparse.lasso import Array

#: ``uniform``: entries uniform in [0, 1), columns as they come (the released code; the paper only asks for RIP).
#: ``gaussian``: entries N(0, 1/m).  ``unit_gaussian``: the same with columns scaled to unit norm.
MEASUREMENTS = ("uniform", "gaussian", "unit_gaussian")


def draw_measurement(kind: str, m: int, n: int, generator: torch.Generator) -> Array:
    """A measurement matrix (m, n), float64, of one of :data:`MEASUREMENTS`."""
    if kind == "uniform":
        return torch.rand(m, n, generator=generator, dtype=torch.float64).numpy()
    assert kind in MEASUREMENTS
    A = torch.randn(m, n, generator=generator, dtype=torch.float64).numpy() / np.sqrt(m)
    return A / np.linalg.norm(A, axis=0) if kind == "unit_gaussian" else A
