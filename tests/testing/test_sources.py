"""`SourceSuite` and `IndexedSourceSuite` pass right sources, and each of their checks catches a wrong one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, ClassVar, TypeAlias, cast

import pytest
from typing_extensions import override

from webds.abc import IndexedSource
from webds.errors import SampleError
from webds.testing import IndexedSourceSuite, SourceSuite, Suite
from webds.typing import UNREAD, Sample

Failures: TypeAlias = Callable[[type[Suite], Collection[str]], dict[str, str]]

SAMPLES: list[list[Sample]] = [
    [{"__key__": f"{shard}{ordinal}", "a": f"a{shard}{ordinal}", "b": f"b{ordinal}"} for ordinal in range(count)]
    for shard, count in (("x", 4), ("y", 0), ("z", 3))
]


class Lines(IndexedSource[Sample]):
    """A right source: a file for each shard, a line for each sample, ended by a dot."""

    def __init__(self, folder: Path) -> None:
        self.names: list[str] = []
        for number, samples in enumerate(SAMPLES):
            lines = [f"{sample['__key__']} {sample['a']} {sample['b']}\n" for sample in samples]
            self.names.append(f"{folder}/{number}.txt")
            Path(self.names[-1]).write_text("".join([*lines, ".\n"]))

    @override
    def shards(self) -> Sequence[str]:
        return self.names

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        with self.file(shard) as file:
            yield from islice(self.parse(shard, file, fields), start, None)

    def file(self, shard: str) -> BinaryIO:
        return open(shard, "rb")

    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        for line in file:
            words = line.decode().split()
            if words == ["."]:
                return
            if len(words) < 3:
                break
            values = dict(zip(("__key__", "a", "b"), words, strict=True))
            yield {key: value for key, value in values.items() if fields is None or key in (*fields, "__key__")}
        raise SampleError("is cut short", url=shard)

    @override
    def counts(self) -> Sequence[int]:
        return [Path(name).read_bytes().count(b"\n") - 1 for name in self.names]

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        with self.file(shard) as file:
            samples = list(self.parse(shard, file, fields))
            for ordinal in ordinals:
                if ordinal < 0:
                    raise IndexError(ordinal)
                yield samples[ordinal]


class TestLines(SourceSuite[Sample]):
    source: ClassVar[type[Lines]] = Lines

    @override
    def make_source(self, folder: Path) -> Lines:
        return self.source(folder)

    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return SAMPLES

    @override
    def make_damaged(self, folder: Path) -> Lines | None:
        source = self.source(folder)
        last = Path(source.shards()[-1])
        last.write_bytes(last.read_bytes()[:-8])
        return source


class TestIndexedLines(TestLines, IndexedSourceSuite[Sample]):
    pass


class TestPairs(SourceSuite[tuple[str, str]]):
    """Samples that are no dicts have no fields that could be left out."""

    class Pairs(Lines):
        @override
        def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
            for sample in super().parse(shard, file, None):
                yield cast("Sample", (sample["a"], sample["b"]))

    @override
    def make_source(self, folder: Path) -> IndexedSource[tuple[str, str]]:
        return cast("IndexedSource[tuple[str, str]]", self.Pairs(folder))

    @override
    def samples(self) -> Sequence[Sequence[tuple[str, str]]]:
        return [[(sample["a"], sample["b"]) for sample in shard] for shard in SAMPLES]


def test_without_damage_its_check_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(pytest.skip.Exception, match="cannot be damaged"):
        TestPairs().test_damage_is_an_error_and_never_a_sample(tmp_path)


class TooFewSamples(TestLines):
    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return SAMPLES[:1]


class NoSource(TestLines):
    @override
    def make_source(self, folder: Path) -> Lines:
        return cast("Lines", {})


class NotIndexed(TestIndexedLines):
    @override
    def make_source(self, folder: Path) -> Lines:
        return cast("Lines", {})


class ShardsOnce(Lines):
    @override
    def shards(self) -> Sequence[str]:
        return cast("Sequence[str]", iter(self.names))


class ShardsAsPaths(Lines):
    @override
    def shards(self) -> Sequence[str]:
        return cast("Sequence[str]", [Path(name) for name in self.names])


class ShardsShuffled(Lines):
    @override
    def shards(self) -> Sequence[str]:
        return random.sample(self.names, len(self.names))


class ShardsShuffledOnce(Lines):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.names.sort(key=lambda name: (random.random(), name))


class LastMissing(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        return iter([*super().parse(shard, file, fields)][:-1])


class Backwards(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        return iter([*super().parse(shard, file, fields)][::-1])


class ReadOnce(Lines):
    """Keeps one iterator for each shard."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files: dict[str, list[Sample]] = {}

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        samples = self.files.setdefault(shard, [*super().read(shard)])
        while samples:
            yield samples.pop(0)


