"""Many small pictures with captions on one sheet, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isnas.base.files import write_with
from isnas.base.text import printable

SIDE, MARGIN, LINE = 128, 8, 16  # pixels
_COLUMNS = 6


def draw_contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[Sequence[str]], path: Path) -> Path:
    """Write pictures, uint8 (S, S, 1 or 3), in rows, each with the lines of its caption below it; returns the path.

    A caption that is wider than its picture is cut.
    """
    assert len(pictures) == len(captions) > 0
    lines = max(map(len, captions))
    columns = min(_COLUMNS, len(pictures))
    width, height = SIDE + MARGIN, SIDE + lines * LINE + MARGIN
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    writing, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 4)
    for number, (picture, caption) in enumerate(zip(pictures, captions)):
        left, top = MARGIN + number % columns * width, MARGIN + number // columns * height
        image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
        smooth = Image.Resampling.BILINEAR if image.width > SIDE else Image.Resampling.NEAREST
        sheet.paste(image.resize((SIDE, SIDE), smooth), (left, top))
        for place, text in enumerate(caption):
            text = printable(text)
            while text and writing.textlength(text, font) > SIDE:
                text = text[:-1]
            writing.text((left, top + SIDE + place * LINE), text, "black", font)
    write_with(path, partial(sheet.save, format="PNG"))
    return path
