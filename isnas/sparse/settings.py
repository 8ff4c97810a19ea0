"""What a recovery can be told, without what computes it."""

from __future__ import annotations

#: ``uniform``: entries uniform in [0, 1), columns as they come (the released code; the paper only asks for RIP).
#: ``gaussian``: entries N(0, 1/m).  ``unit_gaussian``: the same with columns scaled to unit norm.
MEASUREMENTS = ("uniform", "gaussian", "unit_gaussian")

#: Most iterations of ISTA and FISTA.
MAX_ITER = 300_000  # 1.3 s of ISTA and 3.2 s of FISTA for the 8 problems of a recovery (docs/solvers.md)
