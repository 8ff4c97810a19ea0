"""One image file at a time, against Pillow's and torchvision's operations on the whole image."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from jpegs import write_folder
from PIL import Image, ImageOps
from torchvision.transforms import v2

from isnas.base.errors import UserError
from isnas.base.options import build
from isnas.data.data_options import MAX_MEGAPIXELS, ImageOptions
from isnas.data.decoding import FORMATS, SUFFIXES, limit_megapixels, read_header, read_pixels
from isnas.data.large.crops import centre_box, decode_crop, evaluation_chooser
from isnas.data.opening import load_images, make_batches

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


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows: bytes, width: int, height: int, depth: int, colour: int, further: bytes = b"", interlaced=0) -> bytes:
    """A PNG of filtered rows, and of further chunks before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + further + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows_of(levels: np.ndarray) -> bytes:
    """Unfiltered rows of a PNG of 8 or 16 bits."""
    return b"".join(b"\0" + row.astype(f">u{levels.itemsize}").tobytes() for row in levels)


def tiff(levels: np.ndarray, bits: int = 16, sample_format: int = 1, white: int = 1) -> bytes:
    """An uncompressed grey TIFF whose highest level is white, or black with ``white`` 0."""
    height, width = levels.shape[:2]
    samples = levels.size // (height * width)
    assert samples * bits <= 32, "their bits stand within the entry"
    values = {256: width, 257: height, 258: bits * 0x10001 if samples > 1 else bits, 259: 1, 262: white, 277: samples}
    values |= {273: 8 + 2 + 12 * 11 + 4, 278: height, 279: len(levels.tobytes()), 338: 2, 339: sample_format}
    if samples == 1:
        values[305] = values.pop(338)  # no extra sample: a tag of another kind
    entries = [
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, samples if tag == 258 else 1, values[tag])
        for tag in sorted(values)
    ]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + levels.tobytes()


def test_colours_of_16_bits_become_their_upper_8(tmp_path):
    levels = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png(rows_of(levels), SIZE, SIZE, 16, 2))
    assert largest_difference(tmp_path / "a.png", levels >> 8) == 0


@pytest.mark.parametrize("colour", [4, 6])
def test_levels_of_16_bits_and_transparency_are_laid_over_white(tmp_path, colour):
    levels = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE, 2 if colour == 4 else 4), dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png(rows_of(levels), SIZE, SIZE, 16, colour))
    alpha = levels[..., -1:] / 65535
    expected = levels[..., :-1] / 65535 * alpha + 1 - alpha
    assert largest_difference(path, np.broadcast_to(255 * expected, (SIZE, SIZE, 3))) <= 2
    assert read_header(path).is_grey == (colour == 4)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_level_of_a_grey_png_is_transparent_at_every_depth(tmp_path, depth):
    """The transparent level is written in the depth of the file; above it are bits that do not count."""
    highest = 2**depth - 1
    levels = np.random.default_rng(0).integers(0, highest + 1, (SIZE, SIZE))
    levels[0, :4] = 0, highest, highest // 2, 1
    for transparent in {0, 1, highest // 2, highest}:
        if depth < 8:
            bits = (levels[..., None] >> np.arange(depth)[::-1]) & 1
            rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
        else:
            rows = rows_of(levels.astype(f"u{depth // 8}"))
        path = tmp_path / "a.png"
        path.write_bytes(png(rows, SIZE, SIZE, depth, 0, chunk(b"tRNS", struct.pack(">H", transparent))))
        expected = np.where(levels == transparent, 255, np.rint(levels / highest * 255))
        assert largest_difference(path, expected) == 0
        whole = decode_crop(path.read_bytes(), lambda width, height: (0, 0, width, height, True), SIZE, flip=False)
        np.testing.assert_array_equal(whole, np.repeat(expected[..., None], 3, 2))


def test_tiffs_of_12_and_16_bits_are_scaled_whichever_level_is_white(tmp_path):
    levels, path = np.random.default_rng(0).integers(0, 65536, (SIZE, SIZE), dtype=np.uint16), tmp_path / "a.tif"
    for white in (1, 0):
        path.write_bytes(tiff(levels, white=white))
        assert largest_difference(path, np.rint(levels / 257) if white else 255 - np.rint(levels / 257)) == 0
    levels >>= 4
    nibbles = np.stack([levels >> 8, levels >> 4 & 15, levels & 15], -1).reshape(SIZE, -1).astype(np.uint8)
    packed = (nibbles[:, ::2] << 4 | nibbles[:, 1::2]).reshape(SIZE, -1)
    path.write_bytes(tiff(packed, bits=12).replace(struct.pack("<HHII", 256, 3, 1, packed.shape[1]),
                                                   struct.pack("<HHII", 256, 3, 1, SIZE)))  # fmt: skip
    assert largest_difference(path, np.rint(levels / 4095 * 255)) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", tiff(noise(8, 8).astype(np.int16), sample_format=2), "has levels with a sign"),
        ("a.tif", tiff(noise(8, 8).astype(np.int8), bits=8, sample_format=2), "has levels with a sign"),
        ("a.tif", tiff(noise(8, 8).astype(np.uint32), bits=32), "has pixels of 32 bits"),
        ("a.tif", tiff(noise(8, 8, 2).astype(np.uint16)), "is a TIFF whose pixels are 2 samples of 16 bits"),
        (
            "a.png",
            png(rows_of(noise(8, 8, 3).astype(np.uint16)), 8, 8, 16, 2, chunk(b"tRNS", bytes(6))),
            "has colours of 16 bits, of which one is transparent",
        ),
    ],
)
def test_pixels_that_cannot_be_told_are_refused_in_the_files_own_terms(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_header, lambda path: read_pixels(path, 8, 3)):
        with pytest.raises(UserError, match=f"{name} {message}"):
            read(path)
    with pytest.raises(ValueError, match=f"^it {message}"):
        decode_crop(content, evaluation_chooser(8), 8, flip=False)


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


