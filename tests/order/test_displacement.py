"""How far samples really travel, in orders of many seeds, against what is said of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from places import of_ranks

import webds
from webds.order.displacement import Displacement, late_one_in, of_both, of_buffer, of_windows


def _moves(samples: int, shards: int, seeds: int, size: int, window: int | None) -> NDArray[np.int64]:
    """How many places late each sample comes, in one process."""
    numbers = webds.DatasetBuilder(webds.MemorySource(range(samples), shards=shards))
    orders = [
        list(numbers.shuffle(size, seed=seed, shards=False, window_shards=window).build()) for seed in range(seeds)
    ]
    moves: NDArray[np.int64] = np.arange(samples) - np.array(orders)
    return moves


def _check(said: Displacement, moves: NDArray[np.int64], tolerance: float) -> None:
    assert abs(np.abs(moves).mean() - said.mean) < tolerance * said.mean
    assert -said.early <= moves.min()
    assert said.late is not None
    assert moves.max() <= said.late


@pytest.mark.parametrize(("samples", "size"), [(10, 2), (6, 5), (30, 10), (200, 50), (400, 300), (20, 40), (3000, 60)])
def test_a_buffer(samples: int, size: int) -> None:
    _check(of_buffer(size, samples), _moves(samples, 1, max(3, min(800, 40_000 // samples)), size, None), 0.04)


@pytest.mark.parametrize(("samples", "shards", "window"), [(400, 10, 1), (400, 10, 2), (410, 10, 4), (97, 5, 9)])
def test_windows(samples: int, shards: int, window: int) -> None:
    moves = _moves(samples, shards, 40_000 // samples, 0, window)
    counts = [samples * (i + 1) // shards - samples * i // shards for i in range(shards)]
    sizes = np.array([sum(counts[i : i + window]) for i in range(0, shards, window)])
    said = of_windows(sizes)
    _check(said, moves, 0.03)
    assert said.early == said.late == sizes.max() - 1
    builder = webds.DatasetBuilder(webds.MemorySource(range(samples), shards=shards)).shuffle(window_shards=window)
    assert builder.plan_for().displacement.early >= -moves.min()
    assert f"one moves {said.mean:.0f} places on average" in builder.explain()


@pytest.mark.parametrize(("size", "window"), [(30, 2), (100, 4), (300, 3), (600, 1)])
def test_both(size: int, window: int) -> None:
    moves = _moves(3000, 30, 12, size, window)
    builder = webds.DatasetBuilder(webds.MemorySource(range(3000), shards=30))
    shuffled = builder.shuffle(size, shards=False, window_shards=window)
    _check(shuffled.plan_for().displacement, moves, 0.06)
    assert f"with the buffer, of one process, {shuffled.plan_for().displacement.mean:.0f} places" in shuffled.explain()


def test_buffers_of_several_places_move_samples_as_many_times_as_far() -> None:
    builder = webds.DatasetBuilder(webds.MemorySource(range(6000), shards=6))
    said = builder.shuffle(50, shards=False).plan_for(world_size=3, workers=2).displacement
    places: list[float] = []
    for seed in range(5):
        found = of_ranks(builder.shuffle(50, seed=seed, shards=False), 3, 2)
        order = [value for step in itertools.zip_longest(*found) for value in step if value is not None]
        places.append(float(np.abs(np.arange(6000) - order).mean()))
    assert abs(np.mean(places) - said.mean) < 0.05 * said.mean


def test_one_value_in_a_thousand_is_late_by_what_is_said() -> None:
    moves = _moves(4000, 1, 10, 40, None)
    late = late_one_in(1000, 40)
    assert 0.5e-3 < (moves >= late).mean() < 1.5e-3
    assert (
        f"one in a thousand {late} or more late"
        in webds.DatasetBuilder(webds.MemorySource(range(9))).shuffle(40).explain()
    )


def test_nothing_moves_without_a_shuffle() -> None:
    assert of_windows(np.empty(0, np.int64)) == of_buffer(1) == of_buffer(5, 0) == Displacement()
    assert of_both(np.ones(7, np.int64), 1, 7, 1) == Displacement()
    assert webds.DatasetBuilder(webds.MemorySource(range(9))).plan_for().displacement.mean == 0
