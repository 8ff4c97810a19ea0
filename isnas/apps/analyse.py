"""``isnas analyse COMMAND`` answers a question with a table, its numbers and pictures; --help lists them."""

from __future__ import annotations

from isnas.analysis.commands import main

__all__ = ["main"]
