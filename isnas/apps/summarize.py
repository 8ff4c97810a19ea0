"""Tables over run folders: the command ``runs`` of ``isnas analyse``."""

from __future__ import annotations

from functools import partial

from isnas.analysis.commands import answer

main = partial(answer, "runs")
