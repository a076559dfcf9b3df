"""Line 17: the length of an epoch is that of a rank, whatever the number of its workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_workers import key_of
from shards import numbered_shards

import webds

Chain = Callable[[webds.DatasetBuilder[Any]], webds.DatasetBuilder[Any]]

CHAINS: dict[str, tuple[Chain, int]] = {
    "samples": (lambda builder: builder, 13),
    "batches": (lambda builder: builder.batch(4, collate=list), 4),
    "full batches": (lambda builder: builder.batch(4, collate=list, partial=False), 3),
    "dropped": (lambda builder: builder.split(remainder="drop").batch(3, collate=list), 4),
    "padded": (lambda builder: builder.split(remainder="pad").batch(3, collate=list), 5),
    "taken": (lambda builder: builder.take(6).batch(4, collate=list), 2),
    "repeated": (lambda builder: builder.repeat(3).batch(4, collate=list), 10),
    "batches repeated": (lambda builder: builder.batch(4, collate=list).repeat(3), 12),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_17_the_length_of_a_rank(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, length = CHAINS[kind]
    builder = chain(webds.DatasetBuilder(numbered_shards(tmp_path, shards=5, samples=5)).indexed().map(key_of))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for workers in (0, 1, 4):
        loader = builder.loader(num_workers=workers)
        assert len(loader) == length
        assert len(list(loader)) == length
        assert builder.plan_for(world_size=2, workers=workers).batches[0] == length


def test_17_it_is_the_same_in_all_epochs_though_shards_are_unequal(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=3, samples=5)
    dataset = (
        webds.DatasetBuilder(urls).indexed().select_samples(lambda info: info.key != "key00003").shuffle(3).build()
    )
    assert [len(dataset), *(len(list(dataset)) for _ in range(3))] == [14] * 4
