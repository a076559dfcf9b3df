"""30. ``decode(encode(x))`` equals x through a shard, or `write` raises; bytes are stored as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webds.codecs import PickleCodec
from webds.codecs.tables import default_decoders, default_encoders
from webds.errors import EncodeError
from webds.sinks import TarWriter
from webds.tar import by_extension, read_samples
from webds.testing.comparison import same

RNG = np.random.default_rng(30)
NOISE = RNG.integers(0, 256, (24, 32, 3), np.uint8)


def through(folder: Path, field: str, value: Any) -> bytes:
    """Return what a shard holds after ``value`` was written as ``field`` beside another sample."""
    path = folder / "x.tar"
    with TarWriter(path, overwrite=True) as sink:
        sink.write({"__key__": "dir.x/before", "cls": 1})
        sink.write({"__key__": "dir.x/a", field: value, "zzz": b"after"})
    with path.open("rb") as file:
        samples = list(read_samples(file, url=str(path)))
    assert [sample["__key__"] for sample in samples] == ["dir.x/before", "dir.x/a"]
    assert set(samples[1]) == {"__key__", field, "zzz"}
    data = samples[1][field]
    assert isinstance(data, bytes)
    return data


def decoded(data: bytes, field: str, spec: str) -> Any:
    decoder = by_extension(default_decoders(spec), field)
    assert decoder is not None
    return decoder.decode(data, field)


EXACT: list[tuple[str, Any]] = [
    ("cls", 3),
    ("cls2", -(10**30)),
    ("id", "no integer"),
    ("seg.index", 0),
    ("txt", "Zürich\n\0 日本"),
    ("transcript", ""),
    ("json", {"a": [1, 2.5, None, True, "ü"], "": {}}),
    ("png", NOISE),
    ("mask.ppm", NOISE),
    ("bmp", NOISE),
    ("tif", NOISE),
    ("webp", NOISE),
    ("npy", RNG.standard_normal((3, 0, 5))),
    ("npy", np.array(3, np.int16)),
    ("npz", {"x": np.arange(4), "y": np.zeros((2, 2), np.float16)}),
    ("ten", [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([], np.uint8)]),
    ("pth", {"weight": torch.arange(6.0).reshape(2, 3), "step": 3}),
    ("msgpack", {"a": [1, b"raw", None]}),
    ("txt.gz", "text " * 1000),
]


@pytest.mark.parametrize(("field", "value"), EXACT, ids=[f"{n}-{field}" for n, (field, _) in enumerate(EXACT)])
def test_30_what_comes_back_is_what_was_written(tmp_path: Path, field: str, value: Any) -> None:
    back = decoded(through(tmp_path, field, value), field, "rgb8")
    assert same(back, value)


def test_30_pickles_come_back_where_they_are_trusted(tmp_path: Path) -> None:
    value = {"a": (1, {2}), 3: complex(1, 2)}
    assert same(PickleCodec(trusted=True).decode(through(tmp_path, "pyd", value), "pyd"), value)


@pytest.mark.parametrize("field", ["jpg", "jpeg", "left.jpg"])
def test_30_lossy_images_come_back_within_their_bound(tmp_path: Path, field: str) -> None:
    back = decoded(through(tmp_path, field, NOISE), field, "rgb8")
    assert back.shape == NOISE.shape
    assert back.dtype == NOISE.dtype
    assert np.abs(back.astype(int) - NOISE).max() <= 12


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cls", 1.5),
        ("txt", 7),
        ("txt", "\ud800"),
        ("json", {1: "one"}),
        ("json", {"x": {1, 2}}),
        ("png", NOISE.astype(np.float64) * 1000),
        ("png", np.zeros((2, 2, 7), np.uint8)),
        ("npy", np.array([object()])),
        ("ten", [np.zeros(2, np.complex64)]),
        ("msgpack", (1, 2)),
        ("msgpack", {1: 2**80}),
        ("pyd", lambda: None),
        ("flac", np.zeros((1, 100), np.float32)),
        ("unheard-of", 3),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "value",
)
def test_30_what_would_not_come_back_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        with pytest.raises(EncodeError) as caught:
            sink.write({"__key__": "a", "bin": b"1", field: value})
        assert (caught.value.key, caught.value.field, caught.value.stage) == ("a", field, "write")
        assert caught.value.url == str(tmp_path / "x.tar")
        sink.write({"__key__": "a", "bin": b"1"})
    with (tmp_path / "x.tar").open("rb") as file:
        assert list(read_samples(file)) == [{"__key__": "a", "bin": b"1"}]


@pytest.mark.parametrize("field", [*sorted(default_encoders()), "flac", "mp4", "unheard-of", "x.y.z"])
def test_30_bytes_are_stored_as_they_are(tmp_path: Path, field: str) -> None:
    raw = bytes(range(256)) * 3
    assert through(tmp_path, field, raw) == raw
    assert through(tmp_path, field, memoryview(bytearray(raw))) == raw
