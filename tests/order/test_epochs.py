"""Which epoch an iteration is, for all processes that take part in it."""

from __future__ import annotations

import itertools
import pickle
from typing import Literal

import pytest
import torch
from in_workers import Turns, as_is
from torch.utils.data import DataLoader

from webds.order.epochs import EpochClock, Turn
from webds.typing import Place


def test_iterations_in_this_process_are_counted_from_0() -> None:
    clock = EpochClock()
    assert [clock.begin() for _ in range(3)] == [Turn(0), Turn(1), Turn(2)]


def test_set_makes_the_next_iteration_that_epoch() -> None:
    clock = EpochClock()
    clock.begin()
    clock.set(7)
    assert [clock.begin().epoch for _ in range(2)] == [7, 8]
    clock.set(0)
    assert clock.begin().epoch == 0


def test_set_refuses_what_is_no_epoch() -> None:
    with pytest.raises(ValueError, match="epoch -1"):
        EpochClock().set(-1)


def test_workers_of_one_loader_iterator_share_an_epoch() -> None:
    clock = EpochClock()
    turns = [clock.begin(worker, 1234) for worker in (1, 0, 2)]
    assert turns == [Turn(0, 0)] * 3


def test_a_worker_that_begins_again_opens_the_next_epoch_and_the_others_join() -> None:
    clock = EpochClock()
    order = [0, 1, 1, 0, 0, 1]
    assert [clock.begin(worker, 1234).epoch for worker in order] == [0, 0, 1, 1, 2, 2]


def test_a_worker_that_is_late_takes_part_in_every_epoch_of_its_iterator() -> None:
    """After an early break, a persistent worker can begin its second iteration before another begins its first."""
    clock = EpochClock()
    order = [0, 0, 1, 2, 1, 0, 2, 2, 1]
    assert [clock.begin(worker, 1234).epoch for worker in order] == [0, 1, 0, 0, 1, 2, 1, 2, 2]


def test_loader_iterators_that_run_at_once_have_epochs_of_their_own() -> None:
    clock = EpochClock()
    epochs = [clock.begin(worker, seed).epoch for seed, worker in [(1, 0), (2, 0), (2, 1), (1, 1)]]
    assert epochs == [0, 1, 1, 0]
    assert clock.begin().epoch == 2


def test_set_in_between_does_not_part_the_workers_of_one_iterator() -> None:
    clock = EpochClock()
    first = clock.begin(0, 1)
    clock.set(9)
    assert clock.begin(1, 1) == first
    assert clock.begin(0, 1).epoch == 9


def test_a_plain_pickle_is_a_copy_that_counts_for_itself() -> None:
    clock = EpochClock()
    clock.begin()
    copy: EpochClock = pickle.loads(pickle.dumps(clock))
    assert [copy.begin().epoch, copy.begin().epoch, clock.begin().epoch] == [1, 2, 1]


def test_reports_are_summed_once_all_workers_have_given_theirs() -> None:
    clock = EpochClock()
    places = [Place(0, 1, worker, 2) for worker in range(2)]
    turns = [clock.begin(worker, 5) for worker in range(2)]
    assert clock.gather(turns[0], "filter 1", places[0], 0, 3, ["cls"]) is None
    assert clock.gather(turns[0], "filter 1", places[0], 0, 3, ["cls"]) is None, "a worker is counted once"
    assert clock.gather(turns[1], "filter 2", places[1], 0, 0, []) is None, "another stage"
    assert clock.gather(turns[1], "filter 1", places[1], 1, 4, ["cls", "jpg"]) == [1, 7, ["cls", "jpg"]]


def test_reports_without_workers_come_back_at_once() -> None:
    clock = EpochClock()
    assert clock.gather(clock.begin(), "filter 1", Place(), 2, 3, ["a"]) == [2, 3, ["a"]]


def test_reports_of_an_iteration_long_over_are_ignored() -> None:
    clock = EpochClock()
    old = clock.begin(0, 0)
    for seed in range(1, 40):
        clock.begin(0, seed)
    assert clock.gather(old, "filter 1", Place(), 0, 3, []) is None


def _epochs(loader: DataLoader[tuple[int, Turn]], stop_after: int | None = None) -> set[int]:
    return {turn.epoch for _, turn in itertools.islice(iter(loader), stop_after)}


def _loader(
    dataset: Turns, workers: int, start: Literal["fork", "spawn"] = "fork", *, persistent: bool = False
) -> DataLoader[tuple[int, Turn]]:
    return DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=start,
        persistent_workers=persistent,
        collate_fn=as_is,
    )


@pytest.mark.parametrize("persistent", [False, True])
def test_forked_workers_agree_on_the_epoch(persistent: bool) -> None:
    loader = _loader(Turns(), 2, persistent=persistent)
    for epoch in range(3):
        values = list(loader)
        assert {worker for worker, _ in values} == {0, 1}
        assert {turn.epoch for _, turn in values} == {epoch}


@pytest.mark.parametrize("persistent", [False, True])
def test_an_early_break_ends_an_epoch(persistent: bool) -> None:
    loader = _loader(Turns(50), 2, persistent=persistent)
    assert [_epochs(loader, 1), _epochs(loader, 3), _epochs(loader)] == [{0}, {1}, {2}]


def test_set_reaches_persistent_workers() -> None:
    dataset = Turns()
    loader = _loader(dataset, 2, persistent=True)
    assert _epochs(loader) == {0}
    dataset.clock.set(40)
    assert _epochs(loader) == {40}
    assert _epochs(loader) == {41}


def test_loader_iterators_at_once_and_this_process_in_between() -> None:
    dataset = Turns(20)
    loader = _loader(dataset, 2)
    first = iter(loader)
    head = [next(first)]
    second = list(loader)
    own = list(dataset)
    head += first
    assert {turn.epoch for _, turn in head} == {0}
    assert {turn.epoch for _, turn in second} == {1}
    assert {turn.epoch for _, turn in own} == {2}


def test_equal_base_seeds_are_no_trap() -> None:
    """Whoever seeds torch before each epoch makes all loader iterators look alike."""
    loader = _loader(Turns(), 2)
    epochs: list[set[int]] = []
    for _ in range(3):
        torch.manual_seed(0)
        epochs.append(_epochs(loader))
    assert epochs == [{0}, {1}, {2}]


def test_spawned_workers_agree_on_the_epoch() -> None:
    loader = _loader(Turns(9), 2, "spawn", persistent=True)
    values = list(loader)
    assert {worker for worker, _ in values} == {0, 1}
    assert {turn.epoch for _, turn in values} == {0}
    assert _epochs(loader, 1) == {1}
    assert _epochs(loader) == {2}
