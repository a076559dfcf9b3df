"""Calls of a builder's methods that must not pass: each marked line is an error, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, TextIO

import attrs
import torch

import webds


@attrs.frozen
class Photo:
    jpg: torch.Tensor


class Plain:
    jpg: torch.Tensor


def of_tensor(image: torch.Tensor) -> torch.Tensor:
    return image


def of_text(text: str) -> str:
    return text


def of_number(number: int) -> str:
    return str(number)


def of_two(first: Any, second: Any) -> bool:
    return first is second


def of_numbers(numbers: list[int]) -> int:
    return sum(numbers)


def doubled(numbers: Iterator[int]) -> Iterator[int]:
    return (2 * number for number in numbers)


def open_text(url: str) -> TextIO:
    return open(url, encoding="utf-8")


def open_number(number: int) -> BinaryIO:
    return open(number, "rb")


def where_it_begins(source: webds.Source[int]) -> None:
    webds.DatasetBuilder()  # error
    webds.DatasetBuilder(3)  # error
    webds.DatasetBuilder([1, 2])  # error
    webds.DatasetBuilder(webds.MemorySource)  # error
    webds.DatasetBuilder("x.tar", webds.FileOpener())  # error
    webds.DatasetBuilder("x.tar", opener=webds.FileOpener)  # error
    webds.DatasetBuilder("x.tar", opener=open_text)  # error
    webds.DatasetBuilder("x.tar", opener=open_number)  # error
    webds.DatasetBuilder("x.tar", keys=of_text)  # error
    webds.DatasetBuilder("x.tar", on_error="ignore")  # error
    webds.DatasetBuilder("x.tar", missing_end="ignore")  # error
    webds.DatasetBuilder("x.tar", duplicates="both")  # error
    webds.DatasetBuilder("x.tar", decoder="rgb")  # error
    webds.DatasetBuilder(source, opener=webds.FileOpener())  # error
    webds.DatasetBulder("x.tar")  # error


def it_is_frozen(builder: webds.DatasetBuilder, other: webds.DatasetBuilder) -> None:
    builder.plan = other.plan  # error
    builder.seed = 3  # error


class Mine(webds.DatasetBuilder[int]):  # error
    """Its class is final: `pipe` and `map` extend it."""


def which_samples_and_in_which_order(builder: webds.DatasetBuilder) -> None:
    builder.split(3)  # error
    builder.split(webds.SplitByNode)  # error
    builder.split(of_text)  # error
    builder.shuffle("5000")  # error
    builder.shuffle(5000, 17)  # error
    builder.shuffle(5000, seed="17")  # error
    builder.shuffle(5000, seed=None)  # error
    builder.shuffle(initial="all")  # error
    builder.shuffle(buffer=5000)  # error
    builder.repeat("forever")  # error
    builder.take()  # error
    builder.take(None)  # error
    builder.take(1.5)  # error


def what_becomes_of_a_sample(builder: webds.DatasetBuilder) -> None:
    builder.decode(3)  # error
    builder.decode({"jpg": of_tensor})  # error
    builder.decode(of_tensor)  # error
    builder.decode("rgb", 4)  # error
    builder.decode("rgb", threads="all")  # error
    builder.decode("rgb", size="large")  # error
    builder.decode("rgb", size=(1, 2, 3))  # error
    builder.select(3)  # error
    builder.rename(image=3)  # error
    builder.rename("jpg")  # error
    builder.map(3)  # error
    builder.map(of_number)  # error
    builder.map(of_two)  # error
    builder.map_dict(cls=3)  # error
    builder.map_dict(int)  # error
    builder.filter(3)  # error
    builder.filter(of_two)  # error
    builder.filter(of_number)  # error
    builder.associate("labels.json")  # error
    builder.associate({"a": 3})  # error
    builder.to_tuple(3)  # error
    builder.to_tuple(["jpg", "cls"])  # error
    builder.pipe(3)  # error
    builder.pipe(doubled)  # error
    builder.pipe(len)  # error


def what_needs_samples_takes_no_tuples(pairs: webds.DatasetBuilder[tuple[torch.Tensor, int]]) -> None:
    pairs.decode()  # error
    pairs.select("jpg")  # error
    pairs.rename(image="jpg")  # error
    pairs.map_dict(jpg=of_tensor)  # error
    pairs.associate({})  # error
    pairs.to_tuple("jpg")  # error
    pairs.into(Photo)  # error


def functions_of_elements(builder: webds.DatasetBuilder, pairs: webds.DatasetBuilder[tuple[torch.Tensor, int]]) -> None:
    builder.map_tuple(of_tensor)  # error
    builder.to_tuple("jpg", "cls").map_tuple(of_tensor)  # error
    builder.to_tuple("jpg", "cls").map_tuple(of_tensor, int, str)  # error
    pairs.map_tuple(of_tensor, of_tensor)  # error
    pairs.map_tuple(of_text, of_number)  # error
    pairs.map_tuple(of_tensor, None)  # error
    pairs.map_tuple(of_tensor, 3)  # error
    pairs.map_tuple(of_tensor, of_number).map_tuple(of_tensor, of_number)  # error
    pairs.map(lambda pair: pair[2])  # error


def classes(builder: webds.DatasetBuilder) -> None:
    builder.into(3)  # error
    builder.into(int)  # error
    builder.into(dict)  # error
    builder.into(Plain)  # error
    builder.into(of_tensor)  # error
    builder.into(Photo(torch.zeros(3)))  # error
    builder.into("Photo")  # error
    builder.into(Photo).map(lambda photo: photo.label)  # error
    builder.into(Photo).to_tuple("jpg")  # error


def batches(
    builder: webds.DatasetBuilder, texts: webds.DatasetBuilder[str], mixed: webds.DatasetBuilder[torch.Tensor | str]
) -> None:
    builder.batch()  # error
    builder.batch("64")  # error
    builder.batch(64, False)  # error
    builder.batch(64, drop_last=True)  # error
    builder.batch(64, collate=3)  # error
    texts.batch(64, collate=of_numbers)  # error
    texts.batch(64, collate=of_text)  # error
    texts.batch(64, collate=of_two)  # error
    texts.batch(64).map(of_text)  # error
    mixed.batch(64)  # error
    builder.into(Photo).batch(64)  # error
    texts.unbatch()  # error
    builder.map(len).unbatch()  # error


def how(builder: webds.DatasetBuilder) -> None:
    builder.on_error("ignore")  # error
    builder.on_error(of_text)  # error
    builder.on_error("skip", "3")  # error
    builder.cache()  # error
    builder.cache("/cache", "1GB")  # error
    builder.cache("/cache", validate="etag")  # error
    builder.prefetch("2")  # error
    builder.prefetch(max_bytes=None)  # error
    builder.with_opener(webds.FileOpener())  # error
    builder.with_opener("my", 3)  # error
    builder.with_opener("my", webds.FileOpener)  # error
    builder.with_opener("my", open_text)  # error
    builder.with_decoder("flac")  # error
    builder.with_decoder("flac", 3)  # error
    builder.with_decoder("flac", webds.AudioDecoder)  # error
    builder.with_decoder("txt", of_text)  # error


def finish(builder: webds.DatasetBuilder) -> None:
    builder.build("x.tar")  # error
    builder.loader(2)  # error
    builder.loader(num_workers="2")  # error
    builder.loader(batch_size=64)  # error
    builder.loader(shuffle=True)  # error
    builder.loader(collate_fn=len)  # error
    builder.loader(workers=2)  # error
    builder.loader(persistent_workers="yes")  # error


def plan(builder: webds.DatasetBuilder) -> None:
    builder.split(webds.NoSplit(), nodes=2)  # error
    builder.split(nodes="2")  # error
    builder.plan_for(8)  # error
    builder.plan_for(world_size="8")  # error
    builder.plan_for(ranks=8)  # error


def a_type_that_is_not_so(builder: webds.DatasetBuilder, ints: webds.DatasetBuilder[int]) -> None:
    tuples: webds.DatasetBuilder[tuple[Any, Any, Any]] = builder.to_tuple("jpg", "cls")  # error
    texts: webds.DatasetBuilder[str] = ints.filter(bool)  # error
    dataset: webds.Dataset[str] = ints.build()  # error
    loader: webds.Loader[str] = ints.loader()  # error
    print(tuples, texts, dataset, loader)
