"""Line 13: uneven shards; every rank gets the same number of batches, where that is asked for, with any workers."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from in_workers import key_of
from places import steps
from ranks import train
from shards import sample_of, write_shard

import webds
from webds.errors import SplitError

SIZES = (5, 1, 9, 3, 6)  # 24 samples
KEYS = {f"key{i:05d}" for i in range(sum(SIZES))}


@pytest.fixture
def keys(tmp_path: Path) -> webds.DatasetBuilder[Any]:
    """The keys of the samples of uneven shards, shuffled across them."""
    starts = [0, *itertools.accumulate(SIZES)]
    urls = [
        write_shard(tmp_path / f"{shard}.tar", map(sample_of, range(start, end)))
        for shard, (start, end) in enumerate(itertools.pairwise(starts))
    ]
    return webds.DatasetBuilder(urls).indexed().shuffle(window_shards=2).map(key_of)


def _of_ranks(builder: webds.DatasetBuilder[Any], workers: int, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    monkeypatch.setenv("WORLD_SIZE", "3")
    found: list[list[Any]] = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        loader = builder.loader(num_workers=workers)
        found.append(list(loader))
        assert len(loader) == len(found[-1])
    return found


@pytest.mark.parametrize("workers", range(5))
def test_13_drop_and_pad_give_all_ranks_the_same_number(
    keys: webds.DatasetBuilder[Any], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = _of_ranks(keys.split(remainder="drop").batch(5, collate=list), workers, monkeypatch)
    assert [[len(batch) for batch in rank] for rank in dropped] == [[5]] * 3
    assert max(Counter(itertools.chain(*itertools.chain(*dropped))).values()) == 1
    padded = _of_ranks(keys.split(remainder="pad").batch(5, collate=list), workers, monkeypatch)
    assert [[len(batch) for batch in rank] for rank in padded] == [[5, 5]] * 3
    assert set(itertools.chain(*itertools.chain(*padded))) == KEYS
    uneven = _of_ranks(keys.split(remainder="uneven").batch(5, collate=list), workers, monkeypatch)
    assert [[len(batch) for batch in rank] for rank in uneven] == [[5, 3]] * 3
    assert Counter(itertools.chain(*itertools.chain(*uneven))) == Counter(KEYS)


@pytest.mark.parametrize(("world_size", "workers", "start"), [
    (2, 0, "fork"), (2, 2, "fork"), (4, 0, "fork"), (4, 2, "fork"), (2, 1, "spawn"),
])  # fmt: skip
def test_13_a_collective_in_each_step_waits_for_nobody(
    keys: webds.DatasetBuilder[Any], world_size: int, workers: int, start: Literal["fork", "spawn"], tmp_path: Path
) -> None:
    """A model is trained by processes that wait for one another, in the steps that one alone would have."""
    padded = keys.split(remainder="pad")
    builder = padded.batch(8 // world_size, collate=list)
    ranks = train(builder, tmp_path / "ranks", world_size, workers, start=start)
    assert [len(rank) for rank in ranks] == [3] * world_size
    assert steps(ranks) == [sorted(batch) for batch in padded.batch(8, collate=list).build()]


def test_13_a_streaming_source_refuses_and_names_the_index(tmp_path: Path) -> None:
    urls = [write_shard(tmp_path / "a.tar", map(sample_of, range(3)))]
    with pytest.raises(SplitError, match=r"takes an index.*indexed\(\)"):
        webds.DatasetBuilder(urls).split(remainder="drop").build()
