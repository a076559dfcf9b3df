from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from running import run_stages

from webds.errors import EmptyDatasetError, ErrorBudgetError, FieldError
from webds.stages.batch import Batch, Unbatch
from webds.stages.fields import ToTuple
from webds.stages.flow import Repeat, Take
from webds.stages.functions import Filter, Map, MapDict, MapTuple, Pipe, name_of
from webds.stages.shuffle import Shuffle

SAMPLES = [{"__key__": f"k{n}", "cls": n, "txt": str(n)} for n in range(3)]


def _double(n: int) -> int:
    return n * 2


def test_functions_are_shown_by_their_names() -> None:
    assert name_of(_double) == "_double"
    assert name_of(functools.partial(_double)) == "partial"
    assert name_of(int) == "int"


def test_map_replaces_each_value() -> None:
    assert run_stages([1, 2], Map(f=_double)).values == [2, 4]


def test_map_may_yield_none() -> None:
    """None is a value like any other, and no sign to drop it."""
    assert run_stages([1, 2], Map(f=lambda n: None)).values == [None, None]


def test_map_keeps_the_key_where_it_is_asked_to_and_a_dict_becomes_a_dict() -> None:
    def only_label(sample: dict[str, Any]) -> dict[str, Any]:
        return {"label": sample["cls"]}

    assert run_stages(SAMPLES, Map(f=only_label)).values[0] == {"label": 0}
    assert run_stages(SAMPLES, Map(f=only_label, keeps_key=True)).values[0] == {"__key__": "k0", "label": 0}
    assert run_stages(SAMPLES, Map(f=len, keeps_key=True)).values[0] == 3
    own_key = Map(f=lambda sample: {"__key__": "mine"}, keeps_key=True)
    assert run_stages(SAMPLES, own_key).values[0] == {"__key__": "mine"}
    assert run_stages([{"cls": 1}], Map(f=only_label, keeps_key=True)).values == [{"label": 1}]


def test_map_leaves_the_values_of_a_memory_source_as_they_were() -> None:
    def spoil(sample: dict[str, Any]) -> dict[str, Any]:
        sample["cls"] = "spoilt"
        return sample

    run_stages(SAMPLES, Map(f=spoil))
    assert SAMPLES[0]["cls"] == 0


def test_filter_takes_any_truth() -> None:
    assert run_stages([0, 1, "", "x", None], Filter(predicate=lambda value: value)).values == [1, "x"]


def test_map_dict_replaces_the_fields_named() -> None:
    ran = run_stages(SAMPLES, MapDict(fs={"cls": _double, "txt": len}))
    assert ran.values[2] == {"__key__": "k2", "cls": 4, "txt": 1}
    assert SAMPLES[2] == {"__key__": "k2", "cls": 2, "txt": "2"}


def test_map_dict_names_a_missing_field_the_key_and_what_is_there() -> None:
    with pytest.raises(FieldError, match=r"'jpg'.*cls, txt") as caught:
        run_stages(SAMPLES, MapDict(fs={"jpg": len}))
    error = caught.value
    assert isinstance(error, KeyError)
    assert (error.key, error.field, error.stage, error.url) == ("k0", "jpg", "map_dict", "mem")


