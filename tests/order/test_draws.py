from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import torch
from hypothesis import given, strategies as st

from webds.order.draws import draws, permutation


@given(n=st.integers(0, 300), seed=st.integers(), epoch=st.integers(0, 10**6), purpose=st.text(max_size=5))
def test_a_permutation_is_one(n: int, seed: int, epoch: int, purpose: str) -> None:
    assert sorted(permutation(n, seed, (epoch,), purpose).tolist()) == list(range(n))


def test_orders_are_the_same_for_ever() -> None:
    """A change here reorders the data of every run that is to be repeated or resumed: it is a breaking one."""
    assert permutation(8, 0, (0,), "shards").tolist() == [4, 7, 3, 6, 5, 2, 1, 0]
    assert permutation(8, 17, (0,), "shards").tolist() == [4, 7, 6, 2, 0, 5, 1, 3]
    assert permutation(8, 17, (3, 1), "samples 0").tolist() == [0, 1, 5, 6, 2, 3, 4, 7]
    first = list(itertools.islice(draws(17, (0,), "samples 0"), 3))
    assert first == [16561022399603818153, 291689162293782172, 10205482626917043257]


def test_an_order_is_the_same_in_another_process() -> None:
    code = "from webds.order.draws import permutation; print(permutation(50, 3, (1, 2), 'shards').tolist())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(permutation(50, 3, (1, 2), "shards").tolist())


def test_global_seeds_have_no_effect_and_are_left_alone() -> None:
    orders: set[tuple[int, ...]] = set()
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        orders.add(tuple(permutation(30, 5, (0,), "shards").tolist()))
        orders.add(tuple(30 + draw for draw in itertools.islice(draws(5, (0,), "samples"), 3)))
        after = random.random(), float(np.random.rand()), torch.rand(1).item()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        assert (random.random(), float(np.random.rand()), torch.rand(1).item()) == after
    assert len(orders) == 2


def test_seeds_epochs_passes_and_purposes_have_orders_of_their_own() -> None:
    keys = itertools.product((0, 1, -1, 2**70), ((0,), (1,), (0, 0), (0, 1), (1, 0), (10,)), ("shards", "samples"))
    orders = {tuple(permutation(40, seed, turn, purpose).tolist()) for seed, turn, purpose in keys}
    assert len(orders) == 4 * 6 * 2


def test_a_permutation_is_uniform() -> None:
    counts = Counter(tuple(permutation(3, seed, (0,), "shards").tolist()) for seed in range(1200))
    assert len(counts) == 6
    assert all(150 < count < 250 for count in counts.values())  # 200 expected, 13 standard deviation; never changes


@given(skip=st.integers(0, 3000))
def test_draws_can_be_left_out(skip: int) -> None:
    first = list(itertools.islice(draws(3, (1, 2), "x"), skip + 5))
    assert list(itertools.islice(draws(3, (1, 2), "x", skip), 5)) == first[skip:]


def test_draws_go_on_beyond_a_block_and_fill_the_range() -> None:
    many = list(itertools.islice(draws(0, (0,), "samples"), 5000))
    assert len(set(many)) == 5000
    assert all(0 <= draw < 2**64 for draw in many)
    assert {draw >> 60 for draw in many} == set(range(16))
