"""JPEG files by simplejpeg: the same values, and the same errors, as by Pillow."""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image, ImageFile
from sklearn.datasets import load_sample_image

from webds.codecs import image_fast, image_values
from webds.codecs.image import IMAGE_SPECS, ImageCodec
from webds.errors import DecodeError

simplejpeg = pytest.importorskip("simplejpeg", reason="the extra 'fast' is not installed")

FAST_SPECS = [name for name, spec in IMAGE_SPECS.items() if spec.container != "pil"]


@pytest.fixture(autouse=True)
def _not_known_yet() -> Iterator[None]:
    """Have each test find out anew whether simplejpeg is there."""
    image_fast._simplejpeg.cache_clear()
    yield
    image_fast._simplejpeg.cache_clear()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What simplejpeg decodes from now on: the colour spaces that it was asked for."""
    asked: list[str] = []
    decode = simplejpeg.decode_jpeg

    def watched(data: bytes, colorspace: str = "RGB", **options: Any) -> Any:
        value = decode(data, colorspace, **options)
        asked.append(colorspace)
        return value

    monkeypatch.setattr(simplejpeg, "decode_jpeg", watched)
    return asked


def saved(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def photo(width: int, height: int) -> Image.Image:
    return Image.fromarray(load_sample_image("flower.jpg")).resize((width, height))


PHOTO = photo(70, 45)
EXIF = Image.Exif()
EXIF[274] = 6  # to be turned, which nobody does here
FILES = {
    "4:4:4": saved(PHOTO, subsampling=0),
    "4:2:2": saved(PHOTO, subsampling=1),
    "4:2:0": saved(PHOTO, subsampling=2),
    "4:4:0": simplejpeg.encode_jpeg(np.ascontiguousarray(PHOTO), colorsubsampling="440"),
    "4:1:1": simplejpeg.encode_jpeg(np.ascontiguousarray(PHOTO), colorsubsampling="411"),
    "quality 5": saved(PHOTO, quality=5),
    "quality 100": saved(PHOTO, quality=100),
    "progressive": saved(PHOTO, progressive=True),
    "optimised": saved(PHOTO, optimize=True),
    "restart markers": saved(PHOTO, restart_marker_blocks=2),
    "RGB": saved(PHOTO, keep_rgb=True),
    "metadata": saved(PHOTO, exif=EXIF, icc_profile=b"profile", comment=b"comment"),
    "grey": saved(PHOTO.convert("L")),
    "grey, progressive": saved(PHOTO.convert("L"), progressive=True),
    "one pixel": saved(photo(1, 1)),
    "one row": saved(photo(33, 1)),
    "one column": saved(photo(1, 17)),
    "no whole block": saved(photo(7, 9)),
    "CMYK": saved(PHOTO.convert("CMYK")),
    "trailing bytes": saved(PHOTO) + b"more",
    "two images": saved(PHOTO) + saved(PHOTO.convert("L")),
}


def both(spec: str, data: bytes, **options: Any) -> tuple[Any, Any]:
    """Return what simplejpeg, and what Pillow alone, makes of ``data``: a value, or the text of the error."""
    found: list[Any] = []
    for fast in (True, False):
        try:
            found.append(ImageCodec(spec, fast=fast, **options).decode(data, "x.jpg"))
        except DecodeError as error:
            found.append(str(error))
    return found[0], found[1]


def check_same(fast: Any, pillow: Any) -> None:
    assert type(fast) is type(pillow)
    if isinstance(fast, (str, Image.Image)):
        assert fast == pillow
        return
    if isinstance(fast, torch.Tensor):
        assert fast.is_contiguous()
        assert pillow.is_contiguous()
        fast, pillow = fast.numpy(), pillow.numpy()
    assert fast.dtype == pillow.dtype
    assert fast.flags.c_contiguous
    assert fast.flags.writeable
    np.testing.assert_array_equal(fast, pillow)


@pytest.mark.parametrize("spec", IMAGE_SPECS)
@pytest.mark.parametrize("name", FILES)
def test_values_are_the_same_as_by_pillow(name: str, spec: str) -> None:
    check_same(*both(spec, FILES[name]))


SIZES: list[int | tuple[int, int]] = [1, 5, 11, 20, 22, 44, 45, 46, 90, (1, 1), (3, 50), (45, 70), (22, 35), (100, 20)]


def check_near(fast: Any, pillow: Any) -> None:
    """Check that bytes differ by 1 at most, and floats by 1/255; otherwise as `check_same`."""
    if isinstance(fast, (str, Image.Image)):
        check_same(fast, pillow)
        return
    scale = 1 if str(fast.dtype).endswith("uint8") else 255
    arrays = [np.asarray(value).astype(np.float64) * scale for value in (fast, pillow)]
    assert arrays[0].shape == arrays[1].shape
    assert np.abs(arrays[0] - arrays[1]).max() < 1.001
    check_same(fast, fast)  # contiguous and writable
    assert fast.dtype == pillow.dtype


@pytest.mark.parametrize("spec", FAST_SPECS)
@pytest.mark.parametrize("name", FILES)
def test_what_is_brought_to_a_size_is_within_a_step_of_what_pillow_makes(name: str, spec: str) -> None:
    for size in SIZES:
        check_near(*both(spec, FILES[name], size=size))


def test_photographs_of_any_size_are_brought_to_any_size_as_by_pillow() -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        data = saved(photo(*rng.integers(1, 300, 2).tolist()), subsampling=int(rng.integers(3)))
        size = int(rng.integers(1, 200)) if rng.random() < 0.5 else tuple(rng.integers(1, 200, 2).tolist())
        check_near(*both("rgb8", data, size=size))


def test_simplejpeg_decodes_what_is_brought_to_a_size(decoded: list[str]) -> None:
    if not image_fast._resizes_fast():
        pytest.skip("torch has no quick way to resize bytes on this processor")
    for spec in ("rgb8", "torchrgb", "rgba8"):
        ImageCodec(spec, size=20).decode(FILES["4:2:0"], "jpg")
    ImageCodec("l8", size=20).decode(FILES["grey"], "jpg")
    assert decoded == ["RGB", "RGBX", "RGBA", "GRAY"]


def test_a_result_with_too_many_pixels_is_refused_in_the_same_words() -> None:
    for size in (1000, (1, 5000), (5000, 1)):
        fast, pillow = both("rgb8", FILES["4:2:0"], size=size, max_pixels=4000)
        assert fast == pillow
        assert "max_pixels=4000" in fast


@pytest.mark.parametrize("spec", FAST_SPECS)
def test_simplejpeg_decodes_colour_and_grey(decoded: list[str], spec: str) -> None:
    colour = IMAGE_SPECS[spec].mode != "L"
    for name, data in FILES.items():
        before = len(decoded)
        ImageCodec(spec).decode(data, "jpg")
        assert len(decoded) == before + (name != "CMYK" and (colour or "grey" in name)), name
    assert len(decoded) == (len(FILES) - 1 if colour else 2)


def test_pillow_does_what_is_its_own(decoded: list[str]) -> None:
    for spec in ("pil", "pill", "pilrgba"):
        ImageCodec(spec).decode(FILES["4:2:0"], "jpg")
    ImageCodec("rgb8", fast=False).decode(FILES["4:2:0"], "jpg")
    ImageCodec("pil", size=20).decode(FILES["4:2:0"], "jpg")
    ImageCodec("l8").decode(FILES["4:2:0"], "jpg")
    assert decoded == []


def test_a_png_named_jpg_is_not_for_simplejpeg(decoded: list[str]) -> None:
    stream = io.BytesIO()
    PHOTO.save(stream, "PNG")
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(stream.getvalue(), "jpg"), np.asarray(PHOTO))
    assert decoded == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_bytes_like_object_is_decoded(kind: Any, decoded: list[str]) -> None:
    check_same(*both("rgb8", kind(FILES["4:2:0"])))
    assert decoded == ["RGB"]


def test_values_own_their_memory() -> None:
    for spec in FAST_SPECS:
        value = ImageCodec(spec).decode(FILES["grey"], "jpg")
        before = value.copy() if isinstance(value, np.ndarray) else value.clone()
        value[...] = 0
        assert (ImageCodec(spec).decode(FILES["grey"], "jpg") == before).all()


# Errors


@pytest.mark.parametrize("name", ["4:2:0", "progressive", "grey", "restart markers", "CMYK"])
def test_a_file_cut_short_is_never_filled_up(name: str) -> None:
    for length in range(0, len(FILES[name]), 9):
        fast, pillow = both("rgba8", FILES[name][:length])
        check_same(fast, pillow)
        assert isinstance(fast, str)
    assert "truncated" in both("rgb8", FILES[name][: len(FILES[name]) // 2])[0]
    assert isinstance(both("rgb8", FILES[name][:-2])[0], str)  # even the mark at the end counts


def test_a_file_cut_short_is_filled_up_if_the_program_told_pillow_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    fast, pillow = both("rgb8", FILES["4:2:0"][:-300])
    check_same(fast, pillow)
    assert fast.shape == (45, 70, 3)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_the_same_value_or_the_same_error(draw: st.DataObject) -> None:
    data = bytearray(FILES[draw.draw(st.sampled_from(["4:2:0", "progressive", "grey", "restart markers", "RGB"]))])
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(3, len(data) - 1))
        match draw.draw(st.sampled_from(["put", "flip", "insert", "cut"])):
            case "put":
                data[place] = draw.draw(st.integers(0, 255))
            case "flip":
                data[place] ^= 1 << draw.draw(st.integers(0, 7))
            case "insert":
                data[place:place] = draw.draw(st.binary(min_size=1, max_size=4))
            case _:
                del data[place : place + draw.draw(st.integers(1, 4))]
    check_same(*both("rgb8", bytes(data), max_pixels=100_000))


def test_what_only_simplejpeg_minds_is_left_to_pillow(decoded: list[str]) -> None:
    """A byte between the segments: a flaw that takes nothing away."""
    data = FILES["4:2:0"]
    end = data.index(b"\xff\xdb")
    flawed = data[:end] + b"\0" + data[end:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(flawed)
    decoded.clear()
    np.testing.assert_array_equal(*both("rgb8", flawed))
    assert decoded == []


def test_max_pixels_is_checked_before_the_pixels_take_memory(decoded: list[str]) -> None:
    message = "the image has 70 x 45 pixels, more than max_pixels=3149"
    fast, pillow = both("rgb8", FILES["4:2:0"], max_pixels=3149)
    assert message in fast
    assert fast == pillow
    assert decoded == []
    check_same(*both("rgb8", FILES["4:2:0"], max_pixels=3150))
    data = bytearray(FILES["4:2:0"])
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DecodeError, match="60000 x 60000 pixels, more than max_pixels=178956970"):
        ImageCodec("rgb8").decode(data, "jpg")


# Without simplejpeg


def test_without_simplejpeg_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {spec: ImageCodec(spec).decode(FILES["4:2:0"], "jpg") for spec in FAST_SPECS}
    image_fast._simplejpeg.cache_clear()
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    for spec, value in values.items():
        check_same(ImageCodec(spec).decode(FILES["4:2:0"], "jpg"), value)


def test_with_a_simplejpeg_that_cannot_be_strict_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases before 1.7 fill up what is missing of a file."""

    def lenient(data: bytes, min_height: int = 0) -> Any:
        raise AssertionError("called")

    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lenient)
    check_same(*both("rgb8", FILES["4:2:0"]))
    assert "truncated" in both("rgb8", FILES["4:2:0"][:-300])[0]


