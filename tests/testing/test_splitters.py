"""`SplitterSuite` passes right splitters, and each of its checks catches a wrong one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import ClassVar, TypeAlias, cast

import pytest
from typing_extensions import override

from webds.abc import Axis, Splitter
from webds.errors import SplitError
from webds.testing import SplitterSuite, Suite
from webds.typing import Place

Failures: TypeAlias = Callable[[type[Suite], Collection[str]], dict[str, str]]


class ByAll(Splitter):
    """A right splitter over both axes, which refuses idle ranks."""

    axes: frozenset[Axis] = frozenset({"rank", "worker"})

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        if 0 < len(shards) < place.world_size:
            raise SplitError(f"{len(shards)} shards for {place.world_size} ranks")
        return shards[place.rank :: place.world_size][place.worker :: place.num_workers]


class TestByAll(SplitterSuite):
    splitter: ClassVar[type[Splitter]] = ByAll

    @override
    def make_splitter(self) -> Splitter:
        return self.splitter()


class ByWorker(Splitter):
    axes = frozenset({"worker"})

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[place.worker :: place.num_workers]


class TestByWorker(TestByAll):
    splitter = ByWorker


class ByPart(Splitter):
    axes = frozenset()

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[1::3]


class TestByPart(TestByAll):
    """A splitter that leaves out some on purpose says what there is together."""

    splitter = ByPart

    @override
    def together(self, shards: Sequence[str]) -> Sequence[str]:
        return shards[1::3]


class NoSplitter:
    axes = ByAll.axes
    split = ByAll.split


class AxesAsList(ByAll):
    axes = cast("frozenset[Axis]", ["rank", "worker"])


class AxesUnknown(ByAll):
    axes = cast("frozenset[Axis]", frozenset({"rank", "node"}))


class RefusingAll(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        raise SplitError("no")


class RefusingAlone(ByAll):
    """Says no only where there is nothing to do."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        part = shards[place.rank :: place.world_size]
        if shards and not part:
            raise SplitError("nothing for this rank")
        return part[place.worker :: place.num_workers]


class Crashing(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return [] if shards[0] == "" else super().split(shards, place)


class DroppingTheRest(ByAll):
    """Blocks of equal size; what is left over is lost."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        size = len(shards) // (place.world_size * place.num_workers)
        number = place.rank * place.num_workers + place.worker
        return shards[number * size : (number + 1) * size]


class Wrapping(ByAll):
    """Pads the last ones from the beginning."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        ranks = place.world_size
        padded = [*shards, *list(shards)[: -len(shards) % ranks]]
        return padded[place.rank :: ranks][place.worker :: place.num_workers]


class WithoutDuplicates(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return super().split(list(dict.fromkeys(shards)), place)


class RankIgnored(ByAll):
    """Every rank reads everything, though it says otherwise."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[place.worker :: place.num_workers]


class ForeignAxis(ByAll):
    """Divides over workers too, and does not say so."""

    axes = frozenset({"rank"})


class ForeignShift(ByWorker):
    """Whole at each rank, with the workers in another order."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[(place.worker + place.rank) % place.num_workers :: place.num_workers]


class Backwards(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return super().split(shards, place)[::-1]


class Shuffling(ByWorker):
    """Whole, in order, and by the mood of the moment."""

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        shift = random.randrange(place.num_workers)
        return shards[(place.worker + shift) % place.num_workers :: place.num_workers]


class Lazy(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return cast("Sequence[str]", iter(super().split(shards, place)))


class Sorting(ByAll):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        if isinstance(shards, list):
            shards.sort()
        return super().split(shards, place)


class Unpicklable(ByAll):
    def __init__(self) -> None:
        self.key = lambda shard: shard


CASES: list[tuple[type[object], str, str]] = [
    (NoSplitter, "test_axes_are_those_of_a_place", "webds.abc.Splitter"),
    (AxesAsList, "test_axes_are_those_of_a_place", "axes is a frozenset"),
    (AxesUnknown, "test_axes_are_those_of_a_place", "axes are among"),
    (RefusingAll, "test_some_division_succeeds", "not everything"),
    (RefusingAlone, "test_refusals_are_the_same_at_every_place", "raised at every place alike"),
    (Crashing, "test_refusals_are_the_same_at_every_place", "raises nothing but SplitError"),
    (DroppingTheRest, "test_parts_are_disjoint_and_complete_over_the_axes", "are complete"),
    (WithoutDuplicates, "test_parts_are_disjoint_and_complete_over_the_axes", "are complete"),
    (Wrapping, "test_parts_are_disjoint_and_complete_over_the_axes", "are disjoint"),
    (RankIgnored, "test_parts_are_disjoint_and_complete_over_the_axes", "are disjoint"),
    (ForeignAxis, "test_parts_are_disjoint_and_complete_over_the_axes", "are complete"),
    (ForeignAxis, "test_foreign_axes_make_no_difference", "makes no difference"),
    (ForeignShift, "test_foreign_axes_make_no_difference", "makes no difference"),
    (Backwards, "test_the_order_of_the_shards_is_kept", "the order of the shards is kept"),
    (Shuffling, "test_equal_arguments_give_equal_parts", "depends on nothing but its arguments"),
    (Lazy, "test_equal_arguments_give_equal_parts", "returns a sequence"),
    (Sorting, "test_equal_arguments_give_equal_parts", "does not change the list"),
    (Unpicklable, "test_equal_arguments_give_equal_parts", "every splitter can be pickled"),
]


@pytest.mark.parametrize(("splitter", "check", "sentence"), CASES)
def test_a_wrong_splitter_is_caught(splitter: type[object], check: str, sentence: str, failures: Failures) -> None:
    suite = type("Wrong", (TestByAll,), {"splitter": splitter})
    assert sentence in failures(suite, [check])[check]


def test_every_check_is_proven(every_check_fails: Callable[[type[Suite], Collection[str]], None]) -> None:
    every_check_fails(SplitterSuite, {check for _, check, _ in CASES})
