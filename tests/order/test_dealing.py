from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from webds.order.dealing import REMAINDERS, Dealing, Remainder, SampleOrder, Window
from webds.typing import Place

remainders = st.sampled_from(REMAINDERS)


def _all(dealing: Dealing, world_size: int, workers: int) -> list[list[list[int]]]:
    """What each worker of each rank gets."""
    return [
        [
            [int(one) for part in dealing.positions(Place(rank, world_size, worker, workers)) for one in part]
            for worker in range(workers)
        ]
        for rank in range(world_size)
    ]


@given(
    total=st.integers(0, 120),
    block=st.integers(1, 7),
    start=st.integers(0, 130),
    world_size=st.integers(1, 5),
    workers=st.integers(1, 4),
    remainder=remainders,
)
def test_every_position_is_dealt_out_as_the_remainder_says(
    total: int, block: int, start: int, world_size: int, workers: int, remainder: Remainder
) -> None:
    dealing = Dealing(total=total, block=block, remainder=remainder, start=start)
    dealt = _all(dealing, world_size, workers)
    ranks = [sum(map(len, rank)) for rank in dealt]
    everything = sorted(itertools.chain(*itertools.chain(*dealt)))
    left = max(0, total - start)
    step = block * world_size
    ends: dict[Remainder, int] = {"drop": left // step * step, "pad": -(-left // step) * step, "uneven": left}
    end = ends[remainder]
    assert everything == list(range(start, start + end))
    assert ranks == [dealing.samples(rank, world_size) for rank in range(world_size)]
    batches = [sum(-(-len(worker) // block) for worker in rank) for rank in dealt]
    assert batches == [dealing.steps(rank, world_size) for rank in range(world_size)]
    assert max(batches) - min(batches) <= (remainder == "uneven")
    assert max(ranks) - min(ranks) <= (remainder == "uneven")


@given(total=st.integers(0, 90), block=st.integers(1, 5), skip=st.integers(0, 100), worker=st.integers(0, 2))
def test_what_is_skipped_is_the_beginning(total: int, block: int, skip: int, worker: int) -> None:
    dealing, place = Dealing(total=total, block=block, remainder="uneven"), Place(1, 2, worker, 3)
    whole = np.concatenate([np.empty(0, np.int64), *dealing.positions(place)]).tolist()
    rest = np.concatenate([np.empty(0, np.int64), *dealing.positions(place, skip)]).tolist()
    assert rest == whole[skip:]


def test_a_row_without_end_goes_on() -> None:
    dealing = Dealing(total=None, block=2, remainder="drop")
    assert dealing.steps(0, 3) is dealing.samples(0, 3) is None
    first, second = itertools.islice(dealing.positions(Place(1, 3, 1, 2)), 2)
    assert first[:4].tolist() == [8, 9, 20, 21]
    assert second[0] - first[-1] == 11


@pytest.mark.parametrize("window", [None, 1, 2, 5, 9])
@pytest.mark.parametrize("seed", [None, 3])
def test_an_order_has_each_sample_once_and_windows_keep_to_their_shards(window: int | None, seed: int | None) -> None:
    counts = np.array([3, 0, 5, 1, 0, 0, 4, 7])
    total = int(counts.sum())
    order = SampleOrder(counts, seed, None if window is None else Window(window, 1))
    orders: list[list[tuple[int, int]]] = []
    for key in ((0,), (1,), (0,)):
        found: list[tuple[int, int]] = []
        for shards, ordinals in order.of_pass(key).located(np.arange(total)):
            found += zip(shards, ordinals, strict=True)
        assert sorted(found) == [(shard, i) for shard in range(8) for i in range(counts[shard])]
        orders.append(found)
    assert orders[0] == orders[2]
    assert (orders[0] == orders[1]) == (seed is None and window is None)
    plain = SampleOrder(counts, seed).of_pass((0,))
    shards = [shard for numbers, _ in plain.located(np.arange(total)) for shard in numbers]
    listed = list(dict.fromkeys(shards))
    if window == 1:
        assert [shard for shard, _ in orders[0]] == shards
    if window == 9:
        assert [shard for shard, _ in orders[0]] != shards
    assert len(listed) == 5


def test_any_part_of_an_order_is_found_by_itself() -> None:
    order = SampleOrder(np.arange(20), 5, Window(3, 5)).of_pass((4,))
    whole = [pair for part in order.located(np.arange(190)) for pair in zip(*part, strict=True)]
    again = SampleOrder(np.arange(20), 5, Window(3, 5)).of_pass((4,))
    some = np.array([180, 3, 77, 78, 5])
    assert [pair for part in again.located(some) for pair in zip(*part, strict=True)] == [whole[i] for i in some]


def test_a_thousand_million_samples_take_no_memory() -> None:
    """The whole order would be 8 GB."""
    order = SampleOrder(np.full(100_000, 10_000), 1, Window(8, 1)).of_pass((0,))
    dealing = Dealing(total=10**9, block=64, remainder="drop")
    assert dealing.steps(9_999, 10_000) == 1562
    positions = next(dealing.positions(Place(9_999, 10_000, 3, 4)))
    shards, ordinals = next(order.located(positions))
    assert len(shards) == len(ordinals) > 0
    assert max(ordinals) < 10_000
