"""Cells trained with one budget on Fashion-MNIST: a found one, two published ones, three random ones.

Random cells have connections from distinct predecessors. Runs tools/evaluate.py with 3 seeds for each
(configs/smoke/fashion_mnist_evaluate.yaml), each in a folder below --folder, and prints the table of
``tools/analyse.py runs``. Stopped anywhere, the same command goes on.
"""

from common import ROOT, TINY_RUN, as_flags, make_runs_parser, run_tool, write_figures

from isnas.analysis.runs import SummaryOptions, analyse

FOUND = ROOT / "docs/results/fashion_mnist_twostage.json"
ARCHITECTURES = {"found": str(FOUND), "ISTA_twostage": "ISTA_twostage", "DARTS_V2": "DARTS_V2"}
ARCHITECTURES |= {f"random-{seed}": f"random_distinct:{seed}" for seed in range(3)}
QUICK = ("found", "random-0")


def main() -> None:
    arguments = make_runs_parser(__doc__, "cells", "fashion_mnist_evaluate.yaml").parse_args()
    names, settings = tuple(ARCHITECTURES), {"seeds": arguments.seeds}
    free, results = {"jobs": arguments.jobs}, [f"seed-{seed}/result.json" for seed in arguments.seeds]
    if arguments.quick:
        names, settings, free, results = QUICK, TINY_RUN, {}, ["result.json"]
    folders = [arguments.folder / name for name in names]
    for folder, name in zip(folders, names):
        flags = ["--config", str(arguments.config), *as_flags(settings | {"arch": ARCHITECTURES[name]})]
        run_tool("evaluate.py", folder, flags, as_flags(free), results, arguments.quick)
    found = analyse(SummaryOptions(runs=tuple(map(str, folders))))
    print(found.text)
    write_figures(arguments.output, found.values)


if __name__ == "__main__":
    main()
