"""Images brought to a size: exactly that size, and pixels near to those of decoding whole and then resizing."""

from __future__ import annotations

import gzip
import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from webds.codecs.image import IMAGE_SPECS, ImageCodec, ImageSpec
from webds.codecs.image_size import target_size
from webds.codecs.image_spec import SizedSpec
from webds.codecs.tables import decoders_from, default_handlers
from webds.errors import DecodeError, EncodeError

RNG = np.random.default_rng(3)
COLOUR = Image.fromarray(RNG.integers(0, 256, (45, 60, 3), dtype=np.uint8))
ALPHA = Image.fromarray(RNG.integers(0, 256, (45, 60), dtype=np.uint8))
GREY = COLOUR.convert("L")
DEEP = RNG.integers(0, 65536, (45, 60), dtype=np.uint16)
BILINEAR = Image.Resampling.BILINEAR


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_alpha() -> Image.Image:
    image = COLOUR.copy()
    image.putalpha(ALPHA)
    return image


FILES = {
    "png": saved(COLOUR, "PNG"),
    "png-alpha": saved(with_alpha(), "PNG"),
    "png-grey": saved(GREY, "PNG"),
    "png-palette": saved(COLOUR.quantize(16), "PNG", transparency=bytes(range(0, 240, 15))),
    "png-one-bit": saved(GREY.convert("1"), "PNG"),
    "jpg": saved(COLOUR, "JPEG", quality=95),
    "jpg-grey": saved(GREY, "JPEG", quality=95),
    "jpg-progressive": saved(COLOUR, "JPEG", quality=95, progressive=True),
    "jpg-cmyk": saved(COLOUR.convert("CMYK"), "JPEG"),
    "webp": saved(with_alpha(), "WEBP", lossless=True),
    "bmp": saved(COLOUR, "BMP"),
    "ppm": saved(COLOUR, "PPM"),
    "gif": saved(COLOUR.quantize(16), "GIF"),
    "tif": saved(COLOUR, "TIFF"),
}
DEEP_FILES = {
    "png-16": saved(Image.fromarray(DEEP), "PNG"),
    "png-16-transparent": saved(Image.fromarray(DEEP), "PNG", transparency=int(DEEP[0, 0])),
    "tif-16": saved(Image.fromarray(DEEP), "TIFF"),
    "tif-float": saved(Image.fromarray((DEEP / 65535).astype(np.float32)), "TIFF"),
}


def shape_of(value: Any, spec: ImageSpec) -> tuple[int, int]:
    """Return height and width of a decoded image, whose other dimensions are checked here."""
    channels = len(spec.mode)
    if spec.container == "pil":
        assert value.mode == spec.mode
        return value.height, value.width
    if spec.container == "torch":
        assert value.is_contiguous()
        assert value.shape[0] == channels
        return tuple(value.shape[1:])
    assert value.shape[2:] == (() if channels == 1 else (channels,))
    return tuple(value.shape[:2])


@pytest.mark.parametrize("name", IMAGE_SPECS)
@pytest.mark.parametrize("file", [*FILES, *DEEP_FILES])
def test_every_spec_of_every_format_has_exactly_the_size_that_is_asked_for(file: str, name: str) -> None:
    spec, data = ImageSpec.parse(name), (FILES | DEEP_FILES)[file]
    assert shape_of(ImageCodec(name, size=7).decode(data, "x"), spec) == (7, 9)
    assert shape_of(ImageCodec(name, size=(20, 11)).decode(data, "x"), spec) == (20, 11)
    assert shape_of(ImageCodec(name, size=50).decode(data, "x"), spec) == (50, 66)  # it may grow
    value = ImageCodec(name, size=7).decode(data, "x")
    assert str(getattr(value, "dtype", spec.dtype)).endswith(spec.dtype)


