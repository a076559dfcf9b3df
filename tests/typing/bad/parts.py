"""Uses of writers, codecs and openers that must not pass: each marked line is an error, and no other."""

from __future__ import annotations

import io

import numpy as np

import webds


def no_bytes(value: int) -> int:
    return value


def writers(writer: webds.TarWriter, shards: webds.ShardWriter) -> None:
    webds.TarWriter()  # error
    webds.TarWriter(3)  # error
    webds.TarWriter(io.StringIO())  # error
    webds.TarWriter("x.tar", compress="zip")  # error
    webds.TarWriter("x.tar", encoder=3)  # error
    webds.TarWriter("x.tar", encoder={"cls": no_bytes})  # error
    webds.TarWriter("x.tar", mode="r")  # error
    webds.TarWriter("x.tar", mtime=None)  # error
    webds.TarWriter("x.tar", maxcount=3)  # error
    writer.write()  # error
    writer.write("sample")  # error
    writer.write([("cls", b"1")])  # error
    writer.write({1: b"1"})  # error
    writer.dwrite()  # error
    writer.dwrite(3, cls=1)  # error
    writer.write({"__key__": "a"}).close()  # error
    webds.ShardWriter(3)  # error
    webds.ShardWriter("x-%d.tar", maxcount="3")  # error
    webds.ShardWriter("x-%d.tar", post="echo")  # error
    webds.ShardWriter("x-%d.tar", compression="gz")  # error
    webds.ShardWriter("x-%d.tar", resume="yes")  # error
    shards.write(3)  # error
    shards.next_stream("x.tar")  # error


def codecs() -> None:
    webds.IntCodec().encode([1], "cls")  # error
    webds.TextCodec().encode(b"text", "txt")  # error
    webds.NpyCodec().encode("text", "npy")  # error
    webds.NpyCodec().decode("text", "npy")  # error
    webds.TenbinCodec().encode({"a": np.zeros(3)}, "ten")  # error
    webds.ImageCodec(3)  # error
    webds.PickleCodec("trusted")  # error
    webds.IntCodec().decode(b"1", "cls") + 1  # error
    webds.field(3)  # error
    webds.field("jpg", 3)  # error
    webds.field("jpg", webds.TextCodec)  # error


def openers(opener: webds.Opener) -> None:
    opener.open("x", "r")  # error
    opener.open(3)  # error
    opener.size("x") + 1  # error
    opener.read_range("x", 0)  # error
    webds.HttpOpener({"a": "b"})  # error
    webds.HttpOpener(auth=3)  # error
    webds.CommandOpener()  # error
    webds.CachingOpener("aws s3 cp {url} -", "/cache")  # error
    webds.CachingOpener(webds.HttpOpener())  # error
    webds.CommandOpener(["cat", "{url}"])  # error
    webds.FileOpener().buffer_size = 3  # error
    webds.SchemeOpener({"my": open})  # error


def arrays() -> None:
    webds.load(3)  # error
    webds.load("x.ten", infos=True).sort()  # error
    webds.save("x.ten", "array")  # error
    webds.encode_buffer(3)  # error
    webds.decode_buffer("text")  # error


def policies(error: webds.DecodeError) -> None:
    webds.Policy("skip")  # error
    webds.Policy(max_errors="3")  # error
    webds.Policy.of("ignore")  # error
    webds.Policy().max_errors = 3  # error
    webds.WebdsError("text", shard="x.tar")  # error
    webds.WebdsError("text", offset="3")  # error
    error.url.upper()  # error
    error.locate(offset="3")  # error


def places() -> None:
    webds.Place("0")  # error
    webds.Place(node=3)  # error
    webds.SplitExplicit()  # error
    webds.SplitExplicit("1", 2)  # error
    webds.NoSplit().split("x.tar", 3)  # error
