"""Batch normalisation in training on the CPU, ``channels_last``, against float64 and the contiguous layout."""

import pytest
import torch
import torch.nn.functional as F

from isnas.base.random import generator
from isnas.space import batch_norm
from isnas.space.batch_norm import BatchNorm
from isnas.space.exact_bn import exact_batch_norm

#: What comes out, and its largest error relative to float64: in units of the contiguous layout's, and on top of that.
#: The sums of the backward pass are torch's own.
AT_MOST = {"mean": (4.0, 0.0), "var": (4.0, 0.0), "y": (4.0, 0.0), "x": (4.0, 6e-6), "weight": (4.0, 6e-6)}

SIZES = {"one block": (32, 16, 32), "several blocks": (64, 48, 32), "odd": (25, 10, 7), "one part": (50, 700, 5)}


def passes(layer, x, gradient, coefficient=None):
    """Statistics, result and gradients of one step of a fresh layer, in float64."""
    layer = layer.to(x.dtype)
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    coefficient = None if coefficient is None else coefficient.to(x.dtype).requires_grad_()
    y = layer(x, coefficient)
    wanted = {"x": x, "weight": layer.weight, "bias": layer.bias, "coefficient": coefficient}
    wanted = {name: tensor for name, tensor in wanted.items() if tensor is not None}
    gradients = dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), gradient)))
    made = {"mean": layer.running_mean, "var": layer.running_var, "y": y} | gradients
    return {name: tensor.detach().double() for name, tensor in made.items()}


def errors(made, exact):
    return {name: ((made[name] - value).norm() / value.norm()).item() for name, value in exact.items()}


def draw(batch, channels, side):
    """Rectified values, whose plain sum goes astray, and a gradient that is not centred either."""
    rng = generator(0, "images")
    x = (torch.randn(batch, channels, side, side, generator=rng) + 0.5).relu()
    return x, torch.randn(batch, channels, side, side, generator=rng).relu()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_as_exact_as_the_contiguous_layout(size):
    x, gradient = draw(*size)
    exact = passes(BatchNorm(size[1]), x.double(), gradient.double())
    contiguous = errors(passes(BatchNorm(size[1]), x, gradient), exact)
    layout = {"memory_format": torch.channels_last}
    ours = errors(passes(BatchNorm(size[1]), x.to(**layout), gradient.to(**layout)), exact)
    for name, (factor, more) in AT_MOST.items():
        assert ours[name] <= factor * contiguous[name] + more, name


def test_torch_alone_is_not(monkeypatch):
    """Else exact_bn.py can go."""
    monkeypatch.setattr(batch_norm, "_sums_plainly", lambda x: False)
    x, gradient = draw(*SIZES["several blocks"])
    exact = passes(BatchNorm(48), x.double(), gradient.double())
    layout = {"memory_format": torch.channels_last}
    plain = errors(passes(BatchNorm(48), x.to(**layout), gradient.to(**layout)), exact)
    assert plain["var"] > 1e-6
    assert plain["y"] > 1e-5


@pytest.mark.parametrize("affine", [True, False])
def test_the_coefficient_gets_its_gradient(affine):
    x, gradient = draw(16, 6, 8)
    coefficient = torch.tensor(0.7)
    exact = passes(BatchNorm(6, affine), x.double(), gradient.double(), coefficient)
    layout = {"memory_format": torch.channels_last}
    ours = passes(BatchNorm(6, affine), x.to(**layout), gradient.to(**layout), coefficient)
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_the_gradient_is_that_of_finite_differences(affine):
    rng = generator(1, "images")
    x = torch.randn(4, 3, 2, 4, dtype=torch.float64, generator=rng).to(memory_format=torch.channels_last)
    pair = torch.randn(2, 3, dtype=torch.float64, generator=rng).unbind() if affine else (None, None)
    inputs = [tensor.clone().requires_grad_() for tensor in (x, *pair) if tensor is not None]

    def layer(x, weight=None, bias=None):
        return exact_batch_norm(x, x.new_zeros(3), x.new_ones(3), weight, bias, 0.1, 1e-5)

    assert torch.autograd.gradcheck(layer, inputs)
    torch.testing.assert_close(
        layer(*inputs), F.batch_norm(x, None, None, *pair, training=True), rtol=1e-12, atol=1e-12
    )


def test_the_result_may_be_changed_in_place():
    """As the rectifier behind it does."""
    x, gradient = (tensor.to(memory_format=torch.channels_last) for tensor in draw(8, 4, 8))
    a, b = (x.clone(memory_format=torch.preserve_format).requires_grad_() for _ in range(2))
    (of_a,) = torch.autograd.grad(F.relu(BatchNorm(4)(a), inplace=True), a, gradient)
    (of_b,) = torch.autograd.grad(F.relu(BatchNorm(4)(b)), b, gradient)
    assert torch.equal(of_a, of_b)
