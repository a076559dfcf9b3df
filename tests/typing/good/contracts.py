"""Subclasses of every contract, as others write them, and where they fit."""

from __future__ import annotations

import io
import wave
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, assert_type

import attrs
import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, override

import webds
from webds.abc import Axis
from webds.testing import CodecSuite, IndexedSourceSuite, OpenerSuite, SinkSuite, SplitterSuite

Wave = npt.NDArray[np.int16]


@attrs.frozen
class Numbers(webds.IndexedSource[int]):
    """A source of numbers, the same each time."""

    per_shard: int

    @override
    def shards(self) -> Sequence[str]:
        return ["small", "large"]

    @override
    def counts(self) -> Sequence[int]:
        return [self.per_shard, self.per_shard]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[int]:
        return self.read_at(shard, range(start, self.per_shard))

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[int]:
        first = 0 if shard == "small" else 1000
        return (first + ordinal for ordinal in ordinals)


@attrs.frozen
class Lines(webds.Source[webds.Sample]):
    """The lines of text files as samples."""

    paths: Sequence[str]

    @override
    def shards(self) -> Sequence[str]:
        return self.paths

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[webds.Sample]:
        with open(shard, encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if number >= start:
                    yield {"__key__": str(number), "txt": line}


@attrs.frozen
class Archive(webds.Opener):
    """Opens everything below one directory."""

    root: Path

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return (self.root / url).open(mode)

    @override
    def size(self, url: str) -> int | None:
        return (self.root / url).stat().st_size

    @override
    def list(self, pattern: str) -> Sequence[str]:
        return sorted(str(path) for path in self.root.glob(pattern))


class ByHalves(webds.Splitter):
    """Even ranks read the first half."""

    axes = frozenset({"rank"})

    @override
    def split(self, shards: Sequence[str], place: webds.Place) -> Sequence[str]:
        half = len(shards) // 2
        return shards[:half] if place.rank % 2 == 0 else shards[half:]


class ByNothing(webds.Splitter):
    """Everybody reads everything."""

    axes: frozenset[Axis] = frozenset()

    @override
    def split(self, shards: Sequence[str], place: webds.Place) -> Sequence[str]:
        return shards


class WaveCodec(webds.Codec[Wave]):
    """Mono wave files of 16 bits."""

    @override
    def decode(self, data: Buffer, field: str) -> Wave:
        with wave.open(io.BytesIO(bytes(data))) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16)

    @override
    def encode(self, value: Wave, field: str) -> bytes:
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(16000)
            writer.writeframes(value.tobytes())
        return file.getvalue()


class Upper(webds.Decoder[str]):
    """Text in capitals."""

    @override
    def decode(self, data: Buffer, field: str) -> str:
        return str(data, "utf-8").upper()


class AnyText(webds.Encoder[object]):
    """The text of anything."""

    @override
    def encode(self, value: object, field: str) -> bytes:
        return str(value).encode()


class Shelf(webds.Sink[int]):
    """Keeps numbers."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    @override
    def write(self, sample: int) -> int:
        self.kept.append(sample)
        return 8

    @override
    def close(self) -> None:
        self.kept.sort()

    @override
    def abort(self) -> None:
        self.kept.clear()


class TestNumbers(IndexedSourceSuite[int]):
    """The suites of the contracts take them."""

    @override
    def make_source(self, folder: Path) -> Numbers:
        return Numbers(3)

    @override
    def samples(self) -> Sequence[Sequence[int]]:
        return [[0, 1, 2], [1000, 1001, 1002]]


class TestArchive(OpenerSuite):
    """An opener needs to be told what to open."""

    @override
    def make_opener(self) -> Archive:
        return Archive(Path("/"))

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        (folder / "data").write_bytes(content)
        return str(folder / "data")

    @override
    def missing_url(self, folder: Path) -> str:
        return str(folder / "nothing")


class TestByHalves(SplitterSuite):
    """A splitter needs nothing else."""

    @override
    def make_splitter(self) -> ByHalves:
        return ByHalves()


class TestWaveCodec(CodecSuite[Wave]):
    """A codec needs values."""

    @override
    def make_codec(self) -> WaveCodec:
        return WaveCodec()

    @override
    def values(self) -> Sequence[tuple[Wave, str]]:
        return [(np.zeros(3, np.int16), "wav")]

    @override
    def unencodable(self) -> Sequence[tuple[object, str]]:
        return [(None, "wav")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"RIFF", "wav")]


class TestShelf(SinkSuite[int]):
    """A sink needs samples, and a way to read them back."""

    @override
    def make_sink(self, folder: Path) -> Shelf:
        return Shelf()

    @override
    def samples(self) -> Sequence[int]:
        return [1, 2]

    @override
    def refused(self) -> Sequence[int]:
        return []

    @override
    def read_back(self, folder: Path) -> Sequence[int]:
        return [1, 2]


def where_they_fit(builder: webds.DatasetBuilder) -> None:
    assert_type(webds.DatasetBuilder(Numbers(3)), webds.DatasetBuilder[int])
    assert_type(webds.DatasetBuilder(Lines(["x.txt"]), on_error="skip"), webds.DatasetBuilder[webds.Sample])
    assert_type(webds.DatasetBuilder("x.tar", opener=Archive(Path("/data"))), webds.DatasetBuilder[webds.Sample])
    builder.with_opener("archive", Archive(Path("/data")))
    builder.split(ByHalves()).split(ByNothing())
    builder.with_decoder("wav", WaveCodec()).with_decoder("txt", Upper())
    webds.TarWriter("x.tar", encoder={"wav": WaveCodec(), "txt": AnyText(), "n": lambda value: str(value).encode()})
    with Shelf() as shelf:
        assert_type(shelf, Shelf)
        assert_type(shelf.write(3), int)


def what_is_inherited(opener: webds.Opener, stronger: webds.IndexedSource[bool], codec: webds.Codec[Wave]) -> None:
    with opener.open("x", "wb") as stream:
        assert_type(stream, BinaryIO)
    assert_type(opener.size("x"), int | None)
    assert_type(opener.read_range("x", 0, 100), bytes)
    assert_type(opener.open_local("x"), BinaryIO | None)
    assert_type(opener.list("x*"), Sequence[str])
    assert_type(codec.lossless, bool)
    assert_type(stronger.counts(), Sequence[int])
    assert_type(next(stronger.read_at("x", [3, 1])), bool)


def outputs_are_covariant(
    decoder: webds.Decoder[bool], source: webds.Source[bool]
) -> tuple[webds.Decoder[int], webds.Source[object]]:
    return decoder, source


def inputs_are_contravariant(
    encoder: webds.Encoder[object], sink: webds.Sink[int]
) -> tuple[webds.Encoder[str], webds.Sink[bool]]:
    return encoder, sink
