"""Line 18: in an evaluation every key is seen exactly once over ranks and workers, the last partial batch included."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal

import pytest
from in_workers import key_of
from ranks import train
from shards import numbered_shards

import webds


@pytest.fixture
def keys(tmp_path: Path) -> webds.DatasetBuilder[Any]:
    """Batches of the keys of 21 samples."""
    urls = numbered_shards(tmp_path, shards=3, samples=7)
    return webds.DatasetBuilder(urls).indexed().split(remainder="uneven").map(key_of).batch(4, collate=list)


KEYS = [f"key{i:05d}" for i in range(21)]


@pytest.mark.parametrize(("world_size", "workers", "start"), [
    (1, 0, "fork"), (1, 3, "fork"), (2, 0, "fork"), (2, 2, "fork"), (5, 1, "fork"), (1, 2, "spawn"),
])  # fmt: skip
def test_18_every_key_once(
    keys: webds.DatasetBuilder[Any],
    world_size: int,
    workers: int,
    start: Literal["fork", "spawn"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    batches: list[list[str]] = []
    for rank in range(world_size):
        monkeypatch.setenv("RANK", str(rank))
        loader = keys.loader(num_workers=workers, multiprocessing_context=start if workers else None)
        batches += loader
    assert sorted(itertools.chain(*batches)) == KEYS


def test_18_over_real_ranks(keys: webds.DatasetBuilder[Any], tmp_path: Path) -> None:
    ranks = train(keys, tmp_path / "ranks", 2, 2)
    assert sorted(itertools.chain(*itertools.chain(*ranks))) == KEYS
