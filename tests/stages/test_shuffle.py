from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image
from running import run_stages

from webds.stages.functions import Map
from webds.stages.shuffle import Shuffle, bytes_held


def _shuffle(size: int = 10, seed: int = 0, **options: Any) -> Shuffle:
    return Shuffle(size=size, seed=seed, **options)


def _shuffled(n: int, **options: Any) -> list[int]:
    return run_stages(range(n), _shuffle(**options)).values


@given(
    n=st.integers(0, 60),
    size=st.integers(1, 70),
    initial=st.none() | st.integers(1, 80),
    max_bytes=st.none() | st.integers(1, 2000),
    seed=st.integers(0, 5),
)
def test_every_value_comes_out_once_and_none_too_early(
    n: int, size: int, initial: int | None, max_bytes: int | None, seed: int
) -> None:
    values = _shuffled(n, size=size, initial=initial, max_bytes=max_bytes, seed=seed)
    assert sorted(values) == list(range(n))
    assert all(value - place <= size - 1 for place, value in enumerate(values))


def test_the_order_depends_on_seed_epoch_and_purpose_alone() -> None:
    order = _shuffled(50)
    random.seed(1)
    torch.manual_seed(1)
    assert _shuffled(50) == order
    others = [_shuffled(50, seed=1), _shuffled(50, purpose="other")]
    others.append(run_stages(range(50), Shuffle(size=10, seed=0), epoch=1).values)
    assert all(other != order for other in others)
    assert len({tuple(other) for other in others}) == 3


def test_the_order_is_the_same_for_ever() -> None:
    """A change here reorders the data of every run that is to be repeated or resumed: it is a breaking one."""
    assert _shuffled(12, size=5, seed=3) == FIXED


FIXED = [1, 3, 5, 2, 8, 7, 9, 11, 6, 4, 0, 10]


def test_a_buffer_as_large_as_the_data_gives_every_order_alike() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(1200):
        order = tuple(_shuffled(3, size=3, seed=seed))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, 13 standard deviation; never changes


def _pulled_at_first(n: int, **options: Any) -> list[int]:
    """Return how many values the stage had taken when its first, second, … came out."""
    taken = 0

    def count() -> Iterator[int]:
        nonlocal taken
        for value in range(n):
            taken += 1
            yield value

    from webds.policy import Guard, Ledger, Policy
    from webds.stages.base import Run

    stage = _shuffle(**options)
    items = stage.run(lambda run: ((("mem", value, None), value) for value in count()), Run(Guard(Policy(), Ledger())))
    return [taken for _ in items]


def test_the_buffer_is_filled_before_the_first_value_leaves() -> None:
    assert _pulled_at_first(30)[:3] == [10, 11, 12]
    assert _pulled_at_first(4) == [4, 4, 4, 4]


def test_the_buffer_ramps_up_as_asked() -> None:
    pulled = _pulled_at_first(40, initial=3)
    held = [taken - emitted for emitted, taken in enumerate(pulled)]
    assert pulled[0] <= 4
    assert max(held) == 10
    assert held[:9] == sorted(held[:9])
    assert all(after - before <= 2 for before, after in itertools.pairwise(pulled))
    assert _pulled_at_first(40, initial=50) == _pulled_at_first(40)


def test_the_bytes_in_the_buffer_are_bounded() -> None:
    held = most = 0

    def size_of(n: int) -> int:
        return 1000 * (1 + n % 5)

    def make(n: int) -> bytes:
        nonlocal held, most
        held += size_of(n)
        most = max(most, held)
        return bytes(size_of(n))

    for initial in (None, 2):
        held = most = 0
        stages = Map(f=make), Shuffle(size=1000, seed=0, initial=initial, max_bytes=20_000), Map(f=len)
        for length in _iterate(range(300), *stages):
            held -= length
        assert 15_000 < most <= 20_000 + 2 * 5000


def _iterate(values: Any, *stages: Any) -> Iterator[Any]:
    """Run stages value by value, and not to the end first."""
    from running import plan_of

    from webds.policy import Guard, Ledger, Policy
    from webds.stages.base import Run

    for _, value in plan_of(values, *stages).run(Run(Guard(Policy(), Ledger()))):
        yield value


def test_a_value_larger_than_the_bound_passes_through() -> None:
    ran = run_stages([bytes(500)] * 3, Shuffle(size=10, seed=0, max_bytes=10))
    assert [len(value) for value in ran.values] == [500] * 3


def test_values_keep_their_origins() -> None:
    ran = run_stages(range(20), Shuffle(size=6, seed=0))
    assert [ordinal for _, ordinal, _ in ran.origins] == ran.values


def test_a_buffer_of_one_changes_nothing() -> None:
    assert _shuffled(9, size=1) == list(range(9))


@attrs.frozen
class _Slotted:
    data: bytes


@attrs.frozen(slots=False)
class _Plain:
    data: bytes
    label: int = 0


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (b"x" * 1000, 1000, 1200),
        (bytearray(1000), 1000, 1200),
        (memoryview(np.zeros((10, 10), dtype=np.float64).data), 800, 1000),
        ("x" * 1000, 1000, 1200),
        (np.zeros((10, 25), dtype=np.float32), 1000, 1300),
        (torch.zeros(250), 1000, 1300),
        (Image.new("RGB", (20, 30)), 1800, 2000),
        ({"a": bytes(500), "b": {"c": bytes(500)}}, 1000, 1600),
        ([bytes(500), (bytes(500),)], 1000, 1600),
        (_Slotted(bytes(1000)), 1000, 1300),
        (_Plain(bytes(1000)), 1000, 1400),
        (5, 1, 200),
        (None, 1, 200),
    ],
    ids=lambda value: type(value).__name__,
)
def test_memory_is_estimated_by_the_buffers(value: object, least: int, most: int) -> None:
    assert least <= bytes_held(value) <= most


def test_memory_of_a_value_that_contains_itself_is_finite() -> None:
    parent = _Node()
    parent.child = _Node()
    parent.child.child = parent
    loop: list[Any] = []
    loop.append(loop)
    assert 2000 <= bytes_held(parent) < 10_000
    assert bytes_held(loop) < 10_000


class _Node:
    def __init__(self) -> None:
        self.data = bytes(1000)
        self.child: _Node | None = None


def test_description_says_how_far_a_value_can_travel() -> None:
    text = Shuffle(size=7, seed=9, initial=2, max_bytes=100).describe()
    assert all(part in text for part in ("7", "9", "2", "100", "early"))
    assert Shuffle(size=7, seed=0).length(3) == 3
