from __future__ import annotations

from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from webds.errors import BatchError
from webds.stages.collate import collate, split_batch
from webds.testing import same


class Pair(NamedTuple):
    image: Any
    label: Any


def test_tensors_and_arrays_are_stacked() -> None:
    tensors = collate([torch.full((2, 3), n, dtype=torch.int16) for n in range(4)])
    assert (tensors.shape, tensors.dtype) == ((4, 2, 3), torch.int16)
    assert tensors[3, 0, 0] == 3
    arrays = collate([np.full((2,), n, dtype=np.float32) for n in range(3)])
    assert same(arrays, torch.tensor([[0, 0], [1, 1], [2, 2]], dtype=torch.float32))
    assert collate([torch.tensor(1), torch.tensor(2)]).tolist() == [1, 2]


def test_a_batch_shares_no_memory_with_its_samples() -> None:
    array, tensor = np.zeros(2), torch.zeros(2)
    batches = collate([array]), collate([tensor])
    array[0] = tensor[0] = 1
    assert all(batch[0, 0] == 0 for batch in batches)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], torch.int64),
        ([-(2**63), 2**63 - 1], torch.int64),
        ([True, False], torch.bool),
        ([1.5, 2.5], torch.float64),
        ([1, 2.5], torch.float64),
        ([2.5, 1], torch.float64),
        ([1j, 2.0], torch.complex128),
        ([np.float32(1.5)], torch.float32),
        ([np.uint8(255)], torch.uint8),
        ([np.bool_(True)], torch.bool),
        ([float("nan")], torch.float64),
    ],
)
def test_numbers_become_tensors_of_their_own_precision(values: list[Any], dtype: torch.dtype) -> None:
    batch = collate(values)
    assert (batch.dtype, batch.shape) == (dtype, (len(values),))
    assert np.array_equal(batch.numpy(), np.array(values).astype(batch.numpy().dtype), equal_nan=True)


@pytest.mark.parametrize("values", [[1.5, 1j], [1, 2j], [True, 2], [True, 0.5], [2, True]])
def test_numbers_of_several_kinds_lose_nothing(values: list[Any]) -> None:
    assert collate(values).tolist() == values


def test_texts_and_bytes_become_lists() -> None:
    assert collate(["a", "bc"]) == ["a", "bc"]
    assert collate([b"a", b""]) == [b"a", b""]
    assert collate([np.str_("a"), np.str_("b")]) == ["a", "b"]


def test_structures_keep_their_form() -> None:
    batch = collate([{"a": (1, "x"), "b": [np.zeros(2), {"c": True}]}] * 3)
    assert list(batch) == ["a", "b"]
    assert type(batch["a"]) is tuple
    assert batch["a"][0].tolist() == [1, 1, 1]
    assert batch["a"][1] == ["x", "x", "x"]
    assert type(batch["b"]) is tuple
    assert batch["b"][0].shape == (3, 2)
    assert batch["b"][1]["c"].tolist() == [True] * 3
    named = collate([Pair(1, "a"), Pair(2, "b")])
    assert type(named) is Pair
    assert named.label == ["a", "b"]
    assert collate([MappingProxyType({"a": 1})])["a"].tolist() == [1]
    assert collate([(), ()]) == ()
    assert collate([{}, {}]) == {}


