"""What a step of a recurrent language model costs, against a straightforward loop and against an LSTM.

Forward and backward of the network of DARTS_V2, all dropouts on, against the same with a loop as a first version would
have it: the product of x in every step, a product per connection, masks multiplied in every step, autograd through all
of it; and against ``torch.nn.LSTM`` with as many parameters. 850 units, batch 64, 35 steps, 10,000 words. Whole
networks, the cells alone, and a super-net's cell, in which half of the candidates run, for a fifth of the steps.
Interleaved in one process, one thread. Bounds: 1.5 times for the super-net's cell; 1.1 times for DARTS_V2, of whose
time most goes into products that both have.
"""

import math
import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from common import make_parser, seconds_in_turn, write_figures
from torch import Tensor, nn

from isnas.base.files import markdown_table
from isnas.base.random import generator, initialising
from isnas.engine.run import find_device
from isnas.space.connections import Connections, support_of
from isnas.space.recurrent.network import Masks, RecurrentNetwork
from isnas.space.recurrent.published import published
from isnas.space.recurrent.space import RecurrentSpace

LEAST_SPEED_UP = {"DARTS_V2": 1.1, "DARTS_V2, cell": 1.1, "super-net, cell": 1.5}
Step = Callable[[], None]

PLAIN = ", straightforward"
FUNCTIONS = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda h: h}


def plain_cell(
    network: RecurrentNetwork, connections: Connections | None, x: Tensor, h: Tensor, masks: Masks
) -> Tensor:
    """The cell's outputs (T, B, nhid), as its formula stands."""
    cell, outputs = network.cell, []
    nodes = cell.running(None if connections is None else connections.support)
    for step in x:
        mask = masks.states
        c, g = (torch.cat([step * masks.inputs, h * mask], dim=1) @ cell.input_weight).chunk(2, dim=1)
        states = [h + torch.sigmoid(c) * (torch.tanh(g) - h)]
        for weight, node in zip(cell.weights, nodes):
            terms = []
            for operation, predecessor in node:
                s = states[predecessor]
                c, g = ((s * mask) @ weight).chunk(2, dim=1)
                terms.append(s + torch.sigmoid(c) * (FUNCTIONS[operation](g) - s))
            states.append(torch.stack(terms).mean(0) if terms else torch.zeros_like(h))
        h = torch.stack([states[number] for number in cell.concat]).mean(0)
        outputs.append(h)
    return torch.stack(outputs)


def plain_network(network: RecurrentNetwork, tokens: Tensor, state: Tensor, masks: Masks) -> Tensor:
    """Scores (T, B, V) of the language model with that cell."""
    x = F.embedding(tokens, network.embedding * masks.words.unsqueeze(1))
    outputs = plain_cell(network, None, x, state, masks) * masks.outputs
    return outputs @ network.embedding.t() + network.decoder_bias


