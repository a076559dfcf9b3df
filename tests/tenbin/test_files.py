"""Arrays in files and streams: whole, in pieces, mapped, and from hostile writers."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings, strategies as st
from typing_extensions import override

from webds import tenbin
from webds.errors import DecodeError, EncodeError, OpenError, UrlError
from webds.tenbin import files
from webds.typing import Buffer

Array = npt.NDArray[Any]


def example() -> list[Array]:
    return [
        np.arange(12, dtype="f4").reshape(3, 4),
        np.array(5, "i8"),
        np.zeros((0, 2), "u1"),
        np.arange(9, dtype="u4"),
    ]


def same(got: list[Array], expected: list[Array]) -> bool:
    return [(a.dtype, a.shape, a.tobytes()) for a in got] == [(a.dtype, a.shape, a.tobytes()) for a in expected]


class Trickle:
    """A stream like a socket's: each read gives what has arrived, and nobody can seek in it."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data = io.BytesIO(data)
        self._sizes = sizes
        self.asked = 0

    def read(self, size: int = -1, /) -> bytes:
        self.asked = max(self.asked, size)
        self._sizes.append(self._sizes.pop(0))
        return self._data.read(min(size, self._sizes[0]))


# --- streams -----------------------------------------------------------------------------------------------


def test_a_stream_holds_what_a_buffer_holds() -> None:
    stream = io.BytesIO()
    tenbin.write(stream, example(), ["a", "b", "c", "d"])
    assert stream.getvalue() == tenbin.encode_buffer(example(), ["a", "b", "c", "d"])
    stream.seek(0)
    arrays, infos = tenbin.read(stream, infos=True)
    assert same(arrays, example())
    assert infos == ["a", "b", "c", "d"]


def test_arrays_that_were_read_are_writable_and_independent() -> None:
    stream = io.BytesIO(tenbin.encode_buffer(example()))
    arrays = tenbin.read(stream)
    assert all(array.flags.writeable and array.flags.aligned for array in arrays)
    assert not np.shares_memory(arrays[0], arrays[3])
    assert torch.from_numpy(arrays[0]).sum() == 66


def test_read_stops_after_n_arrays_and_goes_on_there() -> None:
    stream = io.BytesIO(tenbin.encode_buffer(example()) + b"something else")
    assert tenbin.read(stream, 0) == []
    assert same(tenbin.read(stream, 1), example()[:1])
    assert same(tenbin.read(stream, n=3), example()[1:])
    assert stream.read() == b"something else"
    assert tenbin.read(stream) == []


def test_read_ends_where_the_stream_ends_between_two_arrays() -> None:
    stream = io.BytesIO(tenbin.encode_buffer(example()))
    assert same(tenbin.read(stream, 7), example())
    assert tenbin.read(io.BytesIO(), 3, True) == ([], [])


def test_negative_numbers_of_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="n: -1"):
        tenbin.read(io.BytesIO(), -1)


def test_infos_are_compared_with_a_list() -> None:
    buffer = tenbin.encode_buffer(example(), list("abcd"))
    assert same(tenbin.read(io.BytesIO(buffer), infos=list("abcd")), example())
    with pytest.raises(DecodeError, match="info of array 3 is 'd': expected 'x'"):
        tenbin.read(io.BytesIO(buffer), infos=list("abcx"))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
@settings(deadline=None, max_examples=30)
def test_streams_that_give_less_than_asked(sizes: list[int]) -> None:
    stream = Trickle(tenbin.encode_buffer(example()), sizes)
    assert same(tenbin.read(stream), example())


