"""Sparse members: GNU tar writes them, and what is read is the file."""

from __future__ import annotations

import io
import random
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from webds.errors import TarFormatError
from webds.tar import Members, read_files
from webds.tar.header import MAX_EXTENSION
from webds.tar.sparse import MAX_HOLES, Sparse, expand, of_pax

HOLE = 1 << 16
FORMS = [
    ("--format=oldgnu",),
    ("--format=gnu",),
    ("--format=posix", "--sparse-version=0.0"),
    ("--format=posix", "--sparse-version=0.1"),
    ("--format=posix", "--sparse-version=1.0"),
]


def write_sparse(path: Path, pieces: Sequence[tuple[int, bytes]], size: int) -> None:
    with path.open("wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def tarred(form: Sequence[str], folder: Path) -> bytes:
    names = sorted(path.name for path in folder.iterdir())
    command = ["tar", *form, "--sparse", "--hole-detection=raw", "-C", str(folder), "-c", *names]
    return subprocess.run(command, capture_output=True, check=True).stdout


def pieces_of(count: int) -> list[tuple[int, bytes]]:
    draw = random.Random(count)
    return [(2 * number * HOLE + draw.randrange(HOLE), draw.randbytes(700)) for number in range(count)]


@pytest.mark.parametrize("form", FORMS)
def test_files_with_holes_are_expanded(tmp_path: Path, form: Sequence[str]) -> None:
    write_sparse(tmp_path / "a-nothing.bin", [], 3 * HOLE)
    write_sparse(tmp_path / "b-begin.bin", [(0, b"x" * 700)], 3 * HOLE)
    write_sparse(tmp_path / "c-end.bin", [(3 * HOLE, b"x" * 700)], 3 * HOLE + 700)
    write_sparse(tmp_path / "d-some.bin", pieces_of(3), 8 * HOLE)
    write_sparse(tmp_path / "e-many.bin", pieces_of(30), 70 * HOLE)  # more than one header holds
    write_sparse(tmp_path / "f-more.bin", pieces_of(60), 130 * HOLE)
    (tmp_path / "g-plain.txt").write_bytes(b"plain")
    write_sparse(tmp_path / ("h" * 150 + ".bin"), pieces_of(2), 5 * HOLE)
    data = tarred(form, tmp_path)
    expected = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert dict(read_files(io.BytesIO(data))) == expected
    assert len(data) < sum(map(len, expected.values())) / 10
    sparse = {member.name: (member.sparse, member.size) for member in Members(io.BytesIO(data))}
    assert sparse == {name: (name != "g-plain.txt", len(content)) for name, content in expected.items()}


@pytest.mark.parametrize("form", FORMS)
def test_every_truncation_of_a_sparse_archive_is_an_error(tmp_path: Path, form: Sequence[str]) -> None:
    write_sparse(tmp_path / "a.bin", pieces_of(30), 70 * HOLE)
    data = tarred(form, tmp_path)
    end = len(data.rstrip(b"\0"))
    for cut in range(0, end, 512):
        with pytest.raises(TarFormatError):
            list(read_files(io.BytesIO(data[:cut])))


@given(st.lists(st.tuples(st.integers(0, 50), st.binary(max_size=50)), max_size=6), st.integers(0, 50))
def test_expansion_puts_each_piece_in_its_place(gaps: list[tuple[int, bytes]], tail: int) -> None:
    file = b"".join(bytes(gap) + data for gap, data in gaps) + bytes(tail)
    entries: list[tuple[int, int]] = []
    at = 0
    for gap, data in gaps:
        entries.append((at + gap, len(data)))
        at += gap + len(data)
    stored = b"".join(data for _, data in gaps)
    assert expand(stored, Sparse(len(file), entries)) == file
    lines = "".join(f"{number}\n" for number in (len(entries), *(n for entry in entries for n in entry))).encode()
    assert expand(lines + bytes(-len(lines) % 512) + stored, Sparse(len(file), None)) == file


@pytest.mark.parametrize(
    ("entries", "size"),
    [
        ([(0, 5)], 10),  # more data than is there
        ([(0, 3)], 10),  # less
        ([(8, 4)], 10),  # beyond the end
        ([(4, 2), (2, 2)], 10),  # backwards
        ([(0, 3), (2, 1)], 10),  # overlapping
        ([(-4, 4)], 10),
        ([(0, 5), (6, -1)], 10),
        ([], 10),
    ],
)
def test_maps_that_do_not_fit_are_refused(entries: list[tuple[int, int]], size: int) -> None:
    with pytest.raises(TarFormatError, match="map"):
        expand(b"data", Sparse(size, entries))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\n",
        b"x\n",
        b"-1\n",
        b"1\n0\n",
        b"2\n0\n4\n",
        b"1\n0\n4",
        b"1\n0\nx\n",
        b"99999999999999999\n0\n4\n",
        b"9" * 5000,
        b"0\n" * MAX_EXTENSION,
    ],
)
def test_malformed_maps_in_front_of_the_data_are_refused(stored: bytes) -> None:
    with pytest.raises(TarFormatError):
        expand(stored + bytes(-len(stored) % 512) + b"data", Sparse(1000, None))


