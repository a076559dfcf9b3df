"""Counting sizes in little memory."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, strategies as st

from webds.tools.sizes import FieldSizes


def counted(sizes: list[int]) -> FieldSizes:
    found = FieldSizes()
    for size in sizes:
        found.add(size)
    return found


def same(one: FieldSizes, other: FieldSizes) -> bool:
    return one == other and np.array_equal(one.bins, other.bins)


SIZES = st.lists(st.integers(0, 1 << 62) | st.integers(0, 2000), max_size=30)


@given(SIZES, SIZES, st.integers(1, 20))
def test_every_size_is_in_the_range_that_says_so(first: list[int], second: list[int], rows: int) -> None:
    found = counted(first)
    found.merge(counted(second))
    assert same(found, counted(first + second))
    assert same(found, pickle.loads(pickle.dumps(found)))
    sizes = first + second
    ranges = found.histogram(rows)
    assert len(ranges) <= rows
    assert [count for _, _, count in ranges] == [sum(low <= size < high for size in sizes) for low, high, _ in ranges]
    assert sum(count for _, _, count in ranges) == len(sizes) == found.count


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30), st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))
def test_quantiles_are_off_by_an_eighth_at_most(sizes: list[int], share: float) -> None:
    exact = sorted(sizes)[max(0, int(np.ceil(share * len(sizes))) - 1)]
    assert abs(counted(sizes).quantile(share) - exact) <= exact / 8 + 1


def test_nothing_has_no_sizes() -> None:
    assert (FieldSizes().histogram(5), FieldSizes().quantile(0.5), FieldSizes().mean) == ([], 0, 0.0)
