"""Encoding images: what comes back equals what was written, or the writer refuses."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from webds.codecs.image import IMAGE_SPECS, ImageCodec, ImageSpec
from webds.errors import EncodeError

Array = NDArray[Any]

RNG = np.random.default_rng(7)
LOSSLESS = ("png", "img", "image", "ppm", "pgm", "pbm", "webp", "tif", "tiff", "bmp", "gif")
HOLDS = {
    "jpg": "L RGB",
    "jpeg": "L RGB",
    "webp": "L RGB RGBA",
    "png": "L RGB RGBA",
    "img": "L RGB RGBA",
    "image": "L RGB RGBA",
    "ppm": "L RGB",
    "pgm": "L",
    "pbm": "L",
    "tif": "L RGB RGBA",
    "tiff": "L RGB RGBA",
    "bmp": "L RGB",
    "gif": "L RGB RGBA",
}
CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


def pixels(mode: str, extension: str, shape: tuple[int, int] = (10, 15)) -> Array:
    """Return bytes H x W x C that the format can hold."""
    values = RNG.integers(0, 256, (*shape, CHANNELS[mode]), dtype=np.uint8)
    if extension == "pbm":
        return values // 128 * np.uint8(255)
    if extension == "gif" and mode != "L":
        values = values[:2, :5].reshape(10, -1)[RNG.integers(0, 10, shape)]
        if mode == "RGBA":
            values[..., 3] = 255
            values[2:4, 2:5] = 9, 8, 7, 0
    return values


def as_spec(values: Array, spec: ImageSpec) -> Any:
    """Return bytes H x W x C as a value of the specification."""
    if spec.container == "pil":
        return Image.fromarray(values.squeeze(-1) if spec.mode == "L" else values)
    if spec.dtype == "float32":
        values = (values / 255).astype(np.float32)
    if spec.container == "torch":
        return torch.from_numpy(values.transpose(2, 0, 1).copy())
    return values[..., 0] if spec.mode == "L" else values


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Image.Image):
        return bool(left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes())
    assert type(left) is type(right)
    assert left.dtype == right.dtype
    return bool(left.shape == right.shape and (left == right).all())


def difference(left: Any, right: Any) -> float:
    if isinstance(left, Image.Image):
        assert left.mode == right.mode
    return float(np.abs(np.asarray(left, np.float64) - np.asarray(right, np.float64)).max())


@pytest.mark.parametrize("name", IMAGE_SPECS)
@pytest.mark.parametrize("extension", LOSSLESS)
def test_values_of_every_spec_come_back_equal_from_every_lossless_format_or_are_refused(
    name: str, extension: str
) -> None:
    codec, spec = ImageCodec(name), ImageSpec.parse(name)
    value = as_spec(pixels(spec.mode, extension), spec)
    field = f"seg.{extension}"
    if spec.mode not in HOLDS[extension].split():
        with pytest.raises(EncodeError, match=f"{extension} cannot hold") as info:
            codec.encode(value, field)
        assert info.value.field == field
        return
    data = codec.encode(value, field)
    assert same(codec.decode(data, field), value)
    assert codec.encode(value, field) == data
    assert codec.bound(field) == (0 if spec.dtype == "uint8" else 0.5 / 255)
    assert ImageCodec(name, format=extension).lossless is (spec.dtype == "uint8")


@pytest.mark.parametrize("name", ["l8", "rgb8", "l", "rgb", "pill", "pil", "torchrgb8", "torchl"])
@pytest.mark.parametrize("extension", ["jpg", "jpeg"])
def test_lossy_formats_stay_within_the_stated_bound_on_noise_edges_and_flat_colour(name: str, extension: str) -> None:
    codec, spec = ImageCodec(name), ImageSpec.parse(name)
    shape = (64, 48)
    channels = CHANNELS[spec.mode]
    noise = RNG.integers(0, 256, (*shape, channels), dtype=np.uint8)
    for values in (
        noise,
        noise // 128 * np.uint8(255),
        noise[::8, ::8].repeat(8, 0).repeat(8, 1),
        np.linspace(0, 255, noise.size).astype(np.uint8).reshape(noise.shape),
    ):
        value = as_spec(values, spec)
        back = codec.decode(codec.encode(value, f"x.{extension}"), f"x.{extension}")
        assert difference(back, value) <= codec.bound(f"x.{extension}")
    assert not ImageCodec(name, format=extension).lossless
    assert not codec.lossless


def test_bounds_are_those_of_the_documentation() -> None:
    assert ImageCodec("l8").bound("x.jpg") == 4
    assert ImageCodec("rgb8").bound("x.jpg") == 12
    assert ImageCodec("torchrgb").bound("x.jpg") == pytest.approx(12.5 / 255)
    for grey_or_colour in ("l8", "rgb8"):
        assert ImageCodec(grey_or_colour, quality=99).bound("x.webp") == 0
        assert ImageCodec(grey_or_colour, lossy_webp=True).bound("x.webp") == 255
        assert ImageCodec(grey_or_colour, lossy_webp=True).bound("x.png") == 0
    assert ImageCodec("rgb", lossy_webp=True).bound("x.webp") == 1
    assert ImageCodec("l8", quality=99).bound("x.jpg") == 255
    assert ImageCodec("rgb8").bound("x.png") == 0


def test_a_webp_keeps_the_colours_under_alpha_zero() -> None:
    values = pixels("RGBA", "webp", (32, 32))
    values[:16, ..., 3] = 0
    back = ImageCodec("rgba8").decode(ImageCodec("rgba8").encode(values, "webp"), "webp")
    np.testing.assert_array_equal(back, values)


def test_webp_is_lossy_for_those_who_ask_for_it_by_name() -> None:
    values = pixels("RGBA", "webp", (32, 32))
    codec = ImageCodec("rgba8", lossy_webp=True, format="webp")
    assert not codec.lossless
    assert ImageCodec("rgba8", format="webp").lossless
    data = codec.encode(values, "webp")
    assert data != ImageCodec("rgba8").encode(values, "webp")
    back = codec.decode(data, "webp")
    assert not (back == values).all()
    np.testing.assert_array_equal(back[..., 3], values[..., 3], err_msg="its alpha is exact all the same")
    assert ImageCodec(lossy_webp=True).encode(values, "png") == ImageCodec().encode(values, "png")


def test_a_lossy_webp_is_near_where_colour_is_smooth() -> None:
    y, x = np.mgrid[:64, :64]
    values = np.stack([x * 2, y * 2, 250 - x - y], axis=-1).astype(np.uint8)
    back = ImageCodec("rgb8").decode(ImageCodec("rgb8", lossy_webp=True).encode(values, "webp"), "webp")
    assert 0 < difference(back, values) <= 12


def test_jpg_is_written_without_subsampling_and_with_the_quality_asked_for() -> None:
    values = pixels("RGB", "jpg", (32, 32))
    best = ImageCodec().encode(values, "jpg")
    assert b"\xff\xc0\x00\x11\x08\x00\x20\x00\x20\x03\x01\x11\x00\x02\x11" in best  # 1 x 1 for both components
    for extension in ("jpg", "webp"):
        codecs = [ImageCodec(quality=quality, lossy_webp=True) for quality in (10, 50, 90, 100)]
        sizes = [len(codec.encode(values, extension)) for codec in codecs]
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == 4


@given(
    arrays.arrays(np.float32, (4, 5, 3), elements=st.floats(0, 1, width=32)),
    st.sampled_from(["png", "ppm", "tif", "bmp", "gif"]),
)
def test_floats_are_stored_in_eight_bits_within_half_a_step(values: Array, extension: str) -> None:
    for name, value in (("rgb", values), ("torch", torch.from_numpy(values.transpose(2, 0, 1).copy()))):
        codec = ImageCodec(name)
        back = codec.decode(codec.encode(value, extension), extension)
        assert difference(back, value) <= codec.bound(extension) + 1e-7  # float32 itself
        assert same(codec.decode(codec.encode(back, extension), extension), back)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width_are_taken(dtype: type) -> None:
    values: Array = (pixels("RGB", "png") / 255).astype(dtype)
    back = ImageCodec("rgb").decode(ImageCodec("rgb").encode(values, "png"), "png")
    assert difference(back, values) <= (0.5 / 255 if dtype is np.float16 else 1e-7)
    tensor = torch.from_numpy(values).permute(2, 0, 1).to(torch.bfloat16).requires_grad_()
    assert difference(ImageCodec("torch").decode(ImageCodec().encode(tensor, "png"), "png"),
                      tensor.detach().float().numpy()) <= 0.5 / 255 + 1e-7  # fmt: skip


@pytest.mark.parametrize("wrong", [-0.01, 1.01, np.nan, np.inf, 255.0])
def test_floats_outside_of_zero_to_one_are_refused(wrong: float) -> None:
    values: Array = np.zeros((3, 3, 3), np.float32)
    values[1, 1, 1] = wrong
    with pytest.raises(EncodeError, match="expected values from 0 to 1"):
        ImageCodec().encode(values, "png")
    with pytest.raises(EncodeError, match="expected values from 0 to 1"):
        ImageCodec().encode(torch.from_numpy(values), "png")
    with pytest.raises(EncodeError, match="range from 0 to 1"):
        ImageCodec().encode(Image.fromarray(values[1]), "tif")


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((3, 3), np.int64), np.zeros((3, 3), np.uint16), np.zeros((3, 3), bool), np.zeros((3, 3), complex),
        np.zeros(3, np.uint8), np.zeros((3, 3, 2), np.uint8), np.zeros((3, 3, 5), np.uint8),
        np.zeros((1, 3, 3, 3), np.uint8), np.zeros((0, 3), np.uint8), np.zeros((3, 0, 3), np.float32),
        np.zeros((3, 5, 7), np.uint8), torch.zeros(2, 3, 3), torch.zeros(3, 3, 4, dtype=torch.int32),
        torch.zeros(3), torch.zeros(1, 3, 0, 4), torch.zeros(3, 0, 4), "text", 7, None, [[1, 2], [3, 4]], {"a": 1},
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'shape', '')}",
)  # fmt: skip
def test_what_is_no_image_is_refused_by_name(value: Any) -> None:
    with pytest.raises(EncodeError, match="is no image") as info:
        ImageCodec().encode(value, "a.png")
    assert info.value.field == "a.png"


@pytest.mark.parametrize("field", ["txt", "png.gz", "", "png.", "jp2"])
def test_a_field_without_the_extension_of_an_image_is_refused(field: str) -> None:
    with pytest.raises(EncodeError, match="no image format is called"):
        ImageCodec().encode(np.zeros((2, 2), np.uint8), field)
    with pytest.raises(EncodeError, match="no image format is called"):
        ImageCodec().bound(field)


def test_the_last_extension_of_the_field_decides_and_a_given_format_before_it() -> None:
    values = pixels("RGB", "png")
    assert ImageCodec().encode(values, "left.jpg.PNG")[1:4] == b"PNG"
    assert ImageCodec(format="bmp").encode(values, "x.png")[:2] == b"BM"
    assert ImageCodec(format="bmp").encode(values, "whatever")[:2] == b"BM"
    starts = {"jpg": b"\xff\xd8", "png": b"\x89PNG", "ppm": b"P6", "webp": b"RIFF", "tif": b"II*", "bmp": b"BM"}
    for extension, start in starts.items():
        assert ImageCodec().encode(values, extension).startswith(start)
    assert ImageCodec().encode(values[..., 0], "pgm").startswith(b"P5")
    assert ImageCodec().encode(pixels("L", "pbm"), "pbm").startswith(b"P4")
    assert ImageCodec().encode(pixels("L", "gif"), "gif").startswith(b"GIF8")


def test_one_channel_may_have_an_axis_of_its_own_or_not() -> None:
    values = pixels("L", "png")
    want = ImageCodec().encode(values[..., 0], "png")
    assert ImageCodec().encode(values, "png") == want
    assert ImageCodec().encode(torch.from_numpy(values[..., 0]), "png") == want
    assert ImageCodec().encode(torch.from_numpy(values[..., 0])[None], "png") == want
    assert ImageCodec().encode(Image.fromarray(values[..., 0]), "png") == want


def test_views_and_read_only_arrays_are_written_as_they_are_seen_and_stay_unchanged() -> None:
    values = pixels("RGB", "png", (20, 20))
    view = values[::-2, 3:9, ::-1]
    view.flags.writeable = False
    before = values.copy()
    np.testing.assert_array_equal(ImageCodec("rgb8").decode(ImageCodec().encode(view, "png"), "png"), view)
    np.testing.assert_array_equal(values, before)


MODES = {
    "1": Image.fromarray(pixels("L", "pbm")[..., 0]).convert("1"),
    "L": Image.fromarray(pixels("L", "png")[..., 0]),
    "P": Image.fromarray(pixels("RGB", "gif")).quantize(10),
    "LA": Image.fromarray(pixels("RGBA", "png")).convert("LA"),
    "RGB": Image.fromarray(pixels("RGB", "gif")),
    "RGBA": Image.fromarray(pixels("RGBA", "gif")),
}


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("mode", MODES)
def test_pillow_images_of_any_mode_keep_their_colours_and_alpha_or_are_refused(mode: str, extension: str) -> None:
    image = MODES[mode]
    before = (image.mode, image.tobytes(), dict(image.info))
    # LA has half transparent pixels, which a gif has not.
    takes = {"ppm": "1 L P RGB", "pgm": "1 L", "pbm": "1", "bmp": "1 L P RGB", "gif": "1 L P RGB RGBA"}
    if mode not in takes.get(extension, " ".join(MODES)).split():
        with pytest.raises(EncodeError, match="cannot hold"):
            ImageCodec().encode(image, extension)
    else:
        data = ImageCodec().encode(image, extension)
        assert same(ImageCodec("pilrgba").decode(data, extension), image.convert("RGBA"))
    assert (image.mode, image.tobytes(), image.info) == before


def test_palettes_and_their_transparency_stay_palettes_in_a_png() -> None:
    image = MODES["P"].copy()
    for transparency in (2, bytes([0, 100, 255])):
        image.info = {"transparency": transparency, "dpi": (3, 3), "gamma": 2.0}
        data = ImageCodec().encode(image, "png")
        stored = Image.open(io.BytesIO(data))
        assert stored.mode == "P"
        assert stored.tobytes() == image.tobytes()
        assert set(stored.info) == {"transparency"}
        assert same(ImageCodec("pilrgba").decode(data, "png"), image.convert("RGBA"))
        assert same(ImageCodec("pilrgba").decode(ImageCodec().encode(image, "tif"), "tif"), image.convert("RGBA"))
        with pytest.raises(EncodeError, match="bmp cannot hold"):
            ImageCodec().encode(image, "bmp")


@pytest.mark.parametrize(("mode", "colour"), [("L", 7), ("RGB", (1, 2, 3)), ("1", 255)])
def test_a_transparent_colour_becomes_alpha_or_is_refused(mode: str, colour: Any) -> None:
    image = Image.new(mode, (4, 4))
    image.putpixel((1, 1), colour)
    image.info["transparency"] = colour
    rgba = np.asarray(ImageCodec("pilrgba").decode(ImageCodec().encode(image, "png"), "png"))
    assert rgba[1, 1, 3] == 0
    assert np.count_nonzero(rgba[..., 3]) == 15
    with pytest.raises(EncodeError, match="jpg cannot hold"):
        ImageCodec().encode(image, "jpg")


@pytest.mark.parametrize("extension", ["png", "pgm", "tif"])
def test_sixteen_bits_of_a_pillow_image_are_kept_whole(extension: str) -> None:
    values = RNG.integers(0, 65536, (8, 9), dtype=np.uint16)
    for image in (
        Image.fromarray(values),
        Image.fromarray(values.astype(np.int32)),
        Image.open(io.BytesIO(ImageCodec().encode(Image.fromarray(values), "tif"))),
    ):
        data = ImageCodec().encode(image, extension)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), values)
    for beyond in (-1, 65536):
        with pytest.raises(EncodeError, match="16 bits"):
            ImageCodec().encode(Image.new("I", (2, 2), beyond), extension)
    for other in ("jpg", "ppm", "gif", "bmp", "pbm", "webp"):
        with pytest.raises(EncodeError, match="cannot hold"):
            ImageCodec().encode(Image.fromarray(values), other)


def test_float_images_are_kept_whole_in_a_tif_and_refused_elsewhere() -> None:
    values = RNG.random((5, 6), dtype=np.float32)
    data = ImageCodec().encode(Image.fromarray(values), "tif")
    np.testing.assert_array_equal(ImageCodec("l").decode(data, "tif"), values)
    with pytest.raises(EncodeError, match="png cannot hold"):
        ImageCodec().encode(Image.fromarray(values), "png")


def test_cmyk_is_kept_in_a_tif_and_refused_where_it_would_be_changed() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (5, 6, 4), dtype=np.uint8), "CMYK")
    assert Image.open(io.BytesIO(ImageCodec().encode(image, "tif"))).tobytes() == image.tobytes()
    assert Image.open(io.BytesIO(ImageCodec().encode(image, "jpg"))).mode == "CMYK"
    for mode in ("CMYK", "YCbCr", "HSV", "LAB"):
        with pytest.raises(EncodeError, match=f"png cannot hold an image of mode {mode}"):
            ImageCodec().encode(Image.new(mode, (2, 2)), "png")


def test_gif_refuses_what_a_palette_cannot_hold() -> None:
    many = np.arange(257 * 3, dtype=np.uint16).reshape(257, 1, 3).astype(np.uint8)
    many[256] = 9, 9, 9
    with pytest.raises(EncodeError, match="257 colours"):
        ImageCodec().encode(many, "gif")
    exact = ImageCodec("rgb8").decode(ImageCodec().encode(many[:256], "gif"), "gif")
    np.testing.assert_array_equal(exact, many[:256])
    with pytest.raises(EncodeError, match="gif cannot hold"):
        ImageCodec().encode(np.full((2, 2, 4), 100, np.uint8), "gif")
    two = np.array([[[1, 1, 1, 0], [2, 2, 2, 0]]], np.uint8)
    with pytest.raises(EncodeError, match="gif cannot hold"):
        ImageCodec().encode(two, "gif")


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(4)),
                     elements=st.sampled_from([0, 1, 255])))  # fmt: skip
def test_gif_of_any_small_image_is_exact_or_refused(values: Array) -> None:
    for name, part in (("rgba8", values), ("rgb8", values[..., :3]), ("l8", values[..., 0])):
        codec = ImageCodec(name)
        try:
            data = codec.encode(part, "gif")
        except EncodeError:
            assert name == "rgba8"
        else:
            np.testing.assert_array_equal(codec.decode(data, "gif"), part)


def test_grey_between_black_and_white_is_refused_in_a_pbm() -> None:
    with pytest.raises(EncodeError, match="pbm cannot hold"):
        ImageCodec().encode(np.full((2, 2), 128, np.uint8), "pbm")


@pytest.mark.parametrize(("extension", "side"), [("jpg", 65536), ("webp", 16384), ("gif", 65536)])
def test_sizes_beyond_the_format_are_refused(extension: str, side: int) -> None:
    with pytest.raises(EncodeError, match="cannot be encoded"):
        ImageCodec().encode(np.zeros((1, side), np.uint8), extension)


def test_profile_and_exif_go_along_and_the_settings_of_a_former_file_do_not() -> None:
    exif = Image.Exif()
    exif[274] = 3
    image = Image.fromarray(pixels("RGB", "png"))
    image.info = {"exif": exif.tobytes(), "icc_profile": b"profile", "comment": b"x", "dpi": (3, 3)}
    for extension in ("jpg", "png", "webp"):
        back = ImageCodec("pil").decode(ImageCodec().encode(image, extension), extension)
        assert back.getexif()[274] == 3
        assert back.info["icc_profile"] == b"profile"
        assert "comment" not in back.info
    image.info["compression"] = "jpeg"
    assert same(ImageCodec("pil").decode(ImageCodec().encode(image, "tif"), "tif"), image)


def test_an_image_whose_file_is_cut_short_is_an_encode_error() -> None:
    data = ImageCodec().encode(pixels("RGB", "png", (64, 64)), "png")
    with pytest.raises(EncodeError, match="cannot be encoded"):
        ImageCodec().encode(Image.open(io.BytesIO(data[:500])), "png")
