from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import pytest
from running import plan_of, run_stages

from webds.errors import EmptyDatasetError
from webds.policy import Guard, Ledger, Policy, ignore_and_stop
from webds.stages.base import Run
from webds.stages.batch import Batch, Unbatch
from webds.stages.flow import Repeat, Take
from webds.stages.functions import Filter, Map, Pipe
from webds.stages.shuffle import Shuffle
from webds.typing import Place


@pytest.mark.parametrize(("n", "expected"), [(0, []), (2, [0, 1]), (5, [0, 1, 2, 3]), (4, [0, 1, 2, 3])])
def test_take_lets_the_first_through(n: int, expected: list[int]) -> None:
    assert run_stages(range(4), Take(n=n)).values == expected


def test_take_reads_no_more_than_it_lets_through() -> None:
    seen: list[int] = []

    def note(n: int) -> int:
        seen.append(n)
        return n

    run_stages(range(10), Map(f=note), Take(n=3))
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("n", [0, 1, 5, 8])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_take_shares_its_number_out_over_workers(n: int, workers: int) -> None:
    counts = [len(run_stages(range(20), Take(n=n), place=Place(0, 1, w, workers)).values) for w in range(workers)]
    assert sum(counts) == n
    assert max(counts) - min(counts) <= 1


def test_repeat_goes_through_everything_n_times() -> None:
    assert run_stages([1, 2], Repeat(n=3)).values == [1, 2] * 3


def test_repeat_without_a_number_has_no_end() -> None:
    assert run_stages([1, 2], Repeat(), Take(n=7)).values == [1, 2, 1, 2, 1, 2, 1]


def test_repeat_of_nothing_is_nothing() -> None:
    assert run_stages([], Repeat()).values == []
    assert run_stages([1], Filter(predicate=lambda n: False), Repeat(), checks_empty=False).values == []


def test_repeat_shuffles_each_pass_anew_and_each_epoch_alike() -> None:
    stages = Shuffle(size=20, seed=1), Repeat(n=3)
    values = run_stages(range(20), *stages).values
    passes = [tuple(values[i : i + 20]) for i in (0, 20, 40)]
    assert len(set(passes)) == 3
    assert all(sorted(one) == list(range(20)) for one in passes)
    assert run_stages(range(20), *stages).values == values
    assert run_stages(range(20), *stages, epoch=1).values != values


def test_a_policy_that_ends_the_iteration_ends_all_its_passes() -> None:
    fails = Map(f=lambda n: 6 // (n - 3))
    for stages in ([fails, Repeat(n=3)], [fails, Repeat()], [fails, Repeat(n=2), Repeat()], [Repeat(), fails]):
        ran = run_stages(range(9), *stages, policy="stop")
        assert len(ran.values) == 3
        assert len(ran.losses) == 1
    own = Map(f=lambda n: 6 // (n - 3), policy=Policy(ignore_and_stop))
    assert len(run_stages(range(9), own, Repeat(n=3)).values) == 3
    assert len(run_stages(range(9), fails, Repeat(n=3), policy="skip").values) == 24


def test_repeats_can_be_nested() -> None:
    values = run_stages(range(10), Shuffle(size=10, seed=1), Repeat(n=2), Repeat(n=2)).values
    assert len({tuple(values[i : i + 10]) for i in (0, 10, 20, 30)}) == 4


@pytest.mark.parametrize(
    "between",
    [
        [],
        [Map(f=str)],
        [Shuffle(size=3, seed=0)],
        [Shuffle(size=50, seed=0)],
        [Shuffle(size=7, seed=0, initial=2)],
        [Batch(n=3)],
        [Batch(n=3), Unbatch()],
        [Batch(n=3), Shuffle(size=4, seed=0), Take(n=10**6)],
    ],
)
def test_a_filter_that_drops_everything_of_an_endless_repetition_raises(between: list[Any]) -> None:
    """Line 7 of the acceptance list: after one full pass, repeat included. Otherwise it would never return."""
    with pytest.raises(EmptyDatasetError, match=r"dropped all \d+"):
        run_stages(range(8), Repeat(), *between, Filter(predicate=lambda value: False))


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_a_filter_behind_a_buffer_is_not_judged_before_it_saw_a_whole_pass(size: int) -> None:
    for kept in range(8):
        only = Filter(predicate=functools.partial(operator.eq, kept))
        assert run_stages(range(8), Repeat(), Shuffle(size=size, seed=kept), only, Take(n=3)).values == [kept] * 3


@pytest.mark.parametrize("n", [1, 3, 5, 8, 11])
def test_a_filter_of_batches_is_not_judged_before_it_saw_a_whole_pass(n: int) -> None:
    for kept in range(8):
        those_with = Filter(predicate=functools.partial(_holds, kept))
        batches = run_stages(range(8), Repeat(), Batch(n=n, collate=list), those_with, Take(n=2)).values
        assert len(batches) == 2
        assert all(kept in batch for batch in batches)


def _holds(value: int, values: list[int]) -> bool:
    return value in values


def test_a_filter_that_keeps_something_sometimes_goes_on() -> None:
    counter = itertools.count()
    late = Filter(predicate=lambda n: n == 7 and next(counter) % 2 == 0)
    assert run_stages(range(8), Repeat(), late, Take(n=3)).values == [7, 7, 7]


def test_a_worker_whose_share_alone_is_dropped_ends_an_endless_repetition() -> None:
    """The loader would wait for it for ever."""
    plan = plan_of(range(4), Repeat(), Filter(predicate=lambda n: False))
    clock = _Clock()
    run = Run(Guard(Policy(), Ledger()), Place(0, 1, 1, 2), clock=clock)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # answers like one
    assert list(plan.bound(lambda spec: {}).run(run)) == []


class _Clock:
    """Says that another worker kept something."""

    def gather(self, *report: Any) -> list[Any]:
        return [5, 9, []]


def test_lengths() -> None:
    assert [Take(n=3).length(5), Take(n=8).length(5)] == [3, 5]
    assert [Repeat(n=3).length(5), Repeat().length(5)] == [15, None]


def test_they_look_at_no_field_themselves() -> None:
    for stage in (Take(n=1), Repeat(), Shuffle(size=2, seed=0)):
        assert stage.wants(None) is None
        assert stage.wants(frozenset({"a"})) == frozenset({"a"})


def test_descriptions() -> None:
    assert "4" in Take(n=4).describe()
    assert Repeat(n=2).describe() == "2 times"
    assert "without end" in Repeat().describe()


def test_a_pipe_between_may_hold_values_back_so_nothing_is_judged_there() -> None:
    stages = Repeat(n=4), Pipe(stage=iter), Filter(predicate=lambda n: False)
    with pytest.raises(EmptyDatasetError, match="dropped all 8 "):
        run_stages([1, 2], *stages)
