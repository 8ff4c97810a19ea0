"""DARTS and PC-DARTS, in first and second order, against the originals: two steps each, and 40 derived genotypes."""

from types import SimpleNamespace

import mistakes
import pytest
import torch
from fixtures import Arrays, Comparison, first_departure, options_of
from original import ROLES, build, in_full, own_order, own_variables, pick, rows_of, summaries
from product import count_padding, double_momentum
from settings import make_method

from isnas.space.cells.genotype import genotype_from_text
from isnas.train.optim import set_learning_rate

METHODS, ORDERS = ("darts", "pc_darts"), ("first", "second")


def follow(comparison, method, order, spoil=None, **changes):
    """Go through the steps; ``spoil(search)`` and ``changes`` of the options are mistakes."""
    given, described = options_of(method)
    arrays, rows = Arrays(method, order), rows_of(described["tensors"])
    search = build(method, order, given, arrays, rows, **changes)
    if spoil:
        spoil(search)
    genotypes = [search.genotype()]
    for number, rate in enumerate(arrays["rate"].tolist()):
        set_learning_rate(search.w_optimizer, rate)
        search.stepping.passes.clear()
        search.step(arrays.batch(number, "_train"), arrays.batch(number, "_valid"))
        passes = dict(zip(ROLES[order], search.stepping.passes, strict=True))
        compare_step(Step(comparison, search, arrays, rows, number), passes)
        genotypes.append(search.genotype())
    search.network.eval()
    comparison.close("logits, end", search.predict(arrays.batch(0, "_valid")[0]).logits, arrays["logits_end_eval"])
    found = [genotype.to_json() for genotype in genotypes]
    assert spoil or changes or found == [as_genotype(text).to_json() for text in described[f"genotypes_{order}"]]
    return arrays


class Step(SimpleNamespace):
    """Compares the quantities of one step."""

    def __init__(self, comparison, search, arrays, rows, number):
        super().__init__(comparison=comparison, search=search, arrays=arrays, rows=rows, number=number)

    def close(self, quantity, found, name=None):
        self.comparison.close(f"{quantity}, step {self.number}", found, self.arrays[name or quantity][self.number])

    def weights(self, quantity, found, index="weight_index", full="weight_full_index"):
        self.close(quantity, summaries(pick(found, self.rows, self.arrays[index])))
        self.close(quantity, in_full(pick(found, self.rows, self.arrays[full])), f"{quantity}_full")

    def variables(self, quantity, found, names):
        for variable, expected in own_variables(self.arrays, names, self.number).items():
            self.comparison.close(f"{quantity} {variable}, step {self.number}", found[variable], expected)

    def scores(self, role, found):
        self.close(f"logits_{role}", found.logits)
        if role not in ("plus", "minus"):
            self.close(f"loss_{role}", found.loss)


def compare_step(step, passes):
    taken, variables = step.search.stepping.taken, step.search.architecture
    if "valid" in passes:
        step.scores("valid", passes["valid"])
    else:
        compare_second_order(step, passes)
    step.variables("gradient,", taken, "gradient_{}_{}")
    step.variables("after:", variables, "{}_{}_after")
    step.scores("train", passes["train"])
    gradients = passes["train"].gradients
    step.weights("gradient_weights", gradients)
    step.close("norm", in_full(pick(gradients, step.rows, step.arrays["weight_index"])).norm())
    state = step.search.network.state_dict()
    everything = torch.arange(len(step.rows))
    step.close("state", summaries(pick(state, step.rows, everything)))
    step.close("state", in_full(pick(state, step.rows, step.arrays["full_index"])), "state_full")


def compare_second_order(step, passes):
    unrolled, rate = passes["unrolled"], step.arrays["rate"][step.number]
    step.scores("inner", passes["inner"])
    step.weights("unrolled", unrolled.weights)
    step.scores("unrolled", unrolled)
    step.variables("direct,", unrolled.gradients, "gradient_direct_{}_{}")
    step.weights("vector", unrolled.gradients)
    step.close("vector_norm", in_full(pick(unrolled.gradients, step.rows, step.arrays["weight_index"])).norm())
    for role in ("plus", "minus"):
        step.scores(role, passes[role])
        step.variables(f"{role},", passes[role].gradients, f"gradient_{role}_{{}}_{{}}")
    implicit = {name: (unrolled.gradients[name] - seen) / rate for name, seen in step.search.stepping.taken.items()}
    step.variables("implicit,", implicit, "implicit_{}_{}")


def as_genotype(value):
    """The genotype that a file gives as text, or as four lists."""
    if not isinstance(value, str):
        names = ("normal", "normal_concat", "reduce", "reduce_concat")
        value = f"Genotype({', '.join(f'{name}={part}' for name, part in zip(names, value, strict=True))})"
    return genotype_from_text(value)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_number_is_the_original_one(method, order):
    comparison = Comparison()
    arrays = follow(comparison, method, order)
    assert comparison.departures() == {}
    assert set(arrays.unread()) <= {"tables_alphas", "tables_betas"}


