"""Subclasses of contracts that do not keep to them: each marked line is an error, and no other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO, Literal

import torch
from typing_extensions import Buffer, override

import webds


class Half(webds.Source[int]):
    @override
    def shards(self) -> Sequence[str]:
        return ["x"]


class Silent(webds.Splitter):
    axes = frozenset({"rank"})


class Deaf(webds.Sink[int]):
    @override
    def write(self, sample: int) -> int:
        return sample


def contracts_have_no_instances() -> None:
    webds.Source()  # error
    webds.IndexedSource()  # error
    webds.Opener()  # error
    webds.Splitter()  # error
    webds.Decoder()  # error
    webds.Encoder()  # error
    webds.Codec()  # error
    webds.Sink()  # error


def nor_has_what_leaves_a_hook_open() -> None:
    Half()  # error
    Silent()  # error
    Deaf()  # error


class OtherShards(webds.Source[int]):
    @override
    def shards(self) -> Iterator[str]:  # error
        yield "x"

    @override
    def read(self, shard: int, fields: Collection[str] | None = None, start: int = 0) -> Iterator[int]:  # error
        yield 1


class OtherValues(webds.Source[int]):
    @override
    def shards(self) -> Sequence[str]:
        return ["x"]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[str]:  # error
        yield "1"


class NoStart(webds.Source[int]):
    @override
    def shards(self) -> Sequence[str]:
        return ["x"]

    @override
    def read(self, shard: str) -> Iterator[int]:  # error
        yield 1


class OnlyReads(webds.Opener):
    @override
    def open(self, url: str) -> BinaryIO:  # error
        return open(url, "rb")


class OpensText(webds.Opener):
    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> str:  # error
        return url


class KnowsSizes(webds.Opener):
    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return open(url, mode)

    @override
    def size(self, url: str) -> str:  # error
        return url

    @override
    def sizes(self, urls: Sequence[str]) -> Sequence[int]:  # error
        return [len(url) for url in urls]


class OverNodes(webds.Splitter):
    axes = frozenset({"node"})  # error

    @override
    def split(self, shards: Sequence[str], place: int) -> Sequence[str]:  # error
        return shards[place:]


class OfText(webds.Decoder[torch.Tensor]):
    @override
    def decode(self, data: Buffer, field: str) -> str:  # error
        return str(data, "utf-8")


class OfBytesOnly(webds.Decoder[str]):
    @override
    def decode(self, data: bytes, field: str) -> str:  # error
        return data.decode()


class ToText(webds.Encoder[int]):
    @override
    def encode(self, value: int, field: str) -> str:  # error
        return str(value)


class OneWay(webds.Codec[int]):
    @override
    def encode(self, value: bool, field: str) -> bytes:  # error
        return bytes([value])

    @override
    def decode(self, data: Buffer, field: str) -> int:
        return bytes(data)[0]


class Closed(webds.Sink[int]):
    @override
    def write(self, sample: int) -> None:  # error
        return

    @override
    def close(self) -> None:
        return

    @override
    def abort(self) -> None:
        return

    def __exit__(self, *error: object) -> None:  # error
        return


class Folder(webds.FileOpener):  # error
    """The package's own classes are final."""


def in_the_wrong_place(
    builder: webds.DatasetBuilder,
    texts: webds.Decoder[str],
    numbers: webds.Encoder[int],
    source: webds.Source[int],
    sink: webds.Sink[int],
) -> None:
    tensors: webds.Decoder[torch.Tensor] = texts  # error
    anything: webds.Encoder[object] = numbers  # error
    words: webds.Source[str] = source  # error
    stronger: webds.IndexedSource[int] = source  # error
    objects: webds.Sink[object] = sink  # error
    builder.with_decoder("txt", numbers)  # error
    builder.split(source)  # error
    webds.TarWriter("x.tar", encoder={"txt": texts})  # error
    sink.write("3")  # error
    numbers.encode("3", "cls")  # error
    texts.decode("text", "txt")  # error
    texts.decode(b"text")  # error
    print(tensors, anything, words, stronger, objects)
