"""Networks side by side compute what each computes alone: scores, gradients, statistics and steps."""

import torch
import torch.nn.functional as F

from isnas.base.random import initialising
from isnas.nets.side_by_side import SideBySide
from isnas.space.cells.genotype import Genotype
from isnas.space.cells.operations import OPERATIONS
from isnas.space.cells.space import CellSpace

SIZES = {"stem": "cifar", "in_channels": 1, "num_classes": 5, "init_channels": 2, "layers": 3}
NAMES = list(OPERATIONS)
#: Every operation, of both strides.
EVERY = Genotype(
    tuple((((name, 0), (name, 1))) for name in NAMES),
    tuple(range(2, 2 + len(NAMES))),
    tuple((((name, 0), (name, 1))) for name in NAMES),
    (2, 4, len(NAMES) + 1),
)


def networks(count):
    for seed in range(count):
        with initialising(seed, "weights"):
            yield CellSpace().target_network(EVERY, **SIZES).double()


def test_equal_alone():
    rng = torch.Generator().manual_seed(0)
    count, steps = 3, 4
    x = torch.randn(steps, count, 8, 1, 9, 9, generator=rng, dtype=torch.float64)
    labels = torch.randint(5, (steps, count, 8), generator=rng)
    together, alone = SideBySide(list(networks(count))), list(networks(count))
    optimizers = [torch.optim.SGD(part.parameters(), 0.5, 0.9, weight_decay=1e-3) for part in (together, *alone)]
    clipped = []
    for batch, targets in zip(x, labels):
        logits = together(batch)
        F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").div(8).backward()
        together.clip_gradients(2.0)
        for number, network in enumerate(alone):
            scores = network(batch[number]).logits
            assert torch.allclose(scores, logits[number], atol=1e-10)
            F.cross_entropy(scores, targets[number]).backward()
            clipped.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)) > 2.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert 0 < sum(clipped) < len(clipped)  # each by its own norm
    for state, network in zip(together.state_dicts(), alone):
        assert state.keys() == network.state_dict().keys()
        for name, tensor in network.state_dict().items():
            assert torch.allclose(state[name], tensor, atol=1e-9), name
    together.eval()
    for number, network in enumerate(alone):
        assert torch.allclose(network.eval()(x[0, number]).logits, together(x[0])[number], atol=1e-9)
