"""What is planned is what happens: plans against what all places really get."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from places import at_place, of_ranks
from shards import numbered_shards
from typing_extensions import override

import webds
from webds.abc import IndexedSource
from webds.errors import LengthError, SplitError
from webds.index.manifest import ListedShard
from webds.order.dealing import REMAINDERS, Remainder
from webds.typing import Place


class Sized(IndexedSource[int]):
    """Numbers in shards whose sizes are known; notes how many are open."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = list(counts)
        self.starts = [0, *itertools.accumulate(counts)]
        self.sizes = [1 << i for i in range(len(counts))]  # a sum says which
        self.open = self.most_open = 0

    @override
    def shards(self) -> Sequence[str]:
        return [f"s3://bucket/{i}.tar" for i in range(len(self._counts))]

    def listing(self) -> Sequence[ListedShard]:
        return [ListedShard(shard, size=size) for shard, size in zip(self.shards(), self.sizes, strict=True)]

    @override
    def counts(self) -> Sequence[int]:
        return self._counts

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[int]:
        number = self.shards().index(shard)
        return self.read_at(shard, range(start, self._counts[number]), fields)

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[int]:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            for ordinal in ordinals:
                yield self.starts[self.shards().index(shard)] + ordinal
        finally:
            self.open -= 1

    def shard_of(self, value: int) -> int:
        return int(np.searchsorted(self.starts, value, "right")) - 1


def _units(builder: webds.DatasetBuilder[Any], place: Place, epoch: int) -> list[list[int]]:
    """The shards of each window, or each by itself, in the order of a node."""
    division = builder.plan.by_sample
    assert division is not None
    order = division.plain_order_at(place).of_pass((epoch,))
    shards = [int(shard) for shard in order.shards]
    n = 1 if builder.plan.window is None else builder.plan.window.shards
    there = [bool(size) for size in np.diff(order.starts)]
    return [[s for s, is_there in zip(shards[i : i + n], there[i : i + n], strict=True) if is_there]
            for i in range(0, len(shards), n)]  # fmt: skip


counts_of = st.lists(st.integers(0, 12), min_size=1, max_size=7)


@settings(max_examples=60)
@given(
    counts=counts_of, batch=st.integers(1, 4), nodes=st.integers(1, 3), ranks=st.integers(1, 3),
    workers=st.integers(0, 3), window=st.sampled_from((None, 1, 2, 5)), epoch=st.integers(0, 2), partial=st.booleans(),
    kept=st.booleans(),
)  # fmt: skip
def test_numbers_are_those_of_real_runs(
    counts: list[int], batch: int, nodes: int, ranks: int, workers: int, window: int | None, epoch: int,
    partial: bool, kept: bool,
) -> None:  # fmt: skip
    world_size, total = nodes * ranks, sum(counts)
    for remainder in REMAINDERS:
        source = Sized(counts)
        shuffled = webds.DatasetBuilder(source).shuffle(0, seed=1, window_shards=window).split(remainder=remainder)
        builder = (shuffled.split(nodes=nodes) if kept else shuffled).batch(batch, collate=list, partial=partial)
        if kept and remainder == "pad" and 0 < total < nodes:
            continue
        plan = builder.plan_for(world_size=world_size, workers=workers, nodes=nodes, epoch=epoch)
        found = of_ranks(builder, world_size, workers, epoch)
        values = [list(itertools.chain(*rank)) for rank in found]
        distinct = len(set(itertools.chain(*values)))
        assert plan.batches == tuple(map(len, found))
        assert plan.delivered == tuple(map(len, values))
        assert plan.dropped == total - distinct
        assert plan.padded == sum(map(len, values)) - distinct
        assert (plan.samples, plan.shards, plan.batch_size, plan.steps) == (total, len(counts), batch, len(found[0]))
        if partial:
            assert plan.bytes_per_node == tuple(_bytes(source, builder, plan, values, kept))
        assert _most_open(source, builder, plan, epoch) <= plan.shards_open
        assert remainder == "pad" or _fetched_twice(source, plan, found) == []


def _bytes(
    source: Sized, builder: webds.DatasetBuilder[Any], plan: webds.EpochPlan, values: list[list[int]], kept: bool
) -> Iterator[int]:
    """Of each node, the bytes of all shards of the units that it really got samples of."""
    ranks = plan.world_size // plan.nodes
    for node in range(plan.nodes):
        place = Place(node * ranks if kept else 0, plan.world_size)
        touched = {source.shard_of(value) for value in itertools.chain(*values[node * ranks : (node + 1) * ranks])}
        units = [unit for unit in _units(builder, place, plan.epoch) if touched & set(unit)]
        yield sum(source.sizes[shard] for shard in itertools.chain(*units))


