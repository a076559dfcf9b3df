"""Whose turn it is: the pattern, and what stands where in a row."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from webds.order.turns import EXHAUSTED, Concatenated, Exhausted, Interleaved, Turns

shares = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def _one_by_one(turns: Turns, sizes: list[int], exhausted: Exhausted) -> list[tuple[int, int]]:
    """Return source and number of what comes, as one who only knows the next turn would find it out."""
    found: list[tuple[int, int]] = []
    unseen = {source for source, size in enumerate(sizes) if size}
    for number in itertools.count():
        for source, k in zip(*map(np.ndarray.tolist, turns.between(number, number + 1)), strict=True):
            if exhausted == "stop" and k >= sizes[source]:
                return found
            if (exhausted == "continue" and len(found) == sum(sizes)) or (exhausted == "repeat" and not unseen):
                return found
            if (exhausted == "continue" and k >= sizes[source]) or not sizes[source]:
                continue
            found.append((source, k))
            if k == sizes[source] - 1:
                unseen.discard(source)
    raise AssertionError


@given(shares=shares, in_cycles=st.booleans(), seed=st.sampled_from((None, 0, 1)), data=st.data(),
       exhausted=st.sampled_from(EXHAUSTED))  # fmt: skip
def test_a_row_is_what_the_turns_say(
    shares: list[int], in_cycles: bool, seed: int | None, exhausted: Exhausted, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(0, 60), min_size=len(shares), max_size=len(shares)))
    how = Interleaved(shares=tuple(shares), in_cycles=in_cycles, exhausted=exhausted, seed=seed)
    row = how.row(sizes)
    expected = _one_by_one(how.turns("mix"), sizes, exhausted)
    assert row.total == len(expected)
    for positions in (np.arange(len(expected)), np.arange(len(expected))[::-17]):
        sources, numbers = row.locate(positions)
        assert list(zip(sources.tolist(), numbers.tolist(), strict=True)) == [expected[i] for i in positions]
    for source, k in expected[::7]:
        assert expected[row.position(source, k)] == (source, k)


@given(shares=shares, seed=st.integers(0, 5))
def test_by_weight_each_source_has_its_share_at_any_time(shares: list[int], seed: int) -> None:
    turns = Turns(shares=tuple(shares), in_cycles=False, seed=seed)
    sources, _ = turns.between(0, 10)
    for source, share in enumerate(shares):
        had = np.cumsum(sources == source)
        due = np.arange(1, len(sources) + 1) * share / sum(shares)
        assert np.abs(had - due).max() < len(shares) + 1


def test_in_cycles_the_numbers_are_exact_and_the_order_changes() -> None:
    sources, numbers = Turns(shares=(3, 1), in_cycles=True, seed=1).between(2, 4)
    cycles = sources.reshape(-1, 4)
    assert (np.sort(cycles, axis=1) == [0, 0, 0, 1]).all()
    assert len({tuple(cycle) for cycle in cycles.tolist()}) == 4
    for source in (0, 1):
        assert (np.diff(numbers[sources == source]) == 1).all()


def test_a_row_without_end_is_reached_anywhere() -> None:
    how = Interleaved(shares=(0.7, 0.3), in_cycles=False, exhausted="stop", seed=0)
    row = how.row([None, None])
    assert row.total is None
    positions = np.array([0, 10**12, 10**12 + 1, 3 * 10**9])
    sources, numbers = row.locate(positions)
    assert [row.position(*one) for one in zip(sources.tolist(), numbers.tolist(), strict=True)] == positions.tolist()


@pytest.mark.parametrize(("sizes", "total"), [([3, 0, 2], 5), ([2, None], None), ([], 0)])
def test_one_after_the_other(sizes: list[int | None], total: int | None) -> None:
    row = Concatenated().row(sizes)
    assert row.total == total
    if sizes:
        sources, numbers = row.locate(np.arange(4))
        expected = [(0, 0), (0, 1), (0, 2), (2, 0)] if total else [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert list(zip(sources.tolist(), numbers.tolist(), strict=True)) == expected
