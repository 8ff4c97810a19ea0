"""Print the peak memory of a training step on a GPU, by its parts, without a GPU; see docs/memory.md.

The config and the flags are those of train_search.py, train_onestage.py or evaluate.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from isnas.base.errors import UserError, run_tool
from isnas.base.preemption import begin

if __name__ == "__main__":
    begin()

from isnas.analysis.step_memory import MemoryOptions, report
from isnas.methods.languages import is_of_text
from isnas.methods.registry import METHODS, parse_run


def main(argv: list[str]) -> None:
    """Estimate what ``argv`` asks for."""
    if is_of_text(argv):
        raise UserError("the memory of networks of images is estimated; there is no estimate for language models")
    description = "Peak memory of a training step, by its parts, without a GPU."
    print(report(*parse_run(argv, METHODS, "two_stage", description, MemoryOptions)))


if __name__ == "__main__":
    run_tool(main)
