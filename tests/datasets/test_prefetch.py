"""Datasets that read ahead yield what they would yield without, whatever goes wrong where."""

from __future__ import annotations

import io
import threading
from typing import Any, BinaryIO, Literal, cast

import attrs
from hypothesis import given, settings, strategies as st
from shards import sample_of, tar_bytes
from typing_extensions import override

import webds
from webds.abc import Opener

Fault = Literal["none", "cut", "flipped", "broken", "closed", "own"]


class Broken(io.BytesIO):
    """Some bytes, and then an exception."""

    def __init__(self, content: bytes, failure: Exception) -> None:
        super().__init__(content)
        self._failure = failure

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data and size != 0:
            raise self._failure
        return data


@attrs.frozen
class Faulty(Opener):
    """Shards with a fault at some byte."""

    faults: tuple[tuple[int, Fault, int], ...]

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        number = int(url.rpartition("/")[2])
        samples, fault, at = self.faults[number]
        chosen = map(sample_of, range(100 * number, 100 * number + samples))
        body = bytearray(
            tar_bytes((f"{s['__key__']}.{name}", s[name].encode()) for s in chosen for name in ("cls", "txt"))
        )
        at %= len(body)
        match fault:
            case "closed":
                raise webds.OpenError("closed today", url=url)
            case "cut":
                del body[at:]
            case "flipped":
                body[at] ^= 0x55
            case "broken":
                return cast("BinaryIO", Broken(bytes(body[:at]), webds.OpenError("broke off", url=url)))
            case "own":
                return cast("BinaryIO", Broken(bytes(body[:at]), ArithmeticError("of my own")))
            case "none":
                pass
        return cast("BinaryIO", io.BytesIO(body))


def ran(builder: webds.DatasetBuilder[Any], stop: int | None) -> tuple[list[Any], tuple[Any, ...] | None, list[Any]]:
    """Return the values, the error that ended it, and what was left out."""
    dataset = builder.build()
    values: list[Any] = []
    failure: tuple[Any, ...] | None = None
    try:
        for value in dataset:
            values.append(value)
            if len(values) == stop:
                break
    except Exception as error:
        failure = type(error), str(error), getattr(error, "__notes__", [])
    return values, failure, [] if stop else dataset.stats().losses


FAULTS = st.sampled_from(["none", "none", "cut", "flipped", "broken", "closed", "own"])
SHARDS = st.lists(st.tuples(st.integers(0, 12), FAULTS, st.integers(0, 20_000)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    faults=SHARDS,
    shards=st.integers(1, 3),
    max_bytes=st.integers(8, 60_000),
    policy=st.sampled_from(["raise", "skip", "stop"]),
    stop=st.none() | st.integers(1, 30),
    repeated=st.booleans(),
)
def test_values_errors_and_losses_are_those_without(
    faults: list[tuple[int, Fault, int]],
    shards: int,
    max_bytes: int,
    policy: Literal["raise", "skip", "stop"],
    stop: int | None,
    repeated: bool,
) -> None:
    urls = [f"faulty://{n}" for n in range(len(faults))]
    builder = webds.DatasetBuilder(urls, opener=Faulty(tuple(faults)), on_error=policy).shuffle(0, seed=3)
    if repeated:
        builder = builder.repeat(2).shuffle(4, shards=False)
    before = set(threading.enumerate())
    assert ran(builder.prefetch(shards, max_bytes), stop) == ran(builder, stop)
    for thread in set(threading.enumerate()) - before:
        if thread.name == "webds-prefetch":
            thread.join(60)  # one that was told to end may get no processor for a while
            assert not thread.is_alive()
