"""Text, integers and JSON: what comes back, what is refused."""

from __future__ import annotations

import enum
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, strategies as st
from typing_extensions import override

from webds.codecs import IntCodec, JsonCodec, TextCodec
from webds.errors import DecodeError, EncodeError
from webds.testing import CodecSuite, same


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    """A subclass of str."""

    __slots__ = ()


class TestTextCodec(CodecSuite[str]):
    @override
    def make_codec(self) -> TextCodec:
        return TextCodec()

    @override
    def values(self) -> Sequence[tuple[str, str]]:
        return [
            ("", "txt"),
            ("a\r\nb\nc\r", "txt"),
            ("\ufeffmarked", "txt"),
            ("naïve — 日本語 😀\x00", "a.txt"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"\xff", "txt"), ("naïve".encode("latin-1"), "txt"), (b"\xed\xa0\x80", "txt")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(b"bytes", "txt"), (7, "txt"), (None, "txt"), ("\ud800", "txt"), (Name("a"), "txt"), ([], "txt")]


def test_a_numpy_string_is_stored_as_the_text_it_holds() -> None:
    assert TextCodec().encode(np.array(["naïve"])[0], "txt") == "naïve".encode()


def test_errors_name_the_field_and_chain_their_cause() -> None:
    with pytest.raises(DecodeError, match="UTF-8") as caught:
        TextCodec().decode(b"\xff", "a.txt")
    assert caught.value.field == "a.txt"
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)
    with pytest.raises(EncodeError, match="UTF-8") as refused:
        TextCodec().encode("\ud800", "a.txt")
    assert refused.value.field == "a.txt"
    assert isinstance(refused.value.__cause__, UnicodeEncodeError)


def test_what_is_not_bytes_like_is_a_decode_error() -> None:
    not_bytes: Any = 7
    for codec in (TextCodec(), IntCodec(), JsonCodec()):
        with pytest.raises(DecodeError):
            codec.decode(not_bytes, "x")


def test_arrays_of_any_kind_are_taken_as_the_bytes_they_are() -> None:
    words: Any = np.frombuffer(b"12345678", "<u4").reshape(1, 2)
    every_second: Any = np.frombuffer(b"1 2 3 4 ", "u1")[::2]
    assert TextCodec().decode(words, "txt") == "12345678"
    assert IntCodec().decode(words, "cls") == 12345678
    assert JsonCodec().decode(every_second, "json") == 1234


