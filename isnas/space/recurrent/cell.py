"""The recurrent cell of DARTS, with any number of connections per node.

Every node has one weight W_i, whatever its connections are, so that a super-net and a target network have the same
parameters. Source: DARTS (ICLR 2019); the mean over several connections is that of CoNAS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from isnas.space.connections import Support
from isnas.space.pairs import Node
from isnas.space.recurrent.loop import make_plan, run_loop

#: Weights are drawn between minus and plus this.
INITIAL_RANGE = 0.04


class RecurrentCell(nn.Module):
    """The cell with these connections per node, whose output is the mean of the nodes ``concat``.

    ``input_weight`` is W_0 (ninp + nhid, 2 nhid), ``weights`` are W_1, W_2, ..., all (nhid, 2 nhid), without biases.
    """

    def __init__(self, nodes: tuple[Node, ...], concat: tuple[int, ...], ninp: int, nhid: int) -> None:
        super().__init__()
        self.nodes, self.concat = nodes, concat
        self.input_weight = nn.Parameter(torch.empty(ninp + nhid, 2 * nhid))
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(nhid, 2 * nhid)) for _ in nodes)
        for weight in (self.input_weight, *self.weights):
            nn.init.uniform_(weight, -INITIAL_RANGE, INITIAL_RANGE)

    def forward(self, x: Tensor, h: Tensor, support: Support | None = None, mask: Tensor | None = None) -> Tensor:
        """The state (T, B, nhid) after each step, from x (T, B, ninp) and the state h (B, nhid) before them.

        ``support`` says which connections run, per node by their places in ``nodes``; all without. ``mask``
        (B, nhid) multiplies h and the nodes' states where they go into products, and nowhere else. A node without any
        connection is zero, and counts in the mean. All of it has the weights' type, whatever autocast says: states
        that are added to in every step lose too much in another.
        """
        with torch.autocast(x.device.type, enabled=False):
            x, h = x.to(self.input_weight.dtype), h.to(self.input_weight.dtype)
            of_input, of_state = self.input_weight.tensor_split([self.input_weight.shape[0] - h.shape[1]])
            gates = (x.flatten(0, 1) @ of_input).unflatten(0, x.shape[:2])
            plan = make_plan(self.running(support), self.concat)
            return run_loop(plan, gates, h, mask, (of_state, *self.weights))

    def running(self, support: Support | None = None) -> tuple[Node, ...]:
        """The connections that run, per node."""
        if support is None:
            return self.nodes
        return tuple(tuple(node[k] for k in active) for node, active in zip(self.nodes, support, strict=True))