class PlainLSTM(nn.Module):
    """A language model of one LSTM, with a tied decoder."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocabulary, width).uniform_(-0.04, 0.04))
        self.lstm = nn.LSTM(width, width)
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.lstm(F.embedding(tokens, self.embedding))
        return F.linear(outputs, self.embedding, self.decoder_bias)


def lstm_width(vocabulary: int, parameters: int) -> int:
    """The width h of such a network of so many parameters: V h + V + 8 h^2 + 8 h."""
    linear = vocabulary + 8
    return round((math.sqrt(linear**2 + 32 * (parameters - vocabulary)) - linear) / 16)


def step(module: nn.Module, forward: Callable[[], Tensor], targets: Tensor) -> None:
    """One pass forward and backward."""
    module.zero_grad(set_to_none=True)
    F.cross_entropy(forward().flatten(0, 1), targets.flatten()).backward()


def cell_step(module: nn.Module, forward: Callable[[], Tensor]) -> None:
    """One pass forward and backward of the cell alone."""
    module.zero_grad(set_to_none=True)
    forward().square().mean().backward()


def cell_steps(
    network: RecurrentNetwork, connections: Connections | None, x: Tensor, state: Tensor, masks: Masks
) -> tuple[Step, Step]:
    """The cell's step here, and the straightforward one."""

    def own() -> Tensor:
        return network.cell(x * masks.inputs, state, connections and connections.support, masks.states)

    return partial(cell_step, network, own), partial(
        cell_step, network, partial(plain_cell, network, connections, x, state, masks)
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=5, help="of each network")
    parser.add_argument("--units", type=int, default=850)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--bptt", type=int, default=35, help="words of a sequence")
    parser.add_argument("--vocabulary", type=int, default=10_000)
    parser.add_argument("--device", default="cpu", help="cuda: on a GPU, where no bound is known")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.units, arguments.batch_size, arguments.bptt, arguments.vocabulary = 2, 8, 3, 4, 20
    torch.set_num_threads(1)
    device = find_device(arguments.device, 0, tf32=False)
    units, batch = arguments.units, arguments.batch_size
    space, rng = RecurrentSpace(), generator(0, "benchmark")
    sizes = {"vocabulary": arguments.vocabulary, "ninp": units, "nhid": units}
    with initialising(0, "benchmark"):
        target = space.target_network(published("DARTS_V2").genotype, **sizes)
        super_net = space.super_net(**sizes)
        count = sum(parameter.numel() for parameter in target.parameters())
        lstm = PlainLSTM(arguments.vocabulary, lstm_width(arguments.vocabulary, count))
    for network in (target, super_net, lstm):
        network.to(device)
    tokens, targets = torch.randint(arguments.vocabulary, (2, arguments.bptt, batch), generator=rng).to(device)
    masks, state = target.draw_masks(batch, rng), target.first_state(batch)
    half = Connections(support_of((torch.rand(sum(space.sizes), generator=rng) < 0.5).tolist(), space.sizes))
    x, x_lstm = (
        torch.randn(arguments.bptt, batch, width, generator=rng).to(device).requires_grad_()
        for width in (units, lstm.lstm.input_size)
    )
    short = x[: math.ceil(arguments.bptt / 5)].detach().requires_grad_()
    whole = partial(plain_network, target, tokens, state, masks)
    pairs = {
        "DARTS_V2": (
            partial(step, target, lambda: target(tokens, state, None, masks).logits, targets),
            partial(step, target, whole, targets),
        ),
        "DARTS_V2, cell": cell_steps(target, None, x, state, masks),
        "super-net, cell": cell_steps(super_net, half, short, state, masks),
    }
    others = {"DARTS_V2": "LSTM", "DARTS_V2, cell": "LSTM, cell"}
    steps = {f"{name}{kind}": run for name, pair in pairs.items() for kind, run in zip(("", PLAIN), pair)}
    steps["LSTM"] = partial(step, lstm, partial(lstm, tokens), targets)
    steps["LSTM, cell"] = partial(cell_step, lstm, lambda: lstm.lstm(x_lstm)[0])
    seconds = seconds_in_turn(steps, arguments.steps, 1, device)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    of_lstm = sum(parameter.numel() for parameter in lstm.parameters())
    print(f"{count / 1e6:.2f} M parameters; LSTM of {lstm.lstm.hidden_size} units, {of_lstm / 1e6:.2f} M")
    rows, speed_ups = [], {name: median[f"{name}{PLAIN}"] / median[name] for name in pairs}
    for name, speed_up in speed_ups.items():
        other = median.get(others.get(name, ""))
        to_lstm = ("", "") if other is None else (f"{other:.3f}", f"{median[name] / other:.2f}")
        rows.append((name, f"{median[name]:.3f}", f"{median[name + PLAIN]:.3f}", f"{speed_up:.2f}", *to_lstm))
    print(markdown_table(("seconds", "here", "straightforward", "ratio", "LSTM", "here / LSTM"), rows))
    settings = {name: getattr(arguments, name) for name in ("units", "batch_size", "bptt", "vocabulary")}
    write_figures(arguments.output, {**settings, "seconds": seconds}, device)
    if (
        device.type == "cpu"
        and not arguments.quick
        and any(speed_ups[name] < least for name, least in LEAST_SPEED_UP.items())
    ):
        sys.exit("the figures fall short of the bounds")


if __name__ == "__main__":
    main()
