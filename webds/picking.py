"""Samples of an indexed source, in the order in which they are wanted, whatever shards they are in."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final, final

from webds.abc import IndexedSource
from webds.observing import Observer, next_observed
from webds.stages.base import Fields, Item, Run

__all__ = ["LOST", "Picker"]

LOST: Final = object()
"""Stands for a sample in place of which there was an error that was let pass."""

_STREAMED: Final = 64
"""So many samples one after the other are read as a stream, or a whole shard."""


@final
class Picker:
    """Gets the samples of one iteration, or of one pass of it.

    Args:
        source: where they are.
        counts: number of samples of each shard.
        run: the iteration.
        fields: the fields that somebody will look at; None for all.
        observer: hears of what is opened.
        goes_on: whether what is asked for next most often follows in the same shard.
    """

    def __init__(
        self,
        source: IndexedSource[Any],
        counts: Sequence[int],
        run: Run,
        fields: Fields,
        observer: Observer,
        *,
        goes_on: bool,
    ) -> None:
        self._source = source
        self._shards = source.shards()
        self._counts = counts
        self._run = run
        self._fields = fields
        self._observer = observer
        self._goes_on = goes_on
        self._last: _Reader | None = None

    def mixed(self, numbers: Sequence[int], ordinals: Sequence[int]) -> Generator[Item]:
        """Yield samples, those of all shards in turn; all the shards are open meanwhile.

        Args:
            numbers: the number of the shard of each.
            ordinals: the ordinal of each.
        """
        readers: dict[int, _Reader] = {}
        for number, ordinal in zip(numbers, ordinals, strict=True):
            if number not in readers:
                readers[number] = self._reader(number)
            readers[number].ordinals.append(ordinal)
        try:
            for number, ordinal in zip(numbers, ordinals, strict=True):
                sample = readers[number].next()
                key = sample.get("__key__") if isinstance(sample, dict) else None
                yield (self._shards[number], ordinal, key), sample
        finally:
            for reader in readers.values():
                reader.close()

    def in_order(self, numbers: Sequence[int], ordinals: Sequence[int]) -> Generator[Item]:
        """Yield samples, shard after shard; one is open at a time. Arguments as above."""
        end = 0
        for number, group in itertools.groupby(numbers):
            start, end = end, end + sum(1 for _ in group)
            shard, wanted = self._shards[number], ordinals[start:end]
            reader, self._last = self._last, None
            if reader is None or not reader.follows_with(shard, wanted[0]):
                if reader is not None:
                    reader.close()
                reader = self._reader(number)
            reader.want(wanted)
            try:
                for ordinal, sample in zip(wanted, reader.all(), strict=True):
                    yield (shard, ordinal, sample.get("__key__") if isinstance(sample, dict) else None), sample
            except BaseException:
                reader.close()
                raise
            self._last = reader

    def _reader(self, number: int) -> _Reader:
        return _Reader(
            self._source, self._shards[number], self._counts[number], self._run, self._fields, self._observer,
            goes_on=self._goes_on,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of what is open."""
        if self._last is not None:
            self._last.close()
            self._last = None


@final
class _Reader:
    """Samples of one shard, in the order in which they are wanted; arguments as for `Picker`."""

    def __init__(
        self,
        source: IndexedSource[Any],
        shard: str,
        count: int,
        run: Run,
        fields: Fields,
        observer: Observer,
        *,
        goes_on: bool,
    ) -> None:
        self._source = source
        self._shard = shard
        self._count = count
        self._run = run
        self._fields = fields
        self._observer = observer
        self._goes_on = goes_on
        self.ordinals: list[int] = []
        self._read = 0
        self._alone = False
        self._is_open_end = False
        self._samples: Iterator[Any] | None = None

    def follows_with(self, shard: str, ordinal: int) -> bool:
        """Return whether the sample that comes next, from what is open, is this one."""
        return (
            self._samples is not None
            and self._is_open_end
            and shard == self._shard
            and ordinal == self.ordinals[-1] + 1
        )

    def want(self, ordinals: Sequence[int]) -> None:
        """Want these next, when those before have been read."""
        self.ordinals, self._read = list(ordinals), 0

    def all(self) -> Generator[Any]:
        """Yield the samples, or `LOST`."""
        while self._read < len(self.ordinals):
            if self._read and self._samples is not None and not self._alone and self._is_open_end:
                # One stream: its opening has been observed, and what comes is what is wanted.
                try:
                    last = len(self.ordinals) - 1  # about whose end there may be something to say
                    for sample in itertools.islice(self._samples, last - self._read):
                        self._read += 1
                        yield sample
                except Exception:
                    self._fall_back()
            yield self.next()

    def next(self) -> Any:
        """Return the next sample, or `LOST`."""
        if self._samples is not None and self._read + 1 < len(self.ordinals):
            # What is most often so, with nothing done that can be left undone.
            try:
                sample = next_observed(self._samples, self._observer)
            except Exception:
                self._fall_back()
            else:
                self._read += 1
                return sample
        self._read += 1
        is_last = self._read == len(self.ordinals)
        try:
            sample = self._one()
            if is_last and self._samples is not None and not self._stays_open:
                next(self._samples, None)  # a source may have something to say at the end of a shard
        except Exception as error:
            self.close()
            self._run.guard.handle(error, "read", url=self._shard)
            return LOST
        if is_last and not self._stays_open:
            self.close()
        return sample

    @property
    def _stays_open(self) -> bool:
        return self._is_open_end and self.ordinals[-1] + 1 < self._count

    def _one(self) -> Any:
        ordinal = self.ordinals[self._read - 1]
        if not self._alone:
            try:
                if self._samples is None:
                    self._samples = self._begin(self.ordinals[self._read - 1 :])
                return next_observed(self._samples, self._observer)
            except Exception:
                self._fall_back()
        samples = self._source.read_at(self._shard, (ordinal,), self._fields)
        with contextlib.closing(_closable(samples)):
            return next_observed(samples, self._observer)

    def _fall_back(self) -> None:
        """What was read together fails together: which of them it is shows when each is read by itself."""
        self._alone = True
        self.close()

    def _begin(self, wanted: list[int]) -> Iterator[Any]:
        first, end = wanted[0], wanted[-1] + 1
        if wanted != list(range(first, end)) or not (self._goes_on or len(wanted) >= min(_STREAMED, self._count)):
            return self._source.read_at(self._shard, wanted, self._fields)
        self._is_open_end = self._goes_on or end == self._count
        samples = self._source.read(self._shard, self._fields, first)
        return samples if self._is_open_end else _first(samples, len(wanted))

    def close(self) -> None:
        """Let go of the shard."""
        if self._samples is not None:
            _closable(self._samples).close()
            self._samples = None
        self._is_open_end = False


class _Nothing:
    def close(self) -> None:
        """Do nothing."""


def _closable(samples: Iterator[Any]) -> Any:
    """Return what has the method ``close``."""
    return samples if hasattr(samples, "close") else _Nothing()


def _first(samples: Iterator[Any], n: int) -> Generator[Any]:
    """Yield the first ``n``, and close what yields them in the end."""
    with contextlib.closing(_closable(samples)):
        yield from itertools.islice(samples, n)
