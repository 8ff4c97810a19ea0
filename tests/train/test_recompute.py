"""--recompute computes inner values twice, and nothing that comes of a step differs in a single bit."""

import pytest
import torch
import torch.nn.functional as F
from settings import CPU, make_method, noise

from isnas.base.errors import UserError
from isnas.base.random import generator, initialising
from isnas.methods.registry import make_options
from isnas.space.chain.space import ChainSpace
from isnas.space.connections import Connections
from isnas.space.recomputation import once, recomputed
from isnas.train.fixed import draw_scales, mine

TINY = {"num_nodes": 2, "batch_size": 8}
TWO_STAGE = TINY | {"recover_every": "step", "arch_init_scale": 0.1, "arch_learning_rate": 0.05}
#: method, steps, options
CASES = {
    "two_stage": ("two_stage", 20, TWO_STAGE),
    "one_stage": ("one_stage", 20, TINY | {"auxiliary": True, "arch_learning_rate": 0.05, "arch_init_scale": 0.1}),
    "evaluation": ("evaluation", 20, {"arch": "ISTA_onestage", "auxiliary": True, "ema_decay": 0.9, "batch_size": 8}),
    "unrolled": ("darts", 2, TINY | {"num_nodes": 1, "unrolled": True}),
    "pc_darts": ("pc_darts", 2, TINY | {"num_nodes": 1, "partial_channels": 2}),
    "random_ws": ("random_ws", 4, TINY),
    "bf16": ("two_stage", 4, TWO_STAGE | {"amp": "bf16"}),
    "contiguous": ("two_stage", 4, TWO_STAGE | {"channels_last": False, "grad_accum": 2}),
    "imagenet": ("evaluation", 2, {"arch": "DARTS_V2", "stem": "imagenet", "batch_size": 8}),
}


def after_steps(case, recompute):
    """All numbers of a method after its steps, and how often its cells' second preprocessing was computed."""
    name, steps, values = CASES[case]
    method, computed = make_method(name, steps=steps, dtype=torch.float32, recompute=recompute, **values), []
    for cell in method.network.cells:
        cell.preprocess1.register_forward_hook(lambda *_: computed.append(1))
    for step in range(steps):
        method.network.train()
        drawn = [noise(2 * step + k, image_size=32 if case == "imagenet" else 16) for k in range(len(method.splits))]
        batches = [(x.float(), labels) for x, labels in drawn]
        if name in ("one_stage", "evaluation"):
            scales = before_training_step(method, step, steps, name == "one_stage")
            method.step(*batches[0], scales)
        else:
            method.before_step(step)
            method.step(*batches)
    return method.state_dict(), len(computed)


def before_training_step(method, step, steps, one_stage):
    """Drop-path's scales; a one-stage run searches for the first half of the steps, and has none then."""
    if one_stage and step < steps // 2:
        method.recover(step)
        return None
    if one_stage and step == steps // 2:
        method.fix(1)
    return mine(draw_scales(0.3, 8, method.num_connections(), generator(0, "drop_path", step)), CPU)


def tensors(state, name=""):
    """The tensors of a nested state by their paths."""
    if isinstance(state, torch.Tensor):
        return {name: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list | tuple) else ()
    return {path: tensor for key, value in items for path, tensor in tensors(value, f"{name}.{key}").items()}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_the_same_bit_for_bit(case):
    (plain, once_each), (state, computed) = after_steps(case, False), after_steps(case, True)
    expected, found = tensors(plain), tensors(state)
    assert expected.keys() == found.keys() and any("running_var" in name for name in found)
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []
    assert computed > 1.5 * once_each  # a one-stage run goes on with a network that has no hooks


def test_what_is_done_once_is_not_repeated():
    called = []
    x = torch.tensor([3.0], requires_grad=True)

    def part(x):
        factor = once(lambda: called.append(1) or len(called))
        return (factor * x).exp()

    y = recomputed(part, x)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(y, x, retain_graph=True)
        assert gradient == x.exp() and called == [1]
    assert once(lambda: "outside") == "outside"


def test_what_is_compiled_is_not_recomputed():
    with pytest.raises(UserError, match="--recompute and --compile exclude each other"):
        make_options("two_stage", recompute=True, compile=True)


def test_the_blocks_of_a_chain_are_the_same_bit_for_bit():
    space = ChainSpace("digits", (2, 2))
    connections = Connections(space.random(generator(0, "chain"), 2))
    (x, labels), found = noise(0), []
    scales = draw_scales(0.3, 8, sum(map(len, connections.support)), generator(0, "drop_path"))
    for recompute in (False, True):
        with initialising(0, "weights"):
            network = space.super_net(widths="digits", in_channels=1, num_classes=10)
        network.recompute = recompute
        scores = network(x.float().to(memory_format=torch.channels_last), connections, scales).logits
        F.cross_entropy(scores, labels).backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        found.append([scores, *gradients, *network.buffers()])
    assert len(found[0]) > 50 and all(map(torch.equal, *found))
