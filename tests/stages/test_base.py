from __future__ import annotations

import pytest
from running import run_stages

from webds.errors import EmptyDatasetError
from webds.stages.base import Stage, alternatives, fields_there, is_there
from webds.stages.functions import Filter, Map
from webds.stages.shuffle import Shuffle
from webds.typing import UNREAD


def test_alternatives_are_separated_by_semicolons() -> None:
    assert alternatives("jpg") == ("jpg",)
    assert alternatives("jpg;png; seg.png") == ("jpg", "png", "seg.png")


@pytest.mark.parametrize("field", ["", ";", "jpg;", "jpg;;png", " "])
def test_an_alternative_without_a_name_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="jpg;png"):
        alternatives(field)


def test_fields_there_are_the_sample_s_own_also_unread_ones() -> None:
    assert fields_there({"__key__": "a", "txt": b"", "cls": UNREAD, "__url__": "u"}) == ["cls", "txt"]


def test_a_field_that_was_not_read_is_not_there() -> None:
    sample = {"txt": b"", "cls": UNREAD, "none": None}
    assert [is_there(sample, name) for name in ("txt", "cls", "none", "jpg")] == [True, False, True, False]


def test_a_stage_without_its_methods_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Stage()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]  # what is tested


def test_neighbouring_stages_keep_the_origin_of_each_value() -> None:
    ran = run_stages(range(5), Filter(predicate=lambda n: n % 2), Map(f=lambda n: n * 10))
    assert ran.values == [10, 30]
    assert ran.origins == [("mem", 1, None), ("mem", 3, None)]


def test_an_error_is_counted_for_its_own_stage() -> None:
    def refuse(n: int) -> int:
        if n == 2:
            raise ArithmeticError("two")
        return n

    def refuse_too(n: int) -> int:
        if n == 3:
            raise LookupError("three")
        return n

    ran = run_stages(range(5), Map(f=refuse), Filter(predicate=refuse_too), Map(f=str), policy="skip")
    assert ran.values == ["1", "4"]
    assert [(loss.stage, loss.url, loss.error) for loss in ran.losses] == [
        ("map", "mem", "ArithmeticError: two"),
        ("filter", "mem", "LookupError: three"),
    ]


def test_a_policy_of_the_stage_s_own_wins() -> None:
    from webds.policy import Policy, ignore_and_continue, ignore_and_stop

    skips = Map(f=lambda n: 1 / n, policy=Policy(ignore_and_continue))
    assert run_stages([1, 0, 2], skips).values == [1.0, 0.5]
    stops = Map(f=lambda n: 1 / n, policy=Policy(ignore_and_stop))
    assert run_stages([1, 0, 2], stops, policy="raise").values == [1.0]
    with pytest.raises(ZeroDivisionError):
        run_stages([1, 0, 2], Map(f=lambda n: 1 / n), skips)


def test_a_stage_that_dropped_everything_raises_with_the_fields_it_saw() -> None:
    samples = [{"__key__": "a", "txt": b""}, {"__key__": "b", "cls": b""}]
    with pytest.raises(EmptyDatasetError, match=r"dropped all 2 .*cls, txt") as caught:
        run_stages(samples, Filter(predicate=lambda sample: False))
    assert caught.value.stage == "filter"


def test_a_stage_that_got_nothing_or_kept_something_does_not_raise() -> None:
    never = Filter(predicate=lambda n: False)
    assert run_stages([], never).values == []
    assert run_stages([1, 2, 3], Filter(predicate=lambda n: n == 2)).values == [2]
    assert run_stages([1, 2, 3], never, checks_empty=False).values == []


def test_values_that_failed_behind_a_filter_were_let_through_by_it() -> None:
    """What an error policy skipped is no sign of a filter that fits nothing."""
    ran = run_stages([0, 1], Filter(predicate=lambda n: n == 0), Map(f=lambda n: 1 // n), policy="skip")
    assert ran.values == []
    assert len(ran.losses) == 1


def test_what_a_policy_ended_early_says_nothing_of_a_filter() -> None:
    """The rest might have been let through."""
    stages = Map(f=lambda n: 6 // (n - 3)), Shuffle(size=1, seed=0), Filter(predicate=lambda n: n > 0)
    assert run_stages(range(9), *stages, policy="stop").values == []
    with pytest.raises(EmptyDatasetError):
        run_stages(range(3), *stages, policy="stop")


def test_of_two_filters_the_one_that_dropped_the_rest_is_named() -> None:
    with pytest.raises(EmptyDatasetError, match=r"filter\(_odd\) dropped all 1 "):
        run_stages([1, 3], Map(f=lambda n: n), Filter(predicate=lambda n: n > 1), Filter(predicate=_odd))


def _odd(n: int) -> bool:
    return n % 2 == 0
