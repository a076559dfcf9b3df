"""Samples picked out of the shards of an indexed source, in any order; those of a shard are read together."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, final

from webds.abc import IndexedSource
from webds.observing import observing
from webds.stages.base import Fields, Item, Run

__all__ = ["LOST", "Picker"]

_STREAMED: Final = 64
"""So many samples one after the other are read as a stream, or a whole shard."""

LOST: Final = object()
"""Stands for a sample in place of which there was an error that was let pass."""


@final
class Picker:
    """Picks samples of an indexed source.

    Args:
        source: where they are.
        fields: the fields that somebody will look at; None for all.
    """

    def __init__(self, source: IndexedSource[Any], fields: Fields) -> None:
        self._source = source
        self._fields = fields
        self.shards = source.shards()
        self._counts = source.counts()

    def pick(self, numbers: Sequence[int], ordinals: Sequence[int], run: Run) -> Generator[Item]:
        """Yield samples with their origins, in the order given; `LOST` for one that an error policy let go.

        A shard is open from the first to the last of its samples.

        Args:
            numbers: number of the shard of each.
            ordinals: ordinal of each in its shard.
            run: the iteration.
        """
        readers: dict[int, _Reader] = {}
        for number, ordinal in zip(numbers, ordinals, strict=True):
            if number not in readers:
                count = self._counts[number]
                readers[number] = _Reader(self._source, self.shards[number], count, run, self._fields)
            readers[number].ordinals.append(ordinal)
        try:
            for number, ordinal in zip(numbers, ordinals, strict=True):
                with observing(run.observer):
                    sample = readers[number].next()
                key = sample.get("__key__") if isinstance(sample, dict) else None
                yield (self.shards[number], ordinal, key), sample
        finally:
            for reader in readers.values():
                reader.close()


@final
class _Reader:
    """Samples of one shard, in the order in which they are wanted.

    Args:
        source: where the shard is.
        shard: its URL.
        count: how many samples it has.
        run: the iteration.
        fields: the fields that somebody will look at; None for all.
    """

    def __init__(self, source: IndexedSource[Any], shard: str, count: int, run: Run, fields: Fields) -> None:
        self._source = source
        self._shard = shard
        self._count = count
        self._run = run
        self._fields = fields
        self.ordinals: list[int] = []
        self._read = 0
        self._alone = False
        self._samples: Generator[Any] | None = None

    def next(self) -> Any:
        """Return the next sample, or `LOST`."""
        self._read += 1
        is_last = self._read == len(self.ordinals)
        try:
            sample = self._one()
            if is_last and self._samples is not None:
                next(self._samples, None)  # a source may have something to say at the end of a shard
        except Exception as error:
            self.close()
            self._run.guard.handle(error, "read", url=self._shard)
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
        with contextlib.closing(_iterator(self._source.read_at(self._shard, (ordinal,), self._fields))) as samples:
            return next(samples)

    def _begin(self, wanted: list[int]) -> Generator[Any]:
        first, end = wanted[0], wanted[-1] + 1
        if len(wanted) < min(_STREAMED, self._count) or wanted != list(range(first, end)):
            return _iterator(self._source.read_at(self._shard, wanted, self._fields))
        samples = self._source.read(self._shard, self._fields, first)
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