def test_without_what_is_not_public_of_pillow_the_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {spec: ImageCodec(spec, fast=False).decode(FILES["metadata"], "jpg") for spec in IMAGE_SPECS}
    monkeypatch.setattr(image_values, "_ENCODER", "no such name")
    monkeypatch.setattr(image_values, "_PLAIN", "no such name")
    for spec, value in values.items():
        found = ImageCodec(spec, fast=False).decode(FILES["metadata"], "jpg")
        check_same(found, value)
        assert getattr(found, "info", None) == getattr(value, "info", None)


def test_the_choice_is_part_of_the_codec_and_pickles() -> None:
    slow = ImageCodec("rgb8", fast=False)
    assert slow != ImageCodec("rgb8")
    assert pickle.loads(pickle.dumps(slow)) == slow


def test_threads_that_decode_at_once_get_the_same_values() -> None:
    want = {spec: ImageCodec(spec).decode(FILES["4:2:0"], "jpg") for spec in FAST_SPECS}
    with ThreadPoolExecutor(8) as pool:
        values = pool.map(lambda spec: ImageCodec(spec).decode(FILES["4:2:0"], "jpg"), FAST_SPECS * 8)
        for spec, value in zip(FAST_SPECS * 8, values, strict=True):
            check_same(value, want[spec])