def _most_open(source: Sized, builder: webds.DatasetBuilder[Any], plan: webds.EpochPlan, epoch: int) -> int:
    source.most_open = 0
    for rank, worker in itertools.product(range(plan.world_size), range(max(1, plan.workers))):
        for _ in at_place(builder, Place(rank, plan.world_size, worker, max(1, plan.workers)), epoch):
            pass
    assert source.open == 0
    return source.most_open


def _fetched_twice(source: Sized, plan: webds.EpochPlan, found: list[list[list[int]]]) -> list[int]:
    """What a cache fetches again that forgets what was used longest ago, workers asking for batches ahead at once."""
    assert plan.cache_per_node is not None
    ranks, ahead = plan.world_size // plan.nodes, max(1, 2 * plan.workers)
    again: list[int] = []
    for node in range(plan.nodes):
        cache: OrderedDict[int, None] = OrderedDict()
        fetched: set[int] = set()
        for first in range(0, plan.steps, ahead):
            asked = [
                batch for rank in found[node * ranks : (node + 1) * ranks] for batch in rank[first : first + ahead]
            ]
            for value in itertools.chain(*itertools.zip_longest(*asked)):
                if value is None:
                    continue
                shard = source.shard_of(value)
                if shard not in cache and shard in fetched:
                    again.append(shard)
                fetched.add(shard)
                cache[shard] = None
                cache.move_to_end(shard)
                while sum(source.sizes[held] for held in cache) > plan.cache_per_node:
                    cache.popitem(last=False)
    return again


CHAINS = [
    lambda b: b,
    lambda b: b.repeat(3).batch(4, collate=list),
    lambda b: b.batch(4, collate=list).repeat(3),
    lambda b: b.take(6).batch(4, collate=list),
    lambda b: b.batch(3, collate=list).take(3),
    lambda b: b.batch(3, collate=list).repeat(4).take(7),
    lambda b: b.shuffle(5).repeat(2).batch(4, collate=list),
    lambda b: b.repeat(4).take(17).batch(4, collate=list, partial=False),
    lambda b: b.take(5).repeat(2).map(str).batch(4, collate=list),
]


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("remainder", [*REMAINDERS, None])
def test_stages_are_reckoned_with(chain: Any, remainder: Remainder | None) -> None:
    counts = [4] * 6 if remainder is None else [7, 4, 0, 9, 3, 1]
    split = webds.SplitByNodeAndWorker()
    whole = webds.DatasetBuilder(Sized(counts))
    builder = chain(whole.split(split) if remainder is None else whole.split(remainder=remainder))
    for world_size, workers in ((1, 0), (1, 3), (2, 0), (2, 2), (3, 1)):
        plan = builder.plan_for(world_size=world_size, workers=workers)
        found = of_ranks(builder, world_size, workers)
        samples = [sum(len(v) if isinstance(v, list) else 1 for v in rank) for rank in found]
        assert plan.batches == tuple(map(len, found))
        assert plan.delivered == tuple(samples)
        assert plan.dropped == 24 * plan.passes - (sum(samples) - plan.padded)
        assert plan.padded == 0 or remainder == "pad"


@given(counts=counts_of, world_size=st.integers(1, 3), workers=st.integers(0, 2), epoch=st.integers(0, 1))
def test_shards_that_are_divided(counts: list[int], world_size: int, workers: int, epoch: int) -> None:
    source = Sized(counts)
    builder = webds.DatasetBuilder(source).shuffle(0).split(webds.SplitByNodeAndWorker()).batch(3, collate=list)
    if len(counts) < world_size:
        with pytest.raises(SplitError):
            builder.plan_for(world_size=world_size)
        return
    plan = builder.plan_for(world_size=world_size, workers=workers, nodes=world_size, epoch=epoch)
    found = of_ranks(builder, world_size, workers, epoch)
    assert plan.batches == tuple(map(len, found))
    assert plan.delivered == tuple(sum(map(len, rank)) for rank in found)
    assert (plan.dropped, plan.padded, plan.shards_open) == (0, 0, 1)
    held = [{s for worker in range(max(1, workers))
             for s in builder.plan.by_shard.shards((epoch,), Place(rank, world_size, worker, max(1, workers)))}
            for rank in range(world_size)]  # fmt: skip
    names = list(source.shards())
    assert plan.bytes_per_node == tuple(sum(source.sizes[names.index(s)] for s in node) for node in held)


