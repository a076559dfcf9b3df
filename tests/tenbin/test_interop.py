"""Both directions with another implementation of the format: the package webdataset, 1.0.2.

It cannot write uint32, whose name it misspells, and neither reads numbers without dimensions nor checks infos.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from webds import tenbin

other: Any = pytest.importorskip("webdataset.tenbin", reason="needs webdataset==1.0.2")

Array = npt.NDArray[Any]
CODES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u8"]


def example(codes: list[str] = CODES) -> list[Array]:
    random = np.random.default_rng(0)
    shapes = [(3, 4), (1,), (64,), (0,), (2, 0, 3), (5, 1, 2, 1, 1, 2, 1, 1, 3)]
    return [random.integers(0, 100, shape).astype(code) for code in codes for shape in shapes]


def same(got: list[Array], expected: list[Array]) -> bool:
    return [(a.dtype, a.shape, a.tobytes()) for a in got] == [(a.dtype, a.shape, a.tobytes()) for a in expected]


def infos_of(arrays: list[Array]) -> list[str]:
    return ["", "x", "image", "12345678"] * (len(arrays) // 4) + ["z"] * (len(arrays) % 4)


def test_both_write_the_same_bytes() -> None:
    arrays = example()
    assert bytes(other.encode_buffer(arrays)) == tenbin.encode_buffer(arrays)
    infos = infos_of(arrays)
    assert bytes(other.encode_buffer(arrays, infos=infos)) == tenbin.encode_buffer(arrays, infos=infos)


def test_each_decodes_the_buffers_of_the_other() -> None:
    arrays = example()
    infos = infos_of(arrays)
    theirs, their_infos = other.decode_buffer(tenbin.encode_buffer(arrays, infos), infos=True)
    assert same(theirs, arrays)
    assert their_infos == infos
    ours, our_infos = tenbin.decode_buffer(other.encode_buffer(arrays, infos=infos), infos=True)
    assert same(ours, arrays)
    assert our_infos == infos


@pytest.mark.parametrize("mmap", [False, True])
def test_each_loads_the_files_of_the_other(tmp_path: Path, mmap: bool) -> None:
    arrays = example()
    ours, theirs = str(tmp_path / "ours.ten"), str(tmp_path / "theirs.ten")
    tenbin.save(ours, *arrays, infos=infos_of(arrays))
    other.save(theirs, *arrays, infos=infos_of(arrays))
    assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    assert same(other.load(ours), arrays)
    assert same(tenbin.load(theirs, mmap=mmap), arrays)


def test_each_reads_the_streams_of_the_other() -> None:
    arrays = example()
    ours, theirs = io.BytesIO(), io.BytesIO()
    tenbin.write(ours, arrays)
    other.write(theirs, arrays)
    assert ours.getvalue() == theirs.getvalue()
    ours.seek(0)
    theirs.seek(0)
    assert same(other.read(ours), arrays)
    assert same(tenbin.read(theirs), arrays)


def test_the_other_refuses_uint32_which_the_format_has() -> None:
    arrays = example(["u4"])
    assert same(tenbin.decode_buffer(tenbin.encode_buffer(arrays)), arrays)
    with pytest.raises(ValueError, match="unsupported"):
        other.encode_buffer(arrays)
