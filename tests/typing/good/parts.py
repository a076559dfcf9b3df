"""The concrete sources, splitters, openers, codecs and sinks, and the errors."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, assert_type

import numpy as np
import numpy.typing as npt
import torch

import webds
from webds import tenbin


def memory() -> None:
    numbers = webds.MemorySource([1, 2, 3], shards=2)
    assert_type(numbers, webds.MemorySource[int])
    assert_type(numbers.shards(), Sequence[str])
    assert_type(numbers.counts(), Sequence[int])
    assert_type(numbers.read("memory-000000", start=1), Iterator[int])
    assert_type(numbers.read_at("memory-000000", [0]), Iterator[int])
    assert_type(webds.MemorySource({"first": ["a"], "second": ["b", "c"]}), webds.MemorySource[str])
    samples: list[webds.Sample] = [{"__key__": "a", "cls": b"1"}]
    assert_type(webds.DatasetBuilder(webds.MemorySource(samples)).decode(), webds.DatasetBuilder[webds.Sample])
    webds.DatasetBuilder(webds.MemorySource([{"__key__": "a", "cls": b"1"}])).decode().to_tuple("cls")


def tars(opener: webds.Opener) -> None:
    source = webds.TarSource("x-{0..9}.tar", opener, missing_end="accept", duplicates="last", keys=webds.base_plus_ext)
    assert_type(source.read("x-0.tar", fields=["cls"]), Iterator[webds.Sample])
    assert_type(source.shards(), Sequence[str])
    assert_type(source.open("x-0.tar"), BinaryIO)
    assert_type(source.with_shards(["x-0.tar"]), webds.TarSource)
    assert_type(source.absolute(), webds.TarSource)
    with source.reading(["x-0.tar"]) as ahead:
        assert_type(ahead, webds.TarSource)
    assert_type(source.listed("x-0.tar").size, int | None)
    assert_type(source.listing()[0].size, int | None)
    assert_type(source.identity(), Mapping[str, object])
    assert_type(source.describe(), Sequence[tuple[str, str]])
    source.read_on("x-0.tar", on_error=webds.warn_and_continue)


def splitters(shards: Sequence[str]) -> None:
    place = webds.Place(rank=1, world_size=2, worker=0, num_workers=4)
    assert_type((place.rank, place.world_size, place.worker, place.num_workers), tuple[int, int, int, int])
    every = [webds.NoSplit(), webds.SplitByNode(), webds.SplitByWorker(), webds.SplitByNodeAndWorker()]
    assert_type([splitter.split(shards, place) for splitter in every], list[Sequence[str]])
    explicit = webds.SplitExplicit(1, 3)
    assert_type((explicit.index, explicit.total), tuple[int, int])
    assert_type(explicit.split(shards, place), Sequence[str])
    assert "rank" in webds.SplitByNode().axes


def openers() -> None:
    every: list[webds.Opener] = [
        webds.FileOpener(buffer_size=1 << 20),
        webds.StdioOpener(),
        webds.PipeOpener(buffer_size=1 << 20),
        webds.HttpOpener(headers={"X-Key": "1"}, auth=("user", "password"), hosts=["a.org"], timeout=3, buffer_size=0),
        webds.FsspecOpener({"anon": True}, buffer_size=1 << 20),
        webds.ObjectStoreOpener(endpoint="https://host", region="r", options={"access_key_id": "k"}, anonymous=True),
        webds.CommandOpener("cat {url}", "tee {url}", buffer_size=1 << 20),
        webds.CachingOpener(webds.HttpOpener(), Path("/cache"), 1 << 40, validate="size", local=True),
    ]
    assert_type([opener.open("x") for opener in every], list[BinaryIO])
    schemes = webds.SchemeOpener({"my": every[0]}, commands={"gs": "gsutil cat {url}"})
    assert_type(schemes.with_opener("your", webds.reader), webds.SchemeOpener)
    assert_type(schemes.opener_of("x.tar"), webds.Opener)
    assert_type((schemes.openers["my"], schemes.buffer_size), tuple[webds.Opener, int])
    assert_type(schemes.commands["gs"], str)
    command = webds.CommandOpener("cat {url}")
    assert_type((command.template, command.write_template), tuple[str, str | None])
    http = webds.HttpOpener()
    assert_type((http.headers["a"], http.timeout), tuple[str, float])
    assert http.auth is None
    assert http.hosts is None
    assert_type(webds.FsspecOpener.knows("s3"), bool)
    assert_type(webds.FsspecOpener.has_package("s3"), bool)
    webds.ObjectStoreOpener().remove("s3://bucket/x-0.tar")
    assert_type(webds.FsspecOpener().options["key"], Any)


def codecs(data: bytes) -> None:
    assert_type(webds.TextCodec().decode(data, "txt"), str)
    assert_type(webds.IntCodec().decode(data, "cls"), int | str)
    assert_type(webds.JsonCodec().decode(data, "json"), Any)
    assert_type(webds.NpyCodec().decode(data, "npy"), npt.NDArray[Any])
    assert_type(webds.NpzCodec().decode(data, "npz"), dict[str, npt.NDArray[Any]])
    assert_type(webds.TenbinCodec().decode(data, "ten"), list[npt.NDArray[Any]])
    assert_type(webds.TorchCodec(trusted=True).decode(data, "pt"), Any)
    assert_type(webds.MsgpackCodec().decode(data, "mp"), Any)
    assert_type(webds.PickleCodec(trusted=True).decode(data, "pyd"), Any)
    assert_type(webds.GzipCodec(level=3).decode(data, "txt.gz"), Any)
    assert_type(webds.ImageCodec("rgb8", quality=90).decode(data, "jpg"), Any)
    assert_type(webds.AudioDecoder().decode(data, "flac"), tuple[torch.Tensor, int])
    video = webds.VideoDecoder(max_bytes=1 << 30).decode(data, "mp4")
    assert_type(video, webds.Video)
    assert_type((video.frames, video.rate, video.data), tuple[torch.Tensor, float, bytes])
    assert_type(webds.TextCodec().encode("text", "txt"), bytes)
    assert_type(webds.NpyCodec().encode(np.zeros(3), "npy"), bytes)
    spec = webds.IMAGE_SPECS["torchrgb8"]
    assert_type(spec, webds.ImageSpec)
    assert_type(webds.ImageSpec.parse("RGB8").name, str)
    assert_type(webds.ImageCodec(spec).spec, webds.ImageSpec)
    assert_type(webds.ImageCodec(spec).bound("jpg"), float)


def sinks(sample: webds.Sample, path: Path) -> None:
    with webds.TarWriter("x.tgz", user="me", mode=0o644, compress="gz", keep_meta=True, mtime=3) as writer:
        assert_type(writer, webds.TarWriter)
        assert_type(writer.write(sample), int)
        assert_type(writer.dwrite("key", cls=1, seg_png=b""), int)
        assert_type(writer.failed, bool)
    with webds.TarWriter(path, encoder=False, overwrite=True) as writer:
        writer.close()
    with webds.TarWriter(io.BytesIO(), encoder=lambda sample: sample) as writer:
        writer.abort()
    webds.TarWriter(sys.stdout.buffer, "user", "group", 0o444, True, {"cls": str.encode}).close()  # the older API
    with webds.ShardWriter("x-%06d.tar", maxcount=1000, maxsize=1e9, post=print, compress="zst", resume=True) as shards:
        assert_type(shards, webds.ShardWriter)
        assert_type(shards.write(sample), int)
        shards.next_stream()
        shards.finish()
        assert_type((shards.pattern, shards.fname), tuple[str, str])
        assert_type((shards.shard, shards.count, shards.size, shards.total), tuple[int, int, int, int])
    webds.ShardWriter(path, start_shard=3, overwrite=True).abort()


def arrays(buffer: bytes, stream: BinaryIO, socket: Any) -> None:
    assert_type(webds.load("x.ten"), list[npt.NDArray[Any]])
    assert_type(webds.load("x.ten", infos=True), tuple[list[npt.NDArray[Any]], list[str]])
    assert_type(webds.load("x", ["a", "b"], nocheck=True, mmap=True), list[npt.NDArray[Any]])
    webds.save("x.ten", np.zeros(3), torch.zeros(3), infos=["a", "b"])
    assert_type(webds.read(stream), list[npt.NDArray[Any]])
    assert_type(webds.read(stream, 1, infos=True), tuple[list[npt.NDArray[Any]], list[str]])
    webds.write(stream, [np.zeros(3)], infos=["a"])
    assert_type(webds.encode_buffer([torch.zeros(3)]), bytes)
    assert_type(webds.decode_buffer(buffer), list[npt.NDArray[Any]])
    assert_type(webds.decode_buffer(buffer, infos=True), tuple[list[npt.NDArray[Any]], list[str]])
    webds.zsend_single(socket, [np.zeros(3)])
    webds.zsend_multipart(socket, [np.zeros(3)])
    assert_type(webds.zrecv_single(socket), list[npt.NDArray[Any]])
    assert_type(webds.zrecv_multipart(socket, infos=True), tuple[list[npt.NDArray[Any]], list[str]])
    webds.sctp_send(socket, ("host", 3), [np.zeros(3)])
    assert_type(webds.sctp_recv(socket, maxsize=1000), list[npt.NDArray[Any]])
    assert_type(tenbin.load("x.ten"), list[npt.NDArray[Any]])
    assert_type(webds.tenbin.encode_buffer([np.zeros(3)], infos=["a"]), bytes)


def policies() -> None:
    policy = webds.Policy(webds.ignore_and_continue, max_errors=3)
    assert_type(policy.max_errors, int | None)
    assert_type(policy.raises, bool)
    assert_type(policy.limits(), str)
    assert_type(policy.handler(ValueError()), bool)


def errors() -> None:
    every: list[type[webds.WebdsError]] = [
        webds.TarFormatError,
        webds.SampleError,
        webds.OpenError,
        webds.UrlError,
        webds.DecodeError,
        webds.UntrustedDataError,
        webds.EncodeError,
        webds.FieldError,
        webds.StateError,
        webds.BatchError,
        webds.WorkerError,
        webds.WriteError,
        webds.EmptyDatasetError,
        webds.SplitError,
        webds.LengthError,
        webds.ErrorBudgetError,
        webds.MissingExtraError,
    ]
    try:
        raise every[0]("text", url="x.tar", key="a", field="cls", offset=512, stage="read")
    except OSError as error:
        assert_type(error, OSError)
    except webds.WebdsError as error:
        assert_type((error.message, error.url, error.key), tuple[str, str | None, str | None])
        assert_type((error.field, error.offset, error.stage), tuple[str | None, int | None, str | None])
        assert_type(error.locate(url="y.tar"), webds.WebdsError)
    assert_type(webds.MissingExtraError.of("av", "media", "video"), webds.MissingExtraError)
