"""Line 24: mixed sources keep their weights on every rank, deterministically; who runs dry is treated as was said."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from places import of_ranks
from ranks import train
from shards import numbered_shards

import webds

SIZES = {"web": 4000, "books": 2000, "code": 900}
WEIGHTS = {"web": 0.6, "books": 0.3, "code": 0.1}


def _sources(*, streamed: bool) -> dict[str, webds.DatasetBuilder[str]]:
    sources = {
        name: webds.DatasetBuilder(webds.MemorySource([f"{name} {i}" for i in range(n)], shards=16))
        for name, n in SIZES.items()
    }
    return {name: source.filter(bool) if streamed else source for name, source in sources.items()}


def _parts(values: list[str]) -> dict[str, float]:
    counts = Counter(value.split()[0] for value in values)
    return {name: counts[name] / len(values) for name in WEIGHTS}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("batch", [None, 32])
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (4, 0), (4, 2)])
def test_24_every_rank_keeps_the_weights(streamed: bool, batch: int | None, world_size: int, workers: int) -> None:
    mixed: webds.DatasetBuilder[Any] = webds.mix(_sources(streamed=streamed), weights=WEIGHTS, exhausted="stop")
    ranks: list[list[Any]] = of_ranks(mixed if batch is None else mixed.batch(batch, collate=list), world_size, workers)
    for rank in ranks:
        values: list[str] = rank if batch is None else list(itertools.chain(*rank))
        assert len(values) > 6000 // world_size
        for name, part in _parts(values).items():
            assert abs(part - WEIGHTS[name]) < (0.01 if streamed or world_size == 1 else 0.04), (name, part)
    assert of_ranks(mixed if batch is None else mixed.batch(batch, collate=list), world_size, workers) == ranks
    if not streamed:
        every = list(itertools.chain(*ranks)) if batch is None else list(itertools.chain(*itertools.chain(*ranks)))
        assert Counter(every) == Counter(mixed.build()), "the same samples, however many share them"


def test_24_cycles_are_exact_in_each_batch_of_each_rank() -> None:
    mixed = webds.mix(_sources(streamed=False), cycle={"web": 5, "books": 2, "code": 1}, exhausted="stop")
    for rank in of_ranks(mixed.split(remainder="drop").batch(16, collate=list), 4, 2):
        assert len(rank) == 100
        for values in rank:
            assert _parts(values) == {"web": 10 / 16, "books": 4 / 16, "code": 2 / 16}


def test_24_nobody_chooses_for_the_user_what_happens_when_one_runs_dry() -> None:
    mix: Any = webds.mix
    with pytest.raises(TypeError, match='exhausted="stop", "continue", "repeat"'):
        mix(_sources(streamed=False), weights=WEIGHTS)
    lengths = {ends: len(mix(_sources(streamed=False), weights=WEIGHTS, exhausted=ends).build())
               for ends in ("stop", "continue", "repeat")}  # fmt: skip
    assert lengths["continue"] == sum(SIZES.values())
    assert abs(lengths["stop"] - 4000 / 0.6) < 10  # web is the first
    assert abs(lengths["repeat"] - 900 / 0.1) < 10  # code is the last


def test_24_over_real_ranks(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "ranks")]
    for folder in folders[:2]:
        folder.mkdir()
    a, b = (webds.DatasetBuilder(numbered_shards(folder, 4, 10)).indexed() for folder in folders[:2])
    mixed = webds.mix([a.map(_of_a), b.map(_of_b)], cycle=[1, 3], exhausted="repeat")
    ranks = train(mixed.split(remainder="drop").batch(4, collate=list), folders[2], 2, 2)
    assert [len(rank) for rank in ranks] == [20, 20]
    for batch in itertools.chain(*ranks):
        assert Counter(value[0] for value in batch) == {"a": 1, "b": 3}


def _of_a(sample: dict[str, Any]) -> str:
    return f"a-{sample['__key__']}"


def _of_b(sample: dict[str, Any]) -> str:
    return f"b-{sample['__key__']}"