def tables(method):
    """The searches' alphas, and betas, of the 20 tables in turn, and the genotypes that the originals make of them."""
    arrays, (_, described) = Arrays(method), options_of(method)
    for number, text in enumerate(described["table_genotypes"]):
        table = {"alpha": own_order(arrays["tables_alphas"][number])}
        if method == "pc_darts":
            table["beta"] = own_order(arrays["tables_betas"][number])
        yield table, as_genotype(text)


def changed(method, spoil=None):
    """How many of the tables' genotypes are not the originals'."""
    search = make_method(method, **({"partial_channels": 2} if method == "pc_darts" else {}))
    if spoil:
        spoil(search)
    found = 0
    for table, genotype in tables(method):
        search.architecture.load_state_dict(table)
        found += search.genotype().to_json() != genotype.to_json()
    return found


@pytest.mark.parametrize("method", METHODS)
def test_tables_give_the_originals_genotypes(method):
    assert changed(method) == 0


@pytest.mark.parametrize(
    "method, mistake, number",
    [
        ("darts", mistakes.edges_with_none, 11),
        ("pc_darts", mistakes.edges_with_none, 5),
        ("darts", mistakes.higher_ties, 3),
        ("pc_darts", mistakes.higher_ties, 3),
        ("pc_darts", mistakes.no_betas, 19),
    ],
)
def test_another_derivation_shows(method, mistake, number, monkeypatch):
    assert changed(method, lambda search: mistake(search, monkeypatch)) == number


#: mistakes in both methods, by functions that change the search or by options
IN_BOTH = [
    ("first", mistakes.w_first, "logits_valid, step 0"),
    ("first", mistakes.swapped_batches, "logits_valid, step 0"),
    ("first", {"grad_clip": 6.0}, "state, step 0"),
    ("first", {"weight_decay": 0.0}, "state, step 0"),
    ("first", {"arch_weight_decay": 0.0}, "after: alpha, step 0"),
    ("first", {"arch_beta1": 0.9}, "after: alpha, step 1"),
    ("first", mistakes.old_adam, "after: alpha, step 0"),
    ("first", {"arch_moves_statistics": False}, "state, step 0"),
    ("first", mistakes.uncleared_w, "gradient_weights, step 0"),
    ("first", mistakes.uncleared_alpha, "gradient, alpha, step 1"),
    ("first", lambda search, _: count_padding(search.network), "logits_valid, step 0"),
    ("first", lambda search, _: double_momentum(search.network), "state, step 0"),
    ("first", mistakes.no_none, "logits_valid, step 0"),
    ("first", mistakes.swapped_tables, "logits_valid, step 0"),
    ("second", mistakes.no_momentum, "unrolled, step 1"),
    ("second", mistakes.whole_buffers, "unrolled, step 1"),
    ("second", mistakes.no_decay, "unrolled, step 0"),
    ("second", mistakes.clip_in_unrolling, "unrolled, step 0"),
    ("second", mistakes.first_rate, "unrolled, step 1"),
    ("second", mistakes.unrolled_on_valid, "logits_inner, step 0"),
    ("second", mistakes.whole_radius, "logits_plus, step 0"),
    ("second", mistakes.direct_only, "implicit, alpha, step 0"),
    ("second", mistakes.wrong_sign, "implicit, alpha, step 0"),
    ("second", mistakes.still_differences, "state, step 0"),
    ("second", mistakes.moved_by_unrolled, "state, step 0"),
    ("second", mistakes.w_first, "logits_inner, step 0"),
]
IN_PC_DARTS = [
    ("first", mistakes.last_channels, "logits_valid, step 0"),
    ("first", mistakes.average_passing, "logits_valid, step 0"),
    ("first", mistakes.no_shuffle, "logits_valid, step 0"),
    ("first", mistakes.other_shuffle, "logits_valid, step 0"),
    ("first", mistakes.softmax_over_all_edges, "logits_valid, step 0"),
]


@pytest.mark.parametrize(
    "method, order, mistake, seen_in",
    [
        *(pytest.param("darts", *row, marks=[pytest.mark.slow] * (row[0] == "second")) for row in IN_BOTH),
        *(pytest.param("pc_darts", *row, marks=pytest.mark.slow) for row in IN_BOTH),
        *(("pc_darts", *row) for row in IN_PC_DARTS),
    ],
)
def test_a_mistake_shows(method, order, mistake, seen_in, monkeypatch):
    changes = mistake if isinstance(mistake, dict) else {}
    spoil = None if changes else lambda search: mistake(search, monkeypatch)
    assert first_departure(lambda comparison: follow(comparison, method, order, spoil, **changes)) == seen_in
