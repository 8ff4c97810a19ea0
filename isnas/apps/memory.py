"""Print the peak memory of a training step on a GPU, by its parts, without a GPU; see docs/memory.md.

The config and the flags are those of train_search.py, train_onestage.py or evaluate.py.
"""

from __future__ import annotations

from isnas.analysis.options.memory import MemoryOptions
from isnas.apps.console import COMMANDS
from isnas.base.errors import UserError
from isnas.base.preemption import imported
from isnas.methods.languages import is_of_text
from isnas.methods.registry import METHODS, parse_run


def main(argv: list[str]) -> None:
    """Estimate what ``argv`` asks for."""
    if is_of_text(argv):
        raise UserError("the memory of networks of images is estimated; there is no estimate for language models")
    about = COMMANDS["memory"].about
    method, options = parse_run(argv, METHODS, "two_stage", about, MemoryOptions)

    from isnas.analysis.step_memory import report

    imported()
    print(report(method, options))
