"""Finding what would not come back, and showing it."""

from __future__ import annotations

from typing import Any

import pytest

from webds.codecs.exact import MAX_DEPTH, check_exact, fault_of_text, shown


def no_seven(value: Any) -> str | None:
    return "it is seven" if value == 7 else None


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (7, r"value: it"),
        ([1, 7], r"value\[1\]: it"),
        ({"a": [{"b": 7}]}, r"value\['a'\]\[0\]\['b'\]: it"),
        ({"a": {7: 1}}, r"value\['a'\], key 7: it"),
    ],
)
def test_the_first_fault_is_found_and_located(value: Any, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        check_exact(value, no_seven, no_seven)


def test_what_is_no_list_or_dict_is_not_looked_into() -> None:
    check_exact([(7,), {"a": {7}}, []], no_seven, no_seven)


def test_the_depth_is_limited() -> None:
    value: list[Any] = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    check_exact(value, no_seven, no_seven)
    with pytest.raises(ValueError, match="200 deep"):
        check_exact([value], no_seven, no_seven)


def test_text_with_surrogates_is_at_fault() -> None:
    assert fault_of_text("naïve 😀") is None
    assert "UTF-8" in (fault_of_text("a\udc80") or "")


def test_any_value_can_be_shown_in_a_line() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, deep, "x" * 10**6, object()):
        assert len(shown(value)) < 200
