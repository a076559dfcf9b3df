"""Texts out of files, as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from webds.tools.texts import count_text, name_text, prose_text, size_text


@given(st.text(st.characters(), max_size=50))
def test_what_is_shown_of_a_name_is_one_line_that_can_be_encoded_and_turns_nothing_round(name: str) -> None:
    shown = name_text(name)
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & set("\0\t\x1b\x7f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def test_a_name_that_does_no_harm_is_shown_as_it_is() -> None:
    for name in ("a/b c.jpg", "größe", "画像", "صورة", "\U0001f469\u200d\U0001f52c", "<b>&"):
        assert name_text(name) == name


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    assert name_text(b"a\xff\x01".decode("utf-8", "surrogateescape")) == r"a\xff\x01"
    assert name_text("a\u202eb\u2028c\ud800") == r"a\u202eb\u2028c\ud800"


def test_what_is_too_long_is_cut() -> None:
    assert name_text("x" * 200) == "x" * 200
    assert name_text("x" * 201) == "x" * 199 + "…"
    assert len(name_text("\0" * 200)) == 200


def test_prose_keeps_its_lines() -> None:
    assert prose_text("one\r\ntwo\n\tthree\x00") == "one\ntwo\n\tthree\\x00"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12_345, "12.3 kB"), (999_600, "1.00 MB")]
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert size_text(size) == text


def test_counts_are_grammatical() -> None:
    assert [count_text(number, "key", "keys") for number in (0, 1, 1000)] == ["0 keys", "1 key", "1,000 keys"]
    assert count_text(2, "shard") == "2 shards"
