"""Images that are cut short, damaged, too large or no images at all: one clear error, and nothing else."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from webds.codecs.image import ImageCodec
from webds.errors import DecodeError

RNG = np.random.default_rng(5)
COLOUR = Image.fromarray(RNG.integers(0, 256, (24, 20, 3), dtype=np.uint8))
GREY = COLOUR.convert("L")
DEEP = Image.fromarray(RNG.integers(0, 65536, (24, 20), dtype=np.uint16))
HUGE = 200_000


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def run_length_bmp() -> bytes:
    """Return a BMP of 8 x 8 pixels with run-length coding."""
    rows = b"".join(bytes([8, row, 0, 0]) for row in range(8)) + b"\0\1"
    palette = b"".join(bytes([i, 255 - i, 7, 0]) for i in range(256))
    header = struct.pack("<IIIHHIIIIII", 40, 8, 8, 1, 8, 1, len(rows), 1, 1, 256, 256)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + palette + rows


FILES = {
    "png": saved(COLOUR, "PNG"),
    "png-palette": saved(COLOUR.quantize(16), "PNG", transparency=bytes(range(16))),
    "png-16": saved(DEEP, "PNG"),
    "jpg": saved(COLOUR, "JPEG", quality=90),
    "jpg-progressive": saved(COLOUR, "JPEG", quality=90, progressive=True),
    "jpg-cmyk": saved(COLOUR.convert("CMYK"), "JPEG"),
    "webp": saved(COLOUR, "WEBP"),
    "webp-lossless": saved(COLOUR.convert("RGBA"), "WEBP", lossless=True),
    "webp-extended": saved(COLOUR, "WEBP", exif=b"Exif\0\0" + bytes(8)),
    "bmp": saved(COLOUR, "BMP"),
    "bmp-palette": saved(COLOUR.quantize(16), "BMP"),
    "bmp-run-length": run_length_bmp(),
    "ppm": saved(COLOUR, "PPM"),
    "pgm": saved(GREY, "PPM"),
    "pgm-maxval": b"P5 20 24 100\n" + bytes(RNG.integers(0, 101, 480, dtype=np.uint8)),
    "pgm-plain": b"P2\n20 24\n255\n" + b" ".join(b"%3d" % v for v in GREY.tobytes()) + b"\n",
    "pbm": saved(GREY.convert("1"), "PPM"),
    "pbm-plain": b"P1\n20 24\n" + bytes(RNG.integers(48, 50, 480, dtype=np.uint8)),
    "pfm": saved(Image.fromarray(RNG.random((24, 20), dtype=np.float32)), "PPM"),
    "gif": saved(COLOUR.quantize(16), "GIF"),
    "tif": saved(COLOUR, "TIFF"),
    "tif-16": saved(DEEP, "TIFF"),
    **{
        f"tif-{name}": saved(COLOUR, "TIFF", compression=name)
        for name in ("tiff_deflate", "tiff_lzw", "jpeg", "packbits")
    },
    "tif-group4": saved(GREY.convert("1"), "TIFF", compression="group4"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_an_error_or_whole_and_never_filled_up(name: str) -> None:
    data = FILES[name]
    codec = ImageCodec("rgba8", max_pixels=HUGE)
    whole = codec.decode(data, "x")
    # A number written in digits that is cut in two is a number still.
    for length in range(len(data) - 3 if name == "pgm-plain" else len(data)):
        try:
            value = codec.decode(data[:length], "x")
        except DecodeError:
            continue
        np.testing.assert_array_equal(value, whole)  # only what follows the pixels was missing


@pytest.mark.parametrize("name", FILES)
def test_the_first_half_of_a_file_is_an_error_that_names_the_field_and_chains_its_cause(name: str) -> None:
    with pytest.raises(DecodeError) as info:
        ImageCodec("rgb8").decode(FILES[name][: len(FILES[name]) // 2], "left.jpg")
    assert info.value.field == "left.jpg"
    assert info.value.__cause__ is not None
    assert type(info.value.__cause__).__name__ in info.value.message


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_done_to_a_file_there_is_a_value_or_a_decode_error(draw: st.DataObject) -> None:
    data = bytearray(FILES[draw.draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, min(len(data), 200) if draw.draw(st.booleans()) else len(data)))
        match draw.draw(st.sampled_from(["put", "insert", "cut", "end"])):
            case "put":
                data[place : place + 1] = draw.draw(st.binary(min_size=1, max_size=4))
            case "insert":
                data[place:place] = draw.draw(st.binary(min_size=1, max_size=40))
            case "cut":
                del data[place : place + draw.draw(st.integers(1, 40))]
            case _:
                del data[place:]
    try:
        value = ImageCodec("rgba8", max_pixels=HUGE).decode(data, "x")
    except DecodeError:
        return
    assert value.dtype == np.uint8
    assert value.ndim == 3
    assert value.shape[2] == 4
    assert 0 < value.shape[0] * value.shape[1] <= HUGE


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"<!DOCTYPE html><html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"8BPS\0\1", b"\xff\xd8\xff", b"P7\n",
        b"Pz", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WAVEfmt ", b"BM", b"GIF89a", b"II*\0", b"P0CMYK 1 1\n",
        b"PyRGBA 1 1 255\n1234",
    ],
)  # fmt: skip
def test_junk_and_formats_that_are_not_of_the_family_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        ImageCodec("rgb8").decode(data, "png")


def test_a_postscript_file_reaches_no_plugin_of_pillow() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    assert Image.open(io.BytesIO(eps)).format == "EPS"
    with pytest.raises(DecodeError, match=r"no jpg, png.*starts with b'%!PS-Adobe") as info:
        ImageCodec("rgb8").decode(eps, "png")
    assert info.value.__cause__ is None


@pytest.mark.parametrize("value", ["text", None, 7])
def test_what_is_not_bytes_is_a_decode_error(value: Any) -> None:
    with pytest.raises(DecodeError, match="TypeError"):
        ImageCodec("rgb8").decode(value, "png")


def png_of(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def webp_of(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + canvas + FILES["webp-lossless"][12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


BOMBS = {
    "png": png_of(30_000, 30_000),
    "ppm": b"P6 30000 30000 255\n" + bytes(100),
    "pgm-plain": b"P2 30000 30000 255\n1 2 3",
    "gif": b"GIF89a" + struct.pack("<HH", 30_000, 30_000) + FILES["gif"][10:],
    "webp": webp_of(1 << 24, 255),
    "webp-lossless": FILES["webp-lossless"][:21] + b"\xff\xff\xff\x0f" + FILES["webp-lossless"][25:],
    "webp-lossy": FILES["webp"][:26] + b"\xff\x3f\xff\x3f" + FILES["webp"][30:],
    "bmp": FILES["bmp"][:18] + struct.pack("<ii", 30_000, 30_000) + FILES["bmp"][26:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_of_absurd_size_is_refused_before_its_pixels_take_memory(name: str) -> None:
    with pytest.raises(DecodeError, match="more than max_pixels=178956970"):
        ImageCodec("rgb8").decode(BOMBS[name], "x")


@pytest.mark.parametrize("name", FILES)
def test_max_pixels_is_the_largest_size_that_is_decoded(name: str) -> None:
    height, width = ImageCodec("rgb8").decode(FILES[name], "x").shape[:2]
    assert ImageCodec("rgb8", max_pixels=width * height).decode(FILES[name], "x").shape[:2] == (height, width)
    with pytest.raises(DecodeError, match=f"{width} x {height} pixels, more than max_pixels={width * height - 1}"):
        ImageCodec("rgb8", max_pixels=width * height - 1).decode(FILES[name], "x")


@pytest.mark.parametrize("name", FILES)
def test_pillow_does_not_warn_of_an_image_that_max_pixels_lets_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    want = ImageCodec("rgb8").decode(FILES[name], "x")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", want.shape[0] * want.shape[1] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(4) as pool:
            values = list(pool.map(lambda _: ImageCodec("rgb8").decode(FILES[name], "x"), range(8)))
    for value in values:
        np.testing.assert_array_equal(value, want)


def test_the_limit_of_pillow_holds_only_where_it_cannot_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    want = {name: ImageCodec("rgb8").decode(FILES[name], "x") for name in ("png", "jpg", "bmp", "ppm", "tif")}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("png", "jpg", "bmp", "ppm"):
        np.testing.assert_array_equal(ImageCodec("rgb8").decode(FILES[name], "x"), want[name])
    try:
        value = ImageCodec("rgb8").decode(FILES["tif"], "tif")
    except DecodeError as error:
        assert "DecompressionBombError" in error.message  # noqa: PT017 (not every version of Pillow checks this)
    else:
        np.testing.assert_array_equal(value, want["tif"])


def test_threads_that_decode_the_same_bytes_get_equal_values() -> None:
    want = ImageCodec("rgb8").decode(FILES["jpg"], "jpg")
    with ThreadPoolExecutor(8) as pool:
        for value in pool.map(lambda _: ImageCodec("rgb8").decode(FILES["jpg"], "jpg"), range(64)):
            np.testing.assert_array_equal(value, want)
