"""What --recover_every step adds to a step of the search (W and b): batch 256, C = 16, 8 cells, 32 x 32, 2 threads.

Every step recovers; the time of the recovery, with what follows when the support changes, is set against the rest of
the same step.
"""

import statistics
import sys

import torch
from common import SEARCH_SIZES, TINY_SIZES, make_parser, random_batch, seconds_in_turn, setting, write_figures

from isnas.methods.recovery_figures import Recovery
from isnas.methods.registry import make_options
from isnas.methods.two_stage import TwoStage

MOST_ADDED = 0.02
WARM_UP = 2


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    sizes, image_size = SEARCH_SIZES, 32
    if arguments.quick:
        arguments.batch_size, arguments.steps, sizes, image_size = 4, 2, TINY_SIZES, 8
    torch.set_num_threads(1 if arguments.quick else 2)
    options = make_options("two_stage", recover_every="step", **sizes)
    search = TwoStage.build(options, setting(options, image_size))
    batch = random_batch(arguments.batch_size, image_size, torch.Generator().manual_seed(0))
    found: list[Recovery] = []
    parts = {"recovery": lambda: found.append(search.recover()), "step": lambda: search.step(batch, batch)}
    recoveries, steps = seconds_in_turn(parts, arguments.steps, WARM_UP).values()
    changes = sum(recovery.changed for recovery in found[WARM_UP:])
    added = statistics.median(r / s for r, s in zip(recoveries, steps))
    milliseconds = 1e3 * statistics.median(recoveries)
    print(
        f"recovery {milliseconds:.2f} ms, step {1e3 * statistics.median(steps):.0f} ms: {100 * added:.3f} % added "
        f"(at most {100 * MOST_ADDED:g} %); the support changed in {changes} of {arguments.steps} steps"
    )
    figures = {"recovery_seconds": recoveries, "step_seconds": steps, "changes": changes, "added": added}
    write_figures(arguments.output, {"batch_size": arguments.batch_size, **figures})
    if not arguments.quick and added > MOST_ADDED:
        sys.exit("the figure exceeds the bound")


if __name__ == "__main__":
    main()
