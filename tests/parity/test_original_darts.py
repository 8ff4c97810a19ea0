"""DARTS and PC-DARTS, in first and second order, against the originals: two steps each, and 40 derived genotypes."""

from types import SimpleNamespace

import pytest
import torch
from fixtures import Arrays, Comparison, options_of
from original import ROLES, build, in_full, own_variables, pick, rows_of, summaries

from isnas.space.cells.genotype import genotype_from_text
from isnas.train.optim import set_learning_rate

METHODS, ORDERS = ("darts", "pc_darts"), ("first", "second")


def follow(comparison, method, order, spoil=None, w_first=False, **changes):
    """Go through the steps; ``spoil(search)`` and ``changes`` of the options are mistakes, and so is W before alpha."""
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
        passes = search.stepping.passes
        passes = dict(zip(ROLES[order], passes[1:] + passes[:1] if w_first else passes, strict=True))
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
