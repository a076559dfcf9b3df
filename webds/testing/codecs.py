"""The suites of `webds.abc.Decoder`, `webds.abc.Encoder` and `webds.abc.Codec`."""

from __future__ import annotations

import array
import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, final

import numpy as np
from typing_extensions import Buffer, TypeVar, override

from webds.abc import Codec, Decoder, Encoder
from webds.errors import DecodeError, EncodeError
from webds.testing.comparison import same, same_form
from webds.testing.suite import Suite, global_seeds, pickled

__all__ = ["CodecSuite", "DecoderSuite", "EncoderSuite"]

V = TypeVar("V", default=Any)


def _brief(value: object) -> str:
    """Return what a message shows of a value, however large or deep it is."""
    try:
        text = repr(value)
    except Exception as error:  # such as a RecursionError
        text = f"a {type(value).__name__} without a repr ({type(error).__name__})"
    return text if len(text) <= 120 else f"{text[:80]}… ({type(value).__name__})"


def _damaged(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` cut short, with some bytes flipped, and with others inserted."""
    size = len(data)
    cuts = set(range(min(size, 48))) | {size * part // 32 for part in range(32)} | {max(0, size - 1)}
    yield from (data[:cut] for cut in sorted(cuts) if cut < size)
    for position in sorted(set(range(min(size, 128))) | {size * part // 64 for part in range(64) if size}):
        for flip in (0x01, 0x80, 0xFF):
            yield data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
    yield from (data + b"\x00", data + data, b"\x00" + data, data[size // 2 :])


def _noise() -> Iterator[bytes]:
    """Yield bytes that are hardly a value of any format."""
    generator = random.Random(0)  # noqa: S311  # noise that is the same each time
    yield from (b"", b"\x00", b"\xff" * 64, b"\x00" * 1000, b"{" * 20_000, b"[" * 200_000, b"1" * 5000, b"\r\n\x1a")
    yield from (generator.randbytes(size) for size in (1, 3, 8, 64, 500) for _ in range(8))


class DecoderSuite(Suite, ABC, Generic[V]):
    """What every `Decoder` must keep to."""

    @abstractmethod
    def make_decoder(self) -> Decoder[V]:
        """Return a new decoder, equal to any other that this returns."""

    @abstractmethod
    def encoded(self) -> Sequence[tuple[bytes, str, V]]:
        """Return some (data, field, value): ``value`` is what ``data`` holds; at least two that differ."""

    @abstractmethod
    def junk(self) -> Sequence[tuple[bytes, str]]:
        """Return some (data, field) that must be refused.

        Empty only if all bytes whatever are a value. Cut and damaged variants of `encoded` are made by the
        suite itself: these must be decoded or refused, in whatever way, but with a `DecodeError`.
        """

    def same(self, actual: V, expected: V) -> bool:
        """Return whether a value is what it should be; by default, `webds.testing.same`.

        To be defined for values that do not compare, and for lossy codecs: within the bound that they state.
        """
        return same(actual, expected)

    def _check(self, decoder: Decoder[V], data: Buffer, field: str, value: V, message: str) -> None:
        found = decoder.decode(data, field)
        assert self.same(found, value), f"{message}: {_brief(found)} in place of {_brief(value)}"

    def test_encoded_values_are_enough_to_test_with(self) -> None:
        decoder, examples = self.make_decoder(), self.encoded()
        assert isinstance(decoder, Decoder), "make_decoder returns an instance of webds.abc.Decoder"
        assert len({data for data, _, _ in examples}) >= 2, "encoded() has two or more that differ"

    def test_decode_returns_the_value(self) -> None:
        decoder = self.make_decoder()
        for data, field, value in self.encoded():
            self._check(decoder, data, field, value, f"decode returns the value of the data (field {field!r})")

    def test_decode_takes_any_bytes_like_object(self) -> None:
        decoder = self.make_decoder()
        for data, field, value in self.encoded():
            kinds: dict[str, Buffer] = {
                "bytearray": bytearray(data),
                "read-only memoryview": memoryview(data),
                "writable memoryview": memoryview(bytearray(data)),
                "memoryview at an odd offset": memoryview(b"?" + data + b"??")[1:-2],
                "array.array": array.array("B", data),
            }
            for kind, buffer in kinds.items():
                message = f"decode takes any bytes-like object; not this {kind}"
                try:
                    self._check(decoder, buffer, field, value, message)
                except Exception as error:
                    raise AssertionError(f"{message}: {error!r}") from error

    def test_decode_does_not_change_its_input(self) -> None:
        decoder = self.make_decoder()
        for data, field, _ in self.encoded():
            buffer = bytearray(data)
            decoder.decode(buffer, field)
            assert buffer == data, f"decode does not change its input (field {field!r})"

    def test_decode_is_pure(self) -> None:
        decoder, examples = self.make_decoder(), self.encoded()
        fresh = pickled(decoder, "decoder")
        for seed, again in enumerate([decoder, decoder, fresh, pickled(decoder, "decoder"), self.make_decoder()]):
            with global_seeds(seed):
                for data, field, value in [*examples, *reversed(examples)]:
                    self._check(again, data, field, value, "equal bytes give equal values, at any time and anywhere")

    def test_decode_can_be_called_from_several_threads(self) -> None:
        decoder, examples = self.make_decoder(), [*self.encoded()] * 8
        with ThreadPoolExecutor(4) as threads:
            values = threads.map(lambda example: decoder.decode(example[0], example[1]), examples)
            for found, (_, _, value) in zip(values, examples, strict=True):
                assert self.same(found, value), "decode is pure, so that threads may share a decoder"

    def test_junk_raises_decode_error(self) -> None:
        decoder = self.make_decoder()
        for data, field in self.junk():
            for buffer in (data, bytearray(data), memoryview(data)):
                found = self._decoded(decoder, buffer, field)
                assert found is None, f"junk raises DecodeError; {_brief(data)} as {field!r} gave {_brief(found)}"

    def test_nothing_but_decode_error_is_raised(self) -> None:
        decoder, examples = self.make_decoder(), self.encoded()
        for data, field, _ in examples:
            for broken in _damaged(data):
                self._decoded(decoder, broken, field)
        for field in {field for _, field, _ in examples}:
            for noise in _noise():
                self._decoded(decoder, noise, field)
        for data, field, value in examples:
            self._check(decoder, data, field, value, "what was refused does not change what is decoded later")

    @staticmethod
    def _decoded(decoder: Decoder[V], data: Buffer, field: str) -> tuple[V] | None:
        """Return the value in a tuple, None for a `DecodeError`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library may well warn of such data
            try:
                return (decoder.decode(data, field),)
            except DecodeError:
                return None
            except Exception as error:
                message = f"decode raises nothing but DecodeError; {_brief(bytes(data))} as {field!r} raised {error!r}"
                raise AssertionError(message) from error


def _hostile() -> list[object]:
    """Return values that encoders trip over; new ones at each call."""
    loop: list[object] = []
    loop.append(loop)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    scalars: list[object] = [None, True, -1, 10**5000, 1e308, float("inf"), float("nan"), -0.0, 1j, ..., int]
    texts: list[object] = [
        "",
        "\x00",
        "\ud800",
        "a\r\nb",
        "\ufeffa",
        " 7 ",
        b"",
        b"\xff",
        bytearray(b"a"),
        memoryview(b"a"),
    ]
    containers: list[object] = [
        [],
        (),
        {},
        set[int](),
        {1: 2},
        {"a": object()},
        {"a": (1, 2)},
        [{3}],
        {None: 1},
        {1: 1, "1": 2},
    ]
    arrays: list[object] = [
        np.zeros(()), np.zeros((0, 3), "f4"), np.arange(3, dtype=">i4"), np.arange(12.0).reshape(3, 4)[:, ::2],
        np.array([object()]), np.array(["a"]), np.zeros(2, [("a", "i4")]), np.float32(2), np.zeros(2, "c8"),
        [np.zeros(2)],
    ]  # fmt: skip
    return [*scalars, *texts, *containers, *arrays, object(), lambda: 0, iter([1]), loop, deep]


class EncoderSuite(Suite, ABC, Generic[V]):
    """What every `Encoder` must keep to."""

    @abstractmethod
    def make_encoder(self) -> Encoder[V]:
        """Return a new encoder, equal to any other that this returns."""

    @abstractmethod
    def values(self) -> Sequence[tuple[V, str]]:
        """Return some (value, field) that can be encoded, at least two that differ: new but equal ones at each call."""

    @abstractmethod
    def unencodable(self) -> Sequence[tuple[Any, str]]:
        """Return some (value, field) that must be refused; empty only if every value has a form in bytes.

        The suite tries odd values of its own: these must be encoded or refused with an `EncodeError`.
        """

    def same(self, actual: V, expected: V) -> bool:
        """Return whether two values are the same; by default, `webds.testing.same`."""
        return same(actual, expected)

    def test_values_are_enough_to_test_with(self) -> None:
        assert isinstance(self.make_encoder(), Encoder), "make_encoder returns an instance of webds.abc.Encoder"
        assert len(self.values()) >= 2, "values() has two or more"

    def test_encode_returns_bytes(self) -> None:
        encoder = self.make_encoder()
        for value, field in self.values():
            data: object = encoder.encode(value, field)
            assert isinstance(data, bytes), f"encode returns bytes, not {type(data).__name__} (field {field!r})"

    def test_encode_does_not_change_the_value(self) -> None:
        encoder = self.make_encoder()
        for (value, field), (fresh, _) in zip(self.values(), self.values(), strict=True):
            encoder.encode(value, field)
            assert self.same(value, fresh), f"encode does not change the value: {_brief(value)}, was {_brief(fresh)}"

    def test_encode_is_pure(self) -> None:
        encoder = self.make_encoder()
        first = [encoder.encode(value, field) for value, field in self.values()]
        for seed, again in enumerate([encoder, pickled(encoder, "encoder"), self.make_encoder()]):
            with global_seeds(seed):
                found = [again.encode(value, field) for value, field in reversed(self.values())][::-1]
            assert found == first, "equal values give equal bytes, at any time and anywhere"

    def test_encode_can_be_called_from_several_threads(self) -> None:
        encoder = self.make_encoder()
        examples = [example for _ in range(8) for example in self.values()]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda example: encoder.encode(*example), examples))
        right = [encoder.encode(value, field) for value, field in examples]
        assert found == right, "encode is pure, so that threads may share an encoder"

    def test_what_has_no_form_raises_encode_error(self) -> None:
        encoder = self.make_encoder()
        for value, field in self.unencodable():
            data = self._encoded(encoder, value, field)
            assert data is None, f"what has no form raises EncodeError; {_brief(value)} gave {_brief(data)}"

    def test_nothing_but_encode_error_is_raised(self) -> None:
        encoder = self.make_encoder()
        for field in {field for _, field in self.values()}:
            for value in _hostile():
                data: object = self._encoded(encoder, value, field)
                assert data is None or isinstance(data, bytes), f"encode returns bytes, not {type(data).__name__}"
        before = [encoder.encode(value, field) for value, field in self.values()]
        fresh = [self.make_encoder().encode(value, field) for value, field in self.values()]
        assert before == fresh, "what was refused does not change what is encoded later"

    @staticmethod
    def _encoded(encoder: Encoder[V], value: Any, field: str) -> bytes | None:
        """Return the bytes, None for an `EncodeError`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library may well warn of such values
            try:
                return encoder.encode(value, field)
            except EncodeError:
                return None
            except Exception as error:
                message = f"encode raises nothing but EncodeError; {_brief(value)} as {field!r} raised {error!r}"
                raise AssertionError(message) from error


def _equal(actual: Any, expected: Any) -> bool:
    """Return whether two values are equal in the sense of ``==``, made to work for arrays and NaN."""
    if same(actual, expected):
        return True
    if isinstance(expected, np.ndarray) or isinstance(actual, np.ndarray):
        arrays = np.asarray(actual), np.asarray(expected)
        native = [one.dtype.newbyteorder("=") for one in arrays]
        return native[0] == native[1] and bool(np.array_equal(*arrays))
    return bool(np.all(actual == expected))


class CodecSuite(EncoderSuite[V], DecoderSuite[V], ABC):
    """What every `Codec` must keep to: `EncoderSuite`, `DecoderSuite`, and that one undoes the other."""

    @abstractmethod
    def make_codec(self) -> Codec[V]:
        """Return a new codec, equal to any other that this returns."""

    @final
    @override
    def make_encoder(self) -> Encoder[V]:
        return self.make_codec()

    @final
    @override
    def make_decoder(self) -> Decoder[V]:
        return self.make_codec()

    @override
    def encoded(self) -> Sequence[tuple[bytes, str, V]]:
        """Return some (data, field, value); by default, what the codec makes of `values`."""
        codec = self.make_codec()
        return [(codec.encode(value, field), field, value) for value, field in self.values()]

    @override
    def same(self, actual: V, expected: V) -> bool:
        """Return whether a value came back; by default, `webds.testing.same`.

        To be defined for a lossy codec: whether the difference is within the bound that it states.
        """
        return same(actual, expected)

    def test_what_was_encoded_decodes(self) -> None:
        codec = self.make_codec()
        assert isinstance(codec, Codec), "make_codec returns an instance of webds.abc.Codec"
        for value, field in self.values():
            found = codec.decode(codec.encode(value, field), field)
            message = f"{_brief(value)} as {field!r} came back as {_brief(found)}"
            if codec.lossless:
                assert same(found, value) or self.same(found, value), f"decode(encode(x)) == x: {message}"
            else:
                assert same_form(found, value), f"a lossy codec keeps shape and dtype: {message}"
                assert self.same(found, value), f"a lossy codec stays within the bound that it states: {message}"

    def test_odd_values_come_back_or_are_refused(self) -> None:
        codec = self.make_codec()
        if not codec.lossless:
            return
        for field in {field for _, field in self.values()}:
            for value in _hostile()[:-2]:  # all but those that cannot be compared
                data = self._encoded(codec, value, field)
                if data is None:
                    continue
                found = codec.decode(data, field)
                message = f"{_brief(value)} as {field!r} came back as {_brief(found)}"
                assert _equal(found, value), f"decode(encode(x)) == x, or encode raises: {message}"