class TestIntCodec(CodecSuite[int | str]):
    @override
    def make_codec(self) -> IntCodec:
        return IntCodec()

    @override
    def values(self) -> Sequence[tuple[int | str, str]]:
        return [
            (0, "cls"),
            (-7, "cls"),
            (10**30, "cls"),
            (10**4300 - 1, "cls"),
            ("", "class"),
            ("cat", "class"),
            (" 7 lives\n", "cls"),
            ("½", "cls"),
            ("²", "cls"),
            ("1_000", "cls"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"9" * 4301, "cls"), (b"\xff", "cls"), (b" +" + b"0" * 5000, "cls")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        values = [
            True,
            np.True_,
            Colour.RED,
            1.0,
            np.float32(1),
            None,
            b"7",
            [7],
            "7",
            " +7\n",
            "007",
            10**4300,
            "\ud800",
            Name("a"),
            np.array([7]),
            torch.tensor([7]),
            torch.tensor(True),
            torch.tensor(7.0),
            np.timedelta64(7, "s"),
            np.array(7, "O"),
            torch.empty((), dtype=torch.int64, device="meta"),
        ]
        return [(value, "cls") for value in values]


@pytest.mark.parametrize("data", [b"7", b"+7", b"007", b" 7\n", b"\t7\r\n"])
def test_a_number_may_have_white_space_a_sign_and_zeros(data: bytes) -> None:
    assert IntCodec().decode(data, "cls") == 7


@pytest.mark.parametrize("data", [b"7.0", b"0x7", b"--7", b"7 8", b"seven\n", b"\xd9\xa7"])
def test_a_text_that_is_no_integer_stays_as_it_is(data: bytes) -> None:
    assert IntCodec().decode(data, "cls") == data.decode()


@pytest.mark.parametrize(
    "value",
    [np.int64(7), np.uint8(7), np.array(7), np.array(7, ">i2"), torch.tensor(7), torch.tensor(7, dtype=torch.uint16)],
)
def test_integer_scalars_are_stored_as_the_number_they_hold(value: Any) -> None:
    assert IntCodec().encode(value, "cls") == b"7"


@pytest.mark.skipif(not hasattr(sys, "set_int_max_str_digits"), reason="this Python has no limit to lower")
@pytest.mark.parametrize("number", [0, 9, -1, 10**18 - 1, 10**18, 10**18 + 1, -(10**18), 10**4299])
def test_integers_of_any_length_come_back(number: int) -> None:
    data = IntCodec().encode(number, "cls")
    assert data == str(number).encode()
    assert IntCodec().decode(data, "cls") == number


def test_a_lower_limit_of_the_interpreter_is_an_error_of_the_codec() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(1000)
    try:
        with pytest.raises(DecodeError):
            IntCodec().decode(b"9" * 1001, "cls")
        with pytest.raises(EncodeError):
            IntCodec().encode(10**1000, "cls")
        with pytest.raises(EncodeError):
            JsonCodec().encode([10**1000], "json")
    finally:
        sys.set_int_max_str_digits(before)


@given(st.text())
@example("12")
@example(" -0")
def test_every_text_comes_back_from_an_int_field_or_is_refused(text: str) -> None:
    codec = IntCodec()
    try:
        data = codec.encode(text, "cls")
    except EncodeError:
        assert isinstance(codec.decode(text.encode(errors="surrogatepass"), "cls"), int)
    else:
        assert same(codec.decode(data, "cls"), text)


class TestJsonCodec(CodecSuite[Any]):
    @override
    def make_codec(self) -> JsonCodec:
        return JsonCodec()

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [
            (None, "json"),
            (True, "json"),
            ('ü\u2028\x00\\"/', "json"),
            (-0.0, "json"),
            (5e-324, "json"),
            (10**40, "json"),
            ({"b": [1, 2.0, [], {}], "a": {"": None}}, "meta.json"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        texts = [b"", b"{", b"[1,]", b"'a'", b"1 2", b"\xff", b'"\xff"', b'{"a":1,"a":1}', b"[" * 10**6, b"1" * 5000]
        texts += ["[1]".encode("utf-16"), b"[1]\x00", b"nan"]
        return [(text, "json") for text in texts]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        values: list[Any] = [
            (1, 2),
            {1: 2},
            {None: 1},
            {True: 1},
            {"a": {1.5: 2}},
            float("nan"),
            float("inf"),
            -float("inf"),
            np.float64(1),
            np.int64(1),
            np.zeros(2),
            torch.zeros(2),
            Name("a"),
            {Name("a"): 1},
            Colour.RED,
            OrderedDict(a=1),
            b"a",
            {1, 2},
            "\ud800",
            "\ud83d\ude00",
            {"\ud800": 1},
            10**4300,
            ...,
        ]
        return [(value, "json") for value in values] + [([{"deep": value}], "json") for value in values]


def test_json_says_where_the_fault_is_and_what() -> None:
    with pytest.raises(EncodeError, match=r"value\['boxes'\]\[1\]: \(3, 4\) is a builtins\.tuple") as caught:
        JsonCodec().encode({"name": "a", "boxes": [[1, 2], (3, 4)]}, "json")
    assert caught.value.field == "json"
    with pytest.raises(EncodeError, match=r"value\['a'\], key 1: it is a int"):
        JsonCodec().encode({"a": {1: 2}}, "json")


def test_json_that_is_too_deep_is_an_error_both_ways() -> None:
    deep: list[Any] = []
    for _ in range(199):
        deep = [deep]
    assert JsonCodec().decode(JsonCodec().encode(deep, "json"), "json") == deep
    with pytest.raises(EncodeError, match="200 deep"):
        JsonCodec().encode([deep], "json")
    deep.append(deep)
    with pytest.raises(EncodeError, match="200 deep"):
        JsonCodec().encode(deep, "json")
    with pytest.raises(DecodeError, match="too deeply"):
        JsonCodec().decode(b"[" * 10**5 + b"]" * 10**5, "json")


def test_json_of_other_writers_is_read() -> None:
    codec = JsonCodec()
    assert codec.decode(b"\xef\xbb\xbf [1]", "json") == [1]
    assert same(codec.decode(b"[NaN, -Infinity]", "json"), [float("nan"), -float("inf")])
    assert codec.decode(b'"\\u00fc\\ud83d\\ude00"', "json") == "ü😀"


def test_a_json_key_that_is_there_twice_is_named() -> None:
    with pytest.raises(DecodeError, match=r"key twice.*'label'"):
        JsonCodec().decode(b'{"x": {"label": 1, "label": 2}}', "json")


def test_json_keeps_the_order_of_keys_and_wastes_no_space() -> None:
    assert JsonCodec().encode({"b": [1, 2], "a": "ü"}, "json") == '{"b":[1,2],"a":"ü"}'.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_json_values_come_back_and_are_read_by_others(value: Any) -> None:
    data = JsonCodec().encode(value, "json")
    assert same(JsonCodec().decode(data, "json"), value)
    assert same(json.loads(data), value)
