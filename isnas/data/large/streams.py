"""Batches of images that no memory holds: worker processes read and crop, the device changes colours and normalises."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from isnas.base.distributed import gathered
from isnas.base.errors import UserError
from isnas.base.launched import number_of
from isnas.base.precision import sent
from isnas.base.random import generator
from isnas.data.data_options import StreamOptions
from isnas.data.epochs import EpochBatches, local_places
from isnas.data.large.jitter import color_jitter
from isnas.data.large.reading import Part, PartReader, StreamAugmentation, StreamedSet

_MOST_WORKERS = 16
_GRACE_SECONDS = 30
_CPU_IMAGES = 4  # so many fit into a core's cache while their colours change


class StreamedBatches(EpochBatches):
    """Batches of images read as they are needed; :class:`isnas.data.small.batches.Batches` are of those in memory.

    Which images a batch holds is a function of the seed, the purpose, the epoch and the step, and how an image is
    varied one of the seed, the purpose, the epoch and the image alone; neither depends on the number of processes and
    workers. Of several processes each reads its part of a batch.

    Batches that are asked for one after the other are prepared ahead, also across the end of an epoch of training. Any
    other step starts the workers anew.

    Args:
        images: The set.
        indices: Which of its images, int64, no image twice; None means all.
        batch_size: Images per batch of all processes together.
        seed: The run's seed.
        purpose: What the batches are for; other purposes draw other numbers.
        augment: The augmentation, or None for evaluation: every image once, in order.
        device: Where the batches are.
        options: How they are read.
        max_bad_images: So many that cannot be read are left out; more end the run.

    Raises:
        UserError: when there are fewer images to train on than a batch has.
    """

    def __init__(
        self,
        images: StreamedSet,
        indices: Tensor | None,
        batch_size: int,
        seed: int,
        purpose: str,
        augment: StreamAugmentation | None,
        device: torch.device | str,
        options: StreamOptions,
        max_bad_images: int,
    ) -> None:
        if indices is not None:
            chosen = indices if images.chosen is None else images.chosen[indices]
            images = StreamedSet(images.source, chosen, images.info)
        super().__init__(len(images), batch_size, purpose, augment is not None)
        self.images, self.image_size, self.seed, self.augment = images, images.info.image_size, seed, augment
        self.device, self.options, self.max_bad_images = torch.device(device), options, max_bad_images
        self.workers = default_workers() if options.workers is None else options.workers
        self.data_seconds = 0.0
        std = torch.tensor(images.info.std)
        self._scale = (1 / std).repeat(self.image_size).to(device)
        self._shift = (-torch.tensor(images.info.mean) / std).repeat(self.image_size).to(device)
        self._reader = PartReader(images, seed, purpose, augment, max_bad_images)
        self._bad: dict[int, str] = {}
        self._told: set[int] = set()
        self._parts: Iterator[Part] | None = None
        self._upcoming: tuple[int, int] | None = None
        atexit.register(_close, weakref.ref(self))  # before torch forgets at exit about workers that still wait

    def batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """This process's part of batch ``step`` of ``epoch``.

        The time spent waiting for it is added to ``data_seconds``.

        Returns:
            Normalised images, float32 (n, 3, S, S) in ``channels_last``, and their labels, int64 (n,). In an evaluation
            images that cannot be read are left out, and n may be 0.

        Raises:
            UserError: when more images than ``max_bad_images`` cannot be read, a shard is damaged, or a worker
                was ended.
        """
        self.check_step(step)
        start = time.perf_counter()
        part = self._received(epoch, step)
        self.data_seconds += time.perf_counter() - start
        if part.error:
            self.close()
            raise UserError(part.error)
        self._bad = dict(part.bad) | self._bad  # several workers may have met one
        self._check_limit()
        return self._varied(part), sent(part.labels, self.device)

    def share_bad_images(self) -> list[str]:
        """Let all processes know the images that any could not read; those that are new since last time, with reasons.

        Every process must call it.

        Raises:
            UserError: when they are more than allowed.
        """
        self._know_all()
        new = sorted(set(self._bad) - self._told)
        self._told |= set(new)
        self._check_limit()
        return [f"{self.images.source.name(number)} ({self._bad[number]})" for number in new]

    def state_dict(self) -> dict[str, Any]:
        """The images that any process could not read so far; every process must call it."""
        self._know_all()
        return {"bad": dict(self._bad), "told": sorted(self._told)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._bad, self._told = dict(state["bad"]), set(state["told"])

    def close(self) -> None:
        """End the workers; the next batch starts them again."""
        self._parts = self._upcoming = None

    def _received(self, epoch: int, step: int) -> Part:
        try:
            if self._parts is None or self._upcoming != (epoch, step):
                self.close()
                with _without_sigterm():
                    self._parts = iter(self._loader(epoch, step))
            self._upcoming = None
            part = next(self._parts)
        except RuntimeError as error:
            self.close()
            raise _explained(error) from None
        if step + 1 < len(self):
            self._upcoming = epoch, step + 1
        elif self.augment:
            self._upcoming = epoch + 1, 0
        else:
            self.close()
        return part

    def _loader(self, epoch: int, step: int) -> DataLoader:
        first = step * self.batch_size
        if self.augment:
            places = _training_places(len(self) * self.batch_size, self.batch_size, epoch, first)
        else:
            places = _places(self.num_images, self.batch_size, epoch, first)
        return DataLoader(
            self._reader,
            batch_size=None,
            sampler=places,  # type: ignore[arg-type]  # any iterable of what the reader takes
            num_workers=self.workers,
            prefetch_factor=self.options.prefetch if self.workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_begin,
            generator=generator(self.seed, "workers", self.purpose),  # else it would draw from torch's global one
        )

    def _varied(self, part: Part) -> Tensor:
        """The images of a part on the device, their colours changed, normalised."""
        count, size, _, channels = part.pixels.shape
        x, scale = sent(part.pixels, self.device).float(), self._scale / 255
        if self.augment and self.augment.color_jitter:
            planes = x.div_(255).permute(0, 3, 1, 2).contiguous()
            few = _CPU_IMAGES if self.device.type == "cpu" else max(count, 1)
            pieces = zip(*(each.split(few) for each in (planes, part.factors, part.order)))
            changed = torch.cat([color_jitter(*piece) for piece in pieces])
            x, scale = changed.permute(0, 2, 3, 1).contiguous(), self._scale
        rows = x.view(count, size, size * channels).mul_(scale).add_(self._shift)  # each with the channels in turn
        return rows.view(count, size, size, channels).permute(0, 3, 1, 2)

    def _know_all(self) -> None:
        for bad in gathered(self._bad):
            self._bad = bad | self._bad

    def _check_limit(self) -> None:
        limit = self.max_bad_images
        if len(self._bad) > limit:
            self.close()
            number, reason = list(self._bad.items())[limit]
            found = f"{self.images.source.name(number)} cannot be read ({reason})"
            before = f", after {limit} others for {self.purpose}" if limit else ""
            raise UserError(
                f"{found}{before}; replace it, or go on without such images by a larger --max_bad_images than {limit}"
            )


def default_workers() -> int:
    """The cores of this process: what SLURM gives to a task, or its share of those of torchrun's processes here."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cores // max(1, number_of("LOCAL_WORLD_SIZE", 1))
    share = min(share, number_of("SLURM_CPUS_PER_TASK", share))
    return min(max(share, 1), _MOST_WORKERS)