def test_what_is_streamed_is_planned_by_a_manifest(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=4, samples=5)
    streamed = webds.DatasetBuilder(urls).batch(2)
    with pytest.raises(LengthError, match=r"indexed\(\)"):
        streamed.plan_for()
    manifest = webds.build_index(urls)
    plan = webds.DatasetBuilder(manifest).shuffle(4, shards=False).batch(2).prefetch(2).plan_for(workers=2)
    assert (plan.batches, plan.delivered, plan.shards_open) == ((10,), (20,), 3)
    sizes = [Path(url).stat().st_size for url in urls]
    assert plan.bytes_per_node == (sum(sizes),)
    assert plan.displacement.early == 3
    indexed = webds.DatasetBuilder(urls).indexed().batch(2).plan_for()  # sizes of files, which no manifest says
    assert indexed.bytes_per_node == (sum(sizes),)


def test_sizes_that_nobody_knows_are_not_guessed() -> None:
    plan = webds.DatasetBuilder(webds.MemorySource(range(9), shards=3)).plan_for(world_size=2)
    assert plan.bytes_per_node is None
    assert plan.cache_per_node is None
    assert plan.batches == (5, 4)
    assert "not known of shards" in str(plan)


def test_what_has_no_end_or_an_unknown_number_is_refused() -> None:
    numbers = webds.DatasetBuilder(webds.MemorySource(range(9)))
    with pytest.raises(LengthError, match="no end"):
        numbers.repeat().plan_for()
    with pytest.raises(LengthError, match="no end"):
        numbers.batch(2).repeat().plan_for()
    with pytest.raises(LengthError, match="after filter"):
        numbers.filter(bool).plan_for()
    with pytest.raises(LengthError, match="after batch"):
        numbers.batch(2).batch(2).plan_for()
    divided = webds.DatasetBuilder(Sized([3, 4])).split(webds.SplitByNodeAndWorker())
    with pytest.raises(LengthError, match="in each pass other shards"):
        divided.shuffle(0).repeat(2).plan_for(world_size=2)
    assert divided.repeat(2).plan_for(world_size=2).batches == (6, 8)
    with pytest.raises(ValueError, match="3 ranks are not evenly"):
        numbers.plan_for(world_size=3, nodes=2)
    with pytest.raises(ValueError, match="split over 2"):
        numbers.split(nodes=2).plan_for(world_size=4, nodes=4)
    with pytest.raises(ValueError, match=r"plan_for\(world_size=0\)"):
        numbers.plan_for(world_size=0)


def test_it_prints_itself() -> None:
    builder = webds.DatasetBuilder(Sized([100] * 12)).shuffle(window_shards=3).split(remainder="pad").batch(7)
    text = str(builder.plan_for(world_size=4, workers=2, nodes=2))
    assert text.splitlines() == [
        "places     4 ranks on 2 nodes, 2 workers each",
        "samples    1200 in 12 shards",
        "per rank   43 batches of 7, of 301 samples",
        "remainder  0 samples dropped, 4 padded",
        "per node   3.999 KiB of shards; a cache of 3.608 KiB fetches none twice in a pass",
        "open       3 shards at once in each of 8 processes",
        "shuffled   100 places on average; at most 299 early, and at most 299 late",
    ]


class Counted(IndexedSource[int]):
    """As many shards and samples as asked for, of which nothing is stored."""

    def __init__(self, shards: int, samples: int) -> None:
        self._names = [f"{i}" for i in range(shards)]
        self._samples = samples

    @override
    def shards(self) -> Sequence[str]:
        return self._names

    @override
    def counts(self) -> Sequence[int]:
        return [self._samples] * len(self._names)

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[int]:
        return iter(range(start, self._samples))

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[int]:
        return iter(ordinals)

    def listing(self) -> Sequence[ListedShard]:
        return [ListedShard(name, size=100_000_000) for name in self._names]


@pytest.mark.parametrize("nodes", [1, 1250])
def test_a_thousand_million_samples_for_ten_thousand_ranks_take_little_memory(nodes: int) -> None:
    """The order of all would take 8 GB, and what is planned for each batch of each worker 125 MB."""
    shuffled = webds.DatasetBuilder(Counted(100_000, 10_000)).shuffle(window_shards=8)
    builder = shuffled.split(remainder="drop", nodes=nodes).batch(64, collate=list)
    tracemalloc.start()
    try:
        batches = at_place(builder, Place(9_999, 10_000, 3, 8))
        assert [len(batch) for batch in itertools.islice(batches, 3)] == [64] * 3
        plan = builder.plan_for(world_size=10_000, workers=8, nodes=1250) if nodes == 1 else None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    plan = plan or builder.plan_for(world_size=10_000, workers=8)
    assert set(plan.batches) == {1562}
    assert plan.dropped == 10**9 - 1562 * 64 * 10_000
    assert plan.bytes_per_node is not None
    assert sum(plan.bytes_per_node) >= 99_900 * 100_000_000
    assert max(plan.bytes_per_node) < (100_000 if nodes == 1 else 83) * 100_000_000
