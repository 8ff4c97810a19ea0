"""Training of the two published networks against the released code: two steps, the second with drop-path."""

import pytest
import torch
from fixtures import Arrays, Comparison, Packed, first_departure, options_of, rows_of, start_state
from product import build_training, count_padding, double_momentum, drop_path_columns

from isnas.space.cells.resolve import resolve_genotype

NETWORKS = {"ISTA_twostage": "evaluation_twostage", "ISTA_onestage": "evaluation_onestage"}


def follow(comparison, name, *, drop_path=True, spoil=None, **changes):
    """Go through both steps; ``spoil`` (of the network), no drop-path and ``changes`` of the options are mistakes."""
    given, described = options_of("evaluation")
    network = described["networks"][name]
    arrays, rows, genotype = Arrays(NETWORKS[name]), rows_of(network["tensors"]), resolve_genotype(name)
    training = build_training(given, arrays, rows, name, **changes)
    if spoil is not None:
        spoil(training.network)
    scales = arrays["drop_path"][:, drop_path_columns(training.network, genotype, network["connections"])]
    for number, step_scales in enumerate((None, scales)):
        compare_step(comparison, training, arrays, rows, number, step_scales if drop_path else None)
    packed = Packed.of(arrays, "state_end", rows)
    comparison.state("state at the end", training.network.state_dict(), packed, start_state(rows, arrays))
    return arrays


def compare_step(comparison, training, arrays, rows, number, scales):
    x, labels = arrays.batch(number)
    training.network.eval()
    with torch.no_grad():
        logits = training.predict(x).logits
    comparison.close(f"step {number}: logits, eval mode", logits, arrays[f"logits_eval{number}"])
    training.network.train()
    training.step(x, labels, scales)
    done = training.stepping.passes[-1]
    comparison.close(f"step {number}: logits, train mode", done.logits, arrays[f"logits_train{number}"])
    comparison.close(f"step {number}: auxiliary logits", done.auxiliary, arrays[f"logits_auxiliary{number}"])
    comparison.close(f"step {number}: loss", done.loss, arrays[f"loss{number}"])
    gradients, packed = done.of(training.network), Packed.of(arrays, f"gradient{number}", rows)
    comparison.tensors(f"step {number}: gradient", gradients, packed)
    comparison.equal(f"step {number}: number of gradients", len(gradients), len(packed.whole) + len(packed.summaries))
    comparison.close(f"step {number}: gradient norm", done.norm(training.network), arrays[f"norm{number}"])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_number_is_the_released_one(name):
    comparison = Comparison()
    arrays = follow(comparison, name)
    assert comparison.departures() == {}
    assert arrays.unread() == []


@pytest.mark.parametrize("name", NETWORKS)
def test_the_published_cells_are_the_released_ones(name):
    genotype, released = resolve_genotype(name), options_of("evaluation")[1]["networks"][name]["genotype"]
    for kind, connections in released.items():
        pairs = [tuple(connection) for connection in connections]
        nodes = [sorted(pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
        assert [sorted(node) for node in getattr(genotype, kind)] == nodes


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "mistake, seen_in",
    [
        ({"grad_clip": 6.0}, "step 1: logits, eval mode"),
        ({"auxiliary_weight": 0.3}, "step 0: loss"),
        ({"spoil": count_padding}, "step 0: logits, eval mode"),
        ({"spoil": double_momentum}, "step 1: logits, eval mode"),
        ({"drop_path": False}, "step 1: logits, train mode"),
    ],
)
def test_a_mistake_shows(name, mistake, seen_in):
    assert first_departure(lambda comparison: follow(comparison, name, **mistake)) == seen_in
