"""A target for the multiply-adds: its loss and slope by the formulas, the choice at the end against all choices."""

from itertools import product

import numpy as np
import pytest
import torch
from settings import make_method, make_setting, noise

from isnas.base.errors import UserError
from isnas.engine.architectures import derived_size
from isnas.methods.macs_target import MacsTarget, best_choice
from isnas.methods.registry import make_options

TARGET = 2.5  # million


@pytest.fixture(scope="module")
def search():
    search = make_method("two_stage", space="chain", target_macs=TARGET, target_macs_strength=3.0)
    search.recover()
    return search


def counted(search, support):
    info = make_setting(search.options).info
    return derived_size(search.space, search.space.genotype(support), info).conv_linear_multiply_adds / 1e6


def test_multiply_adds_of_candidates_add_up_to_the_networks(search):
    rng = torch.Generator().manual_seed(0)
    for support in (search.space.random(rng) for _ in range(5)):
        assert search.target.of(support) == pytest.approx(counted(search, support), abs=1e-12)


@pytest.mark.parametrize("name", ["k7_e6", "skip"])
def test_the_loss_and_its_slope_are_their_formulas(search, name):
    space, target, b = search.space, search.target, search.b.detach()
    support = tuple((names.index(name) if name in names else 0,) for names in space.candidates)
    total = counted(search, support)

    def expected(values):
        """E / T in plain numbers."""
        cost = counted(search, support) - sum(target.millions[j][k] for j, (k,) in enumerate(support))
        for A, own, millions in zip(search.architecture.matrices, values, target.millions):
            explained = [(column @ own) ** 2 / (column @ column) for column in A.T]
            cost += sum(share * each for share, each in zip(explained, millions)) / sum(explained)
        return cost / TARGET

    leaf = b.clone().requires_grad_()
    penalty = target.penalty(leaf, support)
    assert penalty.item() == pytest.approx(3.0 * abs(total / TARGET - 1.0), rel=1e-12) and penalty.item() > 0.5
    (slope,) = torch.autograd.grad(penalty, leaf)
    sign, h = (1.0 if total > TARGET else -1.0), 1e-9
    for j, i in product((0, 1, 5), range(4)):
        ends = []
        for step in (h, -h):
            moved = b.clone().numpy()
            moved[j, i] += step
            ends.append(expected(moved))
        assert slope[j, i].item() == pytest.approx(3.0 * sign * (ends[0] - ends[1]) / (2 * h), rel=1e-4, abs=1e-3)


def test_it_is_in_the_loss_of_b_alone_and_within_five_per_cent_it_is_not(search):
    x, labels = noise(0, 4, 8)
    plain, _ = search.loss(search.connections(), x, labels)
    whole, _ = search.loss_of_both(x, labels)
    penalty = search.target.penalty(search.b, tuple(search.architecture.support))
    assert (whole - plain).item() == pytest.approx(penalty.item(), abs=1e-12)
    options = make_options(
        "two_stage", "chain", widths="digits", target_macs=counted(search, search.architecture.support)
    )
    setting = make_setting(options)
    near = MacsTarget(options, setting.space, setting.info, search.architecture.matrices)
    support = tuple(search.architecture.support)
    assert near.penalty(search.b, support) is None and near.nearest(support, search.b) == support


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    values, costs = ([rng.random(size) for size in (3, 4, 4, 3)] for _ in range(2))
    target, tolerance = sum(rng.choice(part) for part in costs) + 0.01, 0.1
    found = best_choice(values, costs, target, tolerance, 1e-4)

    def of(parts, choice):
        return sum(part[k] for part, k in zip(parts, choice))

    within = [
        choice
        for choice in product(*(range(len(part)) for part in values))
        if abs(of(costs, choice) - target) <= tolerance - 2e-4
    ]
    assert tuple(k for (k,) in found) == max(within, key=lambda choice: of(values, choice))


def test_where_nothing_is_near_enough_the_nearest_is_taken():
    values, costs = [np.array([0.0, 1.0, 0.5])], [np.array([1.0, 3.0, 2.0])]
    assert best_choice(values, costs, 2.2, 0.01, 1e-3) == ((2,),)
    assert best_choice(values, costs, 9.0, 0.01, 1e-3) == ((1,),)
    assert best_choice(values, costs, 2.8, 0.01, 1e-3) == ((1,),)  # heavier, beyond the tolerance
    assert best_choice([np.array([0.0, 0.0])], [np.array([0.5, 1.06])], 1.0, 0.05, 1 / 20_000) == ((1,),)
    # and what was recovered stays, if it is as near as anything
    lone = make_method("two_stage", space="chain", target_macs=TARGET)
    for node in lone.target.millions:
        node[:] = 0.0
    lone.target.millions[0][:2] = 3.0 - lone.target.fixed, 2.0 - lone.target.fixed
    support, b = ((0,),) * len(lone.target.millions), lone.b.detach()
    assert lone.target.nearest(support, b) == support and lone.target.exchanged == 0


@pytest.mark.parametrize("target", [2.0, 3.5, 5.5])
def test_a_search_ends_within_five_per_cent_of_it(target):
    """Whatever it finds by itself: here at the start, from random candidates."""
    search = make_method("two_stage", space="chain", target_macs=target, seed=3)
    assert not list(search.choose(None))
    support = tuple(search.architecture.support)
    assert abs(counted(search, support) / target - 1.0) <= 0.05
    alone = [j for j, (k,) in enumerate(support) if abs(search.architecture.z[j][k]) < 1e-12]
    assert search.target.exchanged == len(alone) > 0 and "of --target_macs" in search.report().lines[-1]
    assert search.connections().support == support and len(search.connections().coefficients) == 6


def test_the_loss_of_b_leads_to_it(search):
    """Without images: from the heaviest candidates, the term alone makes the recovered network light enough."""
    lone = make_method("two_stage", space="chain", target_macs=TARGET)
    with torch.no_grad():
        for A, b in zip(lone.architecture.matrices, lone.architecture.b):
            b.copy_(torch.from_numpy(1e-3 * A[:, 5]))
    lone.recover()
    first = lone.target.of(tuple(lone.architecture.support))
    for _ in range(60):
        penalty = lone.target.penalty(lone.b, tuple(lone.architecture.support))
        if penalty is None:
            break
        lone.b_optimizer.zero_grad()
        penalty.backward()
        lone.b_optimizer.step()
        lone.recover()
    last = lone.target.of(tuple(lone.architecture.support))
    assert first > 2 * TARGET and abs(last / TARGET - 1.0) <= 0.05


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"target_macs": 0.5},
            "--target_macs 0.5 is out of reach: networks of this space have 0.5931 to 6.113 million multiply-adds",
        ),
        ({"target_macs": 90.0}, "--target_macs 90 is out of reach"),
        ({"target_macs": 3.0, "sparseness": 2}, "--target_macs needs one connection per node, not --sparseness 2"),
        ({"target_macs": 3.0, "max_macs": 5.0}, "--target_macs and --max_params or --max_macs exclude each other"),
        ({"target_macs_strength": 2.0}, "--target_macs_strength has no effect without --target_macs"),
    ],
)
def test_mistakes(values, words):
    with pytest.raises(UserError, match=words):
        make_method("two_stage", space="chain", **values)
