"""The contracts are abstract, and what they do by default is right."""

from __future__ import annotations

import enum
import importlib
import inspect
import io
import pickle
import pkgutil
from abc import ABC
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, cast

import pytest
from hypothesis import given, strategies as st
from typing_extensions import Buffer, is_protocol, is_typeddict, override

import webds
from webds import abc
from webds.abc import Codec, Decoder, Encoder, IndexedSource, Opener, Sink, Source, Splitter
from webds.errors import OpenError

VERBS: dict[type[Any], set[str]] = {
    Source: {"shards", "read"},
    IndexedSource: {"shards", "read", "counts", "read_at"},
    Opener: {"open"},
    Splitter: {"split"},
    Decoder: {"decode"},
    Encoder: {"encode"},
    Codec: {"decode", "encode"},
    Sink: {"write", "close", "abort"},
}


def subclass(contract: type[Any], verbs: set[str]) -> type[Any]:
    return type("Partial", (contract,), dict.fromkeys(verbs, print))


def test_the_contracts_are_these() -> None:
    assert {contract.__name__ for contract in VERBS} == set(abc.__all__)


@pytest.mark.parametrize("contract", VERBS)
def test_a_contract_cannot_be_instantiated(contract: type[Any]) -> None:
    with pytest.raises(TypeError, match=f"abstract class {contract.__name__}"):
        contract()


@pytest.mark.parametrize(
    ("contract", "verb"), [(contract, verb) for contract, verbs in VERBS.items() for verb in sorted(verbs)]
)
def test_a_subclass_that_lacks_a_verb_cannot_be_instantiated(contract: type[Any], verb: str) -> None:
    with pytest.raises(TypeError, match=f"abstract.*{verb}"):
        subclass(contract, VERBS[contract] - {verb})()


@pytest.mark.parametrize("contract", VERBS)
def test_a_subclass_with_every_verb_is_whole(contract: type[Any]) -> None:
    assert isinstance(subclass(contract, VERBS[contract])(), contract)


def test_a_codec_is_an_encoder_and_a_decoder() -> None:
    assert issubclass(Codec, Encoder)
    assert issubclass(Codec, Decoder)
    assert cast("Codec[Any]", subclass(Codec, VERBS[Codec])()).lossless


# Sinks.


class ListSink(Sink[int]):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    @override
    def write(self, sample: int) -> int:
        self.calls.append(sample)
        return 8

    @override
    def close(self) -> None:
        self.calls.append("close")

    @override
    def abort(self) -> None:
        self.calls.append("abort")


def test_a_with_block_gives_the_sink_and_closes_it() -> None:
    sink = ListSink()
    with sink as entered:
        assert entered is sink
        sink.write(1)
    assert sink.calls == [1, "close"]


@pytest.mark.parametrize("crash", [ValueError("crash"), KeyboardInterrupt(), SystemExit(0), GeneratorExit()])
def test_any_exception_that_leaves_the_block_aborts_and_goes_on(crash: BaseException) -> None:
    sink = ListSink()

    def write_and_crash() -> None:
        with sink:
            sink.write(1)
            raise crash

    with pytest.raises(type(crash)) as caught:
        write_and_crash()
    assert caught.value is crash
    assert sink.calls == [1, "abort"]


def test_the_context_manager_is_final() -> None:
    for method in (Sink.__enter__, Sink.__exit__):
        assert getattr(method, "__final__", False)


def test_an_open_sink_cannot_be_pickled() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="an open ListSink cannot be pickled"):
            pickle.dumps(ListSink(), protocol)


# Openers.


class Trickle(io.RawIOBase):
    """A stream that cannot seek and returns at most a few bytes at a time."""

    def __init__(self, content: bytes, most: int) -> None:
        super().__init__()
        self.rest = io.BytesIO(content)
        self.most = most

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        return self.rest.readinto(view[: self.most])


class BytesOpener(Opener):
    """Opens what it was given, and remembers the streams."""

    def __init__(self, content: bytes, most: int | None) -> None:
        self.content, self.most = content, most
        self.streams: list[BinaryIO] = []

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        stream = io.BytesIO(self.content) if self.most is None else Trickle(self.content, self.most)
        self.streams.append(cast("BinaryIO", stream))
        return self.streams[-1]


@given(
    content=st.binary(max_size=60),
    start=st.integers(0, 70),
    length=st.integers(0, 70),
    most=st.none() | st.integers(1, 70),
)
def test_read_range_reads_the_range(content: bytes, start: int, length: int, most: int | None) -> None:
    """On streams that seek (``most`` is None) and on those that do not, and return less than they were asked for."""
    opener = BytesOpener(content, most)
    assert opener.read_range("any:", start, length) == content[start : start + length]
    assert [stream.closed for stream in opener.streams] == [True]


def test_read_range_passes_over_a_long_beginning() -> None:
    content = bytes(range(256)) * 12_000
    assert BytesOpener(content, 1 << 30).read_range("any:", 3_000_001, 5) == content[3_000_001:3_000_006]


def test_the_size_is_unknown_by_default() -> None:
    assert BytesOpener(b"abc", None).size("any:") is None


def test_listing_is_refused_by_default_without_showing_secrets() -> None:
    with pytest.raises(OpenError, match="BytesOpener cannot list") as caught:
        BytesOpener(b"", None).list("https://host/*.tar?token=hush")
    assert caught.value.url == "https://host/*.tar?***"


# All public classes.


def modules() -> Iterator[str]:
    yield webds.__name__
    for module in pkgutil.walk_packages(webds.__path__, "webds."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


def public_classes() -> Iterator[type[Any]]:
    for name in modules():
        for attribute, value in vars(importlib.import_module(name)).items():
            if inspect.isclass(value) and value.__module__ == name and not attribute.startswith("_"):
                yield value


def is_abstract(cls: type[Any]) -> bool:
    return inspect.isabstract(cls) or ABC in cls.__bases__ or is_protocol(cls) or is_typeddict(cls)


def is_final(cls: type[Any]) -> bool:
    return getattr(cls, "__final__", False) or (issubclass(cls, enum.Enum) and len(cls) > 0)


def test_public_classes_are_abstract_final_or_exceptions() -> None:
    kinds: list[Callable[[type[Any]], bool]] = [is_abstract, is_final, lambda cls: issubclass(cls, BaseException)]
    neither = {
        f"{cls.__module__}.{cls.__qualname__}" for cls in public_classes() if not any(kind(cls) for kind in kinds)
    }
    assert neither == set()


def test_final_classes_have_no_subclasses() -> None:
    """What a type checker would say is true at run time too: `final` alone would not prevent it."""
    wrong = {
        (cls.__qualname__, base.__qualname__)
        for cls in public_classes()
        for base in cls.__mro__[1:]
        if "__final__" in vars(base)
    }
    assert wrong == set()


def test_the_walk_finds_the_classes() -> None:
    found = set(public_classes())
    assert set(VERBS) <= found
    assert {webds.WebdsError, webds.Policy} <= found
