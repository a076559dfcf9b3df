"""The order of the samples of an indexed source, and who gets which of them.

Pure and lazy: the order of a pass is a function of the counts, the seed and the key of the pass. Nobody has the whole
of it: positions are turned into shards and ordinals some thousand at a time, a window of shards at a time.

The positions of all passes that are batched together stand in one row. Step t takes the next ``world_size * block``
of them, rank r the r-th block of these, and of the blocks of a rank the workers get one each in turn, as a DataLoader
asks them. So what a step holds depends on how many samples it has, and not on who reads them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.order import permutation
from webds.typing import Place

__all__ = ["REMAINDERS", "Dealing", "PassOrder", "Remainder", "SampleOrder", "Window"]

Remainder: TypeAlias = Literal["drop", "pad", "uneven"]
"""What becomes of the samples at the end that do not fill a step: nobody gets them; samples from the beginning of the
order fill it up; or the ranks share them, so that some may have one batch less."""

REMAINDERS: Final[tuple[Remainder, ...]] = ("drop", "pad", "uneven")

_TOGETHER: Final = 4096
"""Positions that are worked out together."""

Positions: TypeAlias = NDArray[np.int64]


@final
@attrs.frozen
class Window:
    """How samples are shuffled across shards.

    Attributes:
        shards: how many neighbouring shards, in the order of the pass, are shuffled together.
        seed: the user's seed.
    """

    shards: int
    seed: int


@final
@attrs.frozen(eq=False)
class SampleOrder:
    """The order of all samples, for any pass.

    Attributes:
        counts: number of samples of each shard.
        shard_seed: seed of the order of the shards; None for the source's order.
        window: how samples are shuffled; None for shard by shard, each in its own order.
        seen: None: every sample has come once when the pass is at its end.
    """

    counts: Positions
    shard_seed: int | None = None
    window: Window | None = None
    seen: None = attrs.field(default=None, init=False)

    @property
    def total(self) -> int:
        """Number of samples in a pass."""
        return int(self.counts.sum())

    def of_pass(self, key: tuple[int, ...]) -> PassOrder:
        """Return the order of one pass.

        Args:
            key: the epoch, and the passes of enclosing repetitions.
        """
        n = len(self.counts)
        shards = np.arange(n) if self.shard_seed is None else permutation(n, self.shard_seed, key, "shards")
        return PassOrder(self.window, key, shards, np.concatenate([[0], np.cumsum(self.counts[shards])]))


@final
class PassOrder:
    """The order of the samples in one pass.

    Args:
        window: how samples are shuffled.
        key: the key of the pass.
        shards: the numbers of the shards, in their order.
        starts: positions at which they start, and the number of samples at the end.
    """

    def __init__(
        self, window: Window | None, key: tuple[int, ...], shards: NDArray[np.intp], starts: Positions
    ) -> None:
        self._window = window
        self._key = key
        self._shards = shards
        self._starts = starts
        self._bounds = starts if window is None else np.append(starts[:-1][:: window.shards], starts[-1])
        self._shuffled: tuple[int, NDArray[np.intp]] = (-1, np.empty(0, np.intp))

    def located(self, positions: Positions) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the shards' numbers and the ordinals of the samples at ``positions``, those of one window at a time."""
        windows = np.searchsorted(self._bounds, positions, "right") - 1
        cuts = [] if self._window is None else (np.flatnonzero(np.diff(windows)) + 1).tolist()
        for lo, hi in itertools.pairwise([0, *cuts, len(positions)]):
            part = positions[lo:hi]
            if self._window is not None:
                part = self._shuffled_in(int(windows[lo]), part, self._window.seed)
            places = np.searchsorted(self._starts, part, "right") - 1
            yield self._shards[places].tolist(), (part - self._starts[places]).tolist()

    def _shuffled_in(self, window: int, positions: Positions, seed: int) -> Positions:
        """Return where the samples at ``positions``, all of one window, would be if it was not shuffled."""
        start, end = int(self._bounds[window]), int(self._bounds[window + 1])
        if self._shuffled[0] != window:
            self._shuffled = window, permutation(end - start, seed, (*self._key, window), "window")
        return start + self._shuffled[1][positions - start]


@final
@attrs.frozen(kw_only=True)
class Dealing:
    """How the positions of one row are dealt out.

    Attributes:
        total: how many positions there are; None for a row without end.
        block: how many a rank gets in each step.
        remainder: what becomes of those that do not fill a step.
        start: the first position; those before it were dealt earlier.
    """

    total: int | None
    block: int
    remainder: Remainder
    start: int = 0

    def steps(self, rank: int, world_size: int) -> int | None:
        """Return how many blocks, full or not, one rank gets; None without end."""
        if self.total is None:
            return None
        full, _ = self._full(world_size, self.total)
        lo, hi = self._last(rank, world_size, self.total)
        return full + (hi > lo)

    def samples(self, rank: int, world_size: int) -> int | None:
        """Return how many positions one rank gets; None without end."""
        if self.total is None:
            return None
        full, _ = self._full(world_size, self.total)
        lo, hi = self._last(rank, world_size, self.total)
        return full * self.block + hi - lo

    def positions(self, place: Place, skip: int = 0) -> Iterator[Positions]:
        """Yield the positions of one place in their order, some thousand at a time.

        What fills up the last step are positions from ``total`` on.

        Args:
            place: who reads.
            skip: how many of them to leave out.
        """
        step = place.world_size * self.block
        offset = self.start + place.rank * self.block
        full = None if self.total is None else self._full(place.world_size, self.total)[0]
        block, skip = divmod(skip, self.block)
        block = place.worker + block * place.num_workers
        together = max(1, _TOGETHER // self.block)
        inside = np.arange(self.block)
        while full is None or block < full:
            end = block + together * place.num_workers
            blocks = np.arange(block, end if full is None else min(end, full), place.num_workers)
            yield ((offset + blocks * step)[:, None] + inside).ravel()[skip:]
            skip = 0
            block += len(blocks) * place.num_workers
        if block == full and self.total is not None:
            lo, hi = self._last(place.rank, place.world_size, self.total)
            if lo + skip < hi:
                yield np.arange(lo + skip, hi)

    def _full(self, world_size: int, total: int) -> tuple[int, int]:
        """Return the number of full steps, and how many positions are left over."""
        return divmod(max(0, total - self.start), world_size * self.block)

    def _last(self, rank: int, world_size: int, total: int) -> tuple[int, int]:
        """Return where the last block of a rank, that of the step that is not full, begins and ends."""
        full, rest = self._full(world_size, total)
        first = self.start + full * world_size * self.block
        if rest == 0 or self.remainder == "drop":
            return first, first
        if self.remainder == "pad":
            return first + rank * self.block, first + (rank + 1) * self.block
        # Lower ranks have the larger parts, so that rank 0, which often speaks for all, has one.
        return first + -(-rest * rank // world_size), first + -(-rest * (rank + 1) // world_size)
