"""Absorption (Eq. 12): bit-identical outputs, a literal multiplication, the size of the published network, refusals."""

import pytest
import torch
import torch.nn.functional as F

from isnas.base.errors import UserError
from isnas.base.random import initialising
from isnas.nets.absorb import WeightedNetwork, absorb
from isnas.nets.count import num_params
from isnas.space.batch_norm import BatchNorm
from isnas.space.cells.genotype import DARTS_OPERATIONS, EXTRA_BN, Genotype
from isnas.space.cells.network import target_network
from isnas.space.cells.published import published
from isnas.space.connections import Connections

SIZES = {"stem": "cifar", "in_channels": 3, "num_classes": 10, "init_channels": 4, "layers": 5}
#: every operation in both cell types, and a node with two connections on one predecessor
NODES = (
    (("sep_conv_3x3", 0), ("skip_connect", 0)),
    (("max_pool_3x3", 1), ("dil_conv_5x5", 2)),
    (("avg_pool_3x3", 0), ("sep_conv_5x5", 3)),
    (("dil_conv_3x3", 1), ("skip_connect", 4)),
)
GENOTYPE = Genotype(NODES, (2, 3, 4, 5), NODES, (2, 3, 4, 5), "all")
VALUES = (-0.7, 1e-8, 0.0, 50.0, 0.3, -2.0, 1.0, -1e-8)


def weighted(dtype, values=VALUES):
    """A network with random weights and statistics, and these coefficients in turn."""
    assert {operation for node in NODES for operation, _ in node} == set(DARTS_OPERATIONS)
    with initialising(0, "weights"):
        network = target_network(GENOTYPE, **SIZES).to(dtype)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                for part in (module.weight, module.bias, module.running_mean):
                    part.copy_(torch.randn(part.shape, generator=drawn))
                module.running_var.copy_(torch.rand(module.channels, generator=drawn) + 0.5)
    c = torch.tensor(values, dtype=torch.float64).view(4, 2).unbind()
    return WeightedNetwork(network.eval(), Connections(((0, 1),) * 8, (*c, *c[::-1])))


def images(dtype):
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_plain_network_has_the_same_bits(dtype):
    one_stage = weighted(dtype)
    before = {key: value.clone() for key, value in one_stage.network.state_dict().items()}
    plain = absorb(one_stage)
    assert torch.equal(plain(images(dtype)).logits, one_stage(images(dtype)).logits)
    assert all(torch.equal(value, before[key]) for key, value in one_stage.network.state_dict().items())
    assert not torch.equal(plain(images(dtype)).logits, one_stage.network(images(dtype)).logits)


def test_against_a_literal_multiplication_of_outputs():
    """c o(x) with o's BN untouched; statistics estimated anew, so that the batch's own are in play."""
    one_stage = weighted(torch.float64, (-0.7, 1e-3, 0.4, 5.0, 0.3, -2.0, 1.0, -0.1))
    plain = absorb(one_stage).train()
    network = one_stage.network.train()
    s0, s1 = network.stem(images(torch.float64))
    for cell in network.cells:
        states = [cell.preprocess0(s0), cell.preprocess1(s1)]
        coefficients = one_stage.connections.coefficients
        weights = coefficients[4:] if cell.reduction else coefficients[:4]
        for j, (operations, predecessors) in enumerate(zip(cell.nodes, cell.predecessors)):
            terms = []
            for k, (operation, predecessor) in enumerate(zip(operations, predecessors)):
                x = states[predecessor]
                terms.append(weights[j][k] * operation(F.relu(x) if operation.relu_first else x))
            states.append(terms[0] + terms[1])
        out = torch.cat(states[2:], 1)
        s0, s1 = s1, F.relu(out)
    literal = network.classifier(out.mean((2, 3)))
    difference = (plain(images(torch.float64)).logits - literal).abs().max() / literal.abs().max()
    assert difference < 1e-12


def test_the_published_size():
    genotype = published("ISTA_onestage").genotype
    ones = Connections(((0, 1),) * 8, (torch.ones(2),) * 8)
    with torch.device("meta"):
        network = target_network(
            genotype, stem="cifar", in_channels=3, num_classes=10, init_channels=36, layers=20, auxiliary=True
        )
    assert num_params(absorb(WeightedNetwork(network, ones))) == 3_371_806


def test_what_cannot_be_absorbed():
    one_stage = weighted(torch.float32)
    with pytest.raises(UserError, match="plain network already"):
        absorb(absorb(one_stage))
    two_stage = target_network(Genotype(NODES, (2, 3, 4, 5), NODES, (2, 3, 4, 5), "none"), **SIZES)
    with pytest.raises(UserError, match="only be absorbed in a one-stage network"):
        absorb(WeightedNetwork(two_stage, one_stage.connections))
    assert two_stage.cells[0].nodes[1][0].last_bn is None
    others = Connections(((0,),) * 8, (torch.ones(1),) * 8)
    with pytest.raises(UserError, match="holds the found connections alone"):
        absorb(WeightedNetwork(one_stage.network, others))


def test_cells_of_any_connections_are_absorbed_where_all_end_in_a_bn():
    """Three on one edge and a node with none; of CoNAS's released cells the pools alone end in one."""
    nodes = ((("sep_conv_3x3", 0), ("skip_connect", 0), ("max_pool_3x3", 0), ("sep_conv_5x5", 1)), ())
    c = torch.tensor([0.3, -2.0, 1e-3, 0.7], dtype=torch.float64), torch.ones(0, dtype=torch.float64)
    connections = Connections(((0, 1, 2, 3), ()) * 2, c * 2)
    networks = {kind: target_network(Genotype(nodes, (2, 3), nodes, (2, 3), kind), **SIZES) for kind in EXTRA_BN}
    one_stage = WeightedNetwork(networks["all"].eval(), connections)
    plain = absorb(one_stage)
    assert torch.equal(plain(images(torch.float32)).logits, one_stage(images(torch.float32)).logits)
    for kind in ("none", "pools"):
        with pytest.raises(UserError, match="only be absorbed in a one-stage network"):
            absorb(WeightedNetwork(networks[kind], connections))
