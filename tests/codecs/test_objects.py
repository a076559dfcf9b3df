"""msgpack and pickle: what comes back, what is refused."""

from __future__ import annotations

import enum
import pickle
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.codecs import MsgpackCodec, PickleCodec
from webds.errors import DecodeError, EncodeError, MissingExtraError, UntrustedDataError
from webds.testing import CodecSuite, same


class Colour(enum.IntEnum):
    RED = 1


class TestMsgpackCodec(CodecSuite[Any]):
    @override
    def make_codec(self) -> MsgpackCodec:
        return MsgpackCodec()

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        values = [
            None,
            [True, -(2**63), 2**64 - 1, -0.0, float("inf"), "ü\x00", b"\xff", [], {}],
            {1: "a", None: 2, b"k": 3, 1.5: 4, "": 5},
            msgpack.ExtType(5, b"data"),
            [msgpack.Timestamp(5, 7)],
        ]
        return [(value, "mp") for value in values]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        texts = [
            b"",
            b"\xc1",
            b"\x92\x01",
            b"\x01\x01",
            b"\xa1\xff",
            b"\x82\x01\x01\x01\x02",
            b"\x81\x90\x01",
            b"\x91" * 100_000 + b"\x01",
            b"\xc7\x01\xfe\x00",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xd7\xff" + b"\xff" * 8,
        ]
        return [(text, "msgpack") for text in texts]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        values: list[Any] = [
            (1, 2),
            2**64,
            -(2**63) - 1,
            "\ud800",
            bytearray(b"a"),
            memoryview(b"a"),
            np.zeros(2),
            np.float64(1),
            np.int64(1),
            Colour.RED,
            OrderedDict(a=1),
            {1, 2},
            ...,
        ]
        return (
            [(value, "msg") for value in values]
            + [({"deep": [value]}, "msg") for value in values]
            + [({(1,): 2}, "mp")]
        )


def test_msgpack_says_where_the_fault_is_and_what() -> None:
    with pytest.raises(EncodeError, match=r"value\['a'\]\[1\]: \(2,\) is a builtins\.tuple") as caught:
        MsgpackCodec().encode({"a": [1, (2,)]}, "x.mp")
    assert caught.value.field == "x.mp"
    with pytest.raises(DecodeError, match="key twice") as refused:
        MsgpackCodec().decode(b"\x82\x01\x01\x01\x02", "x.mp")
    assert refused.value.field == "x.mp"


def test_34_lengths_that_msgpack_data_does_not_have_are_refused_before_memory_is_taken() -> None:
    """Each of the nested arrays claims as many elements as there are bytes."""
    data = (b"\xdd" + (1_000_000).to_bytes(4, "big")) * 500 + bytes(500_000)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            MsgpackCodec().decode(data, "mp")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_msgpack_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingExtraError, match=r"webds\[msgpack\]"):
        MsgpackCodec().encode(1, "mp")
    with pytest.raises(MissingExtraError, match=r"webds\[msgpack\]"):
        MsgpackCodec().decode(b"\x01", "mp")


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9) | st.binary(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_msgpack_values_come_back_and_are_read_by_others(value: Any) -> None:
    data = MsgpackCodec().encode(value, "mp")
    assert same(MsgpackCodec().decode(data, "mp"), value)
    assert same(msgpack.unpackb(data, strict_map_key=False), value)


class TestPickleCodec(CodecSuite[Any]):
    @override
    def make_codec(self) -> PickleCodec:
        return PickleCodec(trusted=True)

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [
            ({"a": (1, 2.5), 3: {4}}, "pyd"),
            (Colour.RED, "pickle"),
            (np.arange(3), "x.pkl"),
            (OrderedDict(a=1), "pkl"),
        ]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [
            (b"", "pyd"),
            (b"junk", "pyd"),
            (pickle.dumps(1) + b"x", "pyd"),
            (b"cnothing\nthere\n.", "pyd"),
            (b"\x80\x04N", "pyd"),
        ]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(lambda: 0, "pyd"), ({"a": sys}, "pyd"), (memoryview(b"a"), "pyd")]


def test_pickles_of_another_protocol_are_read_and_one_protocol_is_written() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert PickleCodec(trusted=True).decode(pickle.dumps([1, "a"], protocol), "pyd") == [1, "a"]
    assert PickleCodec().encode([1], "pyd") == pickle.dumps([1], 4)


def test_an_exception_of_an_unpickled_object_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="division") as caught:
        PickleCodec(trusted=True).decode(b"coperator\ntruediv\n(I1\nI0\ntR.", "a.pyd")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("field", ["pyd", "pickle", "x.pkl"])
def test_34_a_pickle_is_refused_unless_it_is_trusted_by_name(field: str) -> None:
    extension = field.rpartition(".")[2]
    data = PickleCodec().encode([1], field)
    with pytest.raises(
        UntrustedDataError, match=rf"\.with_decoder\('{extension}', webds\.PickleCodec\(trusted=True\)\)"
    ) as caught:
        PickleCodec().decode(data, field)
    assert caught.value.field == field
