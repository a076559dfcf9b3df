from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.errors import MissingExtraError, TarFormatError
from webds.tar import read_files, read_samples
from webds.tar.compression import Compression, decompressed, recognise
from webds.typing import Readable, Sample

COMPRESSORS: dict[Compression, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}
FORMATS = pytest.mark.parametrize("form", COMPRESSORS)
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\0\0\0meta"
NOISE = zlib.compress(bytes(range(256)) * 3) * 300  # some 30 kB that do not compress at once
FILES = [("a.bin", NOISE), ("b.bin", bytes(300_000)), ("c.bin", b"end")]


def archive_of(files: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVE = archive_of(FILES)


class Dribble:
    def __init__(self, data: bytes, most: int = 777) -> None:
        self._data = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(self._most if size < 0 else min(size, self._most))


def content(stream: Readable) -> bytes:
    parts: list[bytes] = []
    while part := stream.read(10_000):
        assert len(part) <= 10_000
        parts.append(part)
    return b"".join(parts)


@FORMATS
def test_compressed_archives_are_recognised_by_their_content(form: Compression) -> None:
    data = COMPRESSORS[form](ARCHIVE)
    assert recognise(data) == form
    assert list(read_files(io.BytesIO(data))) == FILES
    assert list(read_files(Dribble(data))) == FILES


@pytest.mark.parametrize(("command", "form"), [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz"), ("zstd", "zst")])
def test_what_the_command_line_tools_write_is_read(tmp_path: Path, command: str, form: Compression) -> None:
    (tmp_path / "plain.tar").write_bytes(ARCHIVE)
    data = subprocess.run([command, "-c", tmp_path / "plain.tar"], capture_output=True, check=True).stdout
    assert recognise(data) == form
    assert list(read_files(io.BytesIO(data))) == FILES


@FORMATS
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.integers(0, 2000), st.integers(1, 3000))
def test_streams_one_after_the_other_and_zeros_at_the_end_are_read_as_one(
    form: Compression, parts: list[bytes], zeros: int, most: int
) -> None:
    data = b"".join(COMPRESSORS[form](part) for part in parts) + bytes(zeros)
    assert content(decompressed(Dribble(data, most), form)) == b"".join(parts)
    assert decompressed(io.BytesIO(data), form).read() == b"".join(parts)


def test_skippable_frames_of_zstd_are_passed_over() -> None:
    data = SKIPPABLE + zstandard.compress(ARCHIVE[:5000]) + SKIPPABLE + zstandard.compress(ARCHIVE[5000:])
    assert recognise(data) == "zst"
    assert list(read_files(io.BytesIO(data))) == FILES


def until_error(data: bytes) -> tuple[list[tuple[str, bytes]], TarFormatError | None]:
    """Return the files that were read before an error, and the error."""
    found: list[tuple[str, bytes]] = []
    try:
        for pair in read_files(io.BytesIO(data), url="x.tar.gz"):
            found.append(pair)  # noqa: PERF402 - an error may come in between
    except TarFormatError as error:
        return found, error
    return found, None


@FORMATS
def test_every_truncation_is_an_error_after_all_that_is_there(form: Compression) -> None:
    data = COMPRESSORS[form](ARCHIVE)
    counts: list[int] = []
    for end in [*range(40), *range(40, len(data) - 30, 997), *range(len(data) - 30, len(data))]:
        found, error = until_error(data[:end])
        assert error is not None
        assert error.url == "x.tar.gz"
        assert error.offset is not None
        assert found == FILES[: len(found)]
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] > 0


@FORMATS
def test_all_members_before_a_cut_are_delivered(form: Compression) -> None:
    """Cut in the trailer: every byte of the archive is there, and still the cut is an error."""
    data = COMPRESSORS[form](ARCHIVE)
    if form == "zst":  # without a checksum a frame has no trailer
        data = zstandard.ZstdCompressor(write_checksum=True).compress(ARCHIVE)
    found, error = until_error(data[:-1])
    assert found == FILES
    assert "ends too soon" in str(error)


@FORMATS
@pytest.mark.parametrize("garbage", [b"garbage", b"\0\0garbage", bytes(100_000) + b"x", ARCHIVE])
def test_something_else_after_the_compressed_data_is_an_error(form: Compression, garbage: bytes) -> None:
    found, error = until_error(COMPRESSORS[form](ARCHIVE) + garbage)
    assert found == FILES
    assert f"something that is not {form} follows" in str(error)


def test_another_compression_after_the_first_is_an_error() -> None:
    with pytest.raises(TarFormatError, match="something that is not gz follows"):
        content(decompressed(io.BytesIO(gzip.compress(b"a") + bz2.compress(b"b")), "gz"))


@pytest.mark.parametrize("form", ["gz", "bz2", "xz"])
def test_a_wrong_checksum_is_an_error(form: Compression) -> None:
    data = bytearray(COMPRESSORS[form](ARCHIVE))
    at = {"gz": -6, "bz2": -3, "xz": -9}[form]
    data[at] ^= 0xFF
    with pytest.raises(TarFormatError, match=f"the {form} data is damaged"):
        list(read_files(io.BytesIO(bytes(data))))


@FORMATS
def test_damage_in_the_middle_is_an_error_or_in_formats_without_checksum_wrong_data(form: Compression) -> None:
    data = bytearray(COMPRESSORS[form](ARCHIVE))
    if form == "zst":
        data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(ARCHIVE))
    for at in range(12, len(data), len(data) // 23):
        data[at] ^= 0x55
        with pytest.raises(TarFormatError):
            list(read_files(io.BytesIO(bytes(data))))
        data[at] ^= 0x55


def test_an_archive_whose_first_name_looks_like_a_compressed_file_is_an_archive() -> None:
    for name in (b"\x1f\x8b\x08.bin", b"BZh91AY&SY.bin", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd.x"):
        info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
        data = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
        assert [found for found, _ in read_files(io.BytesIO(data))] == [info.name]


@pytest.mark.parametrize("head", [b"", b"\x1f\x8b", b"BZh9hello world", b"BZh0" + b"1AY&SY", b"\xfd7zXX\0", b"P*M\x19"])
def test_other_data_is_not_taken_for_compressed(head: bytes) -> None:
    assert recognise(head.ljust(10, b"x") if head else head) is None


def bomb() -> bytes:
    """Half a gigabyte of zeros in a few kilobytes."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return b"".join(compressor.compress(bytes(1 << 24)) for _ in range(32)) + compressor.flush()


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zst"])
def test_what_decompresses_to_much_comes_in_pieces(form: Compression) -> None:
    data = bomb() if form == "zst" else COMPRESSORS[form](bytes(1 << 24))
    tracemalloc.start()
    try:
        stream = decompressed(io.BytesIO(data), form)
        assert stream.read(100) == bytes(100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (200 << 20 if form == "zst" else 12 << 20)


def test_an_xz_stream_that_wants_gigabytes_for_its_dictionary_is_refused() -> None:
    data = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}])
    header = bytearray(data[12:24])  # of the block, with its CRC in the last four bytes
    header[4] = 40  # 4 GiB - 1
    header[8:] = zlib.crc32(bytes(header[:8])).to_bytes(4, "little")
    with pytest.raises(TarFormatError, match=r"[Mm]emory"):
        content(decompressed(io.BytesIO(data[:12] + bytes(header) + data[24:]), "xz"))


def test_zst_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"webds\[zstd\]"):
        list(read_files(io.BytesIO(zstandard.compress(ARCHIVE))))


@pytest.mark.parametrize(("form", "module"), [("bz2", "bz2"), ("xz", "lzma")])
def test_a_python_without_a_decompressor_says_so(
    monkeypatch: pytest.MonkeyPatch, form: Compression, module: str
) -> None:
    data = COMPRESSORS[form](ARCHIVE)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"compressed with {form}"):
        list(read_files(io.BytesIO(data)))


def test_an_error_of_the_stream_is_not_taken_for_damage() -> None:
    class Failing:
        def read(self, size: int = -1, /) -> bytes:
            raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        decompressed(Failing(), "bz2").read(10)


@FORMATS
def test_compressed_nothing_is_an_empty_archive_cut_short(form: Compression) -> None:
    with pytest.raises(TarFormatError, match="empty"):
        list(read_files(io.BytesIO(COMPRESSORS[form](b""))))


@FORMATS
def test_an_error_of_the_stream_comes_after_what_was_decompressed_before_it(form: Compression) -> None:
    many = [(f"{i:04d}.bin", random.Random(i).randbytes(4000)) for i in range(600)]
    data = COMPRESSORS[form](archive_of(many))

    class Failing(io.BytesIO):
        @override
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2_000_000:
                raise ConnectionResetError("gone")
            return super().read(min(100_000, 2_000_000 - self.tell()))

    found: list[Sample] = []
    with pytest.raises(ConnectionResetError):
        found.extend(read_samples(Failing(data)))
    assert len(found) > (50 if form == "bz2" else 400)
