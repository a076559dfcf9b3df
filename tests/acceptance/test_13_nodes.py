"""Line 13, for nodes that keep to their share: equal batches in real processes; caches with nothing but the share."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
from collections import Counter
from pathlib import Path

from in_workers import key_of
from shards import sample_of, write_shard

import webds
from webds.order.dealing import Remainder

SIZES = (9, 9, 5, 4, 9, 8, 10)  # 54 samples: 27 of each node are those of three shards and those of four


def _shards(folder: Path) -> str:
    """Write the shards and return their manifest."""
    starts = [0, *itertools.accumulate(SIZES)]
    urls = [
        write_shard(folder / f"{shard}.tar", map(sample_of, range(start, end)))
        for shard, (start, end) in enumerate(itertools.pairwise(starts))
    ]
    return webds.build_index(urls)


def _rank(rank: int, manifest: str, folder: Path, remainder: Remainder, workers: int) -> None:
    """Go through two epochs as a training does that torchrun has started, and write down what came."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    loader = (
        webds.DatasetBuilder(manifest)
        .cache(folder / f"node-{rank // local}", local=True)
        .indexed()
        .shuffle(3, window_shards=2)
        .split(remainder=remainder, nodes=int(os.environ["WORLD_SIZE"]) // local)
        .map(key_of)
        .batch(4, collate=list)
        .loader(num_workers=workers)
    )
    epochs = [list(loader) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [len(loader)] * 2
    (folder / f"rank-{rank}.json").write_text(json.dumps(epochs))


def _ranks(manifest: str, folder: Path, remainder: Remainder, workers: int) -> list[list[list[list[str]]]]:
    """Run four ranks on two nodes, and return the batches of each in each of two epochs."""
    folder.mkdir()
    context = multiprocessing.get_context("fork")
    arguments = (manifest, folder, remainder, workers)
    processes = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(4)]


def test_13_nodes_have_equal_batches_of_their_own_shards(tmp_path: Path) -> None:
    manifest = _shards(tmp_path)
    keys = {f"key{i:05d}" for i in range(sum(SIZES))}
    asked: list[tuple[Remainder, int]] = [("pad", 2), ("uneven", 0)]
    for remainder, workers in asked:
        folder = tmp_path / remainder
        ranks = _ranks(manifest, folder, remainder, workers)
        for epoch in range(2):
            batches = [rank[epoch] for rank in ranks]
            assert {len(one) for one in batches} == {4}
            seen = [Counter(itertools.chain(*itertools.chain(*batches[i : i + 2]))) for i in (0, 2)]
            assert set(seen[0]) | set(seen[1]) == keys
            assert not set(seen[0]) & set(seen[1])
            assert sum(seen, Counter()).total() == (64 if remainder == "pad" else 54)
        split = webds.DatasetBuilder(manifest).indexed().split(nodes=2).batch(4)
        plan = split.plan_for(world_size=4, workers=workers)
        for node, planned in enumerate(plan.bytes_per_node or ()):
            held = [path for path in (folder / f"node-{node}").rglob("*") if path.is_file()]
            shards = [path for path in held if path.stat().st_size % 10240 == 0 and path.stat().st_size]
            assert sum(path.stat().st_size for path in shards) == planned
            assert len(shards) == (4, 3)[node]