@pytest.mark.parametrize(
    "name", ["l8", "rgb8", "rgba8", "torchl8", "torchrgb8", "torchrgba8", "pill", "pil", "pilrgba"]
)
@pytest.mark.parametrize("file", [file for file in FILES if "jpg" not in file])
def test_pixels_are_those_of_the_whole_image_resized_by_pillow(file: str, name: str) -> None:
    whole = ImageCodec({"L": "pill", "RGB": "pil", "RGBA": "pilrgba"}[ImageSpec.parse(name).mode]).decode(
        FILES[file], ""
    )
    value = np.asarray(ImageCodec(name, size=(13, 31)).decode(FILES[file], ""))
    wanted = np.asarray(whole.resize((31, 13), BILINEAR))
    if name.startswith("torch"):
        wanted = wanted[None] if wanted.ndim == 2 else wanted.transpose(2, 0, 1)
    np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("file", ["png", "jpg", "png-alpha"])
def test_floats_are_the_resized_bytes_divided_by_255(file: str) -> None:
    for floats, whole in (("rgb", "rgb8"), ("torch", "torchrgb8"), ("torchrgba", "torchrgba8"), ("l", "l8")):
        value = np.asarray(ImageCodec(floats, size=10).decode(FILES[file], ""))
        in_bytes = np.asarray(ImageCodec(whole, size=10).decode(FILES[file], ""))
        np.testing.assert_array_equal(value, (in_bytes / 255).astype(np.float32))


def test_colours_are_weighted_by_their_alpha() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[:, 0] = 200, 100, 50, 255
    pixels[:, 1] = 9, 9, 255, 0  # transparent: its colour shows nowhere
    value = ImageCodec("rgba8", size=1).decode(saved(Image.fromarray(pixels), "PNG"), "png")
    np.testing.assert_allclose(value[0, 0].astype(int), [200, 100, 50, 128], atol=1)


@pytest.mark.parametrize("file", DEEP_FILES)
def test_grey_of_more_than_eight_bits_is_resized_in_floats(file: str) -> None:
    plane = Image.fromarray((DEEP / 65535).astype(np.float32))
    wanted = np.asarray(plane.resize((9, 7), BILINEAR))
    value = ImageCodec("l", size=7).decode(DEEP_FILES[file], "")
    np.testing.assert_allclose(value, wanted, atol=1e-6)
    assert len(np.unique(np.rint(value * 255) / 255 - value)) > 50  # not from bytes
    np.testing.assert_allclose(ImageCodec("l8", size=7).decode(DEEP_FILES[file], ""), wanted * 255, atol=0.501)
    colour = ImageCodec("torchrgb", size=7).decode(DEEP_FILES[file], "").numpy()
    np.testing.assert_array_equal(colour, np.stack([value] * 3))


def test_a_transparent_grey_of_sixteen_bits_has_no_part_in_the_mean() -> None:
    pixels = np.full((4, 4), 5000, np.uint16)
    pixels[:, 2:] = 60000
    data = saved(Image.fromarray(pixels), "PNG", transparency=60000)
    value = ImageCodec("rgba", size=1).decode(data, "png")
    np.testing.assert_allclose(value[0, 0], [5000 / 65535] * 3 + [0.5], atol=1e-4)
    assert ImageCodec("rgba8", size=1).decode(data, "png")[0, 0].tolist() == [19, 19, 19, 128]
    nothing = saved(Image.fromarray(np.full((4, 4), 7, np.uint16)), "PNG", transparency=7)
    assert ImageCodec("rgba8", size=2).decode(nothing, "png").tolist() == np.zeros((2, 2, 4)).tolist()


# JPEG at a fraction of its size


