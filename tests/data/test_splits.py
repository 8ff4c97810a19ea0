import pytest
import torch

from isnas.base.errors import UserError
from isnas.data.splits import choose_stratified, in_mixed_order, split_by_purpose


def random_labels(count: int, classes: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.multinomial(torch.rand(classes, generator=rng) + 0.1, count, True, generator=rng)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_disjoint_cover_everything_and_have_every_class_in_proportion(seed):
    labels = random_labels(300 + seed, classes=3 + seed % 7, seed=seed)
    splits = split_by_purpose(labels, train_portion=0.6, held_out_portion=0.15, seed=seed)
    together = torch.cat([splits.train_w, splits.train_b, splits.held_out]).tolist()
    assert sorted(together) == list(range(len(labels)))
    assert len(splits.held_out) == round(0.15 * len(labels))
    assert len(splits.train_w) == round(0.6 * (len(labels) - len(splits.held_out)))
    for label in range(int(labels.max()) + 1):
        of_class = int((labels == label).sum())
        held_out = int((labels[splits.held_out] == label).sum())
        train_w = int((labels[splits.train_w] == label).sum())
        assert abs(held_out - 0.15 * of_class) < 1
        assert abs(train_w - 0.6 * (of_class - held_out)) < 1


def test_balanced_classes_stay_balanced():
    labels = torch.arange(1000) % 10
    splits = split_by_purpose(labels, 0.5, 0.1, seed=3)
    assert torch.bincount(labels[splits.held_out]).tolist() == [10] * 10
    assert torch.bincount(labels[splits.train_w]).tolist() == [45] * 10
    assert torch.bincount(labels[splits.train_b]).tolist() == [45] * 10


def test_the_seed_alone_decides():
    labels = random_labels(200, 5)
    first = split_by_purpose(labels, 0.5, 0.2, seed=1)
    torch.manual_seed(99)
    again, other = split_by_purpose(labels, 0.5, 0.2, seed=1), split_by_purpose(labels, 0.5, 0.2, seed=2)
    for part in ("train_w", "train_b", "held_out"):
        assert torch.equal(getattr(first, part), getattr(again, part))
        assert not torch.equal(getattr(first, part), getattr(other, part))


def test_in_order_the_first_images_train_w_and_the_next_b():
    labels = torch.arange(101) * 7 % 5
    splits = split_by_purpose(labels, 0.5, 0.0, seed=4, how="in_order")
    assert splits.train_w.tolist() == list(range(50)) and splits.train_b.tolist() == list(range(50, 101))
    held = split_by_purpose(labels, 0.25, 0.1, seed=4, how="in_order")
    assert [part.tolist()[0] for part in (held.held_out, held.train_w, held.train_b)] == [0, 10, 33]
    with pytest.raises(UserError, match="--split in_order leaves train_w without a class"):
        split_by_purpose(labels.sort().values, 0.5, 0.0, seed=4, how="in_order")


def test_every_image_gets_every_purpose_under_some_seed():
    labels = torch.arange(40) % 4
    for part in ("train_w", "train_b", "held_out"):
        seen = torch.cat([getattr(split_by_purpose(labels, 0.5, 0.3, seed), part) for seed in range(40)])
        assert len(seen.unique()) == 40


def test_nothing_is_held_out_when_nothing_is_asked_for():
    splits = split_by_purpose(torch.arange(10) % 2, 0.5, 0.0, seed=0)
    assert (len(splits.train_w), len(splits.train_b), len(splits.held_out)) == (5, 5, 0)


@pytest.mark.parametrize(
    ("train_portion", "held_out_portion", "message"),
    [
        (0.0, 0.1, "train portion"),
        (1.0, 0.1, "train portion"),
        (float("nan"), 0.1, "train portion"),
        (0.5, 1.0, "held-out portion"),
        (0.5, -0.1, "held-out portion"),
        (0.01, 0.0, "none for train_w"),
        (0.99, 0.0, "none for train_b"),
        (0.5, 0.01, "none for held_out"),
        (0.5, 0.99, "none for train"),
    ],
)
def test_impossible_portions_are_user_errors(train_portion, held_out_portion, message):
    with pytest.raises(UserError, match=message):
        split_by_purpose(torch.arange(10) % 2, train_portion, held_out_portion, seed=0)


def test_no_images_are_a_user_error():
    with pytest.raises(UserError, match="0 images"):
        split_by_purpose(torch.empty(0, dtype=torch.int64), 0.5, 0.0, seed=0)


def test_a_choice_keeps_the_proportions():
    labels = torch.tensor([0] * 600 + [1] * 300 + [2] * 100)[torch.randperm(1000, generator=torch.manual_seed(0))]
    chosen = choose_stratified(labels, 50)
    assert torch.bincount(labels[chosen]).tolist() == [30, 15, 5] and len(set(chosen.tolist())) == 50
    assert torch.equal(chosen, choose_stratified(labels, 50))
    assert choose_stratified(labels, 1000).tolist() == list(range(1000))
    with pytest.raises(UserError, match="more than the 1000"):
        choose_stratified(labels, 1001)


def test_images_that_lie_class_by_class_are_mixed():
    """So that some of them are of all classes; others stay as they lie."""
    labels = torch.arange(4).repeat_interleave(50)
    indices = torch.arange(0, 200, 2)
    mixed = in_mixed_order(indices, labels, 3)
    assert torch.equal(mixed.sort().values, indices) and torch.equal(mixed, in_mixed_order(indices, labels, 3))
    assert len(labels[mixed[:20]].unique()) == 4 and len(labels[indices[:20]].unique()) == 1
    assert not torch.equal(mixed, in_mixed_order(indices, labels, 4))
    alternating = torch.arange(4).repeat(50)
    assert torch.equal(in_mixed_order(torch.arange(200), alternating, 3), torch.arange(200))
