"""Samples picked out of the shards of indexed sources, in the order in which they are wanted."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, final

import attrs

from webds.abc import IndexedSource
from webds.policy import Guard
from webds.stages.base import Fields, Item
from webds.streams.observing import Observer, next_observed

__all__ = ["LOST", "Part", "Picker"]

LOST: Final = object()
"""Stands for a sample in place of which there was an error that was let pass."""

_STREAMED: Final = 64
"""So many samples one after the other are read as a stream, or a whole shard."""


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
        finish: from a sample, with its origin, to what stands in the row, which may be `LOST`; None keeps it.
    """

    source: IndexedSource[Any]
    shard: str
    fields: Fields
    guard: Guard
    observer: Observer
    names_url: bool
    finish: Callable[[Item], Item] | None = None


@final
class Picker:
    """Gets the samples of one iteration, or of one pass of it.

    Args:
        parts: from the number of a shard to how it is read.
        counts: how many samples each shard has.
        goes_on: whether what is asked for next most often follows in the same shard.
    """

    def __init__(self, parts: Callable[[int], Part], counts: Sequence[int], *, goes_on: bool) -> None:
        self._parts = parts
        self._counts = counts
        self._goes_on = goes_on
        self._last: tuple[int, _Reader] | None = None

    def mixed(self, numbers: Sequence[int], ordinals: Sequence[int]) -> Generator[Item]:
        """Yield samples with their origins, in the order given; `LOST` for one that an error policy let go.

        A shard is open from the first to the last of its samples.

        Args:
            numbers: the number of the shard of each.
            ordinals: the ordinal of each in its shard.
        """
        readers: dict[int, _Reader] = {}
        for number, ordinal in zip(numbers, ordinals, strict=True):
            if number not in readers:
                readers[number] = self._reader(number)
            readers[number].ordinals.append(ordinal)
        try:
            for number, ordinal in zip(numbers, ordinals, strict=True):
                yield readers[number].next(ordinal)
        finally:
            for reader in readers.values():
                reader.close()

    def in_order(self, numbers: Sequence[int], ordinals: Sequence[int]) -> Generator[Item]:
        """Yield samples like `mixed`, where those of a shard follow one another: one shard is open at a time."""
        end = 0
        for number, group in itertools.groupby(numbers):
            start, end = end, end + sum(1 for _ in group)
            wanted = ordinals[start:end]
            last, self._last = self._last, None
            if last is not None and last[0] == number and last[1].follows_with(wanted[0]):
                reader = last[1]
            else:
                if last is not None:
                    last[1].close()
                reader = self._reader(number)
            reader.want(wanted)
            try:
                yield from reader.all()
            except BaseException:
                reader.close()
                raise
            self._last = number, reader

    def _reader(self, number: int) -> _Reader:
        return _Reader(self._parts(number), self._counts[number], goes_on=self._goes_on)

    def close(self) -> None:
        """Let go of what is open."""
        if self._last is not None:
            self._last[1].close()
            self._last = None


@final
class _Reader:
    """Samples of one shard, in the order in which they are wanted.

    Args:
        part: how they are read.
        count: how many samples the shard has.
        goes_on: as for `Picker`.
    """

    def __init__(self, part: Part, count: int, *, goes_on: bool) -> None:
        self._part = part
        self._shard = part.shard
        self._observer = part.observer
        self._keeps = part.finish is None and not part.names_url
        self._count = count
        self._goes_on = goes_on
        self.ordinals: list[int] = []
        self._read = 0
        self._alone = False
        self._is_open_end = False
        self._samples: Iterator[Any] | None = None

    def follows_with(self, ordinal: int) -> bool:
        """Return whether the sample that comes next, from what is open, is this one."""
        return self._samples is not None and self._is_open_end and ordinal == self.ordinals[-1] + 1

    def want(self, ordinals: Sequence[int]) -> None:
        """Want these next, when those before have been read."""
        self.ordinals, self._read = list(ordinals), 0

    def all(self) -> Generator[Item]:
        """Yield the samples that are left."""
        while self._read < len(self.ordinals):
            if self._keeps and self._read and self._samples is not None and not self._alone and self._is_open_end:
                # One stream: its opening has been observed, and what comes is what is wanted.
                try:
                    last = len(self.ordinals) - 1  # about whose end there may be something to say
                    shard, ordinal = self._shard, self.ordinals[self._read]
                    for sample in itertools.islice(self._samples, last - self._read):
                        self._read += 1
                        yield (shard, ordinal, sample.get("__key__") if isinstance(sample, dict) else None), sample
                        ordinal += 1
                except Exception:
                    self._fall_back()
            yield self.next(self.ordinals[self._read])

    def next(self, ordinal: int) -> Item:
        """Return the next sample, which has this ordinal, with its origin."""
        if self._samples is not None and self._read + 1 < len(self.ordinals):
            # What is most often so, with nothing done that can be left undone.
            try:
                sample = next_observed(self._samples, self._observer)
            except Exception:
                self._fall_back()
                sample = self._next()
            else:
                self._read += 1
        else:
            sample = self._next()
        if self._keeps:
            return (self._shard, ordinal, sample.get("__key__") if isinstance(sample, dict) else None), sample
        return self._finished(ordinal, sample)

    def _finished(self, ordinal: int, sample: Any) -> Item:
        part, is_sample = self._part, isinstance(sample, dict)
        if part.names_url and is_sample:
            sample["__url__"] = self._shard
        item = (self._shard, ordinal, sample.get("__key__") if is_sample else None), sample
        return item if sample is LOST or part.finish is None else part.finish(item)

    def _next(self) -> Any:
        self._read += 1
        is_last = self._read == len(self.ordinals)
        try:
            sample = self._one()
            if is_last and self._samples is not None and not self._stays_open:
                next(self._samples, None)  # a source may have something to say at the end of a shard
        except Exception as error:
            self.close()
            self._part.guard.handle(error, "read", url=self._shard)
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
        samples = self._part.source.read_at(self._shard, (ordinal,), self._part.fields)
        with contextlib.closing(_closable(samples)):
            return next_observed(samples, self._observer)

    def _fall_back(self) -> None:
        """What was read together fails together: which of them it is shows when each is read by itself."""
        self._alone = True
        self.close()

    def _begin(self, wanted: list[int]) -> Iterator[Any]:
        first, end = wanted[0], wanted[-1] + 1
        if wanted != list(range(first, end)) or not (self._goes_on or len(wanted) >= min(_STREAMED, self._count)):
            return self._part.source.read_at(self._shard, wanted, self._part.fields)
        self._is_open_end = self._goes_on or end == self._count
        samples = self._part.source.read(self._shard, self._part.fields, first)
        return samples if self._is_open_end else _first(samples, len(wanted))

    def close(self) -> None:
        """Let go of the shard."""
        # An iterator that lives until the interpreter ends is closed when the globals of this module are gone.
        close: Callable[[], object] | None = getattr(self._samples, "close", None)
        self._samples = None
        if close is not None:
            close()
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
