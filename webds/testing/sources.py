"""The suites of `webds.abc.Source` and `webds.abc.IndexedSource`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Generic, cast

import pytest
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.errors import WebdsError
from webds.redaction import redact
from webds.testing.comparison import same
from webds.testing.suite import Suite, global_seeds, open_files, pickled, settled
from webds.typing import T

__all__ = ["IndexedSourceSuite", "SourceSuite"]


def _close(iterator: Iterator[object]) -> None:
    close = getattr(iterator, "close", None)
    assert callable(close), "the iterator of read can be closed, as a generator can"
    close()


class SourceSuite(Suite, ABC, Generic[T]):
    """What every `Source` must keep to.

    Samples that are dicts have their fields checked one by one; for others, a subclass defines `wanted`.
    """

    @abstractmethod
    def make_source(self, folder: Path) -> Source[T]:
        """Return a new source of at least two shards; those made with one ``folder`` are equal.

        Args:
            folder: the test's own, empty at the first call, to be used or not.
        """

    @abstractmethod
    def samples(self) -> Sequence[Sequence[T]]:
        """Return the samples of each shard, in the source's order; some shard has at least three."""

    def same(self, actual: T, expected: T) -> bool:
        """Return whether two samples are the same; by default, `webds.testing.same`."""
        return same(actual, expected)

    def fields(self) -> Collection[str]:
        """Return the fields that samples have; by default, the keys of samples that are dicts, without ``__key__``."""
        keys = {key for shard in self.samples() for sample in shard if isinstance(sample, dict) for key in sample}
        return sorted(key for key in keys if not key.startswith("__"))

    def wanted(self, sample: T, fields: Collection[str]) -> Any:
        """Return the part of ``sample`` that a reader of ``fields`` looks at; by default, of a dict, these and its key.

        For a sample that is no dict, all of it.
        """
        if not isinstance(sample, dict):
            return sample
        known = cast("dict[str, Any]", sample)
        return {key: value for key, value in known.items() if key in fields or key == "__key__"}

    def make_damaged(self, folder: Path) -> Source[T] | None:
        """Return the same source with its last shard cut short or otherwise damaged.

        None, the default, if nothing can be damaged: a test is skipped then.
        """
        return None

    def _check(self, actual: Iterator[T], expected: Sequence[T], message: str) -> None:
        values = list(actual)
        assert len(values) == len(expected), f"{message}: {len(values)} samples in place of {len(expected)}"
        for ordinal, (value, right) in enumerate(zip(values, expected, strict=True)):
            assert self.same(value, right), f"{message}: sample {ordinal} is {value!r} in place of {right!r}"

    def _pairs(self, source: Source[T]) -> list[tuple[str, Sequence[T]]]:
        shards, samples = source.shards(), self.samples()
        assert len(shards) == len(samples), f"{len(shards)} shards, and samples() has {len(samples)}"
        return list(zip(shards, samples, strict=True))

    def test_the_samples_are_enough_to_test_with(self, tmp_path: Path) -> None:
        assert isinstance(self.make_source(tmp_path), Source), "make_source returns an instance of webds.abc.Source"
        counts = [len(shard) for shard in self.samples()]
        assert len(counts) >= 2 and max(counts) >= 3, "samples() has two shards or more, one of them three samples"  # noqa: PT018  # one sentence

    def test_shards_are_names_in_a_stable_order(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        with global_seeds(1):
            first = source.shards()
        assert isinstance(first, Sequence), "shards returns a sequence, not something to iterate over once"
        assert all(isinstance(name, str) for name in first), "the names of shards are strings"
        for seed in range(2, 10):
            with global_seeds(seed):
                again = source if seed % 2 else self.make_source(tmp_path)
                assert list(again.shards()) == list(first), "shards are always in the same order, in every process"

    def test_read_yields_the_samples_in_order(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            self._check(source.read(shard), expected, "read yields the samples of the shard in their order")

    def test_a_source_can_be_read_again(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for seed in (1, 2, 3):
            for shard, expected in reversed(self._pairs(source)):
                with global_seeds(seed):
                    self._check(source.read(shard), expected, "read depends on nothing but its arguments")

    def test_iterators_do_not_disturb_one_another(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            slow = source.read(shard)
            head = list(islice(slow, 1))
            self._check(source.read(shard), expected, "an iterator begins at the start, wherever another one is")
            self._check(iter([*head, *slow]), expected, "an iterator goes on where it was, whatever another one did")

    def test_start_passes_over_the_samples_before(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            for start in range(len(expected) + 3):
                message = f"start={start} is the ordinal of the first sample to yield"
                self._check(source.read(shard, start=start), expected[start:], message)

    def test_fields_that_are_wanted_are_there(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        every = list(self.fields())
        for fields in ([], every, *([field] for field in every), ["no-such-field"]):
            for kind in (list, tuple, frozenset):
                for start in (0, 1):
                    self._check_fields(source, kind(fields), start)

    def _check_fields(self, source: Source[T], fields: Collection[str], start: int) -> None:
        for shard, expected in self._pairs(source):
            values, right = list(source.read(shard, fields, start)), expected[start:]
            message = f"a source may leave out only fields that nobody wants (fields={fields!r}, start={start})"
            assert len(values) == len(right), f"{message}: {len(values)} samples in place of {len(right)}"
            for value, whole in zip(values, right, strict=True):
                found, sought = self.wanted(value, fields), self.wanted(whole, fields)
                assert same(found, sought), f"{message}: {found!r} in place of {sought!r}"

    def test_an_iterator_may_be_closed_early(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            for read in range(min(3, len(expected) + 1)):
                iterator = source.read(shard)
                for _ in range(read):
                    next(iterator)
                _close(iterator)
                assert next(iterator, None) is None, "an iterator that was closed is at its end"
            self._check(source.read(shard), expected, "an iterator closed early does not disturb the next one")

    def test_iterators_leave_nothing_open(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        pairs = self._pairs(source)
        held = [source.read(shard) for shard, _ in pairs]
        for iterator in held:
            _close(iterator)
        before, rounds = open_files(), 8
        for _ in range(rounds):
            for shard, expected in pairs:
                held += [source.read(shard), source.read(shard)]
                list(held[-2])
                if expected:
                    next(held[-1])
                _close(held[-1])
        assert settled(lambda: open_files() < before + rounds), "an iterator closes what it opened"

    def test_it_pickles_also_in_use(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        iterators = [source.read(shard) for shard in source.shards()]
        for iterator in iterators:
            next(iterator, None)
        copy = pickled(source, "source")
        for iterator in iterators:
            _close(iterator)
        assert list(copy.shards()) == list(source.shards()), "a source that was pickled has the same shards"
        for shard, expected in self._pairs(copy):
            self._check(copy.read(shard), expected, "a source that was pickled yields the same samples")

    def test_damage_is_an_error_and_never_a_sample(self, tmp_path: Path) -> None:
        source = self.make_damaged(tmp_path)
        if source is None:
            pytest.skip("make_damaged returns None: this source cannot be damaged")
        shard, expected = self._pairs(source)[-1]
        values: list[T] = []
        try:
            values.extend(source.read(shard))
        except WebdsError as error:
            assert error.url == redact(shard), f"an error names the shard; this one has url={error.url!r}"
        except Exception as error:
            raise AssertionError(f"damage raises a WebdsError, not {error!r}") from error
        else:
            raise AssertionError("a damaged shard raises an error; it ended like a whole one")
        assert len(values) < len(expected), "a sample that is cut short is never yielded"
        self._check(iter(values), expected[: len(values)], "the samples before the damage are whole")


class IndexedSourceSuite(SourceSuite[T], ABC):
    """What every `IndexedSource` must keep to, besides what a `Source` must."""

    @abstractmethod
    @override
    def make_source(self, folder: Path) -> IndexedSource[T]: ...

    def test_make_source_returns_an_indexed_source(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        assert isinstance(source, IndexedSource), "make_source returns an instance of webds.abc.IndexedSource"

    def test_counts_are_exact(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for counting in (source, pickled(source, "source")):
            counts, expected = list(counting.counts()), [len(shard) for shard in self.samples()]
            assert counts == expected, f"counts are the numbers of samples of the shards: {counts} for {expected}"

    def test_read_at_follows_the_order_asked_for(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            whole = list(range(len(expected)))
            for ordinals in ([], whole, whole[::-1], whole[::2], whole[-1:], [*whole[:1], *whole[-1:], *whole[:1]]):
                for asked in (ordinals, tuple(ordinals), iter(ordinals)):
                    message = f"read_at yields the samples at {ordinals}, in the order asked for"
                    self._check(source.read_at(shard, asked), [expected[i] for i in ordinals], message)

    def test_read_at_has_the_fields_that_are_wanted(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for fields in ([], list(self.fields()), *([field] for field in self.fields())):
            for shard, expected in self._pairs(source):
                values = list(source.read_at(shard, range(len(expected)), fields))
                found, sought = ([self.wanted(one, fields) for one in many] for many in (values, expected))
                message = f"read_at may leave out only fields that nobody wants (fields={fields!r})"
                assert same(found, sought), f"{message}: {found!r} in place of {sought!r}"

    def test_an_ordinal_outside_raises_index_error(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        for shard, expected in self._pairs(source):
            count = len(expected)
            for ordinals in ([-1], [count], [count + 5], [*range(count), count]):
                try:
                    found = list(source.read_at(shard, ordinals))
                except IndexError:
                    continue
                raise AssertionError(
                    f"an ordinal outside 0 <= ordinal < {count} raises IndexError; {ordinals} gave {len(found)} samples"
                )

    def test_read_at_may_be_closed_early_and_leaves_nothing_open(self, tmp_path: Path) -> None:
        source = self.make_source(tmp_path)
        pairs = [(shard, expected) for shard, expected in self._pairs(source) if expected]
        held: list[Iterator[T]] = []
        before, rounds = open_files(), 8
        for _ in range(rounds):
            for shard, expected in pairs:
                held.append(source.read_at(shard, range(len(expected))))
                next(held[-1])
                _close(held[-1])
        assert settled(lambda: open_files() < before + rounds), "an iterator closes what it opened"
