from __future__ import annotations

import bz2
import gc
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import resource
import subprocess
import sys
import tarfile
import threading
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import fsspec
import pytest
import zstandard
from typing_extensions import Buffer, override

from webds.abc import Sink
from webds.errors import EncodeError, OpenError, WriteError
from webds.sinks import TarWriter
from webds.sinks.archive import JOINED
from webds.sinks.fields import SampleEncoder
from webds.tar.writer import end_of_archive, member_header, padding
from webds.testing import SinkSuite
from webds.typing import Sample


def read(source: Path | bytes) -> dict[str, bytes]:
    """Return the members of a tar in their order; a damaged or unfinished tar is an error."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    members: dict[str, bytes] = {}
    end = 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            members[member.name] = data[member.offset_data : member.offset_data + member.size]
            end = member.offset_data + -(-member.size // 512) * 512
    assert len(data) - end >= 1024, "no end of archive"
    assert not any(data[end:])
    assert len(data) % 10240 == 0
    return members


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sample(key: str = "a", **fields: Any) -> Sample:
    return {"__key__": key, **(fields or {"txt": "text"})}


class TarWriterSuite(SinkSuite[Sample], ABC):
    @override
    def samples(self) -> Sequence[Sample]:
        return [
            {"__key__": "a/1", "txt": "one", "bin": b"\0" * 700},
            {"__key__": "a/2", "txt": "zwei ü", "json": {"x": [1, 2]}},
            {"__key__": "ü" * 60, "cls": 7},
            {"__key__": "d/" * 80 + "x", "bin": b""},
        ]

    @override
    def refused(self) -> Sequence[Sample]:
        return [
            {"__key__": "b", "bin": b"1", "unknown": object()},
            {"__key__": "b.c", "bin": b"1"},
            {"__key__": "b", "bin": b"1", "txt": 3},
            {"__key__": "b", "bin": b"1", "txt\ud800": b""},
            {"bin": b"1"},
        ]

    def decoded(self, data: bytes) -> list[Sample]:
        found: dict[str, Sample] = {}
        for name, content in read(data).items():
            key, field = name.rsplit(".", 1)
            decoders: dict[str, Callable[[bytes], object]] = {"txt": bytes.decode, "json": json.loads, "cls": int}
            found.setdefault(key, {"__key__": key})[field] = decoders.get(field, bytes)(content)
        return list(found.values())


class TestTarWriterOfAFile(TarWriterSuite):
    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        return TarWriter(folder / "x.tar")

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [sample for path in folder.glob("*") for sample in self.decoded(path.read_bytes())]


class TestTarWriterOfACompressedFile(TarWriterSuite):
    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        return TarWriter(str(folder / "x.tar.xz"))

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [sample for path in folder.glob("*") for sample in self.decoded(lzma.decompress(path.read_bytes()))]


class TestTarWriterOfAPipe(TarWriterSuite):
    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        return TarWriter(f"pipe:cat > '{folder}/x.tar'")

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [sample for path in folder.glob("*") for sample in self.decoded(path.read_bytes())]


class TestTarWriterOfAStream(TarWriterSuite):
    @pytest.fixture(autouse=True)
    def _streams(self) -> Iterator[None]:
        self.streams: list[io.FileIO] = []
        yield
        for stream in self.streams:
            stream.close()

    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        self.streams.append(io.FileIO(folder / "x.tar", "w"))
        return TarWriter(self.streams[-1])

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [sample for path in folder.glob("*") for sample in self.decoded(path.read_bytes())]

    @override
    def test_an_ended_sink_leaves_nothing_open(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        sink.write(self.samples()[0])
        sink.close()
        assert not self.streams[0].closed


def test_write_returns_the_payload_bytes(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        assert sink.write(sample(txt="ü", bin=memoryview(b"12345678").cast("d"), cls=12)) == 12


def test_members_are_sorted_within_samples_and_have_the_given_attributes(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with TarWriter(path, "ann", "staff", 0o640, mtime=99) as sink:
        sink.write(sample("b", txt="2", cls=1, bin=b""))
        sink.write(sample("a"))
    with tarfile.open(path) as tar:
        members = list(tar)
    assert [member.name for member in members] == ["b.bin", "b.cls", "b.txt", "a.txt"]
    assert {(m.uname, m.gname, m.mode, m.mtime, m.uid, m.gid) for m in members} == {("ann", "staff", 0o640, 99, 0, 0)}


def test_dwrite_takes_fields_as_keywords_and_underscores_as_dots(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar", keep_meta=True) as sink:
        assert sink.dwrite("a", txt="t", seg_mask_cls=3, _origin="here") == 6
        with pytest.raises(WriteError, match=r"mean the field 'a\.b'"):
            sink.dwrite("b", a_b=b"1", **{"a.b": b"2"})
    assert read(tmp_path / "x.tar") == {"a._origin": b"here", "a.seg.mask.cls": b"3", "a.txt": b"t"}


def test_nothing_is_there_before_the_first_write_and_no_shard_before_close(tmp_path: Path) -> None:
    sink = TarWriter(tmp_path / "x.tar")
    assert names(tmp_path) == []
    with pytest.raises(EncodeError):
        sink.write(sample(txt=1))
    assert names(tmp_path) == []
    sink.write(sample())
    (temporary,) = names(tmp_path)
    assert temporary.startswith(".x.tar.")
    assert not list(tmp_path.glob("*.tar"))
    sink.close()
    assert names(tmp_path) == ["x.tar"]


def test_closed_without_a_write_it_makes_an_empty_archive(tmp_path: Path) -> None:
    TarWriter(tmp_path / "x.tar").close()
    assert read(tmp_path / "x.tar") == {}
    with TarWriter(tmp_path / "x.tar.gz"):
        pass
    assert read(gzip.decompress((tmp_path / "x.tar.gz").read_bytes())) == {}


def test_an_existing_file_is_refused_at_creation_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"precious")
    for name in (path, str(path), f"file://{path}"):
        with pytest.raises(WriteError, match="overwrite=True") as caught:
            TarWriter(name)
        assert caught.value.stage == "write"
        assert str(path) in str(caught.value)
    assert path.read_bytes() == b"precious"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    first, second = TarWriter(path), TarWriter(path)
    first.write(sample("first"))
    second.write(sample("second"))
    first.close()
    with pytest.raises(WriteError, match="came into being"):
        second.close()
    assert read(path) == {"first.txt": b"text"}
    assert names(tmp_path) == ["x.tar"]
    second.close()


def test_overwrite_replaces_at_close_only(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"old")
    sink = TarWriter(path, overwrite=True)
    sink.write(sample())
    assert path.read_bytes() == b"old"
    sink.abort()
    assert path.read_bytes() == b"old"
    with TarWriter(path, overwrite=True) as sink:
        sink.write(sample())
    assert read(path) == {"a.txt": b"text"}
    assert names(tmp_path) == ["x.tar"]


def test_a_file_system_without_links_works_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "x.tar"
    first, second = TarWriter(path), TarWriter(path)
    first.write(sample("first"))
    second.write(sample("second"))
    first.close()
    with pytest.raises(WriteError, match="came into being"):
        second.close()
    assert read(path) == {"first.txt": b"text"}
    assert names(tmp_path) == ["x.tar"]


def test_a_symbolic_link_stays_one_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "x.tar").symlink_to(tmp_path / "disk" / "real.tar")
    with TarWriter(tmp_path / "x.tar") as sink:
        sink.write(sample())
        assert names(tmp_path) == ["disk", "x.tar"]
    assert (tmp_path / "x.tar").is_symlink()
    assert read(tmp_path / "disk" / "real.tar") == {"a.txt": b"text"}
    with pytest.raises(WriteError, match="exists"):
        TarWriter(tmp_path / "x.tar")


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with TarWriter(tmp_path / "x.tar") as sink:
            sink.write(sample())
    finally:
        os.umask(before)
    assert (tmp_path / "x.tar").stat().st_mode & 0o777 == 0o640


def test_a_missing_directory_is_an_error_at_creation(tmp_path: Path) -> None:
    with pytest.raises(OpenError, match="no directory") as caught:
        TarWriter(tmp_path / "missing" / "x.tar")
    assert "missing/x.tar" in str(caught.value.url)
    with pytest.raises(WriteError, match="is a directory"):
        TarWriter(tmp_path, overwrite=True)
    with pytest.raises(WriteError, match="is a directory"):
        TarWriter("")


def test_a_directory_that_vanishes_is_an_error_that_names_the_shard(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    sink = TarWriter(tmp_path / "folder" / "x.tar")
    (tmp_path / "folder").rmdir()
    with pytest.raises(OpenError, match="No such file") as caught:
        sink.write(sample())
    assert "folder/x.tar" in str(caught.value.url)
    (tmp_path / "folder").mkdir()
    sink.write(sample())
    sink.close()
    assert read(tmp_path / "folder" / "x.tar") == {"a.txt": b"text"}


@pytest.mark.parametrize("stream", [io.StringIO(), object, 7, None, object()])
def test_what_cannot_be_written_to_is_refused(stream: Any) -> None:
    with pytest.raises(TypeError, match=r"stream|text"):
        TarWriter(stream)


def test_a_stream_for_reading_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with (tmp_path / "x").open("rb") as file, pytest.raises(ValueError, match="not open for writing"):
        TarWriter(file)


def test_settings_are_checked_at_creation(tmp_path: Path) -> None:
    wrongs: list[dict[str, Any]] = [
        {"user": "u" * 40},
        {"mode": -1},
        {"mtime": 1.5},
        {"compress": "lz4"},
        {"compress": 9},
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TarWriter(tmp_path / "x.tar", **wrong)
    with pytest.raises(TypeError, match="encoder"):
        TarWriter(tmp_path / "x.tar", encoder=cast("Any", "rgb"))
    assert names(tmp_path) == []


DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "tar": bytes,
}


@pytest.mark.parametrize(
    ("name", "compress", "method"),
    [
        ("x.tar", None, "tar"),
        ("x.tar.gz", None, "gz"),
        ("x.tgz", None, "gz"),
        ("X.TAR.GZ", None, "gz"),
        ("x.gz", None, "gz"),
        ("x.tar.bz2", None, "bz2"),
        ("x.tar.xz", None, "xz"),
        ("x.tar.zst", None, "zst"),
        ("x.tar", True, "gz"),
        ("x.tgz", False, "tar"),
        ("x.tar", "zst", "zst"),
        ("x.tar.gz", "xz", "xz"),
    ],
)
def test_compression_goes_by_name_unless_told(
    tmp_path: Path, name: str, compress: bool | Literal["xz", "zst"] | None, method: str
) -> None:
    with TarWriter(tmp_path / name, compress=compress) as sink:
        for number in range(50):
            sink.write(sample(str(number), bin=bytes(3000)))
    content = (tmp_path / name).read_bytes()
    assert read(DECOMPRESS[method](content)) == {f"{number}.bin": bytes(3000) for number in range(50)}
    assert len(content) < 150_000 or method == "tar"


@pytest.mark.parametrize("method", ["gz", "bz2", "xz", "zst"])
def test_an_open_stream_is_compressed_on_demand_and_left_open(method: Literal["gz", "bz2", "xz", "zst"]) -> None:
    stream = io.BytesIO()
    with TarWriter(stream, compress=method) as sink:
        sink.write(sample())
    assert read(DECOMPRESS[method](stream.getvalue())) == {"a.txt": b"text"}


def test_a_file_with_a_compressed_name_that_is_open_already_is_written_plain(tmp_path: Path) -> None:
    with (tmp_path / "x.tar.gz").open("wb") as file, TarWriter(file) as sink:
        sink.write(sample())
    assert read(tmp_path / "x.tar.gz") == {"a.txt": b"text"}


@pytest.mark.parametrize("compress", [False, "gz", "bz2", "xz", "zst"])
def test_an_aborted_stream_has_no_end(compress: Any) -> None:
    whole, cut = io.BytesIO(), io.BytesIO()
    for stream in (whole, cut):
        sink = TarWriter(stream, compress=compress)
        sink.write(sample(bin=b"x" * 100_000))
        if stream is whole:
            sink.close()
        else:
            sink.abort()
    assert not cut.closed
    assert whole.getvalue().startswith(cut.getvalue())
    decompress = DECOMPRESS[compress or "tar"]
    try:
        data = decompress(cut.getvalue())
    except (EOFError, OSError, ValueError, lzma.LZMAError):
        return
    assert len(data) < len(decompress(whole.getvalue()))
    assert data[-512:] != bytes(512) or len(data) < 10240


def test_a_stream_is_flushed_when_the_writer_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb") as file:
        with TarWriter(file) as sink:
            sink.write(sample())
        assert read(tmp_path / "x.tar") == {"a.txt": b"text"}


def test_a_stream_that_takes_a_part_at_a_time_gets_everything() -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        @override
        def writable(self) -> bool:
            return True

        @override
        def write(self, data: Buffer, /) -> int:
            self.data += memoryview(data)[:300]
            return min(300, memoryview(data).nbytes)

    stream = Slow()
    with TarWriter(stream) as sink:
        sink.write(sample(bin=bytes(range(256)) * 10))
    assert read(bytes(stream.data)) == {"a.bin": bytes(range(256)) * 10}


def test_a_stream_that_would_have_to_wait_is_an_error() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as stream:
        sink = TarWriter(stream)
        with pytest.raises(BlockingIOError):
            sink.write(sample(bin=bytes(1 << 20)))
        sink.abort()


def test_any_object_with_write_is_a_stream() -> None:
    class Parts:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def write(self, data: Buffer, /) -> None:
            self.parts.append(bytes(data))

    stream = Parts()
    with TarWriter(stream) as sink:
        sink.write(sample(txt="t", cls=1))
        assert len(stream.parts) == 1, "one write per sample"
    assert read(b"".join(stream.parts)) == {"a.cls": b"1", "a.txt": b"t"}


def test_large_samples_are_written_whole(tmp_path: Path) -> None:
    data = os.urandom(JOINED + 1)
    with TarWriter(tmp_path / "x.tar") as sink:
        sink.write(sample("a", bin=memoryview(data), txt="t"))
        sink.write(sample("b"))
    assert read(tmp_path / "x.tar") == {"a.bin": data, "a.txt": b"t", "b.txt": b"text"}


def many() -> Iterator[Sample]:
    for n in range(300):
        yield {"__key__": f"train/{n:04d}", "txt": "ü" * n, "cls": n, "bin": bytes([n % 251]) * (n * 7)}
    for count in (95, 96):
        yield {"__key__": "x" * count, "cls": 1, "txt": b"t"}
    yield {"__key__": "x" * 97, "txt": b"t"}
    yield {"__key__": "d.e/" * 30 + "long", "bin": bytearray(513), "seg.png": memoryview(b"12345678").cast("d")}
    yield {"__key__": "日本/語", "json": {"a": [1, None]}, "bin": b""}
    yield {"__key__": "large", "bin": bytes(range(256)) * 4097, "after.txt": "text"}
    yield {"__key__": "end", "pyd": b"512" * 512}


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, "0588f74a89bfe227058111527be19aabbfef2624a7fbd781d12468f652153e20"),
        (
            {"user": "ann", "group": "staff", "mode": 0o640, "mtime": 1_700_000_000},
            "65a901254cb447ce3fb5baab12f36ca76da012a7fb976813cf99c4bd89d671f7",
        ),
    ],
)
def test_the_bytes_are_those_of_every_version_before(tmp_path: Path, options: dict[str, Any], digest: str) -> None:
    stream, path = io.BytesIO(), tmp_path / "x.tar"
    for target in (stream, path):
        with TarWriter(target, **options) as sink:
            for each in many():
                sink.write(each)
    assert hashlib.sha256(stream.getvalue()).hexdigest() == digest
    assert path.read_bytes() == stream.getvalue()


def test_the_bytes_are_those_of_the_plain_functions(tmp_path: Path) -> None:
    body = b""
    with TarWriter(tmp_path / "x.tar", mtime=7) as sink:
        for each in many():
            sink.write(each)
            key, members = SampleEncoder().encode(each)
            for field, data in members:
                body += member_header(f"{key}.{field}", len(data), mtime=7) + bytes(data) + padding(len(data))
    assert (tmp_path / "x.tar").read_bytes() == body + end_of_archive(len(body))


def test_a_file_gets_small_samples_many_at_a_time_and_nothing_is_lost_between(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        sizes: list[int] = []
        for number in range(600):
            sink.write(sample(str(number), bin=b"%d" % number))
            sizes.append(next(tmp_path.iterdir()).stat().st_size)
    assert sorted(set(sizes)) == [0, 1 << 18, 2 << 18]
    assert read(tmp_path / "x.tar") == {f"{number}.bin": b"%d" % number for number in range(600)}


def test_a_sample_that_changes_after_it_was_written_is_stored_as_it_was(tmp_path: Path) -> None:
    buffer = bytearray(b"before")
    with TarWriter(tmp_path / "x.tar") as sink:
        sink.write(sample(bin=buffer, txt=memoryview(buffer)))
        buffer[:] = b"after "
    assert read(tmp_path / "x.tar") == {"a.bin": b"before", "a.txt": b"before"}


def test_a_pipe_gets_the_archive_and_its_failure_is_an_error(tmp_path: Path) -> None:
    with TarWriter(f"pipe:gzip > '{tmp_path}/x.tar.gz'") as sink:
        sink.write(sample())
    assert read(gzip.decompress((tmp_path / "x.tar.gz").read_bytes())) == {"a.txt": b"text"}
    sink = TarWriter("pipe:cat > /dev/null; echo broken >&2; exit 3")
    sink.write(sample())
    with pytest.raises(OpenError, match="broken"):
        sink.close()


def test_a_store_gets_the_archive_when_it_is_whole() -> None:
    store = fsspec.filesystem("memory")
    for name in ("whole", "aborted"):
        sink = TarWriter(f"memory://test_tarwriter/{name}.tar.gz")
        sink.write(sample())
        if name == "whole":
            sink.close()
        else:
            sink.abort()
    found = {name: store.cat_file(name) for name in store.find("/test_tarwriter")}
    for name in found:
        store.rm_file(name)
    assert read(gzip.decompress(found["/test_tarwriter/whole.tar.gz"])) == {"a.txt": b"text"}
    assert not found.get("/test_tarwriter/aborted.tar.gz"), "this store keeps the name, and nothing else"


def test_what_is_only_read_refuses_the_first_sample() -> None:
    sink = TarWriter("https://host.invalid/x.tar")
    with pytest.raises(OpenError, match="only read") as caught:
        sink.write(sample("k"))
    assert (caught.value.key, caught.value.stage) == ("k", "write")
    sink.abort()


def test_standard_output_gets_the_archive() -> None:
    code = (
        "import webds.sinks\nprint('before')\n"
        "with webds.sinks.TarWriter('-') as sink: sink.write({'__key__': 'a', 'txt': 'text'})\nprint('after')\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert output.startswith(b"before\n")
    assert output.endswith(b"\0after\n")
    assert read(output[len(b"before\n") : -len(b"after\n")]) == {"a.txt": b"text"}


def test_a_named_pipe_is_written_into_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "fifo.tar"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    with TarWriter(path) as sink:
        sink.write(sample())
    reader.join()
    assert read(received[0]) == {"a.txt": b"text"}
    assert path.is_fifo()


def test_a_full_device_makes_the_writer_fail() -> None:
    sink = TarWriter("/dev/full")
    with pytest.raises(OpenError, match="No space left") as caught:
        sink.write(sample(bin=bytes(1 << 20)))
    assert caught.value.stage == "write"
    assert caught.value.url == "/dev/full"
    with pytest.raises(WriteError, match="earlier write failed"):
        sink.write(sample("b"))
    with pytest.raises(WriteError, match="earlier write failed"):
        sink.close()
    sink.close()


FULL = """
import resource, signal, sys
from webds.errors import OpenError, WriteError
from webds.sinks import TarWriter
size = int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5 * size // 3, 5 * size // 3))
sink = TarWriter(sys.argv[1])
for key in "abc":
    try:
        sink.write({"__key__": key, "bin": bytes(size)})
    except (OpenError, WriteError) as error:
        print(type(error).__name__, error.stage, error.url, error.key)