@given(st.integers(1, 500), st.lists(st.integers(1, 100), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_a_stream_cut_short_inside_an_array_is_refused(cut: int, sizes: list[int]) -> None:
    data = tenbin.encode_buffer(example())
    starts = [len(tenbin.encode_buffer(example()[:n])) for n in range(5)]
    end = len(data) - cut % len(data)
    if end in starts:
        assert same(tenbin.read(Trickle(data[:end], sizes)), example()[: starts.index(end)])
        return
    with pytest.raises(DecodeError, match="cut short") as caught:
        tenbin.read(Trickle(data[:end], sizes))
    assert caught.value.offset == max(start for start in starts if start < end)


def test_what_is_no_array_is_known_after_16_bytes() -> None:
    """A reader of a socket must not wait for more from somebody who speaks another language."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as sink:
        sink.write(b"GET / HTTP/1.0\r\n")
        with pytest.raises(DecodeError, match="starts with b'GET / HT'"):
            tenbin.read(source)


def test_a_stream_takes_no_more_memory_than_arrives() -> None:
    """A header and a length agree on a terabyte, and a hundred kilobytes come."""
    size = 1 << 40
    head = tenbin.encode_buffer([np.zeros((0,), "u1")])[:96]
    data = head[:40] + struct.pack("<q", size) + head[48:88] + struct.pack("<q", size) + bytes(100_000)
    stream = Trickle(data, [1 << 30])
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=f"cut short.*{size} more bytes, 100000 are left"):
            tenbin.read(stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert stream.asked <= 1 << 20


def test_a_large_array_through_a_compressed_stream() -> None:
    array = np.arange(400_000)
    compressed = io.BytesIO()
    with gzip.open(compressed, "wb", compresslevel=1) as stream:
        tenbin.write(stream, [array])
    compressed.seek(0)
    with gzip.open(compressed) as stream:
        assert same(tenbin.read(stream), [array])


def test_a_wrong_array_among_good_ones_writes_nothing() -> None:
    stream = io.BytesIO()
    with pytest.raises(EncodeError, match="array 2 has dtype bool"):
        tenbin.write(stream, [np.zeros(3), np.zeros(3), np.zeros(3, bool)])
    with pytest.raises(EncodeError, match="info of array 1"):
        tenbin.write(stream, [np.zeros(3), np.zeros(3)], ["a", "too long a name"])
    assert stream.getvalue() == b""


class Reluctant(io.RawIOBase):
    """An unbuffered stream that takes a few bytes at a time, as a pipe may."""

    def __init__(self, limit: int) -> None:
        self.taken = bytearray()
        self.limit = limit

    @override
    def write(self, data: Buffer, /) -> int:
        part = bytes(memoryview(data)[: self.limit])
        self.taken += part
        return len(part)


def test_unbuffered_streams_get_everything() -> None:
    stream = Reluctant(33)
    tenbin.write(stream, example())
    assert stream.taken == tenbin.encode_buffer(example())


def test_an_unbuffered_stream_that_takes_nothing_is_an_error() -> None:
    with pytest.raises(BlockingIOError):
        tenbin.write(Reluctant(0), example())


def test_streams_that_return_nothing_useful_are_written_once() -> None:
    class Sink:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def write(self, data: Buffer, /) -> bool:
            self.parts.append(bytes(data))
            return True

    sink = Sink()
    tenbin.write(sink, example())
    assert b"".join(sink.parts) == tenbin.encode_buffer(example())


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_gives_back_what_was_saved(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, *example(), infos=list("abcd"))
    assert path.read_bytes() == tenbin.encode_buffer(example(), list("abcd"))
    assert same(tenbin.load(str(path), mmap=mmap), example())
    arrays, infos = tenbin.load(path, True, mmap=mmap)
    assert same(arrays, example())
    assert infos == list("abcd")
    assert same(tenbin.load(path, infos=list("abcd"), mmap=mmap), example())
    with pytest.raises(DecodeError, match=r"expected 'x'.*x\.ten"):
        tenbin.load(path, list("xbcd"), mmap=mmap)


@pytest.mark.parametrize("mmap", [False, True])
def test_an_empty_file_holds_no_arrays(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path)
    assert path.read_bytes() == b""
    assert tenbin.load(path, mmap=mmap) == []


def test_loaded_arrays_are_writable_and_independent_and_mapped_ones_are_neither(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, *example())
    loaded = tenbin.load(path)
    assert all(array.flags.writeable and array.flags.aligned for array in loaded)
    loaded[0][:] = 0
    mapped = tenbin.load(path, mmap=True)
    assert same(mapped, example())
    assert not any(array.flags.writeable for array in mapped)
    assert all(array.flags.aligned for array in mapped)


def test_mapping_reads_nothing_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, np.zeros(1 << 20))
    tracemalloc.start()
    try:
        (array,) = tenbin.load(path, mmap=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array.nbytes == 8 << 20
    assert peak < 100_000


def test_loading_takes_the_memory_of_the_arrays_once(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, *[np.zeros(1 << 18)] * 4)
    tracemalloc.start()
    try:
        arrays = tenbin.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(array.nbytes for array in arrays) == 8 << 20
    assert peak < (8 << 20) + 300_000


@pytest.mark.parametrize("name", ["x.npy", "x.tb", "ten", "x.ten.gz"])
def test_other_names_are_refused_unless_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UrlError, match=r"ends in \.ten.*nocheck"):
        tenbin.save(path, *example())
    assert not path.exists()
    tenbin.save(path, *example(), nocheck=True)
    with pytest.raises(ValueError, match=r"ends in \.ten"):
        tenbin.load(path)
    assert same(tenbin.load(path, nocheck=True), example())


def test_a_missing_file_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tenbin.load(tmp_path / "missing.ten")
    with pytest.raises(FileNotFoundError):
        tenbin.save(tmp_path / "missing" / "x.ten", np.zeros(1))


@pytest.mark.parametrize("mmap", [False, True])
def test_a_damaged_file_is_named_with_the_offset(tmp_path: Path, mmap: bool) -> None:
    path = tmp_path / "x.ten"
    first, second = np.zeros(3), np.zeros(100)
    tenbin.save(path, first, second)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(DecodeError, match="cut short") as caught:
        tenbin.load(path, mmap=mmap)
    assert caught.value.url == str(path)
    assert caught.value.offset == len(tenbin.encode_buffer([first]))
    path.write_bytes(b"x" + data)
    with pytest.raises(DecodeError, match="starts with b'x~TenBin'"):
        tenbin.load(path, mmap=mmap)


def test_a_file_that_shrinks_while_it_is_read_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, np.zeros(100_000))
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        os.truncate(path, 500_000)
        with pytest.raises(DecodeError, match="cut short: a tenbin chunk needs 800000 more bytes, 499904 are left"):
            files._read(files._File(file, size), 1)


def test_an_array_that_cannot_be_saved_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, *example())
    with pytest.raises(EncodeError, match="array 1"):
        tenbin.save(path, np.zeros(1), np.zeros(1, bool))
    assert same(tenbin.load(path), example())
    assert os.listdir(tmp_path) == ["x.ten"]


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="needs Linux's limits on file sizes")
def test_a_save_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The disk is full, or so it seems to a process that may write files of 100 kB only."""
    path = tmp_path / "x.ten"
    tenbin.save(path, *example())
    code = (
        "import resource, signal, sys, numpy, webds.tenbin\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    webds.tenbin.save(sys.argv[1], numpy.zeros(100_000))\n"
        "except OSError as error:\n"
        "    print(type(error).__name__)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout == "OSError\n"
    assert same(tenbin.load(path), example())
    assert os.listdir(tmp_path) == ["x.ten"]


def test_mapped_arrays_can_be_saved_to_the_same_name(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    tenbin.save(path, np.arange(100_000), np.arange(5))
    first, second = tenbin.load(path, mmap=True)
    tenbin.save(path, second, first)
    assert first[-1] == 99_999, "what is mapped is the old file"
    assert same(tenbin.load(path), [second, first])


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions and links")
def test_saving_keeps_permissions_and_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target.ten", tmp_path / "link.ten"
    tenbin.save(target, *example())
    target.chmod(0o640)
    link.symlink_to(target)
    tenbin.save(link, np.zeros(1))
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert same(tenbin.load(target), [np.zeros(1)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_are_written_and_read_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.ten"
    os.mkfifo(path)
    writer = threading.Thread(target=tenbin.save, args=(path, *example()))
    writer.start()
    assert same(tenbin.load(path), example())
    writer.join()
    assert path.is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs a device")
def test_what_cannot_be_mapped_is_said() -> None:
    assert tenbin.load("/dev/null", nocheck=True) == []
    with pytest.raises(OpenError, match=r"only a regular file can be mapped.*/dev/null"):
        tenbin.load("/dev/null", nocheck=True, mmap=True)