def test_big_endian_and_read_only_arrays_are_taken() -> None:
    array = np.array([1, 2], dtype=">i4")
    array.flags.writeable = False
    assert collate([array, array]).tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("values", "field", "words", "position"),
    [
        ([{"x": torch.zeros(2)}, {"x": torch.zeros(2)}, {"x": torch.zeros(3)}], "x", r"\(2,\) and \(3,\)", 2),
        ([(np.zeros((2, 2)), 1), (np.zeros((2, 3)), 1)], "element 0", r"\(2, 2\) and \(2, 3\)", 1),
        ([{"a": {"b": torch.zeros(1)}}, {"a": {"b": torch.zeros(2)}}], "a.b", "unequal shapes", 1),
        ([Pair(torch.zeros(1), 1), Pair(torch.zeros(2), 1)], "image", "unequal shapes", 1),
        ([{"x": torch.zeros(1)}, {"x": torch.zeros(1, dtype=torch.int8)}], "x", "float32 and torch.int8", 1),
        ([np.zeros(1, dtype="u1"), np.zeros(1, dtype="u2")], None, "uint8 and uint16", 1),
        ([{"a": 1}, {"a": 1, "b": 2}], "b", "not every sample has the field b", 1),
        ([{"a": 1, "b": 2}, {"a": 1}], "b", "not every sample has the field b", 1),
        ([(1, 2), (1, 2, 3)], None, "2 and 3", 1),
        ([(1, 2), 5], None, "tuple and int", 1),
        ([1, "1"], None, "int and str", 1),
        (["1", 1], None, "str and int", 1),
        ([{"a": 1}, 1], None, "dict and int", 1),
        ([torch.zeros(1), np.zeros(1)], None, "Tensor and ndarray", 1),
        ([1, None], None, "int and NoneType", 1),
        ([{"x": None}, {"x": None}], "x", "NoneType", None),
        ([{"x": object()}], "x", "object", None),
        ([2**64, 1], None, "fit no tensor", None),
        ([np.array(["2020-01-01"], dtype="M8[D]")], None, "datetime64", None),
        ([np.array([object()], dtype=object)], None, "object", None),
    ],
)
def test_what_does_not_fit_names_the_field_the_difference_and_the_way_out(
    values: list[Any], field: str | None, words: str, position: int | None
) -> None:
    with pytest.raises(BatchError, match=words) as caught:
        collate(values)
    assert caught.value.field == field
    assert "collate=" in caught.value.message
    assert "with map before batch" in caught.value.message
    assert caught.value.__dict__["sample"] == position


@pytest.mark.parametrize(
    ("values", "way_out"),
    [
        ([torch.zeros(2), torch.zeros(3)], "pad or resize them"),
        ([np.zeros(2), np.zeros(3)], "pad or resize them"),
        ([(1,), (1, 2)], "pad or resize them"),
        ([torch.zeros(1), torch.zeros(1, dtype=torch.int8)], "make them alike"),
        ([1, "1"], "make them alike"),
        ([{"a": 1}, {"b": 1}], "make them alike"),
        ([object()], "turn them into tensors"),
        ([2**64, 1], "turn them into tensors"),
    ],
)
def test_the_way_out_is_one_for_what_is_wrong(values: list[Any], way_out: str) -> None:
    with pytest.raises(BatchError, match=f"; {way_out}"):
        collate(values)


leaves = st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3) | st.binary(max_size=3) | st.booleans()


@given(
    st.recursive(
        leaves,
        lambda inner: st.tuples(inner, inner) | st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
        max_leaves=5,
    ),
    st.integers(1, 4),
)
def test_splitting_undoes_collating(sample: Any, n: int) -> None:
    samples = split_batch(collate([sample] * n))
    assert [_plain(part) for part in samples] == [sample] * n


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.item()
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def test_splitting_keeps_named_tuples_and_arrays() -> None:
    samples = split_batch(Pair(np.arange(4).reshape(2, 2), ["a", "b"]))
    assert type(samples[1]) is Pair
    assert samples[1].image.tolist() == [2, 3]


def test_splitting_refuses_columns_of_unequal_lengths() -> None:
    with pytest.raises(BatchError, match=r"\[1, 2\]"):
        split_batch(([1], [1, 2]))


def test_samples_that_are_lists_come_back_from_a_batch() -> None:
    batch = collate([[1, "a"], [2, "b"], [3, "c"]])
    assert type(batch) is tuple
    assert [(int(number), text) for number, text in split_batch(batch)] == [(1, "a"), (2, "b"), (3, "c")]