@pytest.fixture(scope="module")
def photos() -> dict[str, Image.Image]:
    """Photographs of 640 x 427 pixels."""
    return {name: Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower")}


def difference(data: bytes, size: int | tuple[int, int], spec: str) -> NDArray[Any]:
    """Return how far the pixels are from those of decoding whole, then resizing."""
    value = ImageCodec(spec, size=size).decode(data, "jpg")
    whole = ImageCodec("pil" if spec == "rgb8" else "pill").decode(data, "jpg")
    wanted = np.asarray(whole.resize(target_size(size, whole.width, whole.height), BILINEAR))
    found: NDArray[Any] = np.abs(value.astype(int) - wanted.astype(int))
    return found


@pytest.mark.parametrize("spec", ["rgb8", "l8"])
@pytest.mark.parametrize("name", ["china", "flower"])
def test_a_photograph_changes_by_less_than_4_of_255_on_average(
    photos: dict[str, Image.Image], name: str, spec: str
) -> None:
    # At the scales themselves nothing smooths what the scale has left, and the difference is largest.
    for quality, subsampling in ((75, 2), (95, 0)):
        data = saved(photos[name], "JPEG", quality=quality, subsampling=subsampling)
        for size in (24, 53, 54, 80, 106, 107, 150, 212, 213):
            found = difference(data, size, spec)
            assert found.mean() < 4, size
    for size in (36, 72, 140):  # between the scales
        assert difference(data, size, spec).mean() < 1.5, size


def test_a_jpg_that_is_less_than_twice_as_large_is_read_whole(photos: dict[str, Image.Image]) -> None:
    data = saved(photos["china"], "JPEG")
    for size in (214, 300, 427, 500, (100, 321), (214, 50)):
        assert difference(data, size, "rgb8").max() <= 1, size


def test_a_scale_is_used_only_while_it_is_no_smaller_than_asked_for(photos: dict[str, Image.Image]) -> None:
    """A picture of stripes of one pixel is grey at a smaller scale, and has stripes at its own."""
    stripes = np.zeros((64, 64), np.uint8)
    stripes[::2] = 255
    data = saved(Image.fromarray(stripes), "JPEG", quality=100)
    assert np.ptp(ImageCodec("l8", size=64).decode(data, "jpg")) > 200
    assert np.ptp(ImageCodec("l8", size=(64, 8)).decode(data, "jpg")) > 200  # one side is enough
    assert np.ptp(ImageCodec("l8", size=32).decode(data, "jpg")) < 10


def test_the_last_row_and_column_of_a_scaled_jpg_are_not_stretched() -> None:
    """Of 65 pixels 1/8 are 8.125: the ninth stands for one pixel, and not for eight."""
    ramp = np.tile(np.arange(65, dtype=np.uint8) * 3, (65, 1))
    for pixels in (ramp, ramp.T.copy()):
        data = saved(Image.fromarray(pixels), "JPEG", quality=100)
        assert difference(data, (8, 8), "l8").max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_all_kinds_of_jpg_are_scaled(photos: dict[str, Image.Image], mode: str) -> None:
    for progressive in (False, True):
        data = saved(photos["flower"].convert(mode), "JPEG", quality=95, progressive=progressive)
        assert 0 < difference(data, 100, "rgb8").mean() < 4
        assert 0 < difference(data, 100, "l8").mean() < 4


# Sizes


@given(st.integers(1, 400), st.integers(1, 10_000), st.integers(1, 10_000))
def test_one_number_is_the_shorter_side_and_the_longer_keeps_the_proportion(size: int, width: int, height: int) -> None:
    target = target_size(size, width, height)
    assert min(target) == size
    short, long = sorted((width, height))
    assert max(target) == long * size // short
    assert (target[0] <= target[1]) == (width <= height) or target[0] == target[1]
    assert target_size((3, 5), width, height) == (5, 3)


@pytest.mark.parametrize("size", [0, -1, 1.5, "7", (7,), (7, 8, 9), (0, 7), (7, -1), (1.5, 2), True, (None, 7), b"ab"])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size=.*shorter side or \(height, width\)"):
        ImageCodec("rgb8", size=size)


def test_sizes_that_are_the_same_make_codecs_that_are_equal() -> None:
    listed: Any = [3, 4]
    as_numpy: Any = np.int64(3)
    assert ImageCodec(size=listed) == ImageCodec(size=(3, 4)) != ImageCodec(size=3)
    assert ImageCodec(size=as_numpy) == ImageCodec(size=3)
    assert hash(ImageCodec(size=(3, 4))) == hash(ImageCodec(size=listed))


# Safety


@pytest.mark.parametrize("file", [*FILES, *DEEP_FILES])
def test_max_pixels_holds_for_the_file_and_for_the_result(file: str) -> None:
    data = (FILES | DEEP_FILES)[file]
    with pytest.raises(DecodeError, match=r"^the image has 60 x 45 pixels, more than max_pixels=2699"):
        ImageCodec("rgb8", size=4, max_pixels=2699).decode(data, "x")
    assert ImageCodec("rgb8", size=(54, 50), max_pixels=2700).decode(data, "x").shape == (54, 50, 3)
    with pytest.raises(DecodeError, match=r"resized, the image has 66 x 50 pixels, more than max_pixels=2700"):
        ImageCodec("rgb8", size=50, max_pixels=2700).decode(data, "x")


def test_a_long_and_thin_image_does_not_take_memory_out_of_proportion() -> None:
    data = saved(Image.new("L", (60_000, 1)), "PNG")
    with pytest.raises(DecodeError, match="resized, the image has 60000000 x 1000 pixels"):
        ImageCodec("l8", size=1000).decode(data, "png")


@pytest.mark.parametrize("file", ["jpg", "jpg-progressive", "jpg-grey"])
def test_a_jpg_cut_short_is_an_error_or_whole_at_any_scale(file: str) -> None:
    data = FILES[file]
    for size in (5, 11, 22, 45):
        codec = ImageCodec("rgb8", size=size)
        whole = codec.decode(data, "x")
        for length in range(0, len(data), 7):
            try:
                value = codec.decode(data[:length], "x")
            except DecodeError:
                continue
            np.testing.assert_array_equal(value, whole)
    with pytest.raises(DecodeError, match="truncated"):
        ImageCodec("rgb8", size=5).decode(data[: len(data) // 2], "x")


def test_a_jpg_that_lies_about_its_size_is_refused_before_its_pixels_take_memory() -> None:
    data = bytearray(FILES["jpg"])
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DecodeError, match="60000 x 60000 pixels, more than max_pixels"):
        ImageCodec("rgb8", size=8).decode(data, "jpg")


# Both ways


def test_an_image_that_would_come_back_in_another_size_is_not_encoded() -> None:
    for codec in (ImageCodec("rgb8", size=45), ImageCodec("rgb8", size=(45, 60))):
        np.testing.assert_array_equal(codec.decode(codec.encode(COLOUR, "png"), "png"), np.asarray(COLOUR))
    with pytest.raises(EncodeError, match="60 x 45 pixels would come back as 40 x 30") as caught:
        ImageCodec("rgb8", size=30).encode(COLOUR, "left.png")
    assert caught.value.field == "left.png"


def test_a_specification_with_a_size_holds_for_images_compressed_ones_and_no_others() -> None:
    table = decoders_from(SizedSpec("RGB8", 7))
    assert table["jpg"].decode(FILES["jpg"], "jpg").shape == (7, 9, 3)
    assert table["gz"].decode(gzip.compress(FILES["png"]), "png.gz").shape == (7, 9, 3)
    assert table["cls"] == decoders_from("rgb8")["cls"]
    assert str(SizedSpec("rgb8", 7)) == "rgb8, resized to 7 pixels on the shorter side"
    assert str(SizedSpec("rgb8", (7, 9))) == "rgb8, resized to 7 x 9 pixels"
    with pytest.raises(ValueError, match="size=0"):
        SizedSpec("rgb8", 0)


def test_a_function_in_default_handlers_is_not_concerned_by_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_handlers["rgb8"], "png", len)
    table = decoders_from(SizedSpec("rgb8", 7))
    assert table["png"].decode(FILES["png"], "png") == len(FILES["png"])
    assert table["jpg"].decode(FILES["jpg"], "jpg").shape == (7, 9, 3)
