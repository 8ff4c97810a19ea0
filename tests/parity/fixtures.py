"""The numbers of the released code as tensors, and how far others are from them. README.md says what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"
TOLERANCE = 1e-9
SUMMARY_VALUES = 16  # of a large tensor, besides its sum and its norm
DRAWN = "auxiliary.conv2.weight"  # its start is drawn by head_start, not stored


class Row(NamedTuple):
    """One tensor of a network: its name in the released code and in this project."""

    released: str
    name: str
    shape: tuple[int, ...]


class Arrays:
    """The arrays of one file, floats as float64 and integers as int64; ``setting`` names the part of it to look into.

    It remembers what was asked for: :meth:`unread` says what a comparison has passed over.
    """

    def __init__(self, name: str, setting: str | None = None) -> None:
        with np.load(DATA / f"{name}.npz") as stored:
            arrays = {key: torch.from_numpy(stored[key]) for key in stored}
        parts = {key: key.rpartition("/") for key in arrays}
        self._arrays = {
            short: arrays[key].double() if arrays[key].is_floating_point() else arrays[key].long()
            for key, (part, _, short) in parts.items()
            if part in ("", setting)
        }
        self._unread = set(self._arrays)

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def __getitem__(self, key: str) -> Tensor:
        self._unread.discard(key)
        return self._arrays[key]

    def unread(self) -> list[str]:
        """Names of the arrays that nobody has asked for."""
        return sorted(self._unread)

    def batch(self, number: int, suffix: str = "") -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and labels (B,); images are stored as whole numbers of 1/32."""
        return self[f"images{suffix}"][number].double() / 32, self[f"labels{suffix}"][number]


@dataclass(frozen=True)
class Packed:
    """Some tensors of a network by this project's names: small ones as they are, large ones as :func:`summary`."""

    whole: dict[str, Tensor]
    summaries: dict[str, Tensor]

    @staticmethod
    def of(arrays: Arrays, prefix: str, rows: list[Row]) -> Packed:
        """The list of tensors that stands under ``prefix`` in a file."""
        small = [rows[i] for i in arrays[f"{prefix}_index"].tolist()]
        large = [rows[i] for i in arrays[f"{prefix}_large_index"].tolist()]
        return Packed(
            unpacked(small, arrays[f"{prefix}_values"]),
            {row.name: values for row, values in zip(large, arrays[f"{prefix}_large"], strict=True)},
        )


def options_of(name: str) -> tuple[SimpleNamespace, Any]:
    """What a .json file says: the options, and all of it."""
    described = json.loads((DATA / f"{name}.json").read_text())
    return SimpleNamespace(**described["options"]), described


def rows_of(tensors: list[Any]) -> list[Row]:
    """The tensors that a .json file lists."""
    return [Row(released, name, tuple(shape)) for released, name, shape in tensors]


def unpacked(rows: list[Row], values: Tensor) -> dict[str, Tensor]:
    """Tensors by name out of their values one behind the other."""
    parts = values.split([int(np.prod(row.shape)) for row in rows])
    return {row.name: part.reshape(row.shape).clone() for row, part in zip(rows, parts, strict=True)}


def head_start(shape: tuple[int, ...]) -> Tensor:
    """Start of the auxiliary head's large convolution, uniform within 512^(-1/2) of 0; drawn, as it is a large one."""
    drawn = np.random.RandomState(20).random_sample(shape)
    return torch.from_numpy((drawn - 0.5) * 2 * 512**-0.5)


def start_state(rows: list[Row], arrays: Arrays) -> dict[str, Tensor]:
    """Weights and statistics by this project's names, before the first step."""
    state = unpacked([row for row in rows if row.name != DRAWN], arrays["start"])
    return state | {row.name: head_start(row.shape) for row in rows if row.name == DRAWN}


def summary(tensor: Tensor) -> Tensor:
    """Sum, norm and first values of a tensor that is too large to be stored."""
    flat = tensor.detach().flatten()
    return torch.cat([flat.sum()[None], flat.norm()[None], flat[:SUMMARY_VALUES]])


class DepartureError(Exception):
    """A quantity left the tolerance in a comparison that was to stop there."""


class Comparison:
    """Largest absolute difference per quantity, and the first quantity that left the tolerance.

    With ``stop`` the comparison ends there, with a :class:`DepartureError`.
    """

    def __init__(self, tolerance: float = TOLERANCE, stop: bool = False) -> None:
        self.tolerance, self.stop = tolerance, stop
        self.largest: dict[str, float] = {}
        self.first: str | None = None

    def close(self, quantity: str, found: Any, expected: Tensor) -> None:
        """Numbers, to the tolerance."""
        found = torch.as_tensor(found).detach().double()
        assert found.shape == expected.shape and found.numel(), (quantity, found.shape, expected.shape)
        difference = (found - expected).abs().max().item()
        self._note(quantity, difference if difference == difference else float("inf"))

    def equal(self, quantity: str, found: Any, expected: Any) -> None:
        """Integers and tensors that are the same to the last bit."""
        same = torch.equal(torch.as_tensor(found), torch.as_tensor(expected))
        self._note(quantity, 0.0 if same else float("inf"))

    def tensors(self, quantity: str, found: Mapping[str, Tensor], packed: Packed) -> None:
        """The packed tensors; one that ``found`` lacks is an error."""
        for name, expected in packed.whole.items():
            self.close(quantity, found[name], expected)
        for name, expected in packed.summaries.items():
            self.close(quantity, summary(found[name]), expected)

    def state(self, quantity: str, found: Mapping[str, Tensor], packed: Packed, start: Mapping[str, Tensor]) -> None:
        """A network's state: the packed tensors, and bit for bit the start's where they are silent.

        ``found`` may lack what a fixed network has dropped.
        """
        kept = Packed(
            {name: values for name, values in packed.whole.items() if name in found},
            {name: values for name, values in packed.summaries.items() if name in found},
        )
        self.tensors(quantity, found, kept)
        others = found.keys() - kept.whole.keys() - kept.summaries.keys()
        moved = sorted(name for name in others if not torch.equal(found[name], start[name]))
        self._note(f"{quantity}, tensors that stay", float("inf") if moved else 0.0)

    def departures(self) -> dict[str, float]:
        """The quantities that have left the tolerance."""
        return {quantity: value for quantity, value in self.largest.items() if not value <= self.tolerance}

    def _note(self, quantity: str, difference: float) -> None:
        self.largest[quantity] = max(self.largest.get(quantity, 0.0), difference)
        if difference > self.tolerance and self.first is None:
            self.first = quantity
            if self.stop:
                raise DepartureError(f"{quantity}: {difference:.1e}")


def first_departure(follow: Callable[[Comparison], Any]) -> str | None:
    """The first quantity that leaves the tolerance in a comparison that ends there, None where all stay."""
    comparison = Comparison(stop=True)
    with suppress(DepartureError):
        follow(comparison)
    return comparison.first