def test_map_dict_locates_the_exception_of_a_function() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_stages(SAMPLES, MapDict(fs={"cls": lambda n: 1 // n}))
    notes = "".join(caught.value.__notes__)
    assert all(part in notes for part in ('"k0"', '"cls"', '"map_dict"', '"mem"'))


def test_map_dict_asks_for_what_it_names_besides_what_is_wanted() -> None:
    stage = MapDict(fs={"cls": int})
    assert stage.wants(None) is None
    assert stage.wants(frozenset({"jpg"})) == frozenset({"jpg", "cls"})


def test_map_tuple_has_a_function_for_each_element() -> None:
    assert run_stages([(1, "2"), [3, "4"]], MapTuple(fs=(_double, int))).values == [(2, 2), (6, 4)]
    assert run_stages([(1, "2")], MapTuple(fs=(None, int))).values == [(1, 2)]


@pytest.mark.parametrize("count", [1, 3])
def test_map_tuple_refuses_another_number_of_elements(count: int) -> None:
    with pytest.raises(FieldError, match=f"{count} functions for tuples of 2"):
        run_stages([(1, 2)], MapTuple(fs=(int,) * count))


def test_map_tuple_begins_its_functions_again_where_it_cycles() -> None:
    assert run_stages([(1, 2, 3)], MapTuple(fs=(str, None), cycles=True)).values == [("1", 2, "3")]


def test_map_tuple_refuses_what_is_no_tuple() -> None:
    with pytest.raises(FieldError, match=r"dict.*to_tuple"):
        run_stages(SAMPLES, MapTuple(fs=(int,)))


def test_map_tuple_locates_the_exception_of_a_function() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_stages([(1, 0)], MapTuple(fs=(None, lambda n: 1 // n)))
    notes = "".join(caught.value.__notes__)
    assert all(part in notes for part in ("element 1", '"map_tuple"', '"mem"'))


def test_map_tuple_calls_the_elements_by_their_fields_where_these_are_known() -> None:
    for between in (
        [],
        [Batch(n=1), Unbatch()],
        [Filter(predicate=bool), Shuffle(size=1, seed=0), Take(n=1), Repeat()],
    ):
        stages = ToTuple(fields=("txt", "cls")), *between, MapTuple(fs=(None, lambda n: 1 // int(n)))
        with pytest.raises(ZeroDivisionError) as caught:
            run_stages(SAMPLES, *stages)
        assert '"field": "cls"' in "".join(caught.value.__notes__)


def test_pipe_hands_on_bare_values_and_locates_what_comes_out_as_its_own() -> None:
    def pairs(values: Iterator[int]) -> Iterator[tuple[int, int]]:
        return zip(values, values, strict=True)

    ran = run_stages(range(4), Pipe(stage=pairs))
    assert ran.values == [(0, 1), (2, 3)]
    assert ran.origins == [("after pipe pairs", 0, None), ("after pipe pairs", 1, None)]


def test_pipe_takes_a_function_that_returns_a_list() -> None:
    assert run_stages([3, 1, 2], Pipe(stage=sorted)).values == [1, 2, 3]


def test_pipe_locates_an_exception_at_the_last_value_that_went_in() -> None:
    def fails(values: Iterator[int]) -> Iterator[float]:
        return (1 / value for value in values)

    with pytest.raises(ZeroDivisionError) as caught:
        run_stages([1, 0, 2], Pipe(stage=fails))
    notes = "".join(caught.value.__notes__)
    assert '"pipe"' in notes
    assert '"mem"' in notes


def test_pipe_that_failed_is_over_also_where_the_policy_goes_on() -> None:
    def fails(values: Iterator[int]) -> Iterator[float]:
        return (1 / value for value in values)

    ran = run_stages([1, 0, 2], Pipe(stage=fails), policy="skip")
    assert ran.values == [1.0]
    assert [(loss.stage, loss.url) for loss in ran.losses] == [("pipe", "mem")]


def test_pipe_lets_the_errors_of_what_comes_before_it_through() -> None:
    """They have been dealt with where they happened: what is raised after that is meant to be raised."""
    as_they_are = Pipe(stage=iter)
    with pytest.raises(EmptyDatasetError):
        run_stages([1, 2], Filter(predicate=lambda n: False), as_they_are, policy="skip")
    with pytest.raises(ErrorBudgetError) as caught:
        run_stages([1, 2], Map(f=lambda n: n // 0), as_they_are, policy="skip", max_errors=1)
    assert caught.value.stage == "map"
    from webds.policy import Policy

    raises = Map(f=lambda n: n // 0, policy=Policy())
    with pytest.raises(ZeroDivisionError):
        run_stages([1, 2], raises, as_they_are, policy="skip")


def test_pipe_may_go_on_after_an_error_it_catches_itself() -> None:
    def careful(values: Iterator[int]) -> Iterator[object]:
        try:
            yield from values
        except ZeroDivisionError:
            yield "caught"

    assert run_stages([1, 0], Map(f=lambda n: 1 // n), Pipe(stage=careful)).values == [1, "caught"]


def test_what_may_look_at_anything_wants_all_fields() -> None:
    some = frozenset({"jpg"})
    for stage in (Map(f=_double), Filter(predicate=_double), MapTuple(fs=(int,)), Pipe(stage=iter), Batch(n=2)):
        assert stage.wants(some) is None
        assert stage.wants(None) is None


def test_lengths_are_known_where_no_value_is_added_or_dropped() -> None:
    assert [stage.length(5) for stage in (Map(f=int), MapDict(fs={}), MapTuple(fs=()))] == [5, 5, 5]
    assert [stage.length(5) for stage in (Filter(predicate=bool), Pipe(stage=iter))] == [None, None]


def test_descriptions_name_the_functions() -> None:
    assert Map(f=_double).describe() == "_double"
    assert Filter(predicate=bool).describe() == "bool"
    assert MapDict(fs={"cls": int, "txt": len}).describe() == "cls=int, txt=len"
    assert MapTuple(fs=(int, None)).describe() == "int, as is"
    assert "order" in Pipe(stage=iter).describe()
