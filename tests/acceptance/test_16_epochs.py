"""Line 16: epochs differ from one another and can be repeated, however the workers are started and kept."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from in_workers import label, with_place
from shards import numbered_shards

import webds

Start = Literal["fork", "spawn"]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> webds.DatasetBuilder[Any]:
    """Which worker has which of the samples 0 to 47, of eight shards."""
    urls = numbered_shards(tmp_path_factory.mktemp("shards"), shards=8, samples=6)
    return webds.DatasetBuilder(urls).shuffle(9, seed=4).map(label).map(with_place)


def _epochs(
    builder: webds.DatasetBuilder[Any], workers: int, start: Start = "fork", *, persistent: bool = False, n: int = 3
) -> list[list[Any]]:
    loader = builder.loader(num_workers=workers, multiprocessing_context=start, persistent_workers=persistent)
    return [list(loader) for _ in range(n)]


def _check(epochs: list[list[Any]], workers: int) -> None:
    """Each has all samples, its own order, and all workers took part."""
    for epoch in epochs:
        assert sorted(number for _, number in epoch) == list(range(48))
        assert {worker for worker, _ in epoch} == set(range(workers))
    assert len({tuple(number for _, number in epoch) for epoch in epochs}) == len(epochs)


def test_16_without_workers(numbers: webds.DatasetBuilder[Any]) -> None:
    dataset = numbers.build()
    epochs = [list(dataset) for _ in range(5)]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert [list(epoch) for epoch in itertools.repeat(numbers.build(), 5)] == epochs
    dataset.set_epoch(2)
    assert [list(dataset), list(dataset)] == epochs[2:4]


def test_16_both_shards_and_samples_have_another_order_in_each_epoch(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=8, samples=6)
    for shuffled in (webds.DatasetBuilder(urls).shuffle(0), webds.DatasetBuilder(urls).shuffle(9, shards=False)):
        dataset = shuffled.map(label).build()
        epochs = [tuple(dataset) for _ in range(4)]
        assert len(set(epochs)) == 4
        assert [tuple(epoch) for epoch in itertools.repeat(shuffled.map(label).build(), 4)] == epochs


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("persistent", [False, True])
def test_16_forked_workers(numbers: webds.DatasetBuilder[Any], workers: int, persistent: bool) -> None:
    epochs = _epochs(numbers, workers, persistent=persistent)
    _check(epochs, workers)
    assert _epochs(numbers, workers) == epochs, "again, and the same whether or not workers are kept"


def test_16_spawned_workers_that_are_kept(numbers: webds.DatasetBuilder[Any]) -> None:
    epochs = _epochs(numbers, 4, "spawn", persistent=True)
    _check(epochs, 4)
    assert epochs == _epochs(numbers, 4)


def test_16_spawned_workers_that_are_not_kept(numbers: webds.DatasetBuilder[Any]) -> None:
    epochs = _epochs(numbers, 2, "spawn", n=2)
    _check(epochs, 2)
    assert epochs == _epochs(numbers, 2, n=2)


@pytest.mark.parametrize("persistent", [False, True])
def test_16_a_run_can_begin_at_any_epoch(numbers: webds.DatasetBuilder[Any], persistent: bool) -> None:
    epochs = _epochs(numbers, 2, n=4)
    dataset = numbers.build()
    loader = webds.Loader(dataset, num_workers=2, persistent_workers=persistent)
    dataset.set_epoch(2)
    assert list(loader) == epochs[2]
    assert list(loader) == epochs[3]
    dataset.set_epoch(0)
    assert list(loader) == epochs[0]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("taken", [1, 20])
def test_16_an_early_break_ends_the_epoch(numbers: webds.DatasetBuilder[Any], persistent: bool, taken: int) -> None:
    epochs = _epochs(numbers, 2, n=3)
    loader = numbers.loader(num_workers=2, persistent_workers=persistent)
    for epoch in epochs:
        head: list[Any] = []
        for value in loader:
            head.append(value)
            if len(head) == taken:
                break
        assert head == epoch[:taken]


def test_16_iterators_at_once_are_in_epochs_of_their_own(numbers: webds.DatasetBuilder[Any]) -> None:
    epochs = _epochs(numbers, 2, n=2)
    loader = numbers.loader(num_workers=2)
    first, second = iter(loader), iter(loader)
    heads = [next(first)], [next(second)]
    together = [heads[0] + list(first), heads[1] + list(second)]
    assert sorted(together) == sorted(epochs), "whichever of them began first"


def test_16_epochs_of_a_repetition_are_all_different(numbers: webds.DatasetBuilder[Any]) -> None:
    twice = numbers.repeat(2)
    values = [number for epoch in _epochs(twice, 2, n=2) for _, number in epoch]
    passes = [tuple(values[i : i + 48]) for i in range(0, 192, 48)]
    assert len(set(passes)) == 4


def test_16_a_pickled_dataset_goes_on_where_it_was(numbers: webds.DatasetBuilder[Any]) -> None:
    dataset = numbers.build()
    epochs = [list(dataset) for _ in range(3)]
    dataset.set_epoch(1)
    copy: webds.Dataset[Any] = pickle.loads(pickle.dumps(dataset))
    assert [list(copy), list(copy)] == epochs[1:]
    assert list(dataset) == epochs[1], "and counts for itself"
