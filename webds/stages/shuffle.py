"""The shuffle buffer: values leave in an order that depends on the seed, the epoch and their number alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, final

import attrs
from typing_extensions import override

from webds.order.displacement import late_one_in, of_buffer
from webds.order.draws import draws
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
    recalls: ClassVar[bool] = True
    size: int
    seed: int
    initial: int | None = None
    max_bytes: int | None = None
    purpose: str = "samples"

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        held = run.held_by(self.number)
        random = draws(self.seed, run.key, self.purpose, held.left)
        held.target = held.target or (self.size if self.initial is None else min(self.initial, self.size))
        sizes = _Sizes(self.max_bytes, held.items)
        waiting: set[int] = set()

        def wait() -> None:
            """Note what is in the buffer at the end of a pass: the pass is over when the last of it has left."""
            waiting.update(map(id, held.items))
            if not waiting:
                run.pass_over()

        items = upstream(run.watched_by(wait))
        while True:
            while held.items and (len(held.items) >= held.target or sizes.are_full):
                chosen = (next(random) * len(held.items)) >> 64
                sizes.leave(chosen)
                leaving = held.leave(chosen)
                yield leaving
                if waiting:
                    waiting.discard(id(leaving))
                    if not waiting:
                        run.pass_over()
            if (item := next(items, None)) is None:
                break
            held.enter(item)
            sizes.enter(item)
            if held.target < self.size and (len(held.items) >= held.target or sizes.are_full):
                # One stays in for each that leaves, until the buffer is full.
                held.target += 1
                if (item := next(items, None)) is not None:
                    held.enter(item)
                    sizes.enter(item)
        while held.items:
            yield held.leave((next(random) * len(held.items)) >> 64)

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


@final
class _Sizes:
    """How much memory the items of a buffer hold, if there is a limit.

    Args:
        limit: the most they may hold; None for any, and then nothing is counted.
        items: those that are in at the beginning.
    """

    def __init__(self, limit: int | None, items: Iterable[Item]) -> None:
        self._limit = limit
        self._sizes: list[int] = []
        self._sum = 0
        self.are_full = False
        for item in items:
            self.enter(item)

    def enter(self, item: Item) -> None:
        """Count an item at the last place."""
        if self._limit is not None:
            self._sizes.append(bytes_held(item[1]))
            self._sum += self._sizes[-1]
            self.are_full = self._sum >= self._limit

    def leave(self, place: int) -> None:
        """Count no more what is at a place; the last one moves there."""
        if self._limit is not None:
            self._sum -= self._sizes[place]
            self._sizes[place] = self._sizes[-1]
            self._sizes.pop()
            self.are_full = self._sum >= self._limit
