"""The candidates of a block, a row each: what they are, what they keep, how they are drawn. Their modules: operations.

Source: ProxylessNAS (ICLR 2019), whose space they are.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """An MBConv of this kernel, with ``expansion`` times its input's channels inside; expansion 0 is the skip.

    ``colors``: outline and filling in pictures.
    """

    kernel: int
    expansion: int
    colors: tuple[str, str]

    @property
    def kept(self) -> int:
        """Tensors of its output's size that it keeps for the backward pass at stride 1, beside the input it reads.

        Of each inner convolution what it makes, and what is left of that when it is normalised and rectified; of the
        last convolution what it makes.
        """
        return 4 * self.expansion + 1 if self.expansion else 0


_K3, _K5, _K7 = "#1f5fa8", "#b34a0b", "#23784a"

#: What leaves a block out, where the block changes neither size nor channels.
SKIP = "skip"

#: Every candidate that a genotype may name. Canonical order goes by their places, so a new one comes last but for skip:
#: a block that cannot be skipped has the same candidates without the last.
CANDIDATES: dict[str, Candidate] = {
    "k3_e3": Candidate(3, 3, (_K3, "#eaf2fb")),
    "k3_e6": Candidate(3, 6, (_K3, "#b9d4f1")),
    "k5_e3": Candidate(5, 3, (_K5, "#fdf0e7")),
    "k5_e6": Candidate(5, 6, (_K5, "#f7c9a6")),
    "k7_e3": Candidate(7, 3, (_K7, "#e9f6ee")),
    "k7_e6": Candidate(7, 6, (_K7, "#b2dfc3")),
    SKIP: Candidate(0, 0, ("#6b6b6b", "#f7f7f7")),
}

#: The names, in canonical order.
NAMES = tuple(CANDIDATES)
