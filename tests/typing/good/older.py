"""The older front doors, as an older code base uses them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, assert_type

import torch

import webds


def in_batches(samples: Iterator[Any]) -> Iterable[torch.Tensor]:
    for sample in samples:
        yield torch.as_tensor(sample)


def label_of(sample: webds.Sample) -> int:
    return int(sample["cls"])


def prepare() -> None:
    return


def dataset() -> None:
    data = webds.Dataset(
        "x-{000..146}.tar",
        keys=webds.base_plus_ext,
        suffixes=["jpg", "cls"],
        length=3,
        epochs=2,
        opener=webds.reader,
        handler=webds.warn_and_continue,
        shuffle=True,
        prepare_for_worker=prepare,
        missing_end="accept",
    )
    assert_type(data, webds.Dataset[webds.Sample])
    assert_type(webds.Dataset([Path("x.tar")], prepare_for_worker=False), webds.Dataset[webds.Sample])
    assert_type(webds.Dataset("x.tar", initial_pipeline=[]), webds.Dataset[Any])
    assert_type(webds.Dataset("x.tar", initial_pipeline=[in_batches]), webds.Dataset[Any])


def fluent(data: webds.Dataset) -> None:
    assert_type(data.decode(), webds.Dataset[webds.Sample])
    assert_type(data.decode("rgb8", handler=webds.ignore_and_continue), webds.Dataset[webds.Sample])
    assert_type(data.decode({"txt": bytes.decode, "json": webds.JsonCodec()}), webds.Dataset[webds.Sample])
    assert_type(data.decode(label_of), webds.Dataset[int])
    assert_type(data.map(label_of), webds.Dataset[int])
    assert_type(data.map(label_of, handler=webds.ignore_and_stop).map(str), webds.Dataset[str])
    assert_type(data.map_dict(cls=int, handler=webds.reraise_exception), webds.Dataset[webds.Sample])
    assert_type(data.rename(image="jpg;png"), webds.Dataset[webds.Sample])
    assert_type(data.shuffle(1000), webds.Dataset[webds.Sample])
    assert_type(data.to_tuple("png;jpg cls"), webds.Dataset[tuple[Any, ...]])
    assert_type(data.to_tuple("png;jpg", "cls").map_tuple(None, int), webds.Dataset[tuple[Any, ...]])
    assert_type(data.to_tuple("cls").pipe(in_batches), webds.Dataset[torch.Tensor])
    assert_type(data.to_tuple("cls").pipe(in_batches).shuffle(10), webds.Dataset[torch.Tensor])
    data.map(label_of).subset = (0, 2)


def web_dataset(key_to_dict: Callable[[str], dict[str, int]]) -> None:
    assert_type(webds.WebDataset("x.tar"), webds.WebDataset[webds.Sample])
    assert_type(webds.WebDataset("x.tar", decoder=None, verbose=True, shuffle=100), webds.WebDataset[webds.Sample])
    assert_type(webds.WebDataset("x.tar", decoder=label_of), webds.WebDataset[int])
    assert_type(webds.WebDataset("x.tar", extensions="png;jpg cls"), webds.WebDataset[tuple[Any, ...]])
    pairs = webds.WebDataset(
        "x.tar",
        extensions=[["png", "jpg"], ["cls"]],
        transforms=[torch.as_tensor, None],
        associate=key_to_dict,
        epochs=2,
        handler=webds.warn_and_continue,
        length=100,
    )
    assert_type(pairs, webds.WebDataset[tuple[Any, ...]])
    assert_type(pairs.map_tuple(None, int), webds.Dataset[tuple[Any, ...]])
    batches = webds.WebDataset("x.tar", extensions="cls", associate={"a": {"cls": 1}}, pipeline=in_batches)
    assert_type(batches, webds.WebDataset[torch.Tensor])
    assert_type(next(iter(batches)), torch.Tensor)
    assert_type(webds.WebDataset("x.tar").decode("rgb").map(len), webds.Dataset[int])


def iterator_of_one_stream(stream: BinaryIO) -> None:
    assert_type(webds.tariterator(stream), Iterator[webds.Sample])
    assert_type(webds.tariterator(io.BytesIO(), webds.base_plus_ext, "rgb8", ["cls"]), Iterator[webds.Sample])
    assert_type(webds.tariterator(stream, decoder=label_of), Iterator[int])
    assert_type(webds.tariterator(stream, webds.base_plus_ext, label_of), Iterator[int])
    assert_type(
        webds.tariterator(stream, tar_errors=webds.ignore_and_stop, decode_errors=webds.warn_and_continue),
        Iterator[webds.Sample],
    )


def decoding(data: bytes) -> None:
    assert_type(webds.imagehandler(data, "torchrgb"), Any)
    webds.default_handlers["rgb"]["mp4"] = len
    assert_type(webds.default_handlers["rgb"]["cls"](data), Any)


def opening() -> None:
    assert_type(webds.gopen("x.tar"), BinaryIO)
    assert_type(webds.gopen(Path("x.tar"), "wb", bufsize=1 << 16), BinaryIO)
    assert_type(webds.reader("pipe:cat x.tar"), BinaryIO)
    webds.scheme_to_command["gs"] = "gsutil cat '{url}'"


def checking(value: str | None, number: float) -> None:
    webds.check(value, "value")
    webds.checkcallable(checking, "function")
    webds.checkmember(value, ["a", "b"], "value")
    webds.checknotnone(value)
    webds.checkrange(number, 0, 1.5, "number")
    webds.checktype(value, str)
    webds.checktype(value, (str, int), "value")
    webds.checks.check(value)
