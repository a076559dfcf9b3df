"""Decoding images: every specification, every kind of image, against values computed from the source arrays."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from webds.codecs.image import IMAGE_SPECS, ImageCodec, ImageSpec, imagehandler
from webds.errors import DecodeError

Array = NDArray[Any]

NAMES = [
    "l8", "rgb8", "rgba8", "l", "rgb", "rgba", "torchl8", "torchrgb8", "torchrgba8", "torchl", "torchrgb", "torch",
    "torchrgba", "pill", "pil", "pilrgb", "pilrgba",
]  # fmt: skip
HEIGHT, WIDTH = 16, 24
RNG = np.random.default_rng(11)
GREY = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
PALETTE = RNG.integers(0, 256, (7, 3), dtype=np.uint8)
INDICES = RNG.integers(0, 7, (HEIGHT, WIDTH), dtype=np.uint8)
BITS = RNG.integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
DEEP[0, :5] = 0, 128, 129, 257, 65535
OPAQUE = np.full((HEIGHT, WIDTH), 255, np.uint8)
BLOCKS = RNG.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 4), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
"""CMYK that a jpg keeps exactly: every block of 8 x 8 pixels has one colour."""


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def palette_image() -> Image.Image:
    image = Image.fromarray(INDICES)
    image.putpalette(PALETTE.tobytes(), "RGB")
    return image


def rgb_of(grey: Array) -> Array:
    return np.stack([grey, grey, grey], axis=-1)


def where(opaque: Array) -> Array:
    return opaque.astype(np.uint8) * np.uint8(255)


def luma(rgb: Array) -> Array:
    wide = rgb.astype(np.int64)
    return ((19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 32768) >> 16).astype(np.uint8)


def cmyk_to_rgb(cmyk: Array) -> Array:
    """Multiply the light that two inks let pass; a product of bytes is divided by 255 and rounded."""
    light = 255 - cmyk.astype(np.int64)
    product = cmyk[..., :3].astype(np.int64) * light[..., 3:]
    return (light[..., 3:] - (2 * product + 255) // 510).clip(0, 255).astype(np.uint8)


@attrs.frozen
class Case:
    """A file, and what is in it: colours and alpha in 8 bits; grey in 16 bits where it has them."""

    name: str
    data: bytes
    rgb: Array
    alpha: Array = OPAQUE
    deep: Array | None = None


CASES = [
    Case("L", saved(Image.fromarray(GREY)), rgb_of(GREY)),
    Case("LA", saved(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])), rgb_of(GREY), ALPHA),
    Case("RGB", saved(Image.fromarray(COLOUR)), COLOUR),
    Case("RGBA", saved(Image.fromarray(np.dstack([COLOUR, ALPHA]))), COLOUR, ALPHA),
    Case("P", saved(palette_image()), PALETTE[INDICES]),
    Case("P-one-transparent", saved(palette_image(), transparency=3), PALETTE[INDICES], where(INDICES != 3)),
    Case(
        "P-many-transparent",
        saved(palette_image(), transparency=bytes([0, 50, 255, 7, 200, 255, 1])),
        PALETTE[INDICES],
        np.array([0, 50, 255, 7, 200, 255, 1], np.uint8)[INDICES],
    ),
    Case("P-gif", saved(palette_image(), "GIF"), PALETTE[INDICES]),
    Case("P-bmp", saved(palette_image(), "BMP"), PALETTE[INDICES]),
    Case("L-transparent-grey", saved(Image.fromarray(GREY), transparency=int(GREY[0, 0])), rgb_of(GREY),
         where(GREY[0, 0] != GREY)),
    Case("RGB-transparent-colour", saved(Image.fromarray(COLOUR), transparency=tuple(COLOUR[0, 0].tolist())), COLOUR,
         where((COLOUR[0, 0] != COLOUR).any(-1))),
    Case("1", saved(Image.fromarray(BITS.astype(bool))), rgb_of(BITS * np.uint8(255))),
    Case("1-pbm", saved(Image.fromarray(BITS.astype(bool)), "PPM"), rgb_of(BITS * np.uint8(255))),
    Case("I;16-png", saved(Image.fromarray(DEEP)), rgb_of(np.rint(DEEP / 257).astype(np.uint8)), deep=DEEP),
    Case("I;16-png-transparent", saved(Image.fromarray(DEEP), transparency=257),
         rgb_of(np.rint(DEEP / 257).astype(np.uint8)), where(DEEP != 257), DEEP),
    Case("I;16-tif", saved(Image.fromarray(DEEP), "TIFF"), rgb_of(np.rint(DEEP / 257).astype(np.uint8)), deep=DEEP),
    Case("I;16B-tif", saved(Image.fromarray(DEEP.astype(">u2")), "TIFF"), rgb_of(np.rint(DEEP / 257).astype(np.uint8)),
         deep=DEEP),
    Case("I;16-tif-deflate", saved(Image.fromarray(DEEP), "TIFF", compression="tiff_deflate"),
         rgb_of(np.rint(DEEP / 257).astype(np.uint8)), deep=DEEP),
    Case("I-tif", saved(Image.fromarray(DEEP.astype(np.int32)), "TIFF"), rgb_of(np.rint(DEEP / 257).astype(np.uint8)),
         deep=DEEP),
    Case("I-pgm", saved(Image.fromarray(DEEP.astype(np.int32)), "PPM"), rgb_of(np.rint(DEEP / 257).astype(np.uint8)),
         deep=DEEP),
    Case("CMYK-jpg", saved(Image.fromarray(BLOCKS, "CMYK"), "JPEG", quality=100), cmyk_to_rgb(BLOCKS)),
    Case("CMYK-tif", saved(Image.fromarray(BLOCKS, "CMYK"), "TIFF"), cmyk_to_rgb(BLOCKS)),
]  # fmt: skip


def expected(case: Case, spec: ImageSpec) -> Array:
    """Return what ``spec`` makes of the case, H x W or H x W x C."""
    full = 255 if spec.dtype == "uint8" else 1
    if case.deep is not None and spec.dtype == "float32":
        rgb, alpha = rgb_of(case.deep / 65535), case.alpha / 255
    elif spec.dtype == "float32":
        rgb, alpha = case.rgb / 255, case.alpha / 255
    else:
        rgb, alpha = case.rgb, case.alpha
    if spec.mode == "L":
        if case.deep is not None:
            return rgb[..., 0].astype(spec.dtype)
        return (luma(case.rgb) / (255 / full)).astype(spec.dtype)
    parts = [rgb] if spec.mode == "RGB" else [rgb, alpha]
    return np.dstack(parts).astype(spec.dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_spec_gives_the_exact_values_of_every_kind_of_image(case: Case, name: str) -> None:
    spec = ImageSpec.parse(name)
    value = ImageCodec(name).decode(case.data, "x.png")
    wanted = expected(case, spec)
    if spec.container == "pil":
        assert type(value) is Image.Image
        assert value.mode == spec.mode
        assert "transparency" not in value.info
        np.testing.assert_array_equal(np.asarray(value), wanted)
        return
    if spec.container == "torch":
        assert isinstance(value, torch.Tensor)
        assert value.is_contiguous()
        assert value.dtype == {"uint8": torch.uint8, "float32": torch.float32}[spec.dtype]
        wanted = wanted[None] if wanted.ndim == 2 else wanted.transpose(2, 0, 1)
        value = value.numpy()
    assert type(value) is np.ndarray
    assert value.dtype == spec.dtype
    assert value.shape == wanted.shape
    np.testing.assert_array_equal(value, wanted)  # floats, too: both are rounded once, to float32


def test_the_specifications_are_the_seventeen_in_their_order() -> None:
    assert list(IMAGE_SPECS) == NAMES
    assert len(NAMES) == 17
    assert all(spec.name == name for name, spec in IMAGE_SPECS.items())


def test_names_of_specifications_are_case_insensitive_and_unknown_ones_list_the_known() -> None:
    assert ImageSpec.parse("TorchRGB8") is IMAGE_SPECS["torchrgb8"]
    assert ImageCodec("RGBA8") == ImageCodec("rgba8") == ImageCodec(IMAGE_SPECS["rgba8"])
    with pytest.raises(ValueError, match=r"'bgr'.*l8, rgb8, rgba8, l, rgb.*pilrgba"):
        ImageSpec.parse("bgr")
    with pytest.raises(ValueError, match="'bgr'"):
        ImageCodec("bgr")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageCodec(quality=0), "quality=0"),
        (lambda: ImageCodec(quality=101), "quality=101"),
        (lambda: ImageCodec(max_pixels=0), "max_pixels=0"),
        (lambda: ImageCodec(format="psd"), "format='psd'.*png"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], ImageCodec], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["l8", "rgb8", "rgba8", "l", "rgb", "torchrgb8", "torchl8", "torchrgb"])
def test_arrays_own_their_memory_and_can_be_written(name: str) -> None:
    for case in CASES:
        value = ImageCodec(name).decode(case.data, "png")
        if isinstance(value, np.ndarray):
            assert value.flags.writeable
            assert value.flags.c_contiguous
        before = value[0, 0].copy() if isinstance(value, np.ndarray) else value[0, 0].clone()
        value[...] = 0
        again = ImageCodec(name).decode(case.data, "png")
        assert (again[0, 0] == before).all()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_bytes_like_object_is_decoded_and_left_as_it_was(kind: Callable[[bytes], Any]) -> None:
    data = kind(CASES[2].data)
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(data, "png"), COLOUR)
    assert bytes(data) == CASES[2].data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "PPM", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("name", ["pill", "pil", "pilrgb", "pilrgba"])
def test_pillow_images_are_loaded_whole_and_survive_pickling(kind: str, name: str) -> None:
    image = ImageCodec(name).decode(saved(Image.fromarray(COLOUR).quantize(8).convert("RGB"), kind), "x")
    assert type(image) is Image.Image
    copy = pickle.loads(pickle.dumps(image))
    assert (copy.mode, copy.size) == (image.mode, image.size)
    assert copy.tobytes() == image.tobytes()
    image.putpixel((0, 0), 0)


def test_the_content_decides_what_a_file_is_and_the_name_does_not() -> None:
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(CASES[2].data, "x.jpg"), COLOUR)
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(CASES[2].data, "anything"), COLOUR)


def test_exif_orientation_is_kept_and_not_applied() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = saved(Image.fromarray(COLOUR), "JPEG", exif=exif)
    image = ImageCodec("pil").decode(data, "jpg")
    assert image.size == (WIDTH, HEIGHT)
    assert image.getexif()[274] == 6


def test_the_first_picture_of_an_animation_is_taken() -> None:
    pictures = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1].copy())]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = saved(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)
        np.testing.assert_array_equal(ImageCodec("rgb8").decode(data, "x"), COLOUR)


def tiff(photometric: int, bits: int, width: int, pixels: bytes, *more: tuple[int, int, int]) -> bytes:
    """Return a little-endian TIFF with ``HEIGHT`` rows in one strip and ``more`` entries (tag, type, value)."""
    entries = {tag: (kind, value) for tag, kind, value in [
        (256, 4, width), (257, 4, HEIGHT), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
        (277, 3, 1), (278, 4, HEIGHT), (279, 4, len(pixels)), *more,
    ]}  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(entries.items()))
    offset = 8 + len(pixels)
    return b"II*\0" + struct.pack("<I", offset) + pixels + struct.pack("<H", len(entries)) + directory + bytes(4)


def test_white_may_be_zero_in_a_tif_of_any_depth() -> None:
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        full = 2**bits - 1
        values = RNG.integers(0, full + 1, (HEIGHT, WIDTH)).astype(dtype)
        data = tiff(0, bits, WIDTH, values.tobytes())
        wanted = ((full - values) / full).astype(np.float32)
        np.testing.assert_array_equal(ImageCodec("l").decode(data, "tif"), wanted)


def test_a_tif_of_twelve_bits_is_scaled_by_its_own_range() -> None:
    values = RNG.integers(0, 4096, (HEIGHT, WIDTH)).astype(np.uint16)
    pairs = values.reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    data = tiff(1, 12, WIDTH, packed.tobytes())
    np.testing.assert_array_equal(ImageCodec("l").decode(data, "tif"), (values / 4095).astype(np.float32))
    np.testing.assert_array_equal(ImageCodec("l8").decode(data, "tif"), np.rint(values / 4095 * 255))


def test_float_images_hold_values_from_zero_to_one_and_others_are_refused() -> None:
    values = RNG.random((HEIGHT, WIDTH), dtype=np.float32)
    values[0, :2] = 0, 1
    for kind in ("TIFF", "PPM"):
        data = saved(Image.fromarray(values), kind)
        np.testing.assert_array_equal(ImageCodec("l").decode(data, "tif"), values)
        np.testing.assert_array_equal(ImageCodec("torch").decode(data, "tif"), np.stack([values] * 3))
        np.testing.assert_array_equal(ImageCodec("l8").decode(data, "tif"), np.rint(values * 255))
        np.testing.assert_array_equal(np.asarray(ImageCodec("pill").decode(data, "tif")), np.rint(values * 255))
    for wrong in (-0.1, 1.5, 200.0, np.nan, np.inf):
        values[3, 3] = wrong
        with pytest.raises(DecodeError, match="range from 0 to 1"):
            ImageCodec("l").decode(saved(Image.fromarray(values), "TIFF"), "tif")


@pytest.mark.parametrize("wrong", [-1, 65536, 2**31 - 1])
def test_integer_images_beyond_sixteen_bits_are_refused_and_not_clipped(wrong: int) -> None:
    values = DEEP.astype(np.int32)
    values[2, 2] = wrong
    with pytest.raises(DecodeError, match="range from 0 to 65535"):
        ImageCodec("rgb8").decode(saved(Image.fromarray(values), "TIFF"), "tif")


def sixteen_bit_png(colour_type: int, pixels: Array, transparent: bytes = b"") -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    trns = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + trns + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_colour_is_reduced_to_its_high_bytes() -> None:
    pixels = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    high = (pixels >> 8).astype(np.uint8)
    np.testing.assert_array_equal(ImageCodec("rgba8").decode(sixteen_bit_png(6, pixels), "png"), high)
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(sixteen_bit_png(2, pixels[..., :3]), "png"), high[..., :3])
    grey = ImageCodec("rgba8").decode(sixteen_bit_png(4, pixels[..., :2]), "png")
    np.testing.assert_array_equal(grey, high[..., [0, 0, 0, 1]])


def test_a_transparent_colour_of_sixteen_bits_is_refused_where_alpha_is_asked_for() -> None:
    pixels = np.array([[[0x1234, 0, 0], [0x3400, 0, 0]]], np.uint16)
    data = sixteen_bit_png(2, pixels, struct.pack(">HHH", 0x1234, 0, 0))
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(data, "png"), [[[0x12, 0, 0], [0x34, 0, 0]]])
    with pytest.raises(DecodeError, match="transparent colour of a 16-bit"):
        ImageCodec("rgba8").decode(data, "png")


@pytest.mark.parametrize("bands", [1, 3])
def test_premultiplied_alpha_of_a_tif_is_undone(bands: int) -> None:
    if bands == 1 and "La" not in {mode for mode, _ in TiffImagePlugin.OPEN_INFO.values()}:
        pytest.skip("this Pillow does not read premultiplied grey")
    alpha = RNG.choice(np.array([51, 85, 255], np.uint8), (HEIGHT, WIDTH))
    colours = (RNG.integers(0, 18, (HEIGHT, WIDTH, bands)) * 15).astype(np.uint8)  # alpha / 255 of it is whole
    stored = np.dstack([colours.astype(np.uint16) * alpha[..., None] // 255, alpha]).astype(np.uint8)
    data = tiff(bands // 3 + 1, 8, WIDTH, stored.tobytes(), (277, 3, bands + 1), (338, 3, 1))
    rgb = colours.repeat(3 // bands, axis=2)
    np.testing.assert_array_equal(ImageCodec("l8").decode(data, "tif"), luma(rgb))
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(data, "tif"), rgb)
    np.testing.assert_array_equal(ImageCodec("rgba8").decode(data, "tif"), np.dstack([rgb, alpha]))


def test_a_tif_whose_strips_leave_out_rows_is_refused() -> None:
    whole = tiff(1, 8, WIDTH, GREY.tobytes())
    np.testing.assert_array_equal(ImageCodec("l8").decode(whole, "tif"), GREY)
    with pytest.raises(DecodeError, match="do not cover"):
        ImageCodec("l8").decode(tiff(1, 8, WIDTH, GREY.tobytes(), (278, 4, HEIGHT - 1)), "tif")


def test_the_older_function_decodes_by_the_name_of_a_specification() -> None:
    np.testing.assert_array_equal(imagehandler(CASES[2].data, "RGB8"), COLOUR)
    with pytest.raises(ValueError, match="'nothing'"):
        imagehandler(CASES[2].data, "nothing")
    with pytest.raises(DecodeError, match="no jpg"):
        imagehandler(b"junk", "rgb")


def test_codecs_are_values_that_pickle() -> None:
    codec = ImageCodec("torchl8", quality=90, max_pixels=1000, format="png")
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert codec != ImageCodec("torchl8")


def test_importing_the_codec_loads_neither_pillow_nor_torch() -> None:
    code = "import sys; import webds.codecs.image; assert not {'PIL', 'torch'} & set(sys.modules), 'loaded'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
