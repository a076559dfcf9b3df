"""30. For every registered extension ``decode(encode(x))`` equals x, or encoding raises."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from webds.abc import Decoder
from webds.codecs import ImageCodec, PickleCodec
from webds.codecs.tables import IMAGE_EXTENSIONS, default_decoders, default_encoders, extended
from webds.errors import EncodeError
from webds.testing import same

MEDIA = {"flac", "wav", "mp3", "ogg", "mp4", "webm", "avi", "mov"}
ENCODERS = default_encoders()
TRUSTED = {extension: PickleCodec(trusted=True) for extension in ("pyd", "pickle", "pkl")}
DECODERS = extended(default_decoders("rgb8"), TRUSTED)

FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)


class Colour(enum.Enum):
    RED = 1


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
ARRAYS = hnp.arrays(
    dtype=hnp.scalar_dtypes() | hnp.array_dtypes(max_size=3),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
PLAIN_ARRAYS = hnp.arrays(
    dtype=st.sampled_from(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
TENSORS = PLAIN_ARRAYS.map(torch.from_numpy)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
MSGPACK = st.recursive(
    SCALARS.filter(lambda x: type(x) is not int or -(2**63) <= x < 2**64),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner),
    max_leaves=8,
)
TORCH = st.recursive(
    TENSORS | SCALARS.filter(lambda x: x != b""),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
COLOURS = hnp.arrays("u1", st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
GREYS = hnp.arrays("u1", st.tuples(st.integers(1, 9), st.integers(1, 9)))


def each(extensions: str, values: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return dict.fromkeys(extensions.split(), values)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    **each("cls cls2 class count index inx id", st.integers() | st.text().filter(str.isalpha)),
    **each("txt text transcript", st.text()),
    **each("json jsn", JSON),
    "npy": ARRAYS,
    "npz": st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), ARRAYS, max_size=3
    ),
    **each("ten tb", st.lists(PLAIN_ARRAYS, max_size=3)),
    **each("pt pth", TORCH),
    **each("mp msgpack msg", MSGPACK),
    **each("pyd pickle pkl", st.lists(SCALARS | st.tuples(SCALARS) | PLAIN_ARRAYS, max_size=3)),
    **dict.fromkeys(IMAGE_EXTENSIONS, COLOURS | GREYS),
    "txt.gz": st.text(),
    "json.gz": JSON,
    "gz": st.binary(),
}
"""What each extension is made for: nearly all of it must be accepted."""

DATA_EXTENSIONS = sorted(set(VALUES) - set(IMAGE_EXTENSIONS))


def decoder_of(field: str) -> Decoder[Any]:
    return DECODERS[field.rpartition(".")[2]]


def encoded(value: Any, field: str) -> bytes | None:
    """Return the bytes, None if the value is refused."""
    try:
        return ENCODERS[field.rpartition(".")[2]].encode(value, field)
    except EncodeError:
        return None


def test_30_every_registered_extension_is_tested_here() -> None:
    assert set(VALUES) == set(ENCODERS) | {"txt.gz", "json.gz"}
    assert set(DECODERS) == set(ENCODERS) | MEDIA


@pytest.mark.parametrize("field", DATA_EXTENSIONS)
@FEW
@given(data=st.data())
def test_30_values_of_each_extension_come_back(field: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[field])
    stored = encoded(value, field)
    if stored is None:  # arrays of elements without bytes, such as empty structures
        assert field in {"npy", "npz"}
        assert "V0" in str(value) or any(
            array.itemsize == 0 for array in (value.values() if field == "npz" else [value])
        )
    else:
        assert type(stored) is bytes
        assert same(decoder_of(field).decode(stored, field), value)
        assert encoded(value, field) == stored, "the same value gives the same bytes"


ODD: list[Any] = [
    (1, 2),
    {1, 2},
    {1: 2},
    {None: 1},
    {"a": (1,)},
    [np.float32(1)],
    {"a": np.float64(1)},
    True,
    np.True_,
    Colour.RED,
    float("nan"),
    [float("inf")],
    -0.0,
    1j,
    2**70,
    "",
    " 7",
    "-7",
    "\ud800",
    "\ud83d\ude00",
    b"",
    bytearray(b"a"),
    None,
    ...,
    OrderedDict(a=1),
    np.datetime64("2020-01-01"),
    np.timedelta64(5, "s"),
    np.zeros((2, 2), ">i4"),
    [np.zeros(2, ">f4")],
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.ma.masked_array([1.0, 2.0], [True, False]),
    {"a\0": np.zeros(2)},
    {"a.npy": np.zeros(2), "a": np.ones(2)},
    [np.zeros(2, bool)],
    (np.zeros(2),),
    np.array(["a"], object),
    np.zeros(0),
    torch.zeros(2),
    torch.zeros(2, 3).t(),
    torch.zeros(2).to_sparse(),
    [torch.tensor(1)] * 2,
    torch.zeros(2, requires_grad=True),
    torch.nn.Parameter(torch.zeros(2)),
    {"x": [torch.zeros(1), np.zeros(1)]},
    torch.Size([1, 2]),
    [[[]]],
    {},
    [],
    "true",
    "null",
]


@pytest.mark.parametrize("field", [name for name in DATA_EXTENSIONS if name not in TRUSTED])
def test_30_values_that_an_extension_is_not_made_for_come_back_or_are_refused(field: str) -> None:
    """The same type, dtype, shape and values; the rule's exceptions are those that the classes name."""
    refused = 0
    for value in ODD:
        stored = encoded(value, field)
        if stored is None:
            refused += 1
            continue
        found = decoder_of(field).decode(stored, field)
        if field in {"ten", "tb"} and isinstance(value, list) and any(isinstance(x, torch.Tensor) for x in value):
            assert same(found, [x.numpy() for x in value]), "tensors come back from tenbin as arrays"
        elif isinstance(value, torch.nn.Parameter):
            assert type(found) is torch.nn.Parameter
            assert same(found.data, value.data)
        else:
            assert same(found, value), (field, value, found)
    assert refused, "something of this is none of the extension's"


@pytest.mark.parametrize("extension", sorted(IMAGE_EXTENSIONS))
@FEW
@given(image=COLOURS | GREYS)
def test_30_images_come_back_within_their_bound_or_are_refused(extension: str, image: Any) -> None:
    stored = encoded(image, extension)
    codec = ImageCodec("rgb8" if image.ndim == 3 else "l8")
    assert codec.bound(extension) < 255, "a bound is stated for every extension"
    if stored is None:
        assert extension in {"ppm", "pgm", "pbm", "gif"}, "these hold some images only"
    else:
        found = codec.decode(stored, extension)
        assert (found.shape, found.dtype) == (image.shape, image.dtype)
        assert np.abs(found.astype(int) - image).max() <= codec.bound(extension)


@pytest.mark.parametrize("extension", ["png", "img", "image", "webp", "tif", "tiff", "bmp"])
def test_30_formats_that_hold_all_images_are_exact(extension: str) -> None:
    assert ImageCodec("rgb8").bound(extension) == 0


def test_30_what_an_image_format_cannot_hold_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype="u1")
    assert encoded(noise, "gif") is None
    assert encoded(noise, "pgm") is None
    assert encoded(noise[..., 0], "pbm") is None
    assert encoded(noise[..., 0] // 128 * 255, "pbm") is not None