def encoded(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, {}) for kind in FORMATS),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"lossless": True}),
        *(("TIFF", {"compression": name}) for name in ("tiff_deflate", "tiff_lzw", "packbits", "jpeg")),
    ],
)
def test_a_truncated_file_is_refused_unless_all_of_its_pixels_are_there(tmp_path, kind, how):
    data, path = encoded(scene(40, 40), kind, **how), tmp_path / "a"
    path.write_bytes(data)
    whole, crop = read_pixels(path, 16, 3), decode_crop(data, evaluation_chooser(16), 16, flip=False)
    refused = 0
    for length in (*range(1, len(data), len(data) // 40), *range(len(data) - 12, len(data))):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_pixels(path, 16, 3), whole)
        except UserError as error:
            assert str(path) in str(error) and "remove it" in str(error)
            refused += 1
        try:
            found = decode_crop(data[:length], evaluation_chooser(16), 16, flip=False)
        except Exception:
            continue
        np.testing.assert_array_equal(found, crop)
    assert refused >= 40


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "colour"), [(1, 0), (2, 3), (8, 0), (16, 0), (8, 2), (16, 6)])
def test_a_png_whose_pixels_end_early_by_its_own_word_is_refused(tmp_path, depth, colour, interlaced):
    """The compressed data are whole, but of fewer rows; black images, whose last row is 0 as well, are as they are."""
    samples = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    passes = [(8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0), (1, 2, 0, 1)]
    width, height, size = 13, 9, 0
    for right, down, left, top in passes if interlaced else [(1, 1, 0, 0)]:
        columns, rows = len(range(left, width, right)), len(range(top, height, down))
        size += rows * (1 + (columns * depth * samples + 7) // 8)
    palette = chunk(b"PLTE", bytes(12)) if colour == 3 else b""
    path = tmp_path / "a.png"
    path.write_bytes(png(bytes(size), width, height, depth, colour, palette, interlaced))
    black = read_pixels(path, 8, 3)
    assert black.max() == (255 if colour == 6 else 0)
    row = 1 + (width * depth * samples + 7) // 8  # the last pass has whole ones, too
    for missing in (row, 1, 3 * row, size - 1):
        data = png(bytes(size - missing), width, height, depth, colour, palette, interlaced)
        path.write_bytes(data)
        with pytest.raises(
            UserError, match=r"a.png cannot be decoded \((it ends before its last row|.* truncated .*)\)"
        ):
            read_pixels(path, 8, 3)
        with pytest.raises((ValueError, OSError), match=r"ends before its last row|is truncated"):
            decode_crop(data, evaluation_chooser(8), 8, flip=False)


def unreadable_metadata() -> dict[str, bytes]:
    """Images with metadata that keeps Pillow from them, by what it is."""
    image, exif = scene(30, 40), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    plain = encoded(image, "PNG")
    before, after = plain.index(b"IDAT") - 4, len(plain) - 12

    def with_chunk(kind: bytes, content: bytes, place: int = before) -> bytes:
        return plain[:place] + chunk(kind, content) + plain[place:]

    tif = bytearray(encoded(image, "TIFF", exif=exif))
    entry = tif.index(struct.pack("<HH", 0x010E, 2))
    tif[entry + 8 : entry + 12] = struct.pack("<I", len(tif) - 2)  # a description beyond the file
    del exif[0x0112]  # which stands outside of the EXIF block as well
    avif = encoded(image, "AVIF", exif=exif)
    place = avif.index(b"MM\0*") if b"MM\0*" in avif else avif.index(b"II*\0")
    many = chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(10**6))) * 70
    return {
        "png EXIF": with_chunk(b"eXIf", b"nobody can read this"),
        "png EXIF after the pixels": with_chunk(b"eXIf", b"nobody can read this", after),
        "png text": with_chunk(b"zTXt", b"key\0\7" + b"text"),
        "png text that inflates": with_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(10**7))),
        "png much text": plain[:before] + many + plain[before:],
        "png colour profile": with_chunk(b"iCCP", b"name\0\7" + b"profile"),
        "png short density": with_chunk(b"pHYs", b"1"),
        "png checksum of text": with_chunk(b"tEXt", b"key\0text").replace(b"key\0text", b"key\0tExt"),
        "png checksum after the pixels": with_chunk(b"tEXt", b"key\0text", after).replace(b"key\0text", b"key\0tExt"),
        "webp EXIF": encoded(image, "WEBP", exif=b"Exif\0\0nobody can read this", lossless=True),
        "jpeg EXIF": encoded(image, "JPEG", exif=b"Exif\0\0nobody can read this"),
        "tiff description": bytes(tif),
        "avif EXIF": avif[:place] + b"!" * 8 + avif[place + 8 :],
    }


