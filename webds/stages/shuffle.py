"""The shuffle buffer: values leave in an order that depends on the seed, the epoch and their number alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, final

import attrs
from typing_extensions import override

from webds.displacement import late_one_in, of_buffer
from webds.order import draws
from webds.stages.base import Fields, Item, Labels, Run, Stage, Upstream

__all__ = ["Shuffle", "bytes_held"]


def bytes_held(value: Any) -> int:
    """Estimate how much memory a value holds, in bytes: that of its buffers, and something for each object."""
    return _held(value, set())


def _held(value: Any, seen: set[int]) -> int:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return 64 + memoryview(value).nbytes
    if isinstance(value, str):
        return 64 + len(value)
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return 128 + nbytes
    size = getattr(value, "size", None)
    if isinstance(size, tuple) and hasattr(value, "getbands"):  # a Pillow image
        return 128 + int(size[0] * size[1] * len(value.getbands()))
    if id(value) in seen:  # it contains itself
        return 64
    seen.add(id(value))
    return 64 + sum(_held(part, seen) for part in _parts(value))


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (tuple, list)):
        return value
    inner = getattr(value, "__dict__", None)
    if inner:
        return list(inner.values())
    slots = getattr(type(value), "__slots__", ())
    return [getattr(value, name, None) for name in slots if isinstance(name, str)]


@final
@attrs.frozen(kw_only=True)
class Shuffle(Stage):
    """Holds values back in a buffer, and hands out one drawn from it for each that comes in.

    A value never leaves more than ``size - 1`` places early. How late it can leave has no bound: it stays as
    long as others are drawn, ``size`` places on average.

    Attributes:
        size: how many values the buffer holds.
        seed: the user's seed.
        initial: how full the buffer is when the first value leaves; it fills up while values leave, two coming
            in for each. None: it is filled before.
        max_bytes: how much memory the values held may take, as estimated by `bytes_held`.
        purpose: tells the stage's random numbers from those of other stages.
    """

    name: ClassVar[str] = "shuffle"
    holds: ClassVar[bool] = True
    size: int
    seed: int
    initial: int | None = None
    max_bytes: int | None = None
    purpose: str = "samples"

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        random = draws(self.seed, run.key, self.purpose)
        buffer: list[Item] = []
        sizes: list[int] = []
        held = 0
        target = self.size if self.initial is None else min(self.initial, self.size)
        waiting: set[int] = set()

        def wait() -> None:
            """Note what is in the buffer at the end of a pass: the pass is over when the last of it has left."""
            waiting.update(map(id, buffer))
            if not waiting:
                run.pass_over()

        items = upstream(run.watched_by(wait))
        for item in items:
            buffer.append(item)
            if self.max_bytes is not None:
                sizes.append(bytes_held(item[1]))
                held += sizes[-1]
            if len(buffer) < target and (self.max_bytes is None or held < self.max_bytes):
                continue
            if target < self.size:
                # One stays in for each that leaves, until the buffer is full.
                target += 1
                second = next(items, None)
                if second is not None:
                    buffer.append(second)
                    if self.max_bytes is not None:
                        sizes.append(bytes_held(second[1]))
                        held += sizes[-1]
            while buffer and (len(buffer) >= target or (self.max_bytes is not None and held >= self.max_bytes)):
                chosen = (next(random) * len(buffer)) >> 64
                if self.max_bytes is not None:
                    held -= sizes[chosen]
                    sizes[chosen] = sizes[-1]
                    sizes.pop()
                leaving = _take(buffer, chosen)
                yield leaving
                if waiting:
                    waiting.discard(id(leaving))
                    if not waiting:
                        run.pass_over()
        while buffer:
            yield _take(buffer, (next(random) * len(buffer)) >> 64)

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        start = "filled" if self.initial is None else f"{self.initial} of them in"
        bound = "" if self.max_bytes is None else f", at most {self.max_bytes} bytes"
        early = "no value leaves more than that many places early"
        moved = (
            f"one moves {of_buffer(self.size).mean:.0f} places on average, and one in a thousand "
            f"{late_one_in(1000, self.size)} or more late"
        )
        return f"a buffer of {self.size}{bound}, {start} before the first leaves; seed {self.seed}; {early}; {moved}"


def _take(buffer: list[Item], chosen: int) -> Item:
    """Take one item out in constant time: the last one moves to its place."""
    item = buffer[chosen]
    buffer[chosen] = buffer[-1]
    buffer.pop()
    return item
