"""Which samples are shown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, TypeAlias

from webds.order.draws import draws

__all__ = ["Choice", "choose"]

Choice: TypeAlias = Literal["random", "first"]
"""Some at random, by a seed; or the first ones."""


def choose(counts: Sequence[int], number: int, choice: Choice, seed: int) -> list[list[int]]:
    """Return ordinals of ``number`` samples, or of all if there are fewer, ascending, for each shard.

    At random, every set of samples is as likely as any other; which one it is depends on the arguments alone.

    Args:
        counts: how many samples each shard has.
        number: how many are wanted.
        choice: which ones.
        seed: any integer.
    """
    total = sum(counts)
    number = min(number, total)
    taken: set[int] = set()
    if choice == "first":
        taken.update(range(number))
    else:  # Floyd's way: memory for what is chosen, not for what is chosen from
        for last, draw in zip(range(total - number, total), draws(seed, (0,), "report"), strict=False):
            candidate = draw % (last + 1)
            taken.add(last if candidate in taken else candidate)
    starts = [0, *itertools.accumulate(counts)]
    chosen: list[list[int]] = [[] for _ in counts]
    shard = 0
    for one in sorted(taken):
        while one >= starts[shard + 1]:
            shard += 1
        chosen[shard].append(one - starts[shard])
    return chosen
