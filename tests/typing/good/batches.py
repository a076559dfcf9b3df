"""What batches are of, and what comes out of them again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict, assert_type

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import TypeVar

import webds

X = TypeVar("X")


class Pair(NamedTuple):
    left: int
    right: str


class Labelled(TypedDict):
    label: int


def stacked(images: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(images)


def longest(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def samples(builder: webds.DatasetBuilder, typed: webds.DatasetBuilder[Labelled]) -> None:
    assert_type(builder.batch(64), webds.DatasetBuilder[webds.Sample])
    assert_type(builder.batch(64, partial=False).unbatch(), webds.DatasetBuilder[webds.Sample])
    assert_type(typed.batch(64), webds.DatasetBuilder[dict[str, Any]])


def tuples(builder: webds.DatasetBuilder, names: Sequence[str], pairs: webds.DatasetBuilder[Pair]) -> None:
    one = builder.to_tuple("a").batch(2)
    assert_type(one, webds.DatasetBuilder[tuple[Any]])
    assert_type(one.unbatch(), webds.DatasetBuilder[tuple[Any]])
    two = builder.to_tuple("a", "b").map_tuple(int, str).batch(2)
    assert_type(two, webds.DatasetBuilder[tuple[Any, Any]])
    assert_type(two.unbatch(), webds.DatasetBuilder[tuple[Any, Any]])
    three = builder.to_tuple("a", "b", "c").batch(2)
    assert_type(three, webds.DatasetBuilder[tuple[Any, Any, Any]])
    assert_type(three.unbatch(), webds.DatasetBuilder[tuple[Any, Any, Any]])
    four = builder.to_tuple("a", "b", "c", "d").batch(2)
    assert_type(four, webds.DatasetBuilder[tuple[Any, Any, Any, Any]])
    assert_type(four.unbatch(), webds.DatasetBuilder[tuple[Any, Any, Any, Any]])
    five = builder.to_tuple("a", "b", "c", "d", "e").batch(2)
    assert_type(five, webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any]])
    assert_type(five.unbatch(), webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any]])
    six = builder.to_tuple("a", "b", "c", "d", "e", "f").batch(2)
    assert_type(six, webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any, Any]])
    assert_type(six.unbatch(), webds.DatasetBuilder[tuple[Any, Any, Any, Any, Any, Any]])
    some = builder.to_tuple(*names).batch(2)
    assert_type(some, webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(some.unbatch(), webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(builder.map(lambda sample: (1,) * len(sample)).batch(2), webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(pairs.batch(2), webds.DatasetBuilder[tuple[Any, Any]])


def single_values(
    tensors: webds.DatasetBuilder[torch.Tensor],
    arrays: webds.DatasetBuilder[npt.NDArray[np.float32]],
    anything: webds.DatasetBuilder[npt.NDArray[Any]],
    numbers: webds.DatasetBuilder[np.float32],
    texts: webds.DatasetBuilder[str],
    datas: webds.DatasetBuilder[bytes],
    lists: webds.DatasetBuilder[list[int]],
    names: webds.DatasetBuilder[npt.NDArray[np.str_]],
) -> None:
    assert_type(tensors.batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(tensors.batch(2).unbatch(), webds.DatasetBuilder[torch.Tensor])
    assert_type(arrays.batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(arrays.unbatch(), webds.DatasetBuilder[Any])
    assert_type(anything.batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(numbers.batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(texts.map(len).batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(texts.map(bool).batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(texts.map(float).batch(2), webds.DatasetBuilder[torch.Tensor])
    assert_type(texts.batch(2), webds.DatasetBuilder[list[str]])
    assert_type(texts.batch(2).unbatch(), webds.DatasetBuilder[str])
    assert_type(datas.batch(2), webds.DatasetBuilder[list[bytes]])
    assert_type(lists.batch(2), webds.DatasetBuilder[tuple[Any, ...]])
    assert_type(lists.unbatch(), webds.DatasetBuilder[int])
    assert_type(names.batch(2), webds.DatasetBuilder[list[Any]])


def functions_that_collate(
    builder: webds.DatasetBuilder, tensors: webds.DatasetBuilder[torch.Tensor], texts: webds.DatasetBuilder[str]
) -> None:
    assert_type(tensors.batch(2, collate=stacked), webds.DatasetBuilder[torch.Tensor])
    assert_type(texts.batch(2, partial=False, collate=longest), webds.DatasetBuilder[int])
    assert_type(builder.batch(2, collate=len), webds.DatasetBuilder[int])
    assert_type(texts.batch(2, collate=tuple), webds.DatasetBuilder[tuple[str, ...]])
    assert_type(texts.batch(2, collate=lambda values: values[0]), webds.DatasetBuilder[str])
    assert_type(webds.collate([1, 2]), Any)


def unknown_values_stay_unknown(unknown: webds.DatasetBuilder[Any]) -> None:
    assert_type(unknown.batch(2), webds.DatasetBuilder[Any])
    assert_type(unknown.unbatch(), webds.DatasetBuilder[Any])
    assert_type(unknown.map_tuple(int, str), webds.DatasetBuilder[tuple[int, str]])
    assert_type(unknown.batch(2, collate=len), webds.DatasetBuilder[int])


def whoever_does_not_know_the_values_collates_by_a_function(builder: webds.DatasetBuilder[X]) -> None:
    assert_type(builder.batch(3, collate=tuple), webds.DatasetBuilder[tuple[X, ...]])