UNREADABLE_METADATA = unreadable_metadata()


@pytest.mark.parametrize("name", UNREADABLE_METADATA)
def test_metadata_that_cannot_be_read_decides_over_nothing(tmp_path, name):
    data, path = UNREADABLE_METADATA[name], tmp_path / "a.png"
    kind = name.split()[0].upper()
    plain = encoded(scene(30, 40), kind, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(Image.open(io.BytesIO(plain)))
    path.write_bytes(data)
    assert (read_header(path).shorter_side, read_header(path).is_grey) == (30, False)
    upright = Image.fromarray(expected).resize((SIZE, SIZE), Image.Resampling.BILINEAR, (0, 5, 30, 35))
    assert largest_difference(path, np.asarray(upright)) == 0
    box = centre_box(SIZE, 30, 40)
    crop = Image.fromarray(expected).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box[:4])
    np.testing.assert_array_equal(decode_crop(data, evaluation_chooser(SIZE), SIZE, flip=False), crop)


def test_an_eps_under_the_name_of_a_png_starts_nothing(tmp_path, monkeypatch):
    """Pillow would have Ghostscript draw it."""
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n")
    for read in (read_header, lambda path: read_pixels(path, 8, 3)):
        with pytest.raises(UserError, match="is not an image of a known kind"):
            read(path)
    with pytest.raises(Image.UnidentifiedImageError):
        decode_crop(path.read_bytes(), evaluation_chooser(8), 8, flip=False)
    assert not started.exists()


def test_the_formats_are_those_of_the_suffixes():
    Image.init()
    known = Image.registered_extensions()
    assert {suffix: known[suffix] for suffix in SUFFIXES} == {
        suffix: kind for kind, suffixes in FORMATS.items() for suffix in suffixes
    }


@pytest.fixture
def _usual_limit():
    yield
    limit_megapixels(MAX_MEGAPIXELS)


@pytest.mark.usefixtures("_usual_limit")
@pytest.mark.parametrize("side", [1100, 9800, 13_000, 14_000])
def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path, side):
    """From 90 megapixels on Pillow would warn of it, and end from 179 on."""
    path, rows = tmp_path / "a.png", zlib.compress(bytes(side // 8 + 2), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    found = side**2 / 10**6
    most = 1 if found <= MAX_MEGAPIXELS else MAX_MEGAPIXELS
    message = f"has {found:.1f} megapixels .*, more than {most}; scale it down, remove it, or raise --max_image_megapix"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if found <= MAX_MEGAPIXELS:
            assert read_header(path).shorter_side == side
            limit_megapixels(most)
        for read in (read_header, lambda path: read_pixels(path, 8, 3)):
            with pytest.raises(UserError, match=f"a.png {message}"):
                read(path)
        with pytest.raises(ValueError, match=f"^it {message}"):
            decode_crop(path.read_bytes(), evaluation_chooser(8), 8, flip=False)


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


@pytest.mark.usefixtures("_usual_limit")
@pytest.mark.parametrize("workers", [None, 0, 1])
def test_the_option_raises_and_lowers_the_largest_image_of_own_datasets(tmp_path, workers):
    """In memory without a number of workers, and as a stream with one, in this process and in another."""
    write_folder(tmp_path, 6, 3)
    large = tmp_path / "val" / "ant" / "large.jpg"
    Image.new("RGB", (1300, 1000)).save(large)

    def read(most: int) -> int:
        values = {"dataset": "imagefolder", "data": str(tmp_path), "image_size": 16, "max_image_megapixels": most}
        if workers is not None:
            values |= {"dataset": "imagenet", "workers": workers}
        options = build(ImageOptions, values)
        batches = make_batches(load_images(options).test, None, 4, 0, "test", False, "cpu", options)
        limit_megapixels(MAX_MEGAPIXELS)  # as whoever loads other images next
        return sum(len(y) for _, y in batches.epoch())

    assert read(2) == 4
    with pytest.raises(UserError, match=f"{large.name}.* has 1.3 megapixels .*, more than 1; .*--max_image_me"):
        read(1)
    with pytest.raises(UserError, match="--max_image_megapixels has no effect with --dataset digits; leave it out"):
        build(ImageOptions, {"dataset": "digits", "max_image_megapixels": 7})
