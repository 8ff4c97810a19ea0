"""Tables over run folders: the command ``runs`` of ``isnas analyse``."""

from __future__ import annotations

from isnas.base.preemption import imported


def main(argv: list[str]) -> None:
    """Show the runs that ``argv`` names."""
    from isnas.analysis.commands import answer

    imported()
    answer("runs", argv)
