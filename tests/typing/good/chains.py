"""Every step of a builder's chain, and the type that it has after it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard, assert_type

import torch
from typing_extensions import TypeIs, TypeVar

import webds

X = TypeVar("X")


def to_float(image: torch.Tensor) -> torch.Tensor:
    return image / 255


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    return isinstance(value, torch.Tensor)


def has_two(values: tuple[int, ...]) -> TypeGuard[tuple[int, int]]:
    return len(values) == 2


def where_it_begins() -> None:
    assert_type(webds.DatasetBuilder("train-{000..146}.tar"), webds.DatasetBuilder[webds.Sample])
    assert_type(webds.DatasetBuilder(Path("x.tar")), webds.DatasetBuilder[dict[str, Any]])
    assert_type(webds.DatasetBuilder(["x.tar", Path("y.tar")]), webds.DatasetBuilder[webds.Sample])
    assert_type(webds.DatasetBuilder(webds.MemorySource([1, 2])), webds.DatasetBuilder[int])
    assert_type(webds.DatasetBuilder(webds.TarSource("x.tar", webds.FileOpener())), webds.DatasetBuilder[webds.Sample])
    paths: Sequence[os.PathLike[str]] = [Path("x.tar")]
    builder = webds.DatasetBuilder(
        paths,
        opener="aws s3 cp {url} -",
        keys=webds.base_plus_ext,
        on_error="warn",
        missing_end="accept",
        duplicates="first",
    )
    assert_type(builder, webds.DatasetBuilder[webds.Sample])


def which_samples_and_in_which_order(builder: webds.DatasetBuilder, ints: webds.DatasetBuilder[int]) -> None:
    assert_type(builder.split(webds.SplitByNode()), webds.DatasetBuilder[webds.Sample])
    assert_type(ints.split(lambda shards, place: shards[place.rank :: place.world_size]), webds.DatasetBuilder[int])
    assert_type(ints.shuffle(), webds.DatasetBuilder[int])
    assert_type(
        ints.shuffle(5000, seed=17, shards=False, initial=100, max_bytes=1 << 30).repeat().repeat(3).take(10),
        webds.DatasetBuilder[int],
    )


def what_becomes_of_a_sample(builder: webds.DatasetBuilder, labels: Mapping[str, Mapping[str, int]]) -> None:
    assert_type(builder.decode(), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.decode("torchrgb8"), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.decode("rgb", threads=4, size=224), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.decode("rgb", size=(224, 320)), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.select("jpg;png", "cls"), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.rename(image="jpg;png"), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.map_dict(cls=int, txt=str.lower), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.associate(labels), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.associate(lambda key: {"cls": len(key)}), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.map(len), webds.DatasetBuilder[int])
    assert_type(builder.map(lambda sample: str(sample["__key__"])), webds.DatasetBuilder[str])
    assert_type(builder.map(len).map(str).map(lambda text: (text, len(text))), webds.DatasetBuilder[tuple[str, int]])
    assert_type(builder.map(len).filter(lambda n: n > 3), webds.DatasetBuilder[int])


def tuples_of_fields(builder: webds.DatasetBuilder, names: Sequence[str]) -> None:
    assert_type(builder.to_tuple("jpg"), webds.DatasetBuilder[tuple[Any]])
    assert_type(builder.to_tuple("jpg;png", "cls"), webds.DatasetBuilder[tuple[Any, Any]])
    assert_type(builder.to_tuple("a", "b", "c"), webds.DatasetBuilder[tuple[Any, Any, Any]])
    assert_type(builder.to_tuple("a", "b", "c", "d"), webds.DatasetBuilder[tuple[Any, Any, Any, Any]])
    assert_type(builder.to_tuple("a", "b", "c", "d", "e"), webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any]])
    assert_type(
        builder.to_tuple("a", "b", "c", "d", "e", "f"), webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any, Any]]
    )
    assert_type(builder.to_tuple("a", "b", "c", "d", "e", "f", "g"), webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(builder.to_tuple(*names), webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(builder.to_tuple("jpg", "cls", missing="skip"), webds.DatasetBuilder[tuple[Any, Any]])
    assert_type(builder.to_tuple("jpg", "cls", missing=None), webds.DatasetBuilder[tuple[Any, Any]])


def functions_of_elements(builder: webds.DatasetBuilder, functions: Sequence[Callable[[Any], int]]) -> None:
    assert_type(builder.to_tuple("a").map_tuple(int), webds.DatasetBuilder[tuple[int]])
    two = builder.to_tuple("jpg", "cls").map_tuple(to_float, int)
    assert_type(two, webds.DatasetBuilder[tuple[torch.Tensor, int]])
    assert_type(two.map_tuple(lambda image: image.shape, str), webds.DatasetBuilder[tuple[torch.Size, str]])
    assert_type(builder.to_tuple("a", "b", "c").map_tuple(int, str, len), webds.DatasetBuilder[tuple[int, str, int]])
    four = builder.to_tuple("a", "b", "c", "d").map_tuple(int, str, len, float)
    assert_type(four, webds.DatasetBuilder[tuple[int, str, int, float]])
    five = builder.to_tuple("a", "b", "c", "d", "e").map_tuple(int, str, len, float, bool)
    assert_type(five, webds.DatasetBuilder[tuple[int, str, int, float, bool]])
    six = builder.to_tuple("a", "b", "c", "d", "e", "f").map_tuple(int, str, len, float, bool, bytes)
    assert_type(six, webds.DatasetBuilder[tuple[int, str, int, float, bool, bytes]])
    seven = builder.to_tuple("a", "b", "c", "d", "e", "f", "g").map_tuple(int, str, len, float, bool, bytes, repr)
    assert_type(seven, webds.DatasetBuilder[tuple[Any, ...]])
    unknown: Iterable[str] = ("jpg", "cls")
    assert_type(builder.to_tuple(*unknown).map_tuple(to_float, int), webds.DatasetBuilder[tuple[torch.Tensor, int]])
    builder.to_tuple(*unknown).map_tuple(*functions)


def filters_that_narrow(
    values: webds.DatasetBuilder[torch.Tensor | str], pairs: webds.DatasetBuilder[tuple[int, ...]]
) -> None:
    assert_type(values.filter(is_tensor), webds.DatasetBuilder[torch.Tensor])
    assert_type(values.filter(is_tensor).map(to_float), webds.DatasetBuilder[torch.Tensor])
    assert_type(pairs.filter(has_two), webds.DatasetBuilder[tuple[int, int]])
    assert_type(pairs.filter(len), webds.DatasetBuilder[tuple[int, ...]])


def in_pairs(values: Iterator[X]) -> Iterator[tuple[X, X]]:
    return zip(values, values, strict=False)


def lengths(samples: Iterable[webds.Sample]) -> list[int]:
    return [len(sample) for sample in samples]


def functions_of_the_iterator(builder: webds.DatasetBuilder) -> None:
    assert_type(builder.pipe(lengths), webds.DatasetBuilder[int])
    assert_type(builder.pipe(lengths).pipe(in_pairs), webds.DatasetBuilder[tuple[int, int]])
    assert_type(builder.pipe(in_pairs), webds.DatasetBuilder[tuple[webds.Sample, webds.Sample]])
    assert_type(builder.pipe(lengths).pipe(enumerate), webds.DatasetBuilder[tuple[int, int]])


def open_binary(url: str) -> BinaryIO:
    return open(url, "rb")


def log_and_continue(error: Exception) -> bool:
    return isinstance(error, webds.DecodeError)


def how(ints: webds.DatasetBuilder[int]) -> None:
    assert_type(ints.on_error("skip", max_errors=10), webds.DatasetBuilder[int])
    assert_type(ints.on_error(log_and_continue).on_error(webds.warn_and_stop), webds.DatasetBuilder[int])
    assert_type(ints.on_error(webds.Policy.of("warn", 3)), webds.DatasetBuilder[int])
    assert_type(ints.cache("/cache", 1 << 40), webds.DatasetBuilder[int])
    assert_type(ints.cache(Path("/cache"), max_bytes=None, validate="size", local=True), webds.DatasetBuilder[int])
    assert_type(ints.prefetch().prefetch(shards=4, max_bytes=1 << 28), webds.DatasetBuilder[int])
    assert_type(ints.with_opener("hdfs", open_binary), webds.DatasetBuilder[int])
    assert_type(ints.with_opener("gs", "gsutil cat {url}").with_opener("my", webds.reader), webds.DatasetBuilder[int])
    assert_type(ints.with_opener("https", webds.HttpOpener(auth="token", timeout=3)), webds.DatasetBuilder[int])
    assert_type(ints.with_decoder("flac", webds.AudioDecoder()), webds.DatasetBuilder[int])
    assert_type(ints.with_decoder("json", json.loads).with_decoder("bin", len), webds.DatasetBuilder[int])


def finish(builder: webds.DatasetBuilder, ints: webds.DatasetBuilder[int]) -> None:
    assert_type(builder.build(), webds.Dataset[webds.Sample])
    assert_type(ints.build(), webds.Dataset[int])
    assert_type(ints.loader(num_workers=2, persistent_workers=True, prefetch_factor=4), webds.Loader[int])
    assert_type(ints.explain(), str)
    assert_type(webds.DatasetBuilder[int].of(ints.plan), webds.DatasetBuilder[int])


def a_whole_chain() -> None:
    train = (
        webds.DatasetBuilder("data/train-{000000..000146}.tar")
        .shuffle(5000, seed=17)
        .decode("torchrgb8")
        .to_tuple("jpg;png", "cls")
        .map_tuple(to_float, int)
        .batch(64)
        .build()
    )
    assert_type(train, webds.Dataset[tuple[Any, Any]])


def a_builder_of_something_is_one_of_something_more_general(
    ints: webds.DatasetBuilder[int], pairs: webds.DatasetBuilder[tuple[int, str]]
) -> tuple[webds.DatasetBuilder[float], webds.DatasetBuilder[object], webds.DatasetBuilder[Sequence[int | str]]]:
    return ints, ints, pairs
