"""MixUp, CutMix and class weights against torchvision's transforms and the losses as equations in float64."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from isnas.base.random import global_draws
from isnas.engine.averages import Averages
from isnas.space.space import Output
from isnas.train.fixed import loss_of
from isnas.train.mixing import Targets
from isnas.train.train_options import MixingOptions, TrainingOptions

CPU = torch.device("cpu")
LABELS = torch.tensor([0] * 6 + [1] * 3 + [2])


def make_targets(smoothing=0.0, seed=0, **options):
    return Targets(MixingOptions(**options), smoothing, LABELS, 3, seed, CPU)


def batch(size=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(size, 2, 8, 8, generator=rng), torch.randint(3, (size,), generator=rng)


@pytest.mark.parametrize(("kind", "name"), [(v2.MixUp, "mixup"), (v2.CutMix, "cutmix")])
def test_a_pair_is_mixed_as_torchvision_mixes_it(kind, name):
    for step in range(5):
        x, labels = batch(2, step)
        with global_draws(7, "mixing", 3, step):
            wanted_x, wanted = kind(alpha=0.8, num_classes=3)(x, labels)
        found = make_targets(seed=7, **{name: 0.8}).batch(x.clone(), labels, 3, step)
        torch.testing.assert_close(found.x, wanted_x, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.target, wanted, rtol=0, atol=1e-6)


def test_every_pair_of_a_batch_is_mixed_alike_and_the_same_by_any_number_of_processes():
    x, labels = batch(8)
    state = torch.get_rng_state()
    found = make_targets(mixup=0.4).batch(x.clone(), labels, 0, 0)
    assert torch.equal(state, torch.get_rng_state())
    again = make_targets(mixup=0.4).batch(x.clone(), labels, 0, 0)
    halves = [make_targets(mixup=0.4).batch(x[k : k + 4].clone(), labels[k : k + 4], 0, 0) for k in (0, 4)]
    for field in ("x", "target"):
        whole = getattr(found, field)
        assert torch.equal(whole, getattr(again, field))
        assert torch.equal(whole, torch.cat([getattr(half, field) for half in halves]))
    kept = float(((found.x[0] - x[1]) / (x[0] - x[1])).mean())
    for i in range(8):
        torch.testing.assert_close(found.x[i], kept * x[i] + (1 - kept) * x[i ^ 1], rtol=0, atol=1e-5)
    other = make_targets(mixup=0.4).batch(x.clone(), labels, 0, 1)
    assert not torch.allclose(other.x, found.x)
    odd = make_targets(cutmix=1.0).batch(x[:3].clone(), labels[:3], 0, 0)
    assert torch.equal(odd.x[2], x[2]) and odd.target[2, labels[2]] == 1


def test_shares_are_drawn_from_beta_and_both_kinds_in_turn():
    x, labels = torch.zeros(2, 1, 4, 4), torch.tensor([0, 1])
    targets = make_targets(mixup=0.5)
    shares = [float(targets.batch(x.clone(), labels, 0, step).target[0, 0]) for step in range(400)]
    assert stats.kstest(shares, stats.beta(0.5, 0.5).cdf).pvalue > 1e-3
    x[1] = 1.0
    mixed = make_targets(mixup=0.5, cutmix=0.5)
    values = [mixed.batch(x.clone(), labels, 0, step).x[0].unique() for step in range(100)]
    boxes = sum(bool(torch.isin(each, torch.tensor([0.0, 1.0])).all()) for each in values)
    assert 25 < boxes < 75


def test_the_loss_and_the_accuracy_of_mixed_and_weighted_images_are_those_of_the_equations():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.standard_normal((6, 3)))
    log_p = (logits - logits.logsumexp(1, keepdim=True)).numpy()
    weights = len(LABELS) / (3 * np.bincount(LABELS))
    np.testing.assert_allclose((weights * np.bincount(LABELS)).sum(), len(LABELS))
    x, labels = batch()
    options = TrainingOptions(label_smooth=0.1)
    for mixing in ({}, {"mixup": 0.6}):
        found = make_targets(0.1, class_weights="balanced", **mixing).batch(x.double(), labels, 0, 0)
        kept = 1.0
        if mixing:
            with global_draws(0, "mixing", 0, 0):
                kept = v2.MixUp(alpha=0.6, num_classes=3).make_params([])["lam"]
        total = right = 0.0
        for i in range(6):
            for share, label in ((kept, int(labels[i])), (1 - kept, int(labels[i ^ 1]))):
                total -= share * weights[label] * (0.9 * log_p[i, label] + 0.1 * log_p[i].mean())
                right += share * (log_p[i].argmax() == label)
        loss = loss_of(Output(logits, None), found.target, options)
        assert float(loss) == pytest.approx(total / 6, rel=1e-6)
        averages = Averages(CPU)
        averages.add(loss, logits, found.labels)
        assert averages.scores().top1 == pytest.approx(100 * right / 6, rel=1e-6)
    plain = make_targets().batch(x, labels, 0, 0)
    assert plain.x is x and plain.target is labels and plain.labels is labels
