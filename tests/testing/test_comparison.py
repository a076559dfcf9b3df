"""Two values are the same by type, shape, dtype and content, at any depth."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from webds.testing import same, same_form

NAN = float("nan")


@attrs.frozen
class Pair:
    left: object
    right: object


@dataclasses.dataclass(eq=False)
class Box:
    content: object


SAME: list[tuple[object, object]] = [
    (1, 1),
    ("a", "a"),
    (NAN, float("nan")),
    (Fraction(1, 2), Fraction(2, 4)),
    ({"a": [1, (2,)]}, {"a": [1, (2,)]}),
    (np.array([1.0, NAN]), np.array([1.0, NAN])),
    (np.array([object, "a"]), np.array([object, "a"])),
    (np.arange(6).reshape(2, 3)[:, ::2], np.array([[0, 2], [3, 5]])),
    (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN])),
    (torch.tensor(1, dtype=torch.bfloat16), torch.tensor(1, dtype=torch.bfloat16)),
    (Image.new("RGB", (2, 3), 7), Image.new("RGB", (2, 3), 7)),
    (Pair(np.zeros(2), [torch.ones(2)]), Pair(np.zeros(2), [torch.ones(2)])),
    (Box(np.zeros(2)), Box(np.zeros(2))),
]
DIFFERENT: list[tuple[object, object]] = [
    (1, 2),
    (1, 1.0),
    (True, 1),
    ([1], (1,)),
    ([1, 2], [1]),
    ({"a": 1}, {"a": 1, "b": 2}),
    (NAN, 1.0),
    (b"a", bytearray(b"a")),
    (np.zeros(2), [0.0, 0.0]),
    (np.zeros(2), np.zeros(2, "f4")),
    (np.zeros(2), np.zeros((1, 2))),
    (np.zeros(2), np.ones(2)),
    (np.array([1, "a"], object), np.array([1, "b"], object)),
    (torch.zeros(2), np.zeros(2, "f4")),
    (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    (torch.zeros(2), torch.zeros(1, 2)),
    (torch.zeros(2), torch.ones(2)),
    (Image.new("RGB", (2, 3), 7), Image.new("RGB", (2, 3), 8)),
    (Image.new("RGB", (2, 3)), Image.new("RGB", (3, 2))),
    (Image.new("L", (2, 3)), 3),
    (Pair(np.zeros(2), 1), Pair(np.zeros(3), 1)),
    (Box(np.zeros(2)), Box(np.ones(2))),
]


@pytest.mark.parametrize(("actual", "expected"), SAME)
def test_same(actual: object, expected: object) -> None:
    assert same(actual, expected)
    assert same_form(actual, expected)


@pytest.mark.parametrize(("actual", "expected"), DIFFERENT)
def test_not_same_in_either_direction(actual: object, expected: object) -> None:
    assert not same(actual, expected)
    assert not same(expected, actual)


def test_form_is_shape_and_dtype_alone() -> None:
    assert same_form(np.zeros(2), np.ones(2))
    assert same_form(torch.zeros(2), torch.ones(2))
    assert same_form(Image.new("L", (2, 2), 1), Image.new("L", (2, 2), 2))
    assert not same_form(np.zeros(2), np.zeros(3))
    assert not same_form(np.zeros(2), torch.zeros(2))
    assert not same_form([0.0], np.zeros(1))
    assert not same_form(Image.new("L", (2, 2)), Image.new("RGB", (2, 2)))
    assert not same_form("a", 1)
