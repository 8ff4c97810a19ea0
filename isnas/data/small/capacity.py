"""How much a dataset may take in memory."""

from __future__ import annotations

from isnas.base.errors import UserError

#: Both parts of a dataset together.
MEMORY_LIMIT_BYTES = 8 * 2**30


def require_memory(count: int, image_size: int, channels: int) -> None:
    """Raise a :class:`UserError` when ``count`` images exceed :data:`MEMORY_LIMIT_BYTES`, before they are made."""
    gib, limit = (size / 2**30 for size in (count * image_size**2 * channels, MEMORY_LIMIT_BYTES))
    if gib <= limit:
        return
    largest = int((MEMORY_LIMIT_BYTES / (count * channels)) ** 0.5) // 4 * 4
    remedy = f"choose an --image_size of at most {largest}" if largest >= 8 else "use fewer images"
    raise UserError(
        f"{count:,} images of {image_size} x {image_size} x {channels} bytes take {gib:.1f} GiB, more than the "
        f"{limit:g} GiB that a dataset may take in memory; {remedy}"
    )
