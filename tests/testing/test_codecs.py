"""`DecoderSuite`, `EncoderSuite` and `CodecSuite` pass right classes, and each of their checks catches a wrong one."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pytest
from typing_extensions import Buffer, override

from webds.abc import Codec, Decoder, Encoder
from webds.errors import DecodeError, EncodeError
from webds.testing import CodecSuite, DecoderSuite, EncoderSuite, Suite

Failures: TypeAlias = Callable[[type[Suite], Collection[str]], dict[str, str]]
Table: TypeAlias = dict[str, list[int]]


class TableCodec(Codec[Table]):
    """A right codec: a dict of lists of integers, as JSON with a mark before and after."""

    @override
    def encode(self, value: Table, field: str) -> bytes:
        if type(value) is not dict or not all(type(many) is list for many in value.values()):
            raise EncodeError("no table")
        if not all(type(name) is str for name in value):
            raise EncodeError("no names")
        if not all(type(one) is int and abs(one) < 2**63 for many in value.values() for one in many):
            raise EncodeError("not integers of 64 bits")
        return b"<" + json.dumps(value).encode() + b">"

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        text = bytes(data)
        if text[:1] != b"<" or text[-1:] != b">":
            raise DecodeError("no table")
        try:
            value = json.loads(text[1:-1])
        except (ValueError, RecursionError):
            raise DecodeError("no table") from None
        if not isinstance(value, dict):
            raise DecodeError("no table")
        return cast("Table", value)


class TestTableCodec(CodecSuite[Table]):
    codec: ClassVar[type[Codec[Table]]] = TableCodec

    @override
    def make_codec(self) -> Codec[Table]:
        return self.codec()

    @override
    def values(self) -> Sequence[tuple[Table, str]]:
        return [({"a": [3, 1, 2], "b": []}, "tab"), ({}, "tab"), ({"c": [2**40]}, "x.tab")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [([1], "tab"), ({"a": object()}, "tab"), ("a", "tab")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"", "tab"), (b"<{}", "tab"), (b"<[1]>", "tab"), (b"\xff", "tab")]


class TestTableDecoder(DecoderSuite[Table]):
    """Half of a codec has a suite of its own."""

    codec: ClassVar[type[Decoder[Table]]] = TableCodec
    make_decoder = cast("Callable[..., Decoder[Table]]", TestTableCodec.make_codec)
    junk = TestTableCodec.junk

    @override
    def encoded(self) -> Sequence[tuple[bytes, str, Table]]:
        return [(b'<{"a": [1]}>', "tab", {"a": [1]}), (b"<{}>", "tab", {})]


class TestTableEncoder(EncoderSuite[Table]):
    codec: ClassVar[type[Encoder[Table]]] = TableCodec
    make_encoder = cast("Callable[..., Encoder[Table]]", TestTableCodec.make_codec)
    values = TestTableCodec.values
    unencodable = TestTableCodec.unencodable


Floats: TypeAlias = npt.NDArray[np.float32]


class RoundingCodec(Codec[Floats]):
    """A right lossy codec: float32 of one dimension as float16."""

    lossless = False

    @override
    def encode(self, value: Any, field: str) -> bytes:
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.ndim != 1:
            raise EncodeError("not float32 of one dimension")
        return value.astype("<f2").tobytes()

    @override
    def decode(self, data: Buffer, field: str) -> Floats:
        if memoryview(data).nbytes % 2:
            raise DecodeError("an odd number of bytes")
        return np.frombuffer(memoryview(data), "<f2").astype(np.float32)


class TestRoundingCodec(CodecSuite[Floats]):
    codec: ClassVar[type[Codec[Floats]]] = RoundingCodec

    @override
    def make_codec(self) -> Codec[Floats]:
        return self.codec()

    @override
    def values(self) -> Sequence[tuple[Floats, str]]:
        return [(np.linspace(0, 1, 7, dtype=np.float32), "f"), (np.zeros(0, np.float32), "f")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(np.zeros((2, 2), np.float32), "f"), ([0.5], "f")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"abc", "f")]

    @override
    def same(self, actual: Floats, expected: Floats) -> bool:
        return actual.shape == expected.shape and bool(np.all(np.abs(actual - expected) <= 2**-11))


class NativeCodec(Codec[Any]):
    """A right codec, though what comes back has the byte order of this machine."""

    @override
    def encode(self, value: Any, field: str) -> bytes:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind + value.dtype.str[-1] != "i4":
            raise EncodeError("not int32 of one dimension")
        return value.astype("<i4").tobytes()

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        if memoryview(data).nbytes % 4:
            raise DecodeError("not a multiple of 4 bytes")
        return np.frombuffer(memoryview(data), "<i4")


class TestNativeCodec(CodecSuite[Any]):
    codec: ClassVar[type[Codec[Any]]] = NativeCodec

    @override
    def make_codec(self) -> Codec[Any]:
        return self.codec()

    @override
    def values(self) -> Sequence[tuple[Any, str]]:
        return [(np.arange(3, dtype="i4"), "i"), (np.zeros(0, "i4"), "i")]

    @override
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        return [(np.zeros(2), "i"), ([1, 2], "i")]

    @override
    def junk(self) -> Sequence[tuple[bytes, str]]:
        return [(b"abc", "i")]


# What follows breaks the contracts. Each decodes or encodes rightly but for the one mistake that its name tells.


class NoCodec:
    encode = TableCodec.encode
    decode = TableCodec.decode


class DecodesNothing(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return {}


class BytesOnly(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        if not isinstance(data, bytes):
            raise TypeError("bytes, please")
        return super().decode(data, field)


class NoMemoryview(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        cast("bytes", data).startswith(b"<")
        return super().decode(data, field)


class WholeObject(TableCodec):
    """Looks at the object behind a view."""

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return super().decode(data.obj if isinstance(data, memoryview) else data, field)


class InPlace(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        value = super().decode(data, field)
        if isinstance(data, bytearray):
            data[:1] = b"!"
        return value


class Counting(TableCodec):
    """Every value depends on how many were decoded before."""

    count = 0

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        self.count += 1
        return super().decode(data, field) | ({"count": [self.count]} if self.count > 1 else {})


class Rolling(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return {name: random.sample(many, len(many)) for name, many in super().decode(data, field).items()}


class Unpicklable(TableCodec):
    def __init__(self) -> None:
        self.lock = threading.Lock()


class DecodingInOneThread(TableCodec):
    """Keeps what it works on in itself."""

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        self.data = bytes(data)
        time.sleep(0.001)
        return super().decode(self.data, field)


class Tolerant(TableCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Table:
        try:
            return super().decode(data, field)
        except DecodeError:
            return {}


class Frank(TableCodec):
    """Lets out whatever JSON says."""

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return cast("Table", json.loads(bytes(data)[1:-1]))


class Indexing(TableCodec):
    """Takes the first byte to be there, and the table to be one."""

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return {} if bytes(data)[0] == 0 else super().decode(data, field)


class Sulking(TableCodec):
    """Refuses everything after the first junk."""

    spoilt = False

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        try:
            return {} if self.spoilt else super().decode(data, field)
        except DecodeError:
            self.spoilt = True
            raise


class OneExample(TestTableDecoder):
    @override
    def encoded(self) -> Sequence[tuple[bytes, str, Table]]:
        return [(b"<{}>", "tab", {})] * 2


class OneValue(TestTableEncoder):
    @override
    def values(self) -> Sequence[tuple[Table, str]]:
        return [({}, "tab")]


class EncodesBytearray(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        return cast("bytes", bytearray(super().encode(value, field)))


class EncodesText(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        return cast("bytes", super().encode(value, field).decode())


class SortingInPlace(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        data = super().encode(value, field)
        for many in value.values():
            many.sort()
        return data


class Stamping(TableCodec):
    """The bytes hold a number that counts up."""

    count = 0

    @override
    def encode(self, value: Table, field: str) -> bytes:
        self.count += 1
        return super().encode(value, field).replace(b">", b" " * self.count + b">")


class EncodingInOneThread(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        self.value = value
        time.sleep(0.001)
        return super().encode(self.value, field)


class TakesAll(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        return b"<" + json.dumps(value, default=str, skipkeys=True).encode(errors="replace") + b">"


class TakesAllButDeep(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        try:
            return b"<" + json.dumps(value, default=str).encode() + b">"
        except (TypeError, ValueError, RecursionError):
            raise EncodeError("not JSON") from None


class Crashing(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        return super().encode({name: [*many] for name, many in value.items()}, field)


class FrankEncoder(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        return b"<" + json.dumps(value).encode() + b">"


class ShowsAll(TableCodec):
    """Its error shows the value, however long or deep it is."""

    @override
    def encode(self, value: Table, field: str) -> bytes:
        try:
            return super().encode(value, field)
        except EncodeError:
            raise EncodeError(f"no table: {value!r}") from None


class Offended(TableCodec):
    """Encodes otherwise after a refusal."""

    spaces = b""

    @override
    def encode(self, value: Table, field: str) -> bytes:
        try:
            return super().encode(value, field).replace(b">", self.spaces + b">")
        except EncodeError:
            self.spaces += b" "
            raise


class LosingOrder(TableCodec):
    @override
    def encode(self, value: Table, field: str) -> bytes:
        data = super().encode(value, field)
        return super().encode({name: sorted(many) for name, many in value.items()}, field) if data else data


class LosingTuples(TableCodec):
    """What JSON makes of a value is good enough."""

    @override
    def decode(self, data: Buffer, field: str) -> Table:
        return cast("Table", json.loads(bytes(data)[1:-1]))

    @override
    def encode(self, value: Table, field: str) -> bytes:
        return TakesAllButDeep.encode(cast("TakesAllButDeep", self), value, field)


class WrongDtype(RoundingCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Floats:
        return cast("Floats", super().decode(data, field).astype(np.float64))


class Coarse(RoundingCodec):
    @override
    def decode(self, data: Buffer, field: str) -> Floats:
        return np.round(super().decode(data, field), 1)


class WideningSuite(TestNativeCodec):
    class codec(NativeCodec):  # noqa: N801  # the name of the hook
        @override
        def decode(self, data: Buffer, field: str) -> Any:
            return super().decode(data, field).astype(float)


TABLES: list[tuple[type[object], str, str]] = [
    (DecodesNothing, "test_decode_returns_the_value", "decode returns the value"),
    (BytesOnly, "test_decode_takes_any_bytes_like_object", "not this bytearray"),
    (NoMemoryview, "test_decode_takes_any_bytes_like_object", "not this read-only memoryview"),
    (WholeObject, "test_decode_takes_any_bytes_like_object", "not this memoryview at an odd offset"),
    (InPlace, "test_decode_does_not_change_its_input", "does not change its input"),
    (Counting, "test_decode_is_pure", "equal bytes give equal values"),
    (Rolling, "test_decode_is_pure", "equal bytes give equal values"),
    (Unpicklable, "test_decode_is_pure", "every decoder can be pickled"),
    (DecodingInOneThread, "test_decode_can_be_called_from_several_threads", "threads may share"),
    (Tolerant, "test_junk_raises_decode_error", "junk raises DecodeError; b'' as 'tab' gave"),
    (Frank, "test_junk_raises_decode_error", "decode raises nothing but DecodeError"),
    (Frank, "test_nothing_but_decode_error_is_raised", "decode raises nothing but DecodeError"),
    (Indexing, "test_nothing_but_decode_error_is_raised", "b'' as 'tab' raised IndexError"),
    (Sulking, "test_nothing_but_decode_error_is_raised", "does not change what is decoded later"),
    (EncodesBytearray, "test_encode_returns_bytes", "not bytearray"),
    (EncodesText, "test_encode_returns_bytes", "not str"),
    (SortingInPlace, "test_encode_does_not_change_the_value", "does not change the value"),
    (Stamping, "test_encode_is_pure", "equal values give equal bytes"),
    (Unpicklable, "test_encode_is_pure", "every encoder can be pickled"),
    (EncodingInOneThread, "test_encode_can_be_called_from_several_threads", "threads may share"),
    (TakesAllButDeep, "test_what_has_no_form_raises_encode_error", "what has no form raises EncodeError"),
    (Crashing, "test_what_has_no_form_raises_encode_error", "encode raises nothing but EncodeError"),
    (TakesAll, "test_nothing_but_encode_error_is_raised", "encode raises nothing but EncodeError"),
    (ShowsAll, "test_nothing_but_encode_error_is_raised", "raised ValueError"),
    (FrankEncoder, "test_nothing_but_encode_error_is_raised", "raised ValueError"),
    (Offended, "test_nothing_but_encode_error_is_raised", "does not change what is encoded later"),
    (NoCodec, "test_what_was_encoded_decodes", "webds.abc.Codec"),
    (LosingOrder, "test_what_was_encoded_decodes", "decode(encode(x)) == x: {'a': [3, 1, 2]"),
    (LosingTuples, "test_odd_values_come_back_or_are_refused", "decode(encode(x)) == x, or encode raises"),
]
CASES: list[tuple[type[Suite], str, str]] = [
    *((type("Wrong", (TestTableCodec,), {"codec": codec}), check, text) for codec, check, text in TABLES),
    (
        type("Wrong", (TestTableDecoder,), {"codec": NoCodec}),
        "test_encoded_values_are_enough_to_test_with",
        "webds.abc.D",
    ),
    (
        type("Wrong", (TestTableEncoder,), {"codec": NoCodec}),
        "test_values_are_enough_to_test_with",
        "webds.abc.Encoder",
    ),
    (OneExample, "test_encoded_values_are_enough_to_test_with", "two or more that differ"),
    (OneValue, "test_values_are_enough_to_test_with", "two or more"),
    (
        type("Wrong", (TestRoundingCodec,), {"codec": WrongDtype}),
        "test_what_was_encoded_decodes",
        "keeps shape and dtype",
    ),
    (type("Wrong", (TestRoundingCodec,), {"codec": Coarse}), "test_what_was_encoded_decodes", "bound that it states"),
]


@pytest.mark.parametrize(("suite", "check", "sentence"), CASES)
def test_a_wrong_codec_is_caught(suite: type[Suite], check: str, sentence: str, failures: Failures) -> None:
    assert sentence in failures(suite, [check])[check]


def test_arrays_in_another_byte_order_are_equal_those_of_another_dtype_are_not(failures: Failures) -> None:
    check = "test_odd_values_come_back_or_are_refused"
    assert failures(TestNativeCodec, [check]) == {}
    assert "came back as array([0., 1., 2.])" in failures(WideningSuite, [check])[check]


def test_every_check_is_proven(every_check_fails: Callable[[type[Suite], Collection[str]], None]) -> None:
    every_check_fails(CodecSuite, {check for _, check, _ in CASES})
