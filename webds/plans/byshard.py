"""Reading by shard: which shards each place reads, in which order, and all samples of each in turn."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import attrs

from webds.abc import Source, Splitter
from webds.errors import place_of
from webds.order.draws import permutation
from webds.order.progress import Progress
from webds.stages.base import Fields, Item, Run
from webds.streams.observing import observing
from webds.tar import ReadStats
from webds.typing import Place, T

__all__ = ["ByShard", "ForeseeingSource", "RecoveringSource", "opened", "reading"]


@runtime_checkable
class ForeseeingSource(Protocol):
    """A source that can read shards before their turn comes, where it knows them."""

    @property
    def foresees(self) -> bool:
        """Whether it was told to."""
        ...

    def reading(self, shards: Sequence[str]) -> AbstractContextManager[Source[Any]]:
        """Return the source to read ``shards`` from, in this order. When it is left, nothing is read any more."""
        ...


@runtime_checkable
class RecoveringSource(Protocol):
    """A source that can go on behind a sample that is unsound, and tells what it passed over."""

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Any]:
        """Read like `Source.read`.

        Args:
            shard: one of the source's shards.
            fields: the fields that somebody will look at, None for all.
            start: ordinal of the first sample to yield.
            on_error: called with the error of a sample that can be left out; True goes on behind it, False ends
                the shard. None: the error is raised.
            stats: where to count what the shard held.
        """
        ...


_Locate: TypeAlias = "Callable[[str, Iterator[Any], Progress], Iterator[T]]"
"""From a shard, its samples and a note of how many there were to what goes on."""


@final
@attrs.frozen(kw_only=True)
class ByShard:
    """How a plan's shards are divided and read.

    Attributes:
        source: where the samples are.
        splitter: who reads which shards.
        shard_seed: seed of the order of the shards; None for the source's.
        fields: the fields that somebody will look at; None for all.
    """

    source: Source[Any]
    splitter: Splitter
    shard_seed: int | None
    fields: Fields

    def shards(self, key: tuple[int, ...], place: Place) -> Sequence[str]:
        """Return the shards that ``place`` reads, in their order.

        Args:
            key: the epoch and the passes of enclosing repetitions.
            place: who reads; it only selects from an order that is the same everywhere.
        """
        return self.parts(key)(place)

    def parts(self, key: tuple[int, ...]) -> Callable[[Place], Sequence[str]]:
        """Return what knows the shards that any place reads, in their order; see `shards`."""
        shards = self.source.shards()
        fixed = not self.splitter.axes  # the same part everywhere stays the same in all epochs: it may be a test set
        if fixed:
            shards = self.splitter.split(shards, Place())
        if self.shard_seed is not None:
            order: list[int] = permutation(len(shards), self.shard_seed, key, "shards").tolist()
            shards = [shards[i] for i in order]
        return lambda place: shards if fixed else self.splitter.split(shards, place)

    def read(self, run: Run, *, names_url: bool) -> Generator[Item]:
        """Yield the samples of all shards of one place, with their origins.

        Args:
            run: the iteration, or the pass of one.
            names_url: whether the samples are to have their shard's URL as a field.
        """
        return self._read(run, _with_origins_and_url if names_url else _with_origins)

    def read_bare(self, run: Run) -> Generator[Any]:
        """Yield the samples of all shards of one place."""
        return self._read(run, _as_they_are)

    def _read(self, run: Run, locate: _Locate[T]) -> Generator[T]:
        """Yield what ``locate`` makes of the samples of each shard of this place."""
        shards = self.shards(run.key, run.place)
        resumed = run.resumes_here
        run.progress.passes, run.progress.shard = run.passes, 0 if resumed is None else resumed.shard
        run.progress.read = 0 if resumed is None else resumed.read
        if run.guard.stopped:  # by an error of what was held back: that is all that comes
            return
        shards = shards[run.progress.shard :]
        with reading(self.source, shards, run) as source:
            yield from attrs.evolve(self, source=source)._read_in_turn(shards, run, locate)  # noqa: SLF001  # its own

    def _read_in_turn(self, shards: Sequence[str], run: Run, locate: _Locate[T]) -> Generator[T]:
        """Yield what ``locate`` makes of the samples of each of ``shards``."""
        guard = run.guard
        stats = ReadStats()
        failed = False
        progress = run.progress
        begin = progress.read
        for number, shard in enumerate(shards, progress.shard):
            stopped = False
            progress.shard, progress.read = number, begin

            def on_error(error: Exception, shard: str = shard, after: int | None = None) -> bool:
                nonlocal failed, stopped
                failed = True
                stopped = not guard.handle(error, "read", url=shard, after=after)
                return not stopped

            samples: Iterator[Any] | None = None
            samples_read = functools.partial(_since, progress, begin)
            guard.begin_reading(samples_read)
            try:
                with observing(run.observer):
                    handler = None if guard.policy.raises else on_error
                    samples = opened(self.source, shard, self.fields, begin, handler, stats)
                    begun = _begun(samples)
                yield from locate(shard, begun, progress)
            except Exception as error:  # of the source: what is done with a sample raises elsewhere
                on_error(error, after=None if place_of(error).get("stage") == "open" else progress.read)
            finally:
                guard.end_reading(samples_read)
                begin = 0
                close = getattr(samples, "close", None)
                if close is not None:
                    close()
                if stats.left_out:
                    guard.left_out(shard, stats.left_out)
                    stats.left_out = 0
            if stopped:
                return
            progress.shard, progress.read = number + 1, 0  # who goes on from here has no need of this shard
        if not failed:
            used = stats.members - stats.passed_over
            run.check_not_empty("read", "the keys rule", used, stats.passed_over, stats.examples)


@contextlib.contextmanager
def reading(source: Source[Any], shards: Sequence[str], run: Run) -> Generator[Source[Any]]:
    """Return the source to read ``shards`` from, in this order: one that reads ahead, where it was told to."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, ForeseeingSource) and source.foresees:
            with observing(run.observer):
                source = stack.enter_context(source.reading(shards))
        yield source


def opened(
    source: Source[Any], shard: str, fields: Fields, start: int, on_error: Callable[[Exception], bool] | None,
    stats: ReadStats | None = None,
) -> Iterator[Any]:  # fmt: skip
    """Begin to read a shard, by a source that can go on behind what is unsound in the way that it can."""
    if isinstance(source, RecoveringSource):
        return iter(source.read_on(shard, fields, start, on_error=on_error, stats=stats))
    return iter(source.read(shard, fields, start))


def _since(progress: Progress, begin: int) -> int:
    """Return how many samples have been read of a shard that was begun at one."""
    return progress.read - begin


def _as_they_are(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Any]:
    for ordinal, sample in enumerate(samples, progress.read):
        progress.read = ordinal + 1
        yield sample


def _with_origins(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Item]:
    """Yield the samples of a shard with their origins."""
    for ordinal, sample in enumerate(samples, progress.read):
        progress.read = ordinal + 1
        yield (shard, ordinal, sample.get("__key__") if isinstance(sample, dict) else None), sample


def _with_origins_and_url(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Item]:
    """The same, and the shard's URL in each sample."""
    for origin, sample in _with_origins(shard, samples, progress):
        if isinstance(sample, dict):
            sample["__url__"] = shard
        yield origin, sample


def _begun(samples: Iterator[Any]) -> Iterator[Any]:
    """Return the iterator, of which the first sample has been read: so long its shard has been opened."""
    for first in samples:
        return itertools.chain((first,), samples)
    return samples