try:
    sink.close()
except (OpenError, WriteError) as error:
    print("close", type(error).__name__, error.url)
"""


@pytest.mark.parametrize("size", [600_000, 3_000_000])
def test_a_full_disk_leaves_no_shard(tmp_path: Path, size: int) -> None:
    path = str(tmp_path / "x.tar")
    command = [sys.executable, "-c", FULL, path, str(size)]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert output.splitlines() == [
        f"OpenError write {path} b",
        f"WriteError write {path} None",
        f"close WriteError {path}",
    ]
    assert names(tmp_path) == []


def test_a_full_disk_may_show_at_close_and_leaves_no_shard_either(tmp_path: Path) -> None:
    path = str(tmp_path / "x.tar")
    command = [sys.executable, "-c", FULL, path, "20000"]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert output.splitlines() == [f"close OpenError {path}"]
    assert names(tmp_path) == []


def test_a_disk_that_is_full_at_the_end_leaves_no_shard(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = TarWriter(tmp_path / "x.tar")
    sink.write(sample(bin=bytes(20_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (22_000, hard))
    try:
        with pytest.raises(OpenError, match="File too large") as caught:
            sink.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.url == str(tmp_path / "x.tar")
    assert names(tmp_path) == []
    sink.close()


def test_the_exception_of_a_users_stream_keeps_its_type() -> None:
    class Broken(io.BytesIO):
        @override
        def write(self, data: Buffer, /) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    sink = TarWriter(Broken())
    with pytest.raises(BrokenPipeError):
        sink.write(sample())
    with pytest.raises(WriteError, match="given up"):
        sink.close()


def test_an_interrupt_in_the_middle_of_a_write_fails_the_writer() -> None:
    class Interrupted(io.BytesIO):
        @override
        def write(self, data: Buffer, /) -> int:
            super().write(bytes(data)[:700])
            raise KeyboardInterrupt

    sink = TarWriter(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        sink.write(sample())
    assert sink.failed
    with pytest.raises(WriteError, match="earlier write failed"):
        sink.write(sample())
    sink.abort()


def test_errors_name_url_key_field_and_stage(tmp_path: Path) -> None:
    path = str(tmp_path / "x.tar")
    with TarWriter(path) as sink:
        with pytest.raises(EncodeError) as caught:
            sink.write(sample("k", txt=7))
        assert (caught.value.url, caught.value.key, caught.value.field, caught.value.stage) == (
            path,
            "k",
            "txt",
            "write",
        )
        with pytest.raises(WriteError) as refused:
            sink.write(sample("k.x"))
        assert (refused.value.url, refused.value.key, refused.value.stage) == (path, "k.x", "write")


def test_no_secret_of_a_url_shows_in_an_error() -> None:
    sink = TarWriter("pipe:curl -T - 'https://ann:pass1234@host/x.tar?sig=abcdef'")
    with pytest.raises(WriteError) as caught:
        sink.write({})
    assert "pass1234" not in str(caught.value)
    assert "abcdef" not in str(caught.value)
    sink.abort()


def test_the_compression_of_a_url_goes_by_its_path() -> None:
    for url, method in (
        ("https://host/x.tar.gz?version=1.xz", "gz"),
        ("s3://bucket/x.tar", None),
        ("pipe:gzip > x.tar.gz", None),
        ("-", None),
    ):
        sink = TarWriter(url, overwrite=True)
        assert sink._compression == method
        sink.abort()


def test_a_writer_that_is_forgotten_says_so_and_leaves_no_file(tmp_path: Path) -> None:
    sink = TarWriter(tmp_path / "x.tar")
    sink.write(sample())
    holder = [sink]
    del sink
    with pytest.warns(ResourceWarning, match="never closed"):
        holder.clear()
    assert names(tmp_path) == []


def test_a_forked_process_leaves_the_writer_of_its_parent_alone(tmp_path: Path) -> None:
    sink = TarWriter(tmp_path / "x.tar")
    sink.write(sample("a"))
    child = os.fork()
    if child == 0:
        try:
            del sink
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    sink.write(sample("b"))
    sink.close()
    assert read(tmp_path / "x.tar") == {"a.txt": b"text", "b.txt": b"text"}


def test_an_open_writer_cannot_be_pickled_and_says_so(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink, pytest.raises(TypeError, match="TarWriter cannot be pickled"):
        pickle.dumps(sink)
