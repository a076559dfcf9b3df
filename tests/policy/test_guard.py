"""What policies do with errors, what they write down, and when they have had enough."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from webds.errors import DecodeError, ErrorBudgetError, OpenError, place_of
from webds.policy import (
    Guard,
    Handler,
    Ledger,
    Loss,
    Policy,
    guard as module,
    ignore_and_continue,
    ignore_and_stop,
    reraise_exception,
    warn_and_continue,
    warn_and_stop,
)

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that share descriptors")

ORIGIN = ("data/a.tar", 7, "0007")


def guard(handler: Handler = ignore_and_continue, max_errors: int | None = None) -> Guard:
    return Guard(Policy(handler, max_errors), Ledger())


def warned(call: Callable[[], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert {one.category for one in caught} <= {RuntimeWarning}
    return [str(one.message) for one in caught]


# --- handlers and policies ---------------------------------------------------------------------------------


def test_the_handlers_of_the_older_api() -> None:
    error = ValueError("it went wrong")
    with pytest.raises(ValueError, match="it went wrong") as caught:
        reraise_exception(error)
    assert caught.value is error
    assert ignore_and_continue(error) is True
    assert ignore_and_stop(error) is False
    with pytest.warns(RuntimeWarning, match="ValueError: it went wrong"):
        assert warn_and_continue(error) is True
    with pytest.warns(RuntimeWarning, match="ValueError: it went wrong"):
        assert warn_and_stop(error) is False


def test_a_warning_names_the_place_and_no_secret() -> None:
    error = ValueError("GET https://u:hunter2@host/a failed")
    error.add_note("near https://host/a?sig=hunter2")
    (text,) = warned(lambda: warn_and_continue(error))
    assert text == ("webds left out a sample: ValueError: GET https://***@host/a failed near https://host/a?***")


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("raise", reraise_exception),
        ("warn", warn_and_continue),
        ("skip", ignore_and_continue),
        ("stop", ignore_and_stop),
    ],
)
def test_policies_by_name(name: Any, handler: Handler) -> None:
    assert Policy.of(name) == Policy(handler, None)
    assert Policy.of(name, 5) == Policy(handler, 5)
    assert Policy.of(name).raises == (name == "raise")


def test_policies_from_handlers_and_policies() -> None:
    assert Policy.of(warn_and_stop, 3) == Policy(warn_and_stop, 3)
    policy = Policy(ignore_and_continue, 3)
    assert Policy.of(policy) == policy
    assert Policy.of(policy, 0) == Policy(ignore_and_continue, 0)
    assert Policy() == Policy.of("raise")


@pytest.mark.parametrize("name", ["ignore", "", None, 3])
def test_other_names_are_refused_with_those_that_there_are(name: Any) -> None:
    with pytest.raises(ValueError, match=f"on_error={name!r}: expected one of raise, warn, skip, stop"):
        Policy.of(name)


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="max_errors=-1"):
        Policy.of("skip", -1)


@pytest.mark.parametrize("policy", [Policy(), Policy.of("warn", 3), Policy.of("stop")])
def test_policies_pickle(policy: Policy) -> None:
    assert pickle.loads(pickle.dumps(policy)) == policy


# --- the guard ---------------------------------------------------------------------------------------------


def test_raise_raises_the_error_itself_with_its_place_and_counts_nothing() -> None:
    raising = guard(reraise_exception)
    for error in (DecodeError("ours"), ZeroDivisionError("theirs")):
        with pytest.raises(type(error)) as caught:
            raising.handle(error, "decode", ORIGIN, field="jpg")
        assert caught.value is error
        assert place_of(error) == {"url": "data/a.tar", "key": "0007", "field": "jpg", "stage": "decode"}
    assert len(raising.ledger) == 0


@pytest.mark.parametrize(("handler", "go_on"), [(ignore_and_continue, True), (ignore_and_stop, False)])
def test_skip_and_stop_say_how_to_go_on_and_count(handler: Handler, go_on: bool) -> None:
    skipping = guard(handler)
    assert warned(lambda: skipping.handle(DecodeError("no image", offset=512), "decode", ORIGIN, field="jpg")) == []
    assert skipping.handle(ZeroDivisionError("theirs"), "map", ORIGIN) is go_on
    assert skipping.handle(OpenError("404", url="data/b.tar"), "open", url="data/b.tar") is go_on
    action: Any = "skipped" if go_on else "stopped"
    assert skipping.ledger.losses() == [
        Loss("decode", "data/a.tar", "0007", "jpg", "DecodeError: no image", 7, action=action),
        Loss("map", "data/a.tar", "0007", None, "ZeroDivisionError: theirs", 7, action=action),
        Loss("open", "data/b.tar", None, None, "OpenError: 404", action=action),
    ]
    assert len(skipping.ledger) == 3
    assert skipping.ledger.counts() == {
        "decode": {"data/a.tar": 1},
        "map": {"data/a.tar": 1},
        "open": {"data/b.tar": 1},
    }


@pytest.mark.parametrize(("handler", "go_on"), [(warn_and_continue, True), (warn_and_stop, False)])
def test_warn_warns_with_the_place_and_counts(handler: Handler, go_on: bool) -> None:
    warning = guard(handler)
    answers: list[bool] = []
    (text,) = warned(lambda: answers.append(warning.handle(ValueError("theirs"), "map", ORIGIN)))
    assert answers == [go_on]
    assert "ValueError: theirs" in text
    assert '"url": "data/a.tar", "key": "0007"' in text
    assert warning.ledger.counts() == {"map": {"data/a.tar": 1}}


def test_what_is_known_closest_to_the_error_counts() -> None:
    skipping = guard()
    skipping.handle(DecodeError("inner", stage="decode", field="jpg", url="inner.tar"), "map", key="0001", field="cls")
    assert skipping.ledger.losses() == [Loss("decode", "inner.tar", "0001", "jpg", "DecodeError: inner")]


def test_an_error_of_which_nothing_is_known_is_counted_too() -> None:
    skipping = guard()
    skipping.handle(ValueError("?"), "pipe")
    skipping.handle(ValueError("?"), "pipe", ())
    assert skipping.ledger.counts() == {"pipe": {"": 2}}


def test_of_a_batch_all_samples_are_lost_and_the_error_names_the_first() -> None:
    skipping = guard()
    batch = tuple(("a.tar", i, f"k{i}") for i in range(3))
    error = ValueError("shapes differ")
    skipping.handle(error, "batch", batch)
    assert [(loss.url, loss.key) for loss in skipping.ledger.losses()] == [("a.tar", f"k{i}") for i in range(3)]
    assert place_of(error) == {"url": "a.tar", "key": "k0 (and 2 more)", "stage": "batch"}
    skipping.handle(ValueError("again"), "batch", (batch, batch[:1]))
    assert len(skipping.ledger) == 7
    one = ValueError("one sample")
    skipping.handle(one, "batch", batch[:1])
    assert place_of(one)["key"] == "k0"


def test_the_ledger_shows_no_secret() -> None:
    skipping = guard()
    skipping.handle(ValueError("token=hunter2"), "read", url="https://u:hunter2@host/a.tar?sig=hunter2")
    skipping.handle(OpenError("refused"), "open", ("s3://u:hunter2@bucket/a.tar", 0, "0001"))
    assert [loss.url for loss in skipping.ledger.losses()] == ["https://***@host/a.tar?***", "s3://***@bucket/a.tar"]
    assert "hunter2" not in repr(skipping.ledger.losses())


def test_keys_of_any_kind_are_written_down() -> None:
    skipping = guard()
    key: Any = complex(1, 2)
    for one in ("a\nb", "\udcff", "\u2028", '"', "", key):
        skipping.handle(ValueError("x\ny"), "map", ("a.tar", 0, one))
    assert [loss.key for loss in skipping.ledger.losses()] == ["a\nb", "\udcff", "\u2028", '"', "", "(1+2j)"]
    assert len(skipping.ledger) == 6


def test_a_handler_of_ones_own_decides() -> None:
    seen: list[Exception] = []

    def only_decode(error: Exception) -> bool:
        seen.append(error)
        if not isinstance(error, DecodeError):
            raise error
        return len(seen) < 3

    own = guard(only_decode)
    errors = [DecodeError("1"), DecodeError("2"), DecodeError("3")]
    assert [own.handle(error, "decode", ORIGIN) for error in errors] == [True, True, False]
    assert place_of(seen[0])["key"] == "0007"
    with pytest.raises(KeyError):
        own.handle(KeyError("x"), "map", ORIGIN)
    assert len(own.ledger) == 3


def test_a_handler_may_be_an_object_without_a_hash() -> None:
    @attrs.define
    class Counting:
        count: int = 0

        def __call__(self, error: Exception) -> bool:
            self.count += 1
            return True

    handler = Counting()
    assert guard(handler).handle(ValueError("x"), "map") is True
    assert handler.count == 1


def test_another_policy_for_one_stage_writes_into_the_same_ledger() -> None:
    skipping = guard()
    assert skipping.using(None) is skipping
    stopping = skipping.using(Policy.of("stop"))
    assert stopping.handle(ValueError("x"), "map") is False
    assert skipping.handle(ValueError("x"), "map") is True
    assert len(skipping.ledger) == 2


# --- warnings are rate-limited -----------------------------------------------------------------------------


def test_warnings_become_rare_and_say_how_many_there_were() -> None:
    warning = guard(warn_and_continue)

    def fail(times: int) -> None:
        for number in range(times):
            warning.handle(DecodeError(f"number {number + 1}"), "decode", ORIGIN)

    texts = warned(lambda: fail(1234))
    numbers = [int(text.split("number ")[1].split()[0]) for text in texts]
    assert numbers == [1, 2, 3, 10, 100, 1000]
    assert "such errors" not in texts[0] + texts[1]
    assert "(3 such errors so far; not all are shown)" in texts[2]
    assert "(1000 such errors so far; not all are shown)" in texts[5]
    assert len(warning.ledger) == 1234


def test_errors_of_another_kind_or_stage_are_warned_of_again() -> None:
    warning = guard(warn_and_continue)

    def fail() -> None:
        for _ in range(9):
            warning.handle(DecodeError("x"), "decode")
            warning.handle(DecodeError("x"), "map")
            warning.handle(ValueError("x"), "map")

    assert len(warned(fail)) == 9


# --- budgets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_a_budget_lets_so_many_errors_pass_and_raises_the_next(budget: int) -> None:
    limited = guard(max_errors=budget)
    for number in range(budget):
        assert limited.handle(DecodeError(f"number {number}"), "decode", ORIGIN)
    last = DecodeError("the last one: token=hunter2")
    with pytest.raises(ErrorBudgetError, match=f"{budget + 1} errors, and max_errors={budget} lets no more") as caught:
        limited.handle(last, "decode", ORIGIN, field="jpg")
    assert caught.value.__cause__ is last
    assert place_of(caught.value) == {"url": "data/a.tar", "key": "0007", "field": "jpg", "stage": "decode"}
    assert "hunter2" not in str(caught.value)
    assert len(limited.ledger) == budget + 1


def test_no_policy_lets_an_exhausted_budget_pass() -> None:
    """The error of an inner stage goes through the guards of all outer ones."""
    skipping = guard()
    error = ErrorBudgetError("6 errors")
    with pytest.raises(ErrorBudgetError) as caught:
        skipping.handle(error, "map", ORIGIN)
    assert caught.value is error
    assert len(skipping.ledger) == 0


def test_a_budget_counts_the_samples_of_a_batch() -> None:
    limited = guard(max_errors=2)
    with pytest.raises(ErrorBudgetError, match="3 errors"):
        limited.handle(ValueError("x"), "batch", tuple(("a.tar", i, str(i)) for i in range(3)))


def fail_so_often(limited: Guard, times: int) -> None:
    for _ in range(times):
        limited.handle(ValueError("in a child"), "map", ORIGIN)


def in_children(method: str, *calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[int | None]:
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=target, args=args) for target, args in calls]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [child.exitcode for child in children]


@posix
def test_a_budget_is_that_of_all_workers_together() -> None:
    limited = guard(max_errors=5)
    assert in_children("fork", (fail_so_often, (limited, 2)), (fail_so_often, (limited, 3))) == [0, 0]
    assert len(limited.ledger) == 5
    with pytest.raises(ErrorBudgetError, match="6 errors"):
        limited.handle(ValueError("in the parent"), "map", ORIGIN)


# --- the ledger --------------------------------------------------------------------------------------------

LOSS = Loss("map", "a.tar", "0001", None, "ValueError: x")


@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_write_into_the_ledger_of_their_parent(method: str) -> None:
    ledger = Ledger()
    ledger.record(LOSS)
    assert in_children(method, *[(Ledger.record, (ledger, LOSS, LOSS))] * 3) == [0, 0, 0]
    assert ledger.losses() == [LOSS] * 7
    assert len(ledger) == 7
    assert ledger.counts() == {"map": {"a.tar": 7}}


def test_a_plain_pickle_of_a_ledger_is_a_copy() -> None:
    ledger = Ledger()
    ledger.record(LOSS)
    assert len(ledger) == 1
    copy = pickle.loads(pickle.dumps(ledger))
    copy.record(LOSS)
    assert (len(ledger), len(copy)) == (1, 2)
    ledger.record()
    assert len(ledger) == 1


def test_counts_are_by_stage_and_url() -> None:
    ledger = Ledger()
    for stage, url in [("map", "a"), ("map", "a"), ("map", "b"), ("open", "b"), ("open", None)]:
        ledger.record(attrs.evolve(LOSS, stage=stage, url=url))
    assert ledger.counts() == {"map": {"a": 2, "b": 1}, "open": {"b": 1, "": 1}}
    assert Ledger().counts() == {}


def test_guards_pickle_with_their_policy() -> None:
    again = pickle.loads(pickle.dumps(guard(warn_and_stop, 3)))
    assert again.policy == Policy(warn_and_stop, 3)
    assert again.ledger.losses() == []


def test_the_module_says_what_it_has() -> None:
    assert {"Handler", "PolicyLike", "Policy", "Loss", "Ledger", "Guard"} <= set(module.__all__)
    assert len(module.__all__) == 11
