"""How a training step computes, whatever it trains: precision, parts of a batch, memory layout, compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from isnas.base.distributed import world_size
from isnas.base.errors import UserError, first_line
from isnas.base.precision import exact_device
from isnas.space.batch_norm import BatchNorm
from isnas.space.space import Network, Output
from isnas.train.cost import Cost
from isnas.train.exchange import GradientExchange
from isnas.train.train_options import (
    StepOptions,
)

AnyNetwork = TypeVar("AnyNetwork", bound=Network)

PRECISIONS = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Most versions of one operation's code that are compiled: of kernel sizes, strides, resolutions, training and not.
_MOST_VERSIONS = 128


class StepResult(NamedTuple):
    """A batch's mean loss () and class scores (B, num_classes), detached, still on the device."""

    loss: Tensor
    logits: Tensor


class Stepping:
    """Computes losses, gradients and updates as :class:`StepOptions` say, on one device.

    ``cost`` counts the images of all processes that go forward and backward.

    With ``fp16`` the loss is scaled so that small gradients survive, and a step whose gradient overflows is left out;
    the scale is part of ``state_dict``.
    """

    def __init__(self, options: StepOptions, device: torch.device) -> None:
        self.options, self.device = options, device
        self.dtype = PRECISIONS[options.amp]
        safe = device.type != "mps"  # where a network is only asked; trainings are refused (harness_options)
        self.layout = torch.channels_last if options.channels_last and safe else torch.contiguous_format
        self.scaler = torch.amp.GradScaler(device.type, enabled=options.amp == "fp16")
        self.exchange = GradientExchange() if world_size() > 1 else None
        self.cost = Cost()

    @property
    def exact_device(self) -> torch.device:
        """Where what is computed in float64 is."""
        return exact_device(self.device)

    def place(self, network: AnyNetwork) -> AnyNetwork:
        """The network on the device, in the layout, its operations compiled where that was asked for.

        Each operation is compiled for itself: which of them run changes with the support, and a graph of the whole
        network would be compiled anew with every change.
        """
        network.to(self.device).to(memory_format=self.layout)
        network.recompute = self.options.recompute
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.synchronised = self.options.sync_bn and world_size() > 1
        if self.options.compile:
            _require_compiler(self.device)
            import torch._dynamo  # slow to import

            torch._dynamo.config.recompile_limit = _MOST_VERSIONS
            for part in network.parts():
                part.compile()
        return network

    def forward(self, network: Callable[..., Output], x: Tensor, *arguments: Any) -> Output:
        """``network(x, *arguments)`` in the precision and layout, its scores in full precision."""
        x = x.contiguous(memory_format=self.layout)
        if self.dtype is None:
            return network(x, *arguments)
        with torch.autocast(self.device.type, self.dtype):
            logits, auxiliary = network(x, *arguments)
        return Output(logits.float(), None if auxiliary is None else auxiliary.float())

    def backward(
        self,
        loss_of: Callable[..., tuple[Tensor, Tensor]],
        batch: Sequence[Tensor | None],
        parameters: Iterable[Tensor],
        through_network: bool = True,
        entries: int | None = None,
    ) -> StepResult:
        """Add the gradient of the batch's mean loss, times the loss scale, to ``.grad`` of ``parameters``.

        ``loss_of(*batch)`` gives the mean loss and the scores. The tensors of ``batch``, of which only later ones may
        be missing, have one entry per image; with ``grad_accum`` they are taken in parts, whose losses are weighted by
        their sizes. Of several processes each has an equal part of the batch, and the gradient is that of all of it.
        Where it is not ``through_network``, that one goes forward alone, which costs less. A batch costs as many passes
        as it has ``entries``, images if that is not given.

        Raises:
            LostContactError: when another process is gone.
        """
        parameters = list(parameters)
        assert batch[0] is not None
        size = len(batch[0])
        count = self.cost.add_trained if through_network else self.cost.add_scored
        count((size if entries is None else entries) * world_size())
        results = []
        accum = self.options.grad_accum
        parts = list(zip(*([None] * accum if tensor is None else tensor.tensor_split(accum) for tensor in batch)))
        for number, part in enumerate(parts):
            loss, logits = loss_of(*part)
            if self.exchange is not None and number == len(parts) - 1:
                self.exchange.start(parameters)
            if len(part[0]) < size:
                loss = loss * (len(part[0]) / size)
            self.scaler.scale(loss).backward(inputs=parameters)
            results.append(StepResult(loss.detach(), logits.detach()))
        if self.exchange is not None:
            self.exchange.finish()
        if len(results) == 1:
            return results[0]
        losses, scores = zip(*results)
        return StepResult(torch.stack(losses).sum(), torch.cat(scores))

    def update(
        self, *optimizers: Optimizer, grad_clip: float | None = None, clipped_with: Iterable[Tensor] = ()
    ) -> None:
        """Take the steps of the optimisers whose gradients one backward pass has made, and clear the gradients.

        The norm of the first one's gradient is cut at ``grad_clip``, together with the gradients of the parameters
        ``clipped_with``, which no loss scale has multiplied and which stay as they are.
        """
        for optimizer in optimizers:
            self.scaler.unscale_(optimizer)
        if grad_clip is not None:
            parameters = [parameter for group in optimizers[0].param_groups for parameter in group["params"]]
            cut_norm(parameters, list(clipped_with), grad_clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        for optimizer in optimizers:
            optimizer.zero_grad()

    def notes(self) -> list[str]:
        """What the user should know about options that do little or nothing on this device."""
        amp = self.options.amp
        if amp == "off" or self.device.type not in ("cpu", "cuda"):
            return []
        if self.device.type == "cuda":
            fast = amp == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            names = {"bf16": ("amx_bf16", "avx512_bf16", "bf16"), "fp16": ("amx_fp16", "avx512_fp16", "fp16_arith")}
            capabilities = torch.cpu.get_capabilities()
            fast = any(capabilities.get(name) for name in names[amp])
        return [] if fast else [f"--amp {amp} saves memory but no time: this device has no instructions for it"]

    def state_dict(self) -> dict[str, Any]:
        """The loss scale; empty without fp16."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        if state:
            self.scaler.load_state_dict(state)


def cut_norm(parameters: Sequence[Tensor], others: Sequence[Tensor], most: float) -> None:
    """Cut the gradients so that their norm, with that of the ``others`` in it, which stay as they are, is ``most``.

    The others may be on another device, and more precise; the norm has the parameters' type.
    """
    if not others:
        torch.nn.utils.clip_grad_norm_(parameters, most)
        return
    norm, of_others = (
        torch.nn.utils.get_total_norm([part.grad for part in parts if part.grad is not None])
        for parts in (parameters, others)
    )
    together = torch.hypot(norm, of_others.to(norm.dtype).to(norm.device))
    torch.nn.utils.clip_grads_with_norm_(parameters, most, together)


def _require_compiler(device: torch.device) -> None:
    """Compile a small function, so that what is missing shows before anything else is done.

    Raises:
        UserError: when torch.compile does not work on this device.
    """
    try:
        torch.compile(torch.sin)(torch.ones(8, device=device))
    except Exception as error:  # a missing compiler, a missing Triton, an unsupported device
        raise UserError(
            f"--compile cannot be used: {first_line(error)}; leave it out, or install a C++ compiler"
        ) from None
