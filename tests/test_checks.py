"""A check passes, or raises a `ValueError` that names the value and the expectation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from webds import checks
from webds.checks import check, checkcallable, checkmember, checknotnone, checkrange, checktype

PASSING: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
    (check, (True,)),
    (check, ([0],)),
    (checkcallable, (len,)),
    (checkcallable, (str,)),
    (checkmember, ("a", ["a", "b"])),
    (checkmember, (3, range(5))),
    (checkmember, ("ell", "hello")),
    (checknotnone, (0,)),
    (checknotnone, ("",)),
    (checkrange, (0, 0, 1)),
    (checkrange, (1.0, 0, 1)),
    (checkrange, ("b", "a", "c")),
    (checktype, (1, int)),
    (checktype, (True, int)),
    (checktype, ("x", (int, str))),
]

FAILING: list[tuple[Callable[..., None], tuple[Any, ...], str]] = [
    (check, (0,), "0 (int): expected a true value"),
    (check, ("",), "'' (str): expected a true value"),
    (check, (None,), "None (NoneType): expected a true value"),
    (checkcallable, ("len",), "'len' (str): expected something that can be called"),
    (checkmember, ("c", ["a", "b"]), "'c' (str): expected one of ['a', 'b']"),
    (checkmember, ([], {"a"}), "[] (list): expected one of {'a'}"),
    (checkmember, (1, "hello"), "1 (int): expected one of 'hello'"),
    (checknotnone, (None,), "None (NoneType): expected anything but None"),
    (checkrange, (2, 0, 1), "2 (int): expected a value from 0 to 1"),
    (checkrange, (-0.5, 0, 1), "-0.5 (float): expected a value from 0 to 1"),
    (checkrange, (float("nan"), 0, 1), "nan (float): expected a value from 0 to 1"),
    (checkrange, ("1", 0, 1), "'1' (str): expected a value from 0 to 1"),
    (checktype, ("1", int), "'1' (str): expected an instance of int"),
    (checktype, (1.0, (int, str)), "1.0 (float): expected an instance of int or str"),
]


def test_the_names_are_those_of_the_older_api() -> None:
    assert set(checks.__all__) == {call.__name__ for call, *_ in PASSING}


@pytest.mark.parametrize(("call", "args"), PASSING)
def test_a_good_value_passes(call: Callable[..., Any], args: tuple[Any, ...]) -> None:
    assert call(*args) is None
    assert call(*args, "size") is None


@pytest.mark.parametrize(("call", "args", "words"), FAILING)
def test_a_bad_value_is_named_with_what_was_expected(
    call: Callable[..., None], args: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        call(*args)


@pytest.mark.parametrize(("call", "args", "words"), FAILING)
def test_the_message_stands_in_front(call: Callable[..., None], args: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape('the size: ' + words)}$"):
        call(*args, "the size") if call in (check, checkcallable, checknotnone) else call(*args, msg="the size")


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ValueError, match="…") as caught:
        checktype("x" * 10_000, int)
    assert len(str(caught.value)) < 300
