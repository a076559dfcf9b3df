"""Which samples are shown."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from webds.tools.report.choosing import choose

counts = st.lists(st.integers(0, 30), max_size=8)


@given(counts, st.integers(0, 100), st.integers())
def test_as_many_as_asked_for_are_chosen_and_none_twice(counts: list[int], number: int, seed: int) -> None:
    chosen = choose(counts, number, "random", seed)
    assert len(chosen) == len(counts)
    assert sum(map(len, chosen)) == min(number, sum(counts))
    for count, ordinals in zip(counts, chosen, strict=True):
        assert ordinals == sorted(set(ordinals))
        assert all(0 <= ordinal < count for ordinal in ordinals)
    assert choose(counts, number, "random", seed) == chosen


def test_the_first_ones_are_the_first_ones() -> None:
    assert choose([3, 0, 5, 2], 5, "first", 0) == [[0, 1, 2], [], [0, 1], []]


def test_every_sample_has_its_chance() -> None:
    found: Counter[tuple[int, int]] = Counter()
    for seed in range(2000):
        found.update((shard, one) for shard, ones in enumerate(choose([2, 3], 2, "random", seed)) for one in ones)
    assert len(found) == 5
    assert all(abs(count - 800) < 120 for count in found.values())  # four standard deviations are 88
