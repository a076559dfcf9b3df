"""Arrays as npy, npz and tenbin: what comes back, what is refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from typing_extensions import override

from webds.codecs import NpyCodec, NpzCodec, TenbinCodec
from webds.errors import DecodeError, EncodeError
from webds.testing import CodecSuite, same

Array = npt.NDArray[Any]
ALIGNED = np.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", [("d", "<M8[us]"), ("e", "S3")])], align=True)


def arrays() -> list[Array]:
    table = np.zeros(3, ALIGNED)
    table["b"] = np.arange(6).reshape(3, 2)
    table["c"]["e"] = [b"x", b"yz", b""]
    fortran: Array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    return [
        np.arange(12, dtype="f4").reshape(3, 4),
        np.array(5),
        np.zeros((0, 3), "u2"),
        fortran,
        fortran[::-1, ::2],
        np.arange(4, dtype=">i4"),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[ns]"),
        np.array([True, False]),
        np.array(["naïve", ""]),
        np.array([b"ab", b""]),
        np.array([1j, np.nan], "c8"),
        np.array([b"ab"], "V2"),
        table,
        table[0:0],
        np.zeros(2, [("größe", "i4"), ("日本", "f2")]),
        np.array([np.nan, -0.0], "f2"),
    ]


def npy(header: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


def refused_arrays() -> list[Any]:
    overlapping = np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]})
    return [
        np.array([object()]),
        np.zeros(2, [("a", "O")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.float32(1),
        7,
        [1, 2],
        torch.zeros(2),
        np.zeros(2, []),
        np.zeros(2, np.dtype("i4", metadata={"unit": "m"})),
        np.zeros(1, "i4,f4").view(np.recarray),
        np.zeros(2, overlapping),
        None,
        np.zeros(3, [("x" * 12_000, "i4")]),
    ]


class TestNpyCodec(CodecSuite[Array]):
    @override
    def make_codec(self) -> NpyCodec:
        return NpyCodec()

    @override
    def values(self) -> Sequence[tuple[Array, str]]:
        return [(array, "x.npy") for array in arrays()]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        good = NpyCodec().encode(np.arange(3), "npy")
        texts = [b"", b"\x93NUMPY", good[:-1], good + b"\0", good + good, b"\x93NUMPY\x07\x00" + good[8:]]
        headers = [
            b"",
            b"{}",
            b"[1]",
            b"1+",
            b"(" * 5000,
            b"-" * 9000 + b"1",
            b"{'descr': '<i4', 'fortran_order': False}",
            b"{'descr': '<i4', 'fortran_order': 0, 'shape': (0,)}",
            b"{'descr': '<i4', 'fortran_order': False, 'shape': 0}",
            b"{'descr': '<i4', 'fortran_order': False, 'shape': (-1,)}",
            b"{'descr': 'nope', 'fortran_order': False, 'shape': (0,)}",
            b"{'descr': '|O', 'fortran_order': False, 'shape': (0,)}",
            b"{'descr': '|V0', 'fortran_order': False, 'shape': (9,)}",
            b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (0,)}",
            b"{'descr': ('<i4', (2,)), 'fortran_order': False, 'shape': (0,)}",
            b"{'descr': '<i4', 'fortran_order': False, 'shape': (0, 10000000000000000000000000)}",
            b"{'descr': '<i4', 'fortran_order': False, 'shape': (0" + b", 1" * 70 + b")}",
            b"__import__('os')",
        ]
        return [(text, "npy") for text in texts + [npy(header) for header in headers]]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(value, "npy") for value in refused_arrays()]


def test_numpy_reads_npy_and_the_reverse() -> None:
    for array in arrays():
        assert same(np.load(io.BytesIO(NpyCodec().encode(array, "npy"))), np.asarray(array))
        for version in [(1, 0), (2, 0), (3, 0)]:
            if version < (3, 0) and not str(array.dtype).isascii():
                continue
            file = io.BytesIO()
            np.lib.format.write_array(file, array, version=version)
            assert same(NpyCodec().decode(file.getvalue(), "npy"), np.asarray(array)), (array, version)


def test_an_npy_file_of_python_2_is_read() -> None:
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 1L), }"
    assert same(NpyCodec().decode(npy(header, b"\x01\x00\x02\x00"), "npy"), np.array([[1], [2]], "i2"))


def test_a_decoded_npy_array_is_writable_and_independent_of_the_data() -> None:
    data = bytearray(NpyCodec().encode(np.zeros(3), "npy"))
    array = NpyCodec().decode(data, "npy")
    array[0] = 1
    assert same(NpyCodec().decode(data, "npy"), np.zeros(3))


def test_equal_arrays_give_equal_bytes_whatever_their_layout() -> None:
    codec, grid = NpyCodec(), np.arange(6.0).reshape(2, 3)
    assert codec.encode(np.asfortranarray(grid), "npy") == codec.encode(grid, "npy")
    first, second = (np.frombuffer(bytearray([fill]) * 3 * ALIGNED.itemsize, ALIGNED) for fill in (1, 2))
    for table in (first, second):
        table["a"], table["b"], table["c"]["d"], table["c"]["e"] = 1, 2.0, 3, b"e"
    assert first.tobytes() != second.tobytes(), "what lies between the fields differs"
    assert codec.encode(first, "npy") == codec.encode(second, "npy")


def test_a_mapped_array_comes_back_as_the_array_it_stands_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert same(NpyCodec().decode(NpyCodec().encode(mapped[1:], "npy"), "npy"), np.arange(1, 5))
    assert same(TenbinCodec().decode(TenbinCodec().encode([mapped], "ten"), "ten"), [np.arange(5)])


@pytest.mark.parametrize("shape", ["(1000000000,)", "(100000, 100000)", "(1000000000000000,)"])
def test_34_an_npy_header_that_lies_is_refused_before_memory_is_taken(shape: str) -> None:
    data = npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".encode(), bytes(1000))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="1000 bytes of data"):
            NpyCodec().decode(data, "npy")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_objects_in_npy_are_refused_with_the_reason() -> None:
    with pytest.raises(EncodeError, match="pickle"):
        NpyCodec().encode(np.array([{}]), "npy")
    file = io.BytesIO()
    np.save(file, np.array([{}]), allow_pickle=True)
    with pytest.raises(DecodeError, match="may run code") as caught:
        NpyCodec().decode(file.getvalue(), "a.npy")
    assert caught.value.field == "a.npy"


ANY_ARRAY = hnp.arrays(
    dtype=hnp.scalar_dtypes() | hnp.array_dtypes(max_size=3),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)


@given(ANY_ARRAY)
def test_every_array_comes_back_as_npy_or_is_refused(array: Array) -> None:
    try:
        data = NpyCodec().encode(array, "npy")
    except EncodeError:
        assert array.dtype.itemsize == 0
    else:
        assert same(NpyCodec().decode(data, "npy"), array)


NAMES = [
    "",
    "a",
    "file",
    "args",
    "a.npy",
    "a.npy.npy",
    ".npy",
    "a/b",
    "/a",
    "../a",
    "a/",
    "naïve 日本",
    "x" * 1000,
    "\n",
    "arr_0",
]


class TestNpzCodec(CodecSuite[dict[str, Array]]):
    @override
    def make_codec(self) -> NpzCodec:
        return NpzCodec(max_bytes=1 << 20)

    @override
    def values(self) -> Sequence[tuple[dict[str, Array], str]]:
        return [
            ({}, "npz"),
            ({"a": np.arange(3)}, "npz"),
            ({"b/file": np.zeros((2, 0)), "naïve.npy": np.array(["x"])}, "x.npz"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [
            (b"", "npz"),
            (NpyCodec().encode(np.zeros(2), "npy"), "npz"),
            (zipped({"a.npy": b"no array"}), "npz"),
            (zipped({"a": NpyCodec().encode(np.zeros(2), ""), "a.npy": NpyCodec().encode(np.zeros(2), "")}), "npz"),
            (zipped({"a.npy": NpyCodec().encode(np.zeros(2), "")}, zipfile.ZIP_LZMA), "npz"),
            (zipped({"folder/": b""}), "npz"),
        ]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        good = np.zeros(2)
        values: list[Any] = [
            [good],
            good,
            {1: good},
            {"a\0b": good},
            {"\ud800": good},
            {"x" * 70_000: good},
            {np.str_("a"): good},
            {"a": [1, 2]},
        ]
        return [(value, "npz") for value in values + [{"a": array} for array in refused_arrays()]]


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_come_back_from_npz(name: str) -> None:
    value = {name: np.arange(3), "other": np.zeros(1)}
    assert same(NpzCodec().decode(NpzCodec().encode(value, "npz"), "npz"), value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_reads_npz_and_the_reverse(save: Any) -> None:
    values = {str(i): array for i, array in enumerate(arrays()) if str(array.dtype).isascii()}
    with np.load(io.BytesIO(NpzCodec().encode(values, "npz"))) as loaded:
        assert same(dict(loaded), {name: np.asarray(array) for name, array in values.items()})
    file = io.BytesIO()
    save(file, **values)
    assert same(NpzCodec().decode(file.getvalue(), "npz"), values)


def test_an_error_names_the_array_of_the_npz() -> None:
    with pytest.raises(EncodeError, match=r"array 'b'.*objects") as caught:
        NpzCodec().encode({"a": np.zeros(1), "b": np.array([{}])}, "x.npz")
    assert caught.value.field == "x.npz"
    with pytest.raises(DecodeError, match=r"'b' is no npy array"):
        NpzCodec().decode(zipped({"b.npy": b""}), "npz")


def test_34_an_npz_bomb_is_refused_before_memory_is_taken() -> None:
    bomb = zipped({"a.npy": NpyCodec().encode(np.zeros(4_000_000, "u1"), "npy")}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="max_bytes"):
            NpzCodec(max_bytes=1_000_000).decode(bomb, "npz")
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert NpzCodec(max_bytes=5_000_000).decode(bomb, "npz")["a"].shape == (4_000_000,)


def test_an_npz_that_is_as_large_as_it_says_is_read_whatever_max_bytes_is() -> None:
    value = {"a": np.arange(1000)}
    codec = NpzCodec(max_bytes=10)
    assert same(codec.decode(codec.encode(value, "npz"), "npz"), value)


def test_an_npz_entry_that_is_longer_than_it_says_is_refused() -> None:
    file = zipped({"a.npy": NpyCodec().encode(np.zeros(100_000), "npy")}, zipfile.ZIP_DEFLATED)
    real, false = struct.pack("<I", 800_128), struct.pack("<I", 228)
    assert file.count(real) == 2
    with pytest.raises(DecodeError):
        NpzCodec(max_bytes=10_000).decode(file.replace(real, false), "npz")


def test_an_encrypted_npz_is_refused() -> None:
    file = bytearray(zipped({"a.npy": NpyCodec().encode(np.zeros(2), "npy")}))
    file[file.rindex(b"PK\x01\x02") + 8] |= 1
    file[6] |= 1
    with pytest.raises(DecodeError):
        NpzCodec().decode(file, "npz")


@given(st.dictionaries(st.text(max_size=5), ANY_ARRAY, max_size=3))
def test_every_dict_of_arrays_comes_back_or_is_refused(value: dict[str, Array]) -> None:
    try:
        data = NpzCodec().encode(value, "npz")
    except EncodeError:
        bad_names = any("\0" in name or not name.isprintable() for name in value)
        assert bad_names or any(array.dtype.itemsize == 0 for array in value.values())
    else:
        found = NpzCodec().decode(data, "npz")
        assert same(found, value)
        assert list(found) == list(value)


def tenbin_arrays() -> list[Array]:
    codes = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    return [np.arange(6).astype(code).reshape(2, 3) for code in codes]


class TestTenbinCodec(CodecSuite[list[Array]]):
    @override
    def make_codec(self) -> TenbinCodec:
        return TenbinCodec()

    @override
    def values(self) -> Sequence[tuple[list[Array], str]]:
        return [([], "ten"), (tenbin_arrays(), "tb"), ([np.array(5), np.zeros((0, 2)), np.arange(9.0)[::-2]], "x.ten")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        good = TenbinCodec().encode(tenbin_arrays(), "ten")
        return [(good[:-1], "ten"), (b"x", "ten"), (good + b"~", "ten"), (b"~TenBin~" + b"\xff" * 8, "ten")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        values: list[Any] = [
            np.zeros((2, 2)),
            (np.zeros(2),),
            np.zeros(2, "?"),
            [np.zeros(2, "?")],
            [np.zeros(2, "c8")],
            [np.zeros(2, ">f4")],
            [np.float32(1)],
            [np.zeros((1,) * 10)],
            [np.ma.masked_array([1], [True])],
            [[1, 2]],
            [None],
            None,
            [torch.zeros(2, dtype=torch.bfloat16)],
            [np.zeros(1, "i4,f4").view(np.recarray)],
        ]
        return [(value, "ten") for value in values]


def test_tensors_come_back_from_tenbin_as_arrays_of_the_same_dtype_shape_and_values() -> None:
    codec = TenbinCodec()
    found = codec.decode(codec.encode([torch.arange(6, dtype=torch.int16).reshape(2, 3)], "ten"), "ten")  # type: ignore[list-item]
    assert same(found, [np.arange(6, dtype="i2").reshape(2, 3)])


def test_arrays_of_tenbin_are_views_of_the_data() -> None:
    data = bytearray(TenbinCodec().encode([np.zeros(3)], "ten"))
    view = TenbinCodec().decode(data, "ten")[0]
    view[0] = 1
    assert same(TenbinCodec().decode(data, "ten"), [np.array([1.0, 0, 0])])


def test_errors_of_tenbin_name_the_field() -> None:
    with pytest.raises(DecodeError) as caught:
        TenbinCodec().decode(b"junk", "a.ten")
    assert caught.value.field == "a.ten"
    with pytest.raises(EncodeError) as refused:
        TenbinCodec().encode([np.zeros(2, "?")], "a.ten")
    assert refused.value.field == "a.ten"
