"""Samples picked out of the shards of indexed sources, in any order; those of a shard are read together."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.abc import IndexedSource
from webds.observing import Observer, observing
from webds.policy import Guard
from webds.stages.base import Fields, Item

__all__ = ["LOST", "Part", "Picker"]

_STREAMED: Final = 64
"""So many samples one after the other are read as a stream, or a whole shard."""

LOST: Final = object()
"""Stands for a sample in place of which there was an error that was let pass."""


def _as_it_is(item: Item) -> Item:
    return item


@final
@attrs.frozen
class Part:
    """How the samples of one shard are read.

    Attributes:
        source: what the shard is of.
        shard: its URL.
        fields: the fields that somebody will look at; None for all.
        guard: what to call when reading fails.
        observer: hears of what is opened.
        names_url: whether the samples are to have their shard's URL as a field.
        finish: from a sample, with its origin, to what stands in the row, which may be `LOST`.
    """

    source: IndexedSource[Any]
    shard: str
    fields: Fields
    guard: Guard
    observer: Observer
    names_url: bool
    finish: Callable[[Item], Item] = _as_it_is


@final
class Picker:
    """Picks samples.

    Args:
        parts: from the number of a shard to how it is read.
        counts: how many samples each shard has.
    """

    def __init__(self, parts: Callable[[int], Part], counts: NDArray[np.int64]) -> None:
        self._parts = parts
        self._counts = counts

    def pick(self, numbers: Sequence[int], ordinals: Sequence[int]) -> Generator[Item]:
        """Yield samples with their origins, in the order given; `LOST` for one that an error policy let go.

        A shard is open from the first to the last of its samples.

        Args:
            numbers: number of the shard of each.
            ordinals: ordinal of each in its shard.
        """
        readers: dict[int, _Reader] = {}
        for number, ordinal in zip(numbers, ordinals, strict=True):
            if number not in readers:
                readers[number] = _Reader(self._parts(number), int(self._counts[number]))
            readers[number].ordinals.append(ordinal)
        try:
            for number, ordinal in zip(numbers, ordinals, strict=True):
                yield readers[number].next(ordinal)
        finally:
            for reader in readers.values():
                reader.close()


@final
class _Reader:
    """Samples of one shard, in the order in which they are wanted.

    Args:
        part: how they are read.
        count: how many samples the shard has.
    """

    def __init__(self, part: Part, count: int) -> None:
        self._part = part
        self._source = part.source
        self._count = count
        self.ordinals: list[int] = []
        self._read = 0
        self._alone = False
        self._samples: Generator[Any] | None = None

    def next(self, ordinal: int) -> Item:
        """Return the next sample, which has this ordinal, or `LOST`."""
        part = self._part
        with observing(part.observer):
            sample = self._next()
        is_sample = isinstance(sample, dict)
        if part.names_url and is_sample:
            sample["__url__"] = part.shard
        item = (part.shard, ordinal, sample.get("__key__") if is_sample else None), sample
        return item if sample is LOST else part.finish(item)

    def _next(self) -> Any:
        self._read += 1
        is_last = self._read == len(self.ordinals)
        try:
            sample = self._one()
            if is_last and self._samples is not None:
                next(self._samples, None)  # a source may have something to say at the end of a shard
        except Exception as error:
            self.close()
            self._part.guard.handle(error, "read", url=self._part.shard)
            return LOST
        if is_last:
            self.close()
        return sample

    def _one(self) -> Any:
        ordinal = self.ordinals[self._read - 1]
        if not self._alone:
            try:
                if self._samples is None:
                    self._samples = self._begin(self.ordinals[self._read - 1 :])
                return next(self._samples)
            except Exception:
                # What was read together fails together: which of them it is shows when each is read by itself.
                self._alone = True
                self.close()
        with contextlib.closing(
            _iterator(self._source.read_at(self._part.shard, (ordinal,), self._part.fields))
        ) as samples:
            return next(samples)

    def _begin(self, wanted: list[int]) -> Generator[Any]:
        first, end = wanted[0], wanted[-1] + 1
        if len(wanted) < min(_STREAMED, self._count) or wanted != list(range(first, end)):
            return _iterator(self._source.read_at(self._part.shard, wanted, self._part.fields))
        samples = self._source.read(self._part.shard, self._part.fields, first)
        return _iterator(samples, None if end == self._count else len(wanted))

    def close(self) -> None:
        """Let go of the shard."""
        if self._samples is not None:
            self._samples.close()
            self._samples = None


def _iterator(samples: Iterator[Any], n: int | None = None) -> Generator[Any]:
    """Yield the samples, or the first ``n``, and close what yields them in the end."""
    try:
        yield from itertools.islice(samples, n)
    finally:
        close = getattr(samples, "close", None)
        if close is not None:
            close()
