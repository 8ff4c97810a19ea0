"""What batches of images have in common, whether they are in memory or streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from isnas.base.distributed import local_part
from isnas.base.errors import UserError


class EpochBatches(ABC):
    """Batches by epoch and step; of several processes each gets its part of a batch.

    For training they are all of ``batch_size`` images; in an evaluation the last is as large as what is left.

    Raises:
        UserError: when there are fewer images to train on than a batch has.
    """

    def __init__(self, num_images: int, batch_size: int, purpose: str, training: bool) -> None:
        self.num_images, self.batch_size, self.purpose, self.training = num_images, batch_size, purpose, training
        if training and batch_size > num_images:
            raise UserError(
                f"a batch of {batch_size} images is larger than {purpose}, which has {num_images}; "
                f"give a smaller batch size"
            )

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.num_images // self.batch_size if self.training else -(-self.num_images // self.batch_size)

    def epoch(self, epoch: int = 0, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch, from ``first_step`` on."""
        for step in range(first_step, len(self)):
            yield self.batch(epoch, step)

    @abstractmethod
    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """This process's part of batch ``step`` of ``epoch``: images and labels."""

    def check_step(self, step: int) -> None:
        """See that there is such a step."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")


def local_places(first: int, batch_size: int, num_images: int) -> slice:
    """This process's places, among ``num_images`` in order, of the batch that begins at ``first``."""
    part = local_part(min(batch_size, num_images - first))
    return slice(first + part.start, first + part.stop)
