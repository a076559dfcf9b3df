"""Tar shards with an index: exact counts, and any sample by its number."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from webds.abc import IndexedSource
from webds.errors import StaleIndexError, WebdsError
from webds.index import MemberTable
from webds.index.manifest import ListedShard
from webds.sources.ranges import Ranges, bounded, open_ranges
from webds.sources.tables import Tables, open_whole, stale
from webds.sources.tar import TarSource
from webds.tar import ReadStats, base_plus_ext, read_samples
from webds.typing import UNREAD, Sample

__all__ = ["IndexedTarSource", "SampleInfo"]


@final
@attrs.frozen
class SampleInfo:
    """What is known of a sample before any of its data is read.

    Attributes:
        url: its shard.
        ordinal: its number in the shard.
        key: its key.
        sizes: field → bytes.
    """

    url: str
    ordinal: int
    key: str
    sizes: Mapping[str, int]


@final
@attrs.frozen(slots=False)
class IndexedTarSource(IndexedSource[Sample]):
    """The samples of tar shards, which are known beforehand by their indexes.

    An index is what the manifest names, or the member table beside the shard (``x.idx`` for ``x.tar``); a local shard
    without one has its headers read when it is first needed. What is read by an index is compared with the header
    in front of it, name and size: an index of another version of the shard is an error, never a wrong sample.
    A compressed shard, and one with sparse members, has counts alone: its samples are reached by reading all before.

    The samples are those of the `TarSource` inside, in their order. It has to raise errors of samples that are not
    sound (``duplicates="error"``): an index has none of them.

    Attributes:
        tar: the shards, and what decides on their samples.
        predicates: functions that all have to be true of a sample for it to be there; others are left out, and those
            behind move up. Called once for each sample.
    """

    tar: TarSource
    predicates: tuple[Callable[[SampleInfo], object], ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.tar.duplicates != "error":
            raise ValueError(f"duplicates={self.tar.duplicates!r}: an indexed source knows sound samples only")
        if self.tar.foresees:
            raise ValueError("prefetch reads shards ahead that are read as streams, not those read by an index")

    @functools.cached_property
    def _tables(self) -> Tables:
        return Tables(self.tar)

    @functools.cached_property
    def _counts(self) -> NDArray[np.int64]:
        if self.predicates:
            return np.array([len(self._chosen[shard]) for shard in self.tar.shards()], np.int64)
        return np.array([self._tables.count(shard) for shard in self.tar.shards()], np.int64)

    def identity(self) -> Mapping[str, object]:
        """Return what else decides on the samples; see `webds.plans.plan.IdentifiedSource`."""
        if not self.predicates:
            return self.tar.identity()
        chosen = hashlib.blake2b(digest_size=4)
        for shard in self.tar.shards():
            chosen.update(self._chosen[shard].astype("<i8").tobytes())
        return {**self.tar.identity(), "selected": f"{int(self._counts.sum())} {chosen.hexdigest()}"}

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        """Shard → its place in the list; the first one for a shard that is listed twice."""
        places: dict[str, int] = {}
        for place, shard in enumerate(self.tar.shards()):
            places.setdefault(shard, place)
        return places

    @functools.cached_property
    def _chosen(self) -> dict[str, NDArray[np.int64]]:
        """Shard → the ordinals of the samples for which all predicates are true."""
        return {shard: self._choose(shard) for shard in self._places}

    def _choose(self, shard: str) -> NDArray[np.int64]:
        table = self._tables.get(shard)
        if isinstance(table, int):
            raise StaleIndexError("the index does not tell the samples of a compressed or sparse shard apart, so that "
                                  "none can be selected", url=shard, stage="index")  # fmt: skip
        return np.array([i for i in range(len(table)) if self._is_chosen(table, shard, i)], np.int64)

    def _is_chosen(self, table: MemberTable, shard: str, sample: int) -> bool:
        sizes = {table.fields[table.kinds[member]]: int(table.sizes[member]) for member in table.members(sample)}
        info = SampleInfo(shard, sample, self._key_in(table, sample), sizes)
        return all(predicate(info) for predicate in self.predicates)

    @override
    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("_tables", None)
        if self.predicates and "_chosen" in state:  # what they said is known, and they may not pickle
            state["predicates"] = (_asked,) * len(self.predicates)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)  # frozen

    def where(self, predicate: Callable[[SampleInfo], object]) -> IndexedTarSource:
        """Return the source of those samples of this one for which ``predicate`` is true too."""
        return attrs.evolve(self, predicates=(*self.predicates, predicate))

    @override
    def shards(self) -> Sequence[str]:
        return self.tar.shards()

    def listing(self) -> Sequence[ListedShard]:
        """Return what is known of each of `shards`, in their order; see `webds.plans.planning.ListingSource`."""
        return self.tar.listing()

    @override
    def counts(self) -> Sequence[int]:
        counts: list[int] = self._counts.tolist()
        return counts

    def key(self, shard: str, ordinal: int) -> str | None:
        """Return the key of a sample; None where there is no such sample."""
        return self._key(shard, ordinal) if 0 <= ordinal < self._counts[self._places[shard]] else None

    def find(self, key: str) -> list[tuple[str, int]]:
        """Return shard and ordinal of every sample of this key. The first call reads the tables of all shards.

        What it keeps takes 16 bytes for each sample of the source.
        """
        hashes, order = self._keys
        wanted = _hash(key)
        found: list[tuple[str, int]] = []
        starts = np.concatenate([[0], np.cumsum(self._counts)])
        for at in range(int(np.searchsorted(hashes, wanted)), int(np.searchsorted(hashes, wanted, "right"))):
            number = int(order[at])
            place = int(np.searchsorted(starts, number, "right")) - 1
            shard, ordinal = self.tar.shards()[place], number - int(starts[place])
            if self._key(shard, ordinal) == key:
                found.append((shard, ordinal))
        return sorted(found, key=lambda one: (self._places[one[0]], one[1]))

    @functools.cached_property
    def _keys(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The hashes of all keys, in their order, and the numbers of the samples that have them."""
        hashes = np.fromiter((_hash(key) for shard in self.tar.shards() for key in self._keys_of(shard)), np.int64)
        order = np.argsort(hashes, kind="stable")
        return hashes[order], order

    def _keys_of(self, shard: str) -> Iterator[str]:
        table = self._tables.get(shard)
        if isinstance(table, int):
            return (sample["__key__"] for sample in self.tar.read(shard, ()))
        return (self._key_in(table, i) for i in self._ordinals(shard, len(table)))

    def _ordinals(self, shard: str, count: int) -> Iterable[int]:
        return map(int, self._chosen[shard]) if self.predicates else range(count)

    def _key(self, shard: str, ordinal: int) -> str:
        table = self._tables.get(shard)
        if isinstance(table, int):
            return str(next(self.tar.read(shard, (), ordinal))["__key__"])
        return self._key_in(table, int(self._chosen[shard][ordinal]) if self.predicates else ordinal)

    def _key_in(self, table: MemberTable, sample: int) -> str:
        (key,) = self._keys_at(table, table.firsts[sample : sample + 1])
        return key

    def _keys_at(self, table: MemberTable, members: NDArray[np.int64]) -> list[str]:
        """Return the keys of the samples that members are of."""
        if self.tar.keys is base_plus_ext:  # by which it is known that they have one
            return table.keys(members)
        found: list[str] = []
        for member in members.tolist():
            key, _ = self.tar.keys(table.name(member))
            assert key is not None
            found.append(key)
        return found

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return self.read_on(shard, fields, start)

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Sample]:
        """Read like `read`; see `webds.plans.byshard.RecoveringSource`."""
        if self.predicates:
            return self.read_at(shard, range(start, max(start, len(self._chosen[shard]))), fields)
        return self._stream(shard, fields, start, on_error, stats or ReadStats())

    def _stream(
        self,
        shard: str,
        fields: Collection[str] | None,
        start: int,
        on_error: Callable[[Exception], bool] | None,
        stats: ReadStats,
    ) -> Generator[Sample]:
        """Read on from a sample as a stream, and see that there are as many as the index says."""
        table = self._tables.get(shard) if start else None
        count = int(self._counts[self._places[shard]])
        seen = min(start, count)
        failed = False

        def handle(error: Exception) -> bool:
            nonlocal failed
            failed = True
            return on_error is not None and on_error(error)

        if isinstance(table, MemberTable) and start < count:
            samples = self._from(shard, table, fields, start, None if on_error is None else handle, stats)
        elif start and start >= count:
            return
        else:
            samples = self.tar.read_on(shard, fields, start, on_error=None if on_error is None else handle, stats=stats)
        with contextlib.closing(samples):
            for sample in samples:
                seen += 1
                if seen > count:
                    break
                yield sample
        if seen != count and not failed:
            raise stale(f"the index says {count} samples, and there are {'more' if seen > count else seen}", shard)

    def _from(
        self,
        shard: str,
        table: MemberTable,
        fields: Collection[str] | None,
        start: int,
        on_error: Callable[[Exception], bool] | None,
        stats: ReadStats,
    ) -> Generator[Sample]:
        begin = table.begin(start)
        first = self._key_in(table, start)
        try:
            with open_whole(self.tar.shard_opener, shard, begin) as stream:
                samples = read_samples(
                    stream, url=shard, keys=self.tar.keys, fields=fields, missing_end=self.tar.missing_end,
                    on_error=on_error, stats=stats,
                )  # fmt: skip
                for number, sample in enumerate(samples):
                    if number == 0 and sample["__key__"] != first:
                        raise stale(f"sample {start} is {sample['__key__']!r}, not {first!r}", shard)
                    yield sample
        except WebdsError as error:
            if error.offset is None or isinstance(error, StaleIndexError):
                raise
            moved = type(error)(error.message, offset=error.offset + begin, url=error.url, key=error.key,
                                field=error.field, stage=error.stage)  # fmt: skip
            raise moved from error

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        if isinstance(fields, str):
            raise TypeError(f"fields={fields!r}: expected a collection of field names, not one string")
        count = int(self._counts[self._places[shard]])
        return self._at(shard, _checked(ordinals, count, shard), None if fields is None else frozenset(fields))

    def _at(self, shard: str, ordinals: Iterator[int], fields: frozenset[str] | None) -> Generator[Sample]:
        if self.predicates:
            chosen = self._chosen[shard]
            ordinals = (int(chosen[ordinal]) for ordinal in ordinals)
        table = self._tables.get(shard)
        if isinstance(table, int):
            yield from self._one_by_one(shard, ordinals, fields)
            return
        with open_ranges(self.tar.shard_opener, shard) as ranges:
            for together in bounded(ordinals, table):
                yield from self._together(ranges, table, together, fields)

    def _together(
        self, ranges: Ranges, table: MemberTable, ordinals: list[int], fields: frozenset[str] | None
    ) -> list[Sample]:
        """Return samples that are read together."""
        if max(ordinals) >= len(table):
            raise stale(f"there is no sample {max(ordinals)}, as there should be", ranges.shard)
        in_order, places = np.unique(ordinals, return_inverse=True)
        firsts = table.firsts[in_order]
        counts = table.firsts[in_order + 1] - firsts
        ends = np.cumsum(counts)
        members = np.arange(ends[-1]) + np.repeat(firsts - (ends - counts), counts)
        kinds = table.kinds[members]
        is_wanted = np.array([fields is None or name in fields for name in table.fields])[kinds]
        values: list[object] = [*ranges.fetch(table, members[is_wanted])] if is_wanted.any() else []
        if fields is not None:
            read = iter(values)
            values = [next(read) if one else UNREAD for one in is_wanted.tolist()]
        pairs = zip([table.fields[kind] for kind in kinds.tolist()], values, strict=True)
        samples: list[Sample] = []
        for key, count in zip(self._keys_at(table, firsts), counts.tolist(), strict=True):
            sample: Sample = {"__key__": key}
            sample.update(itertools.islice(pairs, count))
            samples.append(sample)
        if len(samples) < len(ordinals):  # some are wanted twice
            return [dict(samples[place]) for place in places.tolist()]
        return [samples[place] for place in places.tolist()]

    def _one_by_one(self, shard: str, ordinals: Iterator[int], fields: frozenset[str] | None) -> Generator[Sample]:
        """Read samples of a shard in which nothing can be reached but by reading what is before it."""
        samples: Iterator[Sample] = iter(())
        following = -1
        try:
            for ordinal in ordinals:
                if ordinal != following:
                    _close(samples)
                    samples = self.tar.read(shard, fields, ordinal)
                try:
                    sample = next(samples)
                except StopIteration:
                    raise stale(f"there is no sample {ordinal}, as there should be", shard) from None
                yield sample
                following = ordinal + 1
        finally:
            _close(samples)

    @override
    def __repr__(self) -> str:
        chosen = f", {len(self.predicates)} predicates" if self.predicates else ""
        return f"{type(self).__name__}({self.tar!r}{chosen})"


def _asked(info: SampleInfo) -> bool:
    """Stand for a predicate that was asked before the source was pickled."""
    raise AssertionError("the samples were selected before")


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _close(iterator: Iterator[Sample]) -> None:
    close: Callable[[], object] | None = getattr(iterator, "close", None)
    if close is not None:
        close()


def _checked(ordinals: Iterable[int], count: int, shard: str) -> Iterator[int]:
    for ordinal in ordinals:
        if not 0 <= ordinal < count:
            raise IndexError(f"ordinal {ordinal} in shard {shard!r}, which holds {count} samples")
        yield ordinal
