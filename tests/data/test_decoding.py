"""One image file at a time, against Pillow's and torchvision's operations on the whole image."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from isnas.base.errors import UserError
from isnas.data.decoding import read_header, read_pixels

SIZE = 24


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def scene(width: int, height: int) -> Image.Image:
    """A smooth colour picture without symmetries."""
    return Image.fromarray(noise(5, 7, 3)).resize((width, height), Image.Resampling.BICUBIC)


def saved(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return path


def largest_difference(path: Path, expected: np.ndarray) -> int:
    expected = expected.reshape(SIZE, SIZE, -1).astype(int)
    return int(np.abs(read_pixels(path, SIZE, expected.shape[2]).astype(int) - expected).max())


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_grey_levels_of_16_bits_are_scaled_not_clipped(tmp_path, suffix):
    levels = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE), dtype=np.uint16)
    levels[0, :3] = 0, 65535, 300
    path = saved(tmp_path / f"grey.{suffix}", levels)
    assert read_header(path).is_grey
    expected = np.rint(levels / 65535 * 255)
    assert expected[0, :3].tolist() == [0, 255, 1]
    assert largest_difference(path, expected) == 0
    assert largest_difference(path, np.repeat(expected[..., None], 3, 2)) == 0


def test_colours_of_16_bits_become_their_upper_8(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    levels = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert largest_difference(tmp_path / "a.png", levels >> 8) == 0


def test_what_is_transparent_is_laid_over_white(tmp_path):
    pixels = noise(SIZE, SIZE, 4)
    colour, alpha = pixels[..., :3].astype(float), pixels[..., 3:] / 255
    assert largest_difference(saved(tmp_path / "a.png", pixels), colour * alpha + 255 * (1 - alpha)) <= 1
    grey = saved(tmp_path / "b.png", Image.fromarray(pixels[..., :2], "LA"))
    alpha = pixels[..., 1] / 255
    assert read_header(grey).is_grey
    assert largest_difference(grey, pixels[..., 0] * alpha + 255 * (1 - alpha)) <= 1


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_rgb(tmp_path, transparent):
    indices = noise(SIZE, SIZE) % 4
    palette = np.array([[200, 0, 0], [0, 150, 10], [3, 4, 250], [90, 90, 90]])
    image = Image.fromarray(indices)
    image.putpalette(palette.astype(np.uint8).tobytes())
    path = saved(tmp_path / "a.png", image, **({"transparency": 2} if transparent else {}))
    if transparent:
        palette[2] = 255
    assert not read_header(path).is_grey
    assert largest_difference(path, palette[indices]) == 0


def test_other_colour_spaces_become_rgb_and_bits_become_black_and_white(tmp_path):
    inks = noise(SIZE, SIZE, 4)
    red_green_blue = (1 - inks[..., :3] / 255) * (1 - inks[..., 3:] / 255) * 255
    assert largest_difference(saved(tmp_path / "a.tif", Image.fromarray(inks, "CMYK")), red_green_blue) <= 1
    bits = noise(SIZE, SIZE) > 127
    path = saved(tmp_path / "b.png", bits)
    assert read_header(path).is_grey
    assert largest_difference(path, 255 * bits) == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_honoured(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", scene(30, 40), exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path))
    assert upright.size == ((30, 40) if orientation < 5 else (40, 30))
    crop = v2.CenterCrop(30)(upright)
    assert largest_difference(path, np.asarray(crop.resize((SIZE, SIZE), Image.Resampling.BILINEAR))) <= 3


@pytest.mark.parametrize(("width", "height"), [(48, 72), (120, 48), (48, 48), (12, 18), (24, 24)])
def test_the_shorter_side_is_scaled_and_the_centre_kept_as_torchvision_does(tmp_path, width, height):
    image = Image.fromarray(noise(height, width, 3))
    path = saved(tmp_path / "a.png", image)
    scaled = v2.Resize(SIZE, antialias=True)(image)
    assert largest_difference(path, np.asarray(v2.CenterCrop(SIZE)(scaled))) <= 1
    header = read_header(path)
    assert (header.shorter_side, header.is_square) == (min(width, height), width == height)


def test_a_large_jpeg_decoded_at_a_part_of_its_size_is_the_same_picture(tmp_path):
    path = saved(tmp_path / "a.jpg", scene(1003, 797), quality=95)
    whole = Image.open(path)
    box = ((1003 - 797) / 2, 0, (1003 + 797) / 2, 797)
    expected = np.asarray(whole.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)).astype(int)
    difference = np.abs(read_pixels(path, SIZE, 3).astype(int) - expected)
    assert difference.max() <= 4 and difference.mean() < 0.5


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tif", "ppm"])
def test_a_truncated_file_is_a_user_error_that_names_it(tmp_path, suffix):
    path = saved(tmp_path / f"a.{suffix}", noise(32, 32, 3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cannot be decoded|is not an image") as error:
        read_header(path)
        read_pixels(path, 16, 3)
    assert str(path) in str(error.value) and "remove it" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 and no more"])
def test_a_file_that_is_no_image_is_a_user_error_that_names_it(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="remove it") as error:
        read_header(path)
    assert str(path) in str(error.value)


def test_levels_without_a_known_range_and_unreadable_files_are_user_errors(tmp_path):
    path = saved(tmp_path / "a.tif", noise(32, 32).astype(np.float32))
    with pytest.raises(UserError, match=r"a.tif has pixels of 32 bits"):
        read_header(path)
    with pytest.raises(UserError, match="cannot read"):
        read_header(tmp_path / "missing.png")
