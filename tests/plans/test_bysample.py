"""Samples dealt out one by one: over simulated places, for the whole of a chain."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from places import Rank, of_rank, of_ranks, steps
from shards import numbered_shards

import webds
from webds.errors import LengthError, SplitError, StateError
from webds.order.dealing import REMAINDERS, Remainder
from webds.typing import Place

TOPOLOGIES = ((1, 0), (1, 2), (2, 1), (2, 2), (4, 2), (2, 3))


def _numbers(counts: list[int]) -> webds.DatasetBuilder[int]:
    """Shards of these numbers of values, which are numbered through."""
    starts = [0, *itertools.accumulate(counts)]
    return webds.DatasetBuilder(
        webds.MemorySource({f"s{i}": range(starts[i], starts[i + 1]) for i in range(len(counts))})
    )


counts_of = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@given(
    counts=counts_of, batch=st.integers(1, 4), world_size=st.integers(1, 4), workers=st.integers(0, 3),
    window=st.sampled_from((None, 1, 3)), seed=st.integers(0, 3), epoch=st.integers(0, 2), partial=st.booleans(),
)  # fmt: skip
def test_ranks_have_equal_parts_and_lengths_are_exact(
    counts: list[int], batch: int, world_size: int, workers: int, window: int | None, seed: int, epoch: int,
    partial: bool,
) -> None:  # fmt: skip
    total = sum(counts)
    for remainder in REMAINDERS:
        shuffled = _numbers(counts).shuffle(0, seed=seed, window_shards=window).split(remainder=remainder)
        builder = shuffled.batch(batch, collate=list, partial=partial)
        ranks = of_ranks(builder, world_size, workers, epoch)
        plan = builder.plan.bound(dict)
        assert [len(rank) for rank in ranks] == [plan.length(Place(r, world_size)) for r in range(world_size)]
        seen = Counter(itertools.chain(*itertools.chain(*ranks)))
        if remainder == "uneven":
            assert not partial or seen == Counter(range(total))
            assert max(seen.values(), default=1) == 1
            continue
        assert len({len(rank) for rank in ranks}) == 1
        assert {len(one) for rank in ranks for one in rank} <= {batch}
        if remainder == "drop":
            assert max(seen.values(), default=1) == 1
            assert total - seen.total() < batch * world_size
        elif total:
            assert set(seen) == set(range(total))
            assert seen.total() - total < batch * world_size


@given(counts=counts_of, window=st.sampled_from((None, 2)), remainder=st.sampled_from(REMAINDERS),
       epoch=st.integers(0, 2), passes=st.sampled_from((None, 1, 3)), behind=st.booleans())  # fmt: skip
def test_a_global_batch_has_the_same_samples_for_any_topology(
    counts: list[int], window: int | None, remainder: Remainder, epoch: int, passes: int | None, behind: bool
) -> None:
    shuffled = _numbers(counts).shuffle(0, seed=1, window_shards=window).split(remainder=remainder).map(str)
    found: list[list[list[str]]] = []
    for world_size, workers in TOPOLOGIES:
        builder = shuffled
        if passes and not behind:
            builder = builder.repeat(passes)
        batches = builder.batch(8 // world_size, collate=list)
        if passes and behind and remainder != "uneven":  # then a rank may be one batch further in the next pass
            batches = batches.repeat(passes)
        found.append(steps(of_ranks(batches, world_size, workers, epoch)))
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("chain", [
    lambda b: b.repeat().batch(4, collate=list),
    lambda b: b.batch(4, collate=list).repeat(),
    lambda b: b.batch(4, collate=list).map(list).repeat(),
    lambda b: b.repeat().take(36).batch(4, collate=list),
    lambda b: b.take(5).repeat(7).batch(4, collate=list),
    lambda b: b.repeat(2).repeat(3).batch(4, collate=list),
    lambda b: b.repeat(9).batch(4, collate=list).take(9),
])  # fmt: skip
def test_repetitions_go_on_with_the_next_worker(chain: Any) -> None:
    builder = chain(_numbers([3, 7, 3]).shuffle(0, window_shards=2).split(remainder="uneven"))
    plain = [sorted(one) for one in of_rank(builder, 0, 1, 0, n=9)]
    assert len(plain) == 9
    for workers in (1, 2, 3, 5):
        assert [sorted(one) for one in of_rank(builder, 0, 1, workers, n=9)] == plain


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_take_takes_the_first_of_a_rank(workers: int) -> None:
    builder = _numbers([4, 9]).split(remainder="uneven").take(5)
    assert of_rank(builder, 0, 1, workers) == [0, 1, 2, 3, 4]
    assert sorted(itertools.chain(*of_ranks(builder, 2, workers))) == list(range(10))
    assert of_rank(builder.batch(2, collate=list), 0, 1, workers) == [[0, 1], [2, 3], [4]]


def test_what_drops_values_promises_no_equal_parts() -> None:
    odd = _numbers([5, 5]).filter(lambda value: value % 2)
    for remainder in REMAINDERS[:2]:
        with pytest.raises(SplitError, match=r"filter.*drops values.*select_samples"):
            odd.split(remainder=remainder).build()
    ranks = of_ranks(odd.split(remainder="uneven").batch(2, collate=list), 2, 2)
    assert sorted(itertools.chain(*itertools.chain(*ranks))) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(("chain", "reason"), [
    (lambda b: b.batch(2).pipe(iter), "pipe(iter"),
    (lambda b: b.batch(2).unbatch(), "unbatch("),
    (lambda b: b.on_error("skip").batch(2), "leaves a sample out"),
    (lambda b: b.shuffle(3).map(str).take(9).batch(2), None),
])  # fmt: skip
def test_explain_says_what_may_make_equal_parts_unequal(chain: Any, reason: str | None) -> None:
    for remainder in ("drop", "pad"):
        text = chain(_numbers([5, 5]).split(remainder=remainder)).explain()
        assert ("unequal numbers" in text) == (reason is not None)
        assert reason is None or reason in text
    assert "unequal numbers" not in chain(_numbers([5, 5]).split(remainder="uneven")).explain()


def test_a_buffer_behind_keeps_the_parts() -> None:
    builder = _numbers([9, 2, 20]).shuffle(5).split(remainder="pad").repeat(2).batch(4, collate=list)
    ranks = of_ranks(builder, 2, 2)
    assert len(ranks[0]) == len(ranks[1])
    assert set(itertools.chain(*itertools.chain(*ranks))) == set(range(31))
    assert "depend on the number of ranks and workers" in builder.explain()


def test_streams_refuse_what_takes_counts_and_name_the_index(tmp_path: Path) -> None:
    streamed = webds.DatasetBuilder(numbered_shards(tmp_path))
    for asked in (streamed.split(remainder="pad"), streamed.shuffle(window_shards=2)):
        with pytest.raises(SplitError, match=r"index.*indexed\(\).*build_index"):
            asked.build()
        assert len(asked.indexed().build()) == 20
    with pytest.raises(SplitError, match="divides shards"):
        streamed.split(webds.SplitByNode()).indexed().shuffle(window_shards=2).build()


def test_an_endless_row_has_no_length_and_an_empty_one_ends() -> None:
    with pytest.raises(LengthError, match="no end is known"):
        len(_numbers([3]).repeat().build())
    assert list(_numbers([0, 0]).repeat().batch(2).build()) == []
    assert list(_numbers([0, 0]).batch(2).repeat().build()) == []
    assert list(_numbers([3]).split(remainder="drop").batch(4).repeat().build()) == []


def test_a_sample_that_cannot_be_read_is_left_out_by_itself(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2, samples=6)
    builder = webds.DatasetBuilder(urls, on_error="skip").indexed().shuffle(0, shards=False, window_shards=2)
    dataset = builder.to_tuple("cls").build()
    assert len(dataset) == 12
    with open(urls[0], "r+b") as file:  # the header of the third sample's first member
        file.seek(2 * 2048)
        file.write(b"x" * 100)
    left = [int(value) for (value,) in dataset]
    assert sorted(left) == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    (loss,) = dataset.stats().losses
    assert loss.url == urls[0]
    assert loss.error.startswith("StaleIndexError")


def test_explain_says_who_gets_what_and_how_far_samples_travel() -> None:
    text = _numbers([5, 7, 6]).shuffle(window_shards=2, seed=8).split(remainder="pad").batch(3).explain()
    assert "3 at a time over rank and worker; a last step that is not full is filled up" in text
    assert "within each 2 shards, by seed 8" in text
    assert "never more than 12" in text


@settings(max_examples=50)
@given(
    counts=counts_of, batch=st.integers(1, 3), nodes=st.integers(1, 4), ranks=st.integers(1, 3),
    workers=st.integers(0, 2), window=st.sampled_from((None, 2)), seed=st.integers(0, 3), partial=st.booleans(),
)  # fmt: skip
def test_nodes_keep_to_their_shares_and_all_promises_hold(
    counts: list[int], batch: int, nodes: int, ranks: int, workers: int, window: int | None, seed: int, partial: bool
) -> None:
    total, world_size = sum(counts), nodes * ranks
    for remainder in REMAINDERS:
        shuffled = _numbers(counts).shuffle(0, seed=seed, window_shards=window).split(remainder=remainder, nodes=nodes)
        builder = shuffled.batch(batch, collate=list, partial=partial)
        if remainder == "pad" and 0 < total < nodes:
            with pytest.raises(SplitError, match=f"{total} samples cannot be divided over {nodes} nodes"):
                of_rank(builder, 0, world_size, workers)
            continue
        plan = builder.plan.bound(dict)
        for epoch in range(2):
            found = of_ranks(builder, world_size, workers, epoch)
            lengths = [plan.length(Place(rank, world_size)) for rank in range(world_size)]
            assert [len(one) for one in found] == lengths
            assert max(lengths) - min(lengths) <= (remainder == "uneven")
            shares = [Counter(itertools.chain(*itertools.chain(*found[i : i + ranks])))
                      for i in range(0, world_size, ranks)]  # fmt: skip
            ends = [-(-total * node // nodes) for node in range(nodes + 1)]
            for share, lo, hi in zip(shares, ends[:-1], ends[1:], strict=True):
                assert set(share) <= set(range(lo, hi)), "the same in all epochs"
                assert remainder == "pad" or max(share.values(), default=1) == 1
                if remainder == "pad" or (remainder == "uneven" and partial):
                    assert set(share) == set(range(lo, hi))
            if remainder == "drop":
                assert total - sum(map(len, shares)) < batch * world_size


@settings(max_examples=40)
@given(counts=counts_of, window=st.sampled_from((None, 2)), remainder=st.sampled_from(REMAINDERS),
       passes=st.sampled_from((1, 2)))  # fmt: skip
def test_a_global_batch_of_nodes_has_the_same_samples_for_any_topology(
    counts: list[int], window: int | None, remainder: Remainder, passes: int
) -> None:
    shuffled = _numbers([2, *counts]).shuffle(0, seed=1, window_shards=window).split(remainder=remainder, nodes=2)
    found = [
        steps(of_ranks(shuffled.repeat(passes).batch(8 // world_size, collate=list), world_size, workers, 1))
        for world_size, workers in ((2, 0), (2, 3), (4, 0), (4, 2), (8, 1))
    ]
    assert all(one == found[0] for one in found)


@settings(max_examples=40)
@given(counts=counts_of, remainder=st.sampled_from(REMAINDERS), stop=st.integers(0, 6), window=st.booleans())
def test_nodes_go_on_with_other_numbers_of_ranks(
    counts: list[int], remainder: Remainder, stop: int, window: bool
) -> None:
    shuffled = _numbers([3, *counts]).shuffle(0, seed=2, window_shards=2 if window else None)
    builder = shuffled.split(remainder=remainder, nodes=2)
    first = builder.batch(2, collate=list)
    whole = steps(of_ranks(first, 4, 0))
    ranks = [Rank(first, rank, 4, 2) for rank in range(4)]
    before = [list(itertools.islice(rank, stop)) for rank in ranks]
    states = [rank.state() for rank in ranks]
    assert all(state == states[0] for state, had in zip(states, before, strict=True) if len(had) == stop)
    assert states[0]["plan"]["nodes"] == 2
    after = [list(Rank(builder.batch(4, collate=list), rank, 2, 1, states[0])) for rank in range(2)]
    assert steps(before) == whole[:stop]
    assert steps(after) == whole[stop:]
    with pytest.raises(StateError, match="nodes was 2, and is None"):
        Rank(shuffled.split(remainder=remainder).batch(2, collate=list), state=states[0])


def test_nodes_that_repeat_without_end_go_on() -> None:
    builder = _numbers([5, 4]).split(nodes=2).repeat().batch(2, collate=list)
    assert of_ranks(builder, 2, 2, n=4) == [[[0, 1], [2, 3], [4, 0], [1, 2]], [[5, 6], [7, 8], [5, 6], [7, 8]]]


def test_a_world_size_that_is_no_multiple_of_the_nodes_is_refused_at_every_rank() -> None:
    builder = _numbers([5, 4]).split(nodes=2)
    for rank in range(3):
        with pytest.raises(SplitError, match="world size of 3 cannot be divided into 2 nodes"):
            of_rank(builder, rank, 3, 0)
    assert "each of 2 keeps to 4 samples" in builder.explain()


def test_nodes_take_an_index_and_no_splitter(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"index.*indexed\(\)"):
        webds.DatasetBuilder(numbered_shards(tmp_path)).split(nodes=2).build()
    assert _numbers([3]).split(nodes=3).split(webds.SplitByNode()).plan.nodes == 1
    assert _numbers([3]).split(nodes=3).split(remainder="pad").plan.nodes == 3
