"""PC-DARTS: the channels that pass by, the weights of edges, and the epochs in which the architecture waits."""

import pytest
import torch
import torch.nn.functional as F
from settings import make_method, noise

from isnas.base.errors import UserError
from isnas.methods.registry import make_options

EDGES = [2, 3, 4, 5] * 2


def literal_scores(network, parts, alpha, beta, x):
    """Every edge by itself: split, mixed and passed by, joined, shuffled, weighted by its share of the node."""
    of_edges = zip(alpha.split(EDGES), beta.split(EDGES), strict=True)
    weights = [(rows.exp() / rows.exp().sum(1, keepdim=True), b.exp() / b.exp().sum()) for rows, b in of_edges]
    s0, s1 = network.stem(x)
    for cell in network.cells:
        own = weights[4:] if cell.reduction else weights[:4]
        states = [cell.preprocess0(F.relu(s0)), cell.preprocess1(F.relu(s1))]
        for operations, (of_candidates, of_predecessors) in zip(cell.nodes, own, strict=True):
            node = 0.0
            for predecessor, state in enumerate(list(states)):
                size = state.shape[1] // parts
                seen, passed = state[:, :size], state[:, size:]
                mixed = 0.0
                for k in range(7):
                    operation = operations[7 * predecessor + k]
                    mixed = mixed + of_candidates[predecessor][k] * operation(
                        F.relu(seen) if operation.relu_first else seen
                    )
                if cell.reduction and predecessor < 2:
                    passed = F.max_pool2d(passed, 2, 2)
                joined = torch.cat([mixed, passed], dim=1)
                batch, channels, height, width = joined.shape
                shuffled = joined.view(batch, parts, channels // parts, height, width).transpose(1, 2)
                node = node + of_predecessors[predecessor] * shuffled.reshape(joined.shape)
            states.append(node)
        s0, s1 = s1, torch.cat(states[2:], dim=1)
    return network.classifier(s1.mean((2, 3)))


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("channels_last", [True, False])
def test_it_is_the_literal_computation(parts, channels_last):
    method = make_method("pc_darts", partial_channels=parts, arch_init_scale=1.0, channels_last=channels_last)
    x, labels = noise(0)
    alpha, beta = method.architecture["alpha"], method.architecture["beta"]
    assert beta.shape == (28,) and 0.5 < beta.std() < 1.5
    variables = [alpha, beta, *method.network.parameters()]
    logits = literal_scores(method.network, parts, alpha, beta, x)
    wanted = torch.autograd.grad(F.cross_entropy(logits, labels), variables)
    loss, found = method.mixed_loss(x, labels)
    torch.testing.assert_close(found, logits, rtol=1e-9, atol=1e-11)
    for gradient, expected in zip(torch.autograd.grad(loss, variables), wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-10)


def test_the_weights_of_edges_follow_the_slope_of_the_loss():
    method = make_method("pc_darts", arch_init_scale=0.5)
    batch, h = noise(1), 1e-6
    method.find_gradient(noise(0), batch)
    beta = method.architecture["beta"]
    assert (beta.grad != 0).all()
    with torch.no_grad():
        for edge in (0, 1, 4, 13, 14, 27):
            ends = []
            for sign in (1.0, -2.0):
                beta[edge] += sign * h
                ends.append(method.mixed_loss(*batch)[0].item())
            beta[edge] += h
            assert beta.grad[edge].item() == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4, abs=1e-8)


def test_the_architecture_waits_for_its_first_epoch():
    method = make_method("pc_darts", arch_start_epoch=2, num_nodes=2)
    start = {name: value.clone() for name, value in method.architecture.state_dict().items()}
    weights = method.network.classifier.weight
    for epoch in range(3):
        before = weights.detach().clone()
        method.begin_epoch(epoch)
        method.step(noise(epoch, image_size=8), noise(10 + epoch, image_size=8))
        assert not torch.equal(weights, before)
        moved = [name for name, value in method.architecture.items() if not torch.equal(value, start[name])]
        assert moved == (["alpha", "beta"] if epoch == 2 else [])
        assert bool(method.arch_optimizer.state) == (epoch == 2)


def table(rows, of_edges):
    """What is kept where weights of candidates, and of edges, are proportional to these."""
    method = make_method("pc_darts", num_nodes=2, operations=["skip_connect", "sep_conv_3x3"])
    with torch.no_grad():
        method.architecture["alpha"].copy_(torch.tensor(rows * 2, dtype=torch.float64).log())
        method.architecture["beta"].copy_(torch.tensor(of_edges * 2, dtype=torch.float64).log())
    genotype = method.genotype()
    assert genotype.normal == genotype.reduce
    return genotype.normal[1]


def test_what_is_kept_of_a_table():
    """The second node has three edges, whose weights of candidates are multiplied by theirs; of equals the lower."""
    rows = [[1, 1, 2], [1, 1, 2], [1, 1, 2], [5, 3, 2], [2, 6, 2]]  # strongest: 0.25, 0.5 and 0.6
    skip, sep = "skip_connect", "sep_conv_3x3"
    assert table(rows, [1, 1, 1, 1, 1]) == ((skip, 1), (sep, 2))
    assert table(rows, [1, 1, 4, 1, 1]) == ((skip, 0), (sep, 2))
    assert table(rows, [1, 1, 4, 2, 1]) == ((skip, 0), (skip, 1))
    assert table(rows, [1, 1, 2, 1, 0.5]) == ((skip, 0), (skip, 1))
    assert table([[1, 1, 2]] * 5, [1, 1, 1, 1, 1]) == ((skip, 0), (skip, 1))
    assert table([[1, 1, 2]] * 5, [1, 1, 1, 2, 2]) == ((skip, 1), (skip, 2))


def test_channels_that_cannot_be_divided_are_one_line():
    with pytest.raises(UserError, match="--partial_channels 3 does not divide --init_channels 16"):
        make_options("pc_darts", partial_channels=3, init_channels=16)
    make_options("pc_darts", partial_channels=3, init_channels=18)


def test_a_search_that_never_learns_its_architecture_is_one_line():
    with pytest.raises(UserError, match="--arch_start_epoch 15 leaves alpha and beta none of 15 epochs; lower it"):
        make_options("pc_darts", epochs=15)
    make_options("pc_darts", epochs=16)
    make_options("pc_darts", epochs=1, budget=1e6)