def _places(num_images: int, batch_size: int, epoch: int, first: int) -> Iterator[tuple[int, int, int]]:
    """Epoch and places in its order of this process's part of each batch, from the batch at ``first`` on.

    No method of :class:`StreamedBatches`, which would then be part of a cycle, and its workers not end with it.
    """
    for start in range(first, num_images, batch_size):
        mine = local_places(start, batch_size, num_images)
        yield epoch, mine.start, mine.stop


def _training_places(num_images: int, batch_size: int, epoch: int, first: int) -> Iterator[tuple[int, int, int]]:
    """The same in this epoch and all that follow."""
    while True:
        yield from _places(num_images, batch_size, epoch, first)
        epoch, first = epoch + 1, 0


def _begin(worker: int) -> None:
    """What a worker does first.

    Garbage that it inherits is not its own to collect: another stream may be among it, whose workers would be told to
    end. What a signal asks for is left to the process that trains, which gets the same ones and may still save its
    state; only SIGTERM ends a worker, half a minute later.
    """
    gc.freeze()
    for name in ("SIGINT", "SIGUSR1", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_GRACE_SECONDS))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextmanager
def _without_sigterm() -> Iterator[None]:
    """A block in which SIGTERM waits, also in workers that begin in it, until they know what to do with it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _close(batches: weakref.ref[StreamedBatches]) -> None:
    found = batches()
    if found is not None:
        found.close()


def _explained(error: RuntimeError) -> Exception:
    """A worker's end as what the user can do about it; any other error as it is."""
    text = " ".join(str(error).split())
    if "shm" in text or "No space left on device" in text:
        return UserError(
            "the shared memory of this machine (/dev/shm) is too small; use fewer --workers, or --workers 0"
        )
    if "killed by signal" in text or "exited unexpectedly" in text:
        return UserError(f"a worker was ended from outside ({text[:100]}); if memory is short, use fewer --workers")
    return error