class ReadShuffled(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        samples = [*super().parse(shard, file, fields)]
        return iter(random.sample(samples, len(samples)))


class OnePosition(Lines):
    """Keeps the position of its iterators in the source."""

    position = 0

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        samples = [*super().read(shard, fields, start)]
        self.position = 0
        while self.position < len(samples):
            self.position += 1
            yield samples[self.position - 1]


class StartIgnored(Lines):
    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return super().read(shard, fields, 0)


class StartOffByOne(Lines):
    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return super().read(shard, fields, max(0, start - 1))


class FirstFieldOnly(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        return super().parse(shard, file, None if fields is None else sorted(fields)[:1])


class EveryFieldUnread(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        for sample in super().parse(shard, file, None):
            yield sample if fields is None else {**sample, "a": UNREAD}


class DroppedWithoutFields(Lines):
    """A sample without a wanted field is no sample, it thinks."""

    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        for sample in super().parse(shard, file, fields):
            if len(sample) > 1:
                yield sample


class NotClosable(Lines):
    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return iter([*super().read(shard, fields, start)])


class GoesOn(Lines):
    """Its iterators can be closed, and take no notice."""

    class Deaf(Iterator[Sample]):
        def __init__(self, samples: list[Sample]) -> None:
            self.samples = samples

        @override
        def __next__(self) -> Sample:
            if not self.samples:
                raise StopIteration
            return self.samples.pop(0)

        def close(self) -> None:
            pass

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return self.Deaf([*super().read(shard, fields, start)])


class Leaking(Lines):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.leaked: list[BinaryIO] = []

    @override
    def file(self, shard: str) -> BinaryIO:
        self.leaked.append(super().file(shard))
        return super().file(shard)


class UnpicklableInUse(Lines):
    @override
    def file(self, shard: str) -> BinaryIO:
        self.last = super().file(shard)
        return self.last


class Forgetful(Lines):
    @override
    def __getstate__(self) -> object:
        return {"names": self.names[:2]}


class Lenient(Lines):
    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        try:
            yield from super().parse(shard, file, fields)
        except SampleError:
            return


class Partial(Lines):
    """Yields what there is of a sample."""

    @override
    def parse(self, shard: str, file: BinaryIO, fields: Collection[str] | None) -> Iterator[Sample]:
        yield from super().parse(shard, file, fields)

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        try:
            yield from super().read(shard, fields, start)
        except SampleError:
            yield {"__key__": "z2"}
            raise


class Anonymous(Lines):
    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        try:
            yield from super().read(shard, fields, start)
        except SampleError:
            raise SampleError("something is cut short") from None


class Crashing(Lines):
    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        try:
            yield from super().read(shard, fields, start)
        except SampleError:
            raise ZeroDivisionError from None


class CountsTheEnd(Lines):
    @override
    def counts(self) -> Sequence[int]:
        return [count + 1 for count in super().counts()]


class SortedOrdinals(Lines):
    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        return super().read_at(shard, sorted(ordinals), fields)


class DistinctOrdinals(Lines):
    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        return super().read_at(shard, dict.fromkeys(ordinals), fields)


class OrdinalsTwice(Lines):
    """Goes through the ordinals once before it begins."""

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        if max(ordinals, default=0) >= 4:
            raise IndexError
        return super().read_at(shard, ordinals, fields)


class NegativeOrdinals(Lines):
    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        samples = [*self.read(shard, fields)]
        yield from (samples[ordinal] for ordinal in ordinals)


class OrdinalsPassedOver(Lines):
    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Sample]:
        count = len([*self.read(shard)])
        return super().read_at(shard, [ordinal for ordinal in ordinals if 0 <= ordinal < count], fields)


WRONG: list[tuple[type[Lines], str, str]] = [
    (ShardsOnce, "test_shards_are_names_in_a_stable_order", "shards returns a sequence"),
    (ShardsAsPaths, "test_shards_are_names_in_a_stable_order", "names of shards are strings"),
    (ShardsShuffled, "test_shards_are_names_in_a_stable_order", "always in the same order"),
    (ShardsShuffledOnce, "test_shards_are_names_in_a_stable_order", "always in the same order"),
    (LastMissing, "test_read_yields_the_samples_in_order", "3 samples in place of 4"),
    (Backwards, "test_read_yields_the_samples_in_order", "the samples of the shard in their order: sample 0"),
    (ReadOnce, "test_a_source_can_be_read_again", "depends on nothing but its arguments: 0 samples"),
    (ReadShuffled, "test_a_source_can_be_read_again", "depends on nothing but its arguments: sample"),
    (OnePosition, "test_iterators_do_not_disturb_one_another", "goes on where it was"),
    (ReadOnce, "test_iterators_do_not_disturb_one_another", "begins at the start"),
    (StartIgnored, "test_start_passes_over_the_samples_before", "start=1 is the ordinal of the first sample"),
    (StartOffByOne, "test_start_passes_over_the_samples_before", "start=1 is the ordinal of the first sample"),
    (FirstFieldOnly, "test_fields_that_are_wanted_are_there", "only fields that nobody wants (fields=['a', 'b']"),
    (EveryFieldUnread, "test_fields_that_are_wanted_are_there", "UNREAD"),
    (DroppedWithoutFields, "test_fields_that_are_wanted_are_there", "0 samples in place of 4"),
    (StartIgnored, "test_fields_that_are_wanted_are_there", "start=1"),
    (NotClosable, "test_an_iterator_may_be_closed_early", "can be closed"),
    (GoesOn, "test_an_iterator_may_be_closed_early", "that was closed is at its end"),
    (Leaking, "test_iterators_leave_nothing_open", "closes what it opened"),
    (UnpicklableInUse, "test_it_pickles_also_in_use", "every source can be pickled"),
    (Forgetful, "test_it_pickles_also_in_use", "has the same shards"),
    (Lenient, "test_damage_is_an_error_and_never_a_sample", "it ended like a whole one"),
    (Partial, "test_damage_is_an_error_and_never_a_sample", "never yielded"),
    (Anonymous, "test_damage_is_an_error_and_never_a_sample", "names the shard"),
    (Crashing, "test_damage_is_an_error_and_never_a_sample", "not ZeroDivisionError()"),
]
WRONG_INDEXED: list[tuple[type[Lines], str, str]] = [
    (CountsTheEnd, "test_counts_are_exact", "the numbers of samples of the shards"),
    (SortedOrdinals, "test_read_at_follows_the_order_asked_for", "[3, 2, 1, 0], in the order asked for"),
    (DistinctOrdinals, "test_read_at_follows_the_order_asked_for", "[0, 3, 0]"),
    (OrdinalsTwice, "test_read_at_follows_the_order_asked_for", "0 samples in place of 4"),
    (FirstFieldOnly, "test_read_at_has_the_fields_that_are_wanted", "read_at may leave out only"),
    (EveryFieldUnread, "test_read_at_has_the_fields_that_are_wanted", "read_at may leave out only"),
    (NegativeOrdinals, "test_an_ordinal_outside_raises_index_error", "[-1] gave 1 samples"),
    (OrdinalsPassedOver, "test_an_ordinal_outside_raises_index_error", "[-1] gave 0 samples"),
    (Leaking, "test_read_at_may_be_closed_early_and_leaves_nothing_open", "closes what it opened"),
]
CASES: list[tuple[type[SourceSuite[Sample]], str, str]] = [
    *((type("Wrong", (TestLines,), {"source": source}), check, text) for source, check, text in WRONG),
    *((type("Wrong", (TestIndexedLines,), {"source": source}), check, text) for source, check, text in WRONG_INDEXED),
    (TooFewSamples, "test_the_samples_are_enough_to_test_with", "two shards or more"),
    (NoSource, "test_the_samples_are_enough_to_test_with", "webds.abc.Source"),
    (NotIndexed, "test_make_source_returns_an_indexed_source", "webds.abc.IndexedSource"),
]


@pytest.mark.parametrize(("suite", "check", "sentence"), CASES)
def test_a_wrong_source_is_caught(
    suite: type[SourceSuite[Sample]], check: str, sentence: str, failures: Failures
) -> None:
    assert sentence in failures(suite, [check])[check]


def test_every_check_is_proven(every_check_fails: Callable[[type[Suite], Collection[str]], None]) -> None:
    every_check_fails(IndexedSourceSuite, {check for _, check, _ in CASES})
