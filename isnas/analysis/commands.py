"""The questions that ``tools/analyse.py`` answers, by name, and how an answer is printed and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isnas.analysis.report import Report, ReportOptions, left_out
from isnas.base.errors import UserError
from isnas.base.files import check_output, output_folder, write_json, write_text
from isnas.base.late import late, load
from isnas.base.options import parse, parse_command
from isnas.base.preemption import imported


@dataclass(frozen=True)
class Analysis:
    """A command: what it answers, where its options are, and what makes the report of them, and two examples.

    What takes seconds to import is imported when ``analyse`` is asked for; ``options`` need none of it.
    """

    question: str
    place_of_options: str
    place: str
    examples: tuple[str, str]

    @property
    def options(self) -> type[ReportOptions]:
        """The class of the options."""
        return load(f"isnas.analysis.options.{self.place_of_options}")

    @property
    def analyse(self) -> Callable[[Any], Report]:
        """What answers."""
        return load(f"isnas.analysis.{self.place}")

    @property
    def about(self) -> str:
        """What its help says; see :func:`isnas.base.options.parse`."""
        return "\n".join([f"Answers {self.question}.", *self.examples])


ANALYSES = {
    "runs": Analysis(
        "how searches and trainings came out, each with the spread over its seeds",
        "runs:SummaryOptions",
        "runs:analyse",
        ("two_stage darts two_stage_trained --output tables", "two_stage two_stage_trained --output runs.html"),
    ),
    "solvers": Analysis(
        "how the solvers of the recovery converge, what they certify and how long they take",
        "solvers:SolverOptions",
        "solver_report:analyse",
        ("", "--draws 1 --solver_max_iter 10000 --output solvers"),
    ),
    "measurement": Analysis(
        "how coherent the kinds of measurement matrix A are, what they recover, and how far c is from z",
        "matrices:MeasurementOptions",
        "matrices:analyse",
        ("", "--proj_dims 10 --draws 20 --output measurement"),
    ),
    "parity_matrix": Analysis(
        "how close CoNAS's matrix of parities is to orthonormal columns, over the number of measurements",
        "parity_matrix:ParityMatrixOptions",
        "parity_matrix:analyse",
        ("", "--num_bits 60 --measurements 250 500 1000 --output parity_matrix"),
    ),
    "planted": Analysis(
        "how often a planted sparse polynomial and its minimum are recovered, over measurements and monomials",
        "planted:PlantedOptions",
        "planted:analyse",
        ("", "--recovery iht --trials 3 --output planted"),
    ),
    "epsilon": Analysis(
        "what epsilon and the learning rates do to one-stage runs: terminations and architectures",
        "epsilon:EpsilonOptions",
        "epsilon:analyse",
        ("one_stage", "one_stage constant --epsilons 1e-2 1e-3 --output epsilon"),
    ),
    "kendall": Analysis(
        "whether the accuracy in the super-net ranks cells as training them does",
        "kendall:KendallOptions",
        "kendall:analyse",
        ("two_stage two_stage_trained", "two_stage two_stage_trained --pairs epochs --output kendall"),
    ),
    "coverage": Analysis(
        "how many different architectures searches pass in their epochs",
        "coverage:CoverageOptions",
        "coverage:analyse",
        ("darts two_stage", "darts two_stage --epochs 50 --output coverage"),
    ),
    "agreement": Analysis(
        "what the cells that the seeds of a search found have in common, against random cells",
        "agreement:AgreementOptions",
        "agreement:analyse",
        ("two_stage", "darts two_stage --output agreement"),
    ),
    "table1": Analysis(
        "what a step of each search costs in time and memory, beside Table 1 of ISTA-NAS",
        "table1:Table1Options",
        "table1:analyse",
        ("", "--methods two_stage darts --batch_scale 0.125 --steps 3 --device cpu"),
    ),
    "figure2": Analysis(
        "how accurate super-nets are over their searches, and search and training in one (Figure 2 of ISTA-NAS)",
        "figure2:Figure2Options",
        "figure2:analyse",
        ("two_stage darts", "two_stage two_stage_trained one_stage --output figure2"),
    ),
    "table3": Analysis(
        "how the cells found compare on CIFAR-10, beside Table 3 of ISTA-NAS",
        "paper_tables:PaperTableOptions",
        "paper_tables:table3",
        ("", "two_stage two_stage_best --output table3"),
    ),
    "table4": Analysis(
        "how the cells found compare on ImageNet, beside Table 4 of ISTA-NAS",
        "paper_tables:PaperTableOptions",
        "paper_tables:table4",
        ("", "one_stage transferred --output table4"),
    ),
    "conas": Analysis(
        "what the stages of CoNAS measured, and how much of it sparse polynomials explain (Figure 4 of CoNAS)",
        "conas:ConasOptions",
        "conas:analyse",
        ("conas_t1 conas_t4 --output conas", "conas_t4 --no_explain"),
    ),
    "conas_table1": Analysis(
        "how the cells found compare on the images they were searched on, beside Table 1 of CoNAS",
        "paper_tables:PaperTableOptions",
        "conas_tables:table1",
        ("", "conas_t1 conas_t1_best --output conas_table1"),
    ),
    "conas_table2": Analysis(
        "how the cells found compare on other images, beside Table 2 of CoNAS",
        "paper_tables:PaperTableOptions",
        "conas_tables:table2",
        ("", "conas_t1 conas_cifar100 --output conas_table2"),
    ),
    "conas_table4": Analysis(
        "what the LASSO's weight does to the cells that CoNAS finds, beside its Table 4",
        "conas_stability:StabilityOptions",
        "conas_stability:analyse",
        ("conas_t1", "conas_t1 --lambdas 0.5 2 8 --output conas_table4"),
    ),
    "conas_table5": Analysis(
        "how randomly wired cells compare with those found, beside Table 5 of CoNAS",
        "paper_tables:PaperTableOptions",
        "conas_tables:table5",
        ("", "wired_0 conas_t4 conas_t4_best --output conas_table5"),
    ),
    "mini": Analysis(
        "how far architectures of a tabulated benchmark differ, how seeds agree, and what connections explain",
        "mini:MiniOptions",
        "mini:analyse",
        ("", "--table mini_dil --output answers"),
    ),
    "searches": Analysis(
        "what each search is worth at equal cost: the places of the cells it finds on a tabulated benchmark",
        "searches:SearchesOptions",
        "tabulated.searches:analyse",
        ("--only sampled --budgets 4 --num_seeds 2", "--rows docs/results/searches_mini.jsonl --no_search --budgets 4"),
    ),
    "knowledge": Analysis(
        "what b knows of each connection in the end, against what connections do in a tabulated benchmark",
        "knowledge:KnowledgeOptions",
        "tabulated.knowledge:analyse",
        ("--trainings 4 --num_seeds 2", "--rows docs/results/knowledge_mini.jsonl --no_search"),
    ),
}


def main(argv: list[str]) -> None:
    """Answer the question that ``argv`` names."""
    questions = {name: analysis.question for name, analysis in ANALYSES.items()}
    about = "Questions to run folders, and to the mathematics of the recovery.\nruns two_stage darts\ntable1 --help"
    name, flags = parse_command(questions, argv, about)
    answer(name, flags, command=name)


def answer(name: str, flags: list[str], command: str = "") -> None:
    """Print the answer to the question ``name`` and keep it where ``--output`` says; ``command`` as in ``parse``.

    The folder is checked before anything is computed and made when there is something to keep.

    Raises:
        UserError: when the answer lacks what could not be read, after it is printed and kept.
    """
    analysis = ANALYSES[name]
    elsewhere = late("isnas.methods.elsewhere:elsewhere")
    options = parse(analysis.options, flags, analysis.about, command, elsewhere=elsewhere)
    on_a_page = options.on_a_page and options.output.endswith(".html")
    if options.output:
        check_output(str(Path(options.output).parent) if on_a_page else options.output)
    analyse = analysis.analyse
    imported()
    report = analyse(options)
    print(report.text)
    if on_a_page:
        assert report.page is not None
        output_folder(str(Path(options.output).parent))
        write_text(Path(options.output), report.page())
        print(f"written to {options.output}")
    elif options.output:
        folder = output_folder(options.output)
        others = [path for table in report.tables for path in table.write(folder)] + report.draw(folder)
        write_json(folder / f"{name}.json", report.values)
        write_text(folder / "table.md", report.text)
        print(f"written to {folder}: {' '.join(['table.md', f'{name}.json', *(path.name for path in others)])}")
    for warning in report.warnings:
        print(f"WARNING: {warning}")
    if report.faults:
        raise UserError(left_out(report.faults))
