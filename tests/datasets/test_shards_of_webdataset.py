"""Shards that the package webdataset, 1.0.2, writes are read here, and ours by it: each kind of field, key and file."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

import webds
from webds.errors import UntrustedDataError
from webds.testing.comparison import same

wds: Any = pytest.importorskip("webdataset", reason="needs webdataset==1.0.2")

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # it leaves them open

IMAGE: Final = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
SMOOTH: Final = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8)[..., None].repeat(3, 2) * 8

VALUES: Final[dict[str, Any]] = {
    "cls": 7, "cls2": -3, "index": 10**12, "inx": 0, "id": 5, "txt": "ä 水", "text": "", "transcript": "two\nlines",
    "json": {"a": [1, 2.5, None, True, "ü"]}, "jsn": [1], "npy": np.arange(6, dtype=np.float32).reshape(2, 3),
    "npz": {"a": np.arange(3), "b": np.ones((2, 2))}, "ten": [np.arange(4, dtype=np.int32), np.ones((2, 3), "f4")],
    "tb": [np.zeros(3, "u1")], "pyd": {"a": (1, {2})}, "pickle": [1, "x"], "pth": torch.arange(5),
    "mp": {"a": [1, "x"]}, "msg": [1.5], "png": IMAGE, "ppm": IMAGE, "tiff": IMAGE, "seg.png": IMAGE,
    "raw.bin": b"\0\xff",
    "left.cls": 4, "json.gz": {"n": 1}, "txt.gz": "zipped",
}  # fmt: skip
"""Field → value that comes back as it is; only those that both packages encode."""

KEYS: Final = ("plain", "a/b/c", "dots.in/folders.of/it", "-", "ä/水", "x" * 130, "long/" * 30 + "name")

FILES: Final = ("x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz")

Write = Callable[[Path, list[dict[str, Any]]], None]
Read = Callable[[Path], list[dict[str, Any]]]


def write_ours(path: Path, samples: list[dict[str, Any]]) -> None:
    with webds.TarWriter(path) as sink:
        for sample in samples:
            sink.write(sample)


def write_theirs(path: Path, samples: list[dict[str, Any]]) -> None:
    with wds.TarWriter(str(path)) as sink:
        for sample in samples:
            sink.write(sample)


def read_ours(path: Path) -> list[dict[str, Any]]:
    trusted = webds.PickleCodec(trusted=True)
    builder = webds.DatasetBuilder(path).with_decoder("pyd", trusted).with_decoder("pickle", trusted)
    return list(builder.decode("rgb8").build())


def read_theirs(path: Path) -> list[dict[str, Any]]:
    dataset = wds.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("rgb8")
    return [
        {name: value for name, value in sample.items() if name not in ("__url__", "__local_path__")}
        for sample in dataset
    ]


WAYS: Final[dict[str, tuple[Write, Read]]] = {
    "theirs, read here": (write_theirs, read_ours),
    "ours, read by it": (write_ours, read_theirs),
}
way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """What it leaves open is closed as long as nobody minds."""
    yield
    gc.collect()


@way
@pytest.mark.parametrize("field", VALUES)
def test_a_field_comes_back(way: str, field: str, tmp_path: Path) -> None:
    write, read = WAYS[way]
    value = VALUES[field]
    # It takes arrays for images as numbers in [0, 1] alone.
    given = value / 255 if write is write_theirs and value is IMAGE else value
    write(tmp_path / "x.tar", [{"__key__": "a", field: given}])
    (sample,) = read(tmp_path / "x.tar")
    assert same(sample, {"__key__": "a", field: value}), sample


@way
def test_a_lossy_image_comes_back_nearly(way: str, tmp_path: Path) -> None:
    write, read = WAYS[way]
    write(tmp_path / "x.tar", [{"__key__": "a", "jpg": SMOOTH / 255 if write is write_theirs else SMOOTH}])
    (sample,) = read(tmp_path / "x.tar")
    assert sample["jpg"].shape == SMOOTH.shape
    assert np.abs(sample["jpg"].astype(int) - SMOOTH).max() <= 16


@way
def test_keys_come_back(way: str, tmp_path: Path) -> None:
    write, read = WAYS[way]
    write(tmp_path / "x.tar", [{"__key__": key, "cls": n, "txt": key} for n, key in enumerate(KEYS)])
    assert read(tmp_path / "x.tar") == [{"__key__": key, "cls": n, "txt": key} for n, key in enumerate(KEYS)]


@way
@pytest.mark.parametrize("name", FILES)
def test_compressed_shards_are_read(way: str, name: str, tmp_path: Path) -> None:
    write, read = WAYS[way]
    samples = [{"__key__": f"{n:03d}", "cls": n, "npy": np.full(n, n)} for n in range(50)]
    write(tmp_path / name, samples)
    kind = {"tar": "", "gz": "\x1f\x8b", "tgz": "\x1f\x8b", "bz2": "BZh", "xz": "\xfd7zXZ"}[name.rpartition(".")[2]]
    assert (tmp_path / name).read_bytes().startswith(kind.encode("latin-1"))
    assert same(read(tmp_path / name), samples)


def test_its_pickles_are_refused_unless_they_are_trusted(tmp_path: Path) -> None:
    write_theirs(tmp_path / "x.tar", [{"__key__": "a", "pyd": {1}}])
    with pytest.raises(UntrustedDataError, match="pickle"):
        list(webds.DatasetBuilder(tmp_path / "x.tar").decode().build())


def test_both_writers_cut_and_name_shards_alike(tmp_path: Path) -> None:
    for name, package, options in (("ours", webds, {}), ("theirs", wds, {"verbose": 0})):
        (tmp_path / name).mkdir()
        with package.ShardWriter(f"{tmp_path / name}/x-%03d.tar", maxcount=4, **options) as sink:
            for n in range(10):
                sink.write({"__key__": f"{n:03d}", "cls": n})
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("ours", "theirs")]
    assert files[0] == files[1] == ["x-000.tar", "x-001.tar", "x-002.tar"]
    for file in files[0]:
        assert same(read_ours(tmp_path / "ours" / file), read_ours(tmp_path / "theirs" / file))


def test_its_shards_are_indexed(tmp_path: Path) -> None:
    write_theirs(tmp_path / "x.tar", [{"__key__": f"d/{n}", "cls": n, "txt": f"t{n}"} for n in range(9)])
    samples = webds.DatasetBuilder(webds.build_index(tmp_path / "x.tar")).indexed().decode().map_style()
    assert (len(samples), samples["d/4"], samples[-1]["txt"]) == (9, {"__key__": "d/4", "cls": 4, "txt": "t4"}, "t8")
