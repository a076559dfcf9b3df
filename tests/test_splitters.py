from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.abc import Splitter
from webds.errors import SplitError
from webds.splitters import (
    FunctionSplitter,
    NoSplit,
    SplitByNode,
    SplitByNodeAndWorker,
    SplitByWorker,
    SplitExplicit,
    as_splitter,
)
from webds.testing import SplitterSuite
from webds.typing import Place


class TestNoSplit(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return NoSplit()


class TestSplitByWorker(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return SplitByWorker()


class TestSplitByNode(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return SplitByNode()


class TestSplitByNodeAndWorker(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return SplitByNodeAndWorker()


class TestSplitExplicit(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return SplitExplicit(1, 3)

    @override
    def together(self, shards: Sequence[str]) -> Sequence[str]:
        return shards[1::3]


def by_halves(shards: Sequence[str], place: Place) -> Sequence[str]:
    middle = len(shards) // 2
    if place.num_workers == 1:
        return shards
    return {0: shards[:middle], 1: shards[middle:]}.get(place.worker, [])


class TestFunctionSplitter(SplitterSuite):
    @override
    def make_splitter(self) -> Splitter:
        return FunctionSplitter(by_halves, frozenset(("worker",)))


SHARDS = [f"{number}.tar" for number in range(10)]


def test_the_nodes_come_first_then_the_workers() -> None:
    assert SplitByNodeAndWorker().split(SHARDS, Place(1, 2, 1, 2)) == ["3.tar", "7.tar"]
    assert SplitByNode().split(SHARDS, Place(1, 2, 1, 2)) == SHARDS[1::2]
    assert SplitByWorker().split(SHARDS, Place(1, 2, 1, 4)) == SHARDS[1::4]
    assert SplitExplicit(2, 3).split(SHARDS, Place(1, 2, 1, 4)) == SHARDS[2::3]
    assert NoSplit().split(SHARDS, Place(1, 2, 1, 4)) == SHARDS


def test_axes_say_what_is_divided_over() -> None:
    splitters = NoSplit(), SplitExplicit(0, 1), SplitByWorker(), SplitByNode(), SplitByNodeAndWorker()
    assert [sorted(splitter.axes) for splitter in splitters] == [[], [], ["worker"], ["rank"], ["rank", "worker"]]


@given(shards=st.integers(1, 40), world=st.integers(1, 8), workers=st.integers(1, 8))
def test_idle_workers_are_fine_and_idle_ranks_an_error_at_every_rank(shards: int, world: int, workers: int) -> None:
    names = SHARDS * 4
    for splitter in (SplitByNode(), SplitByNodeAndWorker()):
        for rank in range(world):
            for worker in range(workers):
                place = Place(rank, world, worker, workers)
                if shards < world:
                    with pytest.raises(SplitError, match=f"{shards} shards.*world size of {world}.*fewer ranks"):
                        splitter.split(names[:shards], place)
                else:
                    assert splitter.split(names[:shards], place) is not None
                    assert worker > 0 or splitter.split(names[:shards], place)


def test_the_error_of_idle_ranks_is_the_same_at_every_rank() -> None:
    texts: set[str] = set()
    for rank in range(12):
        with pytest.raises(SplitError) as caught:
            SplitByNodeAndWorker().split(SHARDS, Place(rank, 12))
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert "2 ranks would have nothing" in texts.pop()


@pytest.mark.parametrize("place", [Place(2, 2), Place(-1, 2), Place(0, 1, 3, 3), Place(0, 1, 0, 0)])
def test_a_place_that_does_not_exist_is_refused(place: Place) -> None:
    for splitter in (NoSplit(), SplitByWorker(), SplitByNode(), SplitByNodeAndWorker()):
        with pytest.raises(SplitError, match="counted from 0"):
            splitter.split(SHARDS, place)


@pytest.mark.parametrize(("index", "total"), [(3, 3), (-1, 3), (0, 0)])
def test_a_part_that_does_not_exist_is_refused(index: int, total: int) -> None:
    with pytest.raises(ValueError, match="counted from 0"):
        SplitExplicit(index, total)


def test_splitters_are_values() -> None:
    assert SplitExplicit(1, 3) == SplitExplicit(1, 3) != SplitExplicit(2, 3)
    assert SplitByNode() == SplitByNode()
    with pytest.raises(AttributeError):
        SplitExplicit(1, 3).index = 2  # type: ignore[misc]  # that is what is tested


class Returning:
    def __init__(self, part: Any) -> None:
        self.part = part

    def __call__(self, shards: Sequence[str], place: Place) -> Any:
        return self.part


def test_what_a_function_returns_is_checked() -> None:
    returned: dict[str, Any] = {
        "not str": "0.tar",
        "not NoneType": None,
        "'x.tar', that it was not given": ["0.tar", "x.tar"],
        "'0.tar', out of order": ["1.tar", "0.tar"],
        "'2.tar', out of order or more often": ["2.tar", "2.tar"],
        "3, that it was not given": [3],
    }
    for words, part in returned.items():
        with pytest.raises(SplitError, match=words):
            FunctionSplitter(Returning(part)).split(SHARDS, Place())


def test_an_exception_of_a_function_keeps_its_type() -> None:
    def fail(shards: Sequence[str], place: Place) -> Sequence[str]:
        raise LookupError("no map of the cluster")

    with pytest.raises(LookupError, match="no map") as caught:
        FunctionSplitter(fail).split(SHARDS, Place())
    assert "split" in caught.value.__notes__[0]


def test_as_splitter_adapts_what_users_bring() -> None:
    splitter = SplitByNode()
    assert as_splitter(splitter) is splitter
    assert as_splitter(by_halves) == FunctionSplitter(by_halves)
    assert as_splitter(by_halves).axes == {"rank", "worker"}
    with pytest.raises(TypeError, match=r"SplitByNode\(…\)"):
        as_splitter(cast("Any", SplitByNode))
    with pytest.raises(TypeError, match="divides nothing"):
        as_splitter(cast("Any", 3))


def test_axes_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'node'"):
        FunctionSplitter(by_halves, cast("Any", {"node"}))


class WithoutAxes(Splitter):
    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards


class WithAxesOfTheInstance(WithoutAxes):
    def __init__(self, axes: Any) -> None:
        self.axes = axes


def test_a_splitter_without_axes_is_refused_where_it_is_to_be_used() -> None:
    with pytest.raises(TypeError, match=r"WithoutAxes does not say over what it divides.*axes.*frozenset"):
        as_splitter(WithoutAxes())


def test_axes_may_belong_to_the_instance_and_are_a_frozenset_of_those_that_there_are() -> None:
    splitter = WithAxesOfTheInstance(frozenset({"worker"}))
    assert as_splitter(splitter) is splitter
    for axes in ("rank", ["rank"], {"rank"}, frozenset({"node"})):
        with pytest.raises(TypeError, match=r"WithAxesOfTheInstance\.axes is .*expected a frozenset"):
            as_splitter(WithAxesOfTheInstance(axes))
