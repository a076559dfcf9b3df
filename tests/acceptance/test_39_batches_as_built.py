"""Line 39: ``.loader()`` hands values on as they were built: no dimension more, nothing converted."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

import webds
from webds.testing import same


class Pair(NamedTuple):
    image: Any
    label: Any


@attrs.frozen
class Frozen:
    data: Any


@dataclasses.dataclass
class Plain:
    data: Any


VALUES: list[Any] = [
    5,
    2.5,
    True,
    None,
    "text",
    b"bytes",
    (1, "two"),
    [1, [2.0, b"x"]],
    {"__key__": "k", "a": np.arange(6, dtype=np.uint8).reshape(2, 3), "b": None},
    np.float32(0.5),
    np.zeros((0, 3), dtype=np.int16),
    np.array(["x", "yz"]),
    torch.arange(6, dtype=torch.float16).reshape(2, 3),
    torch.tensor(3),
    Pair(torch.zeros(1, 2), "label"),
    Frozen(np.ones(2)),
    Plain([torch.ones(1)]),
    Image.new("RGB", (3, 2), (1, 2, 3)),
    {1, 2},
    1 + 2j,
]


@pytest.mark.parametrize("workers", [0, 2])
def test_39_values_of_any_kind_come_as_they_are(workers: int) -> None:
    builder = webds.DatasetBuilder(webds.MemorySource({str(i): [value] for i, value in enumerate(VALUES)}))
    values = list(builder.loader(num_workers=workers))
    assert len(values) == len(VALUES)
    for value, expected in zip(values, VALUES, strict=True):
        assert same(value, expected), (value, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_39_batches_have_the_dimensions_they_were_built_with(workers: int) -> None:
    samples = [{"__key__": f"k{n}", "x": torch.full((3, 2), n, dtype=torch.uint8), "cls": n} for n in range(6)]
    builder = webds.DatasetBuilder(webds.MemorySource(samples)).to_tuple("__key__", "x", "cls").batch(4)
    shapes = [(keys, x.shape, x.dtype, cls.shape) for keys, x, cls in builder.loader(num_workers=workers)]
    assert shapes == [
        (["k0", "k1", "k2", "k3"], (4, 3, 2), torch.uint8, (4,)),
        (["k4", "k5"], (2, 3, 2), torch.uint8, (2,)),
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_39_what_a_collate_function_made_is_left_alone(workers: int) -> None:
    builder = webds.DatasetBuilder(webds.MemorySource(range(4))).batch(2, collate=np.array)
    batches = list(builder.loader(num_workers=workers))
    assert all(type(batch) is np.ndarray for batch in batches)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("workers", [0, 2])
def test_39_the_loader_yields_what_the_dataset_yields(workers: int) -> None:
    builder = webds.DatasetBuilder(webds.MemorySource(VALUES)).batch(3, collate=tuple)
    for value, expected in zip(builder.loader(num_workers=workers), builder.build(), strict=True):
        assert same(value, expected)
