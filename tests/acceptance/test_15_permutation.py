"""Line 15: the permutation of the shards depends on seed and epoch alone; all places together read all, once."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from in_workers import with_place

import webds
from webds.typing import Place

SOURCE = webds.MemorySource({f"s{i:02d}": [i] for i in range(24)})


def _seeded(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10),
    epoch=st.integers(0, 10),
    world_size=st.integers(1, 6),
    num_workers=st.integers(1, 5),
    split=st.sampled_from([webds.SplitByNodeAndWorker(), webds.SplitByNode(), webds.SplitByWorker(), webds.NoSplit()]),
)
def test_15_all_places_together_read_everything_once(
    seed: int, epoch: int, world_size: int, num_workers: int, split: webds.Splitter
) -> None:
    plan = webds.DatasetBuilder(SOURCE).shuffle(0, seed=seed).split(split).plan
    order = list(plan.by_shard.shards((epoch,), Place()))
    assert sorted(order) == list(SOURCE.shards())
    ranks = range(world_size if "rank" in split.axes else 1)
    workers = range(num_workers if "worker" in split.axes else 1)
    parts = [
        plan.by_shard.shards((epoch,), Place(rank, world_size, worker, num_workers))
        for rank in ranks
        for worker in workers
    ]
    assert sorted(shard for part in parts for shard in part) == list(SOURCE.shards())
    for part in parts:
        assert [shard for shard in order if shard in part] == list(part), "place only selects from the order"


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_15_nobody_s_global_seed_has_an_influence(workers: int) -> None:
    builder = webds.DatasetBuilder(SOURCE).shuffle(5, seed=3)
    orders: list[list[list[int]]] = []
    for seed in range(3):
        _seeded(seed)
        loader = builder.loader(num_workers=workers)
        orders.append([list(loader) for _ in range(2)])
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][0] != orders[0][1]
    assert sorted(orders[0][0]) == list(range(24))


def test_15_global_generators_are_left_as_they_were() -> None:
    _seeded(5)
    list(webds.DatasetBuilder(SOURCE).shuffle(5).build())
    after = random.random(), float(np.random.rand()), torch.rand(1).item()
    _seeded(5)
    assert (random.random(), float(np.random.rand()), torch.rand(1).item()) == after


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_15_over_ranks_and_workers_every_sample_comes_once(
    world_size: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    builder = webds.DatasetBuilder(SOURCE).shuffle(4, seed=1)
    for epoch in range(2):
        values: list[int] = []
        for rank in range(world_size):
            monkeypatch.setenv("RANK", str(rank))
            _seeded(rank)
            dataset = builder.build()
            dataset.set_epoch(epoch)
            values += webds.Loader(dataset, num_workers=workers)
        assert sorted(values) == list(range(24))


def test_15_ranks_and_workers_are_known_to_spawned_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    builder = webds.DatasetBuilder(SOURCE).shuffle(0, seed=1).map(with_place)
    forked = list(builder.loader(num_workers=1))
    spawned = list(builder.loader(num_workers=1, multiprocessing_context="spawn"))
    assert forked == spawned
    assert len(spawned) == 12
    assert {worker for worker, _ in spawned} == {0}