def test_holes_larger_than_a_piece_of_zeros_are_filled() -> None:
    size = 5 * HOLE + 123
    assert expand(b"data", Sparse(size, [(3 * HOLE + 7, 4)])) == bytes(3 * HOLE + 7) + b"data" + bytes(2 * HOLE + 112)


def test_more_holes_than_memory_can_take_are_refused() -> None:
    with pytest.raises(TarFormatError, match="holes"):
        expand(b"data", Sparse(MAX_HOLES + 5, [(0, 4)]))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
        {"GNU.sparse.name": "x"},
        {"GNU.sparse.size": "-5", "GNU.sparse.map": "0,5"},
        {"GNU.sparse.size": "5", "GNU.sparse.map": "0,5,"},
        {"GNU.sparse.size": "5", "GNU.sparse.map": "0,5,5"},
        {"GNU.sparse.size": "5", "GNU.sparse.map": "0,x"},
        {"GNU.sparse.size": "5", "GNU.sparse.map": "0,5", "GNU.sparse.numblocks": "2"},
        {"GNU.sparse.size": "9" * 20, "GNU.sparse.map": "0,5"},
        {"GNU.sparse.unheard-of": "5"},
    ],
)
def test_records_that_say_something_unknown_of_holes_are_refused(records: dict[str, str]) -> None:
    with pytest.raises(TarFormatError, match="sparse"):
        of_pax(records, [])


def test_records_that_say_nothing_of_holes_are_none_of_ours() -> None:
    assert of_pax({"path": "x", "size": "5"}, []) is None


def member(records: dict[str, str], kind: bytes = b"0", data: bytes = b"data", magic: bytes = b"ustar\x0000") -> bytes:
    info = tarfile.TarInfo("a.bin")
    info.size, info.type, info.pax_headers = len(data), kind, records
    raw = bytearray(info.tobuf(tarfile.PAX_FORMAT))
    raw[-512 + 257 : -512 + 265] = magic
    header = bytes(raw[-512:])
    raw[-512 + 148 : -512 + 156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    return bytes(raw) + data + bytes(-len(data) % 512) + bytes(1024)


@pytest.mark.parametrize(
    "data",
    [
        member({"SCHILY.realsize": "9999"}),
        member({}, kind=b"S"),
        member({"GNU.sparse.major": "1", "GNU.sparse.minor": "5", "GNU.sparse.realsize": "9"}),
        member({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}),
    ],
)
def test_sparse_members_that_cannot_be_expanded_are_refused_and_never_delivered_as_stored(data: bytes) -> None:
    with pytest.raises(TarFormatError, match=r"sparse|map") as caught:
        list(read_files(io.BytesIO(data), url="x.tar"))
    assert caught.value.url == "x.tar"
    assert caught.value.offset is not None


def test_a_real_size_that_is_the_size_is_no_hole() -> None:
    assert list(read_files(io.BytesIO(member({"SCHILY.realsize": "4"})))) == [("a.bin", b"data")]


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80\xff" + bytes(10)])
def test_old_gnu_headers_with_absurd_sizes_are_refused(size: bytes) -> None:
    data = bytearray(member({}, kind=b"S", magic=b"ustar  \0"))
    data[483:495] = size
    data[148:156] = b"%06o\0 " % (sum(data[:512]) - sum(data[148:156]) + 256)
    with pytest.raises(TarFormatError, match="claims a size"):
        list(read_files(io.BytesIO(bytes(data))))


def test_old_gnu_maps_without_end_are_refused() -> None:
    data = bytearray(member({}, kind=b"S", magic=b"ustar  \0")[:512])
    data[482] = 1
    data[148:156] = b"%06o\0 " % (sum(data) - sum(data[148:156]) + 256)
    entry = b"%011o\0%011o\0" % (0, 0)
    more = (entry * 21 + b"\1").ljust(512, b"\0")
    with pytest.raises(TarFormatError, match="too many pieces"):
        list(read_files(io.BytesIO(bytes(data) + more * 5000)))
    with pytest.raises(TarFormatError, match="cut short"):
        list(read_files(io.BytesIO(bytes(data) + more * 50)))
