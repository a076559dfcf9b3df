from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from running import run_stages

from webds.errors import BatchError
from webds.stages.batch import Batch, Unbatch
from webds.stages.fields import ToTuple
from webds.stages.functions import Map, MapTuple
from webds.stages.shuffle import Shuffle


def test_a_batch_has_n_values_and_the_last_one_what_is_left() -> None:
    assert [batch.tolist() for batch in run_stages(range(5), Batch(n=2)).values] == [[0, 1], [2, 3], [4]]
    assert [batch.tolist() for batch in run_stages(range(4), Batch(n=2)).values] == [[0, 1], [2, 3]]
    assert run_stages([], Batch(n=2)).values == []


def test_a_last_batch_that_is_smaller_is_dropped_if_told_so() -> None:
    assert [batch.tolist() for batch in run_stages(range(5), Batch(n=2, partial=False)).values] == [[0, 1], [2, 3]]
    assert run_stages(range(1), Batch(n=2, partial=False)).values == []


def test_a_collate_function_gets_a_list() -> None:
    assert run_stages(range(3), Batch(n=2, collate=lambda values: values)).values == [[0, 1], [2]]


def test_the_origin_of_a_batch_is_that_of_all_its_samples() -> None:
    assert run_stages(range(3), Batch(n=2)).origins[0] == (("mem", 0, None), ("mem", 1, None))


def test_an_error_names_the_sample_to_blame() -> None:
    samples = [{"__key__": f"k{n}", "x": torch.zeros(3 if n == 2 else 2)} for n in range(4)]
    with pytest.raises(BatchError, match=r"\(2,\) and \(3,\)") as caught:
        run_stages(samples, Map(f=lambda sample: sample["x"]), Batch(n=4))
    error = caught.value
    assert (error.url, error.stage) == ("mem", "batch")
    assert error.key is not None
    assert error.key.startswith("k2")


def test_an_error_calls_the_elements_of_a_tuple_by_their_fields() -> None:
    samples = [{"__key__": f"k{n}", "x.npy": torch.zeros(n // 3), "cls": n} for n in range(4)]
    with pytest.raises(BatchError) as caught:
        run_stages(samples, ToTuple(fields=("cls", "x.npy;x.pt")), Shuffle(size=1, seed=0), Batch(n=4))
    assert caught.value.field == "x.npy;x.pt"
    as_they_are = MapTuple(fs=(None, lambda value: value))
    with pytest.raises(BatchError) as caught:
        run_stages(samples, ToTuple(fields=("cls", "x.npy")), as_they_are, Batch(n=4))
    assert caught.value.field == "x.npy"
    with pytest.raises(BatchError) as caught:
        run_stages(samples, ToTuple(fields=("cls", "x.npy")), Map(f=lambda pair: (*pair, 0)), Batch(n=4))
    assert caught.value.field == "element 1", "a function may have made something else of it"


def test_an_error_of_a_collate_function_keeps_its_type() -> None:
    def refuse(values: list[int]) -> list[int]:
        raise LookupError("no")

    with pytest.raises(LookupError) as caught:
        run_stages(range(3), Batch(n=2, collate=refuse))
    notes = "".join(caught.value.__notes__)
    assert '"batch"' in notes
    assert '"mem"' in notes


def test_all_samples_of_a_batch_that_failed_are_counted_and_the_next_batch_comes() -> None:
    ran = run_stages([1, 2, 3, 0, 5, 6], Batch(n=2, collate=lambda values: [6 // value for value in values]),
                     policy="skip")  # fmt: skip
    assert ran.values == [[6, 3], [1, 1]]
    assert [(loss.stage, loss.url) for loss in ran.losses] == [("batch", "mem")] * 2


def test_a_batch_does_not_hold_on_to_its_samples() -> None:
    class Value:
        pass

    gone: list[bool] = []
    earlier: list[weakref.ref[Value]] = []

    def make(n: int) -> Value:
        value = Value()
        earlier.append(weakref.ref(value))
        return value

    def count(values: list[Value]) -> int:
        gone.append(all(ref() is None for ref in earlier[: -len(values)]))
        return len(values)

    assert run_stages(range(6), Map(f=make), Batch(n=2, collate=count)).values == [2, 2, 2]
    assert gone == [True, True, True]


def test_unbatch_takes_apart_what_batch_put_together() -> None:
    samples = [{"__key__": f"k{n}", "x": torch.full((2,), n), "t": str(n)} for n in range(5)]
    ran = run_stages(samples, Batch(n=2), Unbatch())
    assert [value["__key__"] for value in ran.values] == ["k0", "k1", "k2", "k3", "k4"]
    assert torch.equal(ran.values[3]["x"], torch.full((2,), 3))
    assert ran.origins[3] == ("mem", 3, "k3")


def test_batches_can_be_shuffled_and_their_samples_keep_their_origins() -> None:
    ran = run_stages(range(9), Batch(n=2), Shuffle(size=3, seed=0), Unbatch(), Map(f=int))
    assert sorted(ran.values) == list(range(9))
    assert [ordinal for _, ordinal, _ in ran.origins] == ran.values


def test_a_batch_of_another_size_than_it_was_made_of_is_located_as_a_whole() -> None:
    ran = run_stages(range(4), Batch(n=2, collate=sum), Map(f=lambda total: [total, total, total]), Unbatch())
    assert ran.values == [1, 1, 1, 5, 5, 5]
    assert ran.origins[0] == (("mem", 0, None), ("mem", 1, None))


@pytest.mark.parametrize("value", [5, "text", {"a": [1, 2], "b": [1]}, torch.tensor(3)])
def test_unbatch_refuses_what_is_no_batch(value: Any) -> None:
    with pytest.raises(BatchError, match="unbatch") as caught:
        run_stages([value], Unbatch())
    assert (caught.value.url, caught.value.stage) == ("mem", "unbatch")
    assert run_stages([value, [7]], Unbatch(), policy="skip").values == [7]


def test_an_empty_batch_holds_nothing() -> None:
    assert run_stages([[], [1]], Unbatch()).values == [1]


def test_their_lengths_are_unknown_and_they_look_at_everything() -> None:
    for stage in (Batch(n=2), Unbatch()):
        assert stage.length(4) is None
        assert stage.wants(frozenset({"a"})) is None


def test_descriptions() -> None:
    assert Batch(n=4).describe() == "4; the last one may be smaller"
    assert Batch(n=4, partial=False, collate=list).describe() == "4 by list; a last one that is smaller is dropped"
    assert "first dimension" in Unbatch().describe()
