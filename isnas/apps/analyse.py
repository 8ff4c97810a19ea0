"""``isnas analyse COMMAND`` answers a question with a table, its numbers and pictures; --help lists them."""

from __future__ import annotations

from isnas.base.preemption import imported


def main(argv: list[str]) -> None:
    """Answer the question that ``argv`` names."""
    from isnas.analysis.commands import main as analyse

    imported()
    analyse(argv)
