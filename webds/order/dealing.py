"""The order of the samples of an indexed source, and who gets which of them.

Pure and lazy: the order of a pass is a function of the counts, the seed and the key of the pass. Nobody has the whole
of it: positions are turned into shards and ordinals some thousand at a time, a window of shards at a time.

The positions of all passes that are batched together stand in one row. Step t takes the next ``world_size * block``
of them, rank r the r-th block of these, and of the blocks of a rank the workers get one each in turn, as a DataLoader
asks them. So what a step holds depends on how many samples it has, and not on who reads them.

Nodes that keep to a share of the samples each have an order and a row of their own. They go in step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.order.draws import permutation
from webds.typing import Place

__all__ = ["REMAINDERS", "Dealing", "PassOrder", "Remainder", "SampleOrder", "Share", "Window"]

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
@attrs.frozen
class Share:
    """The samples that one node keeps to, in all epochs: those from one to another in the source's order.

    Shares differ by one sample at most. A shard in which one ends and the next begins is of both nodes.

    Attributes:
        node: whose it is, from 0.
        nodes: how many nodes there are.
    """

    node: int = 0
    nodes: int = 1

    def bounds(self, total: int) -> tuple[int, int]:
        """Return the numbers of the first sample and of that behind the last, of ``total``."""
        return -(-total * self.node // self.nodes), -(-total * (self.node + 1) // self.nodes)

    def cut(self, counts: Positions, starts: Positions) -> tuple[int, int, Positions]:
        """Return the first shard, how many of its samples are not in the share, and how many of each shard are.

        Args:
            counts: number of samples of each shard.
            starts: how many there are before each, and in all.
        """
        if self.nodes == 1:
            return 0, 0, counts
        lo, hi = self.bounds(int(starts[-1]))
        first, end = int(np.searchsorted(starts, lo, "right")) - 1, int(np.searchsorted(starts, hi))
        mine = np.minimum(starts[first + 1 : end + 1], hi) - np.maximum(starts[first:end], lo)
        return first, lo - int(starts[first]), mine

    @property
    def purpose(self) -> str:
        """What tells the random numbers of the share from those of others."""
        return "" if self.nodes == 1 else f" of node {self.node} of {self.nodes}"


@final
@attrs.frozen(eq=False)
class SampleOrder:
    """The order of all samples, or of those of one node, for any pass.

    Attributes:
        counts: number of samples of each shard.
        shard_seed: seed of the order of the shards; None for the source's order.
        window: how samples are shuffled; None for shard by shard, each in its own order.
        share: which samples.
        starts: how many samples there are before each shard, and in all.
        seen: None: every sample has come once when the pass is at its end.
    """

    counts: Positions
    shard_seed: int | None = None
    window: Window | None = None
    share: Share = Share()
    starts: Positions = attrs.field(
        kw_only=True, default=attrs.Factory(lambda self: np.concatenate([[0], np.cumsum(self.counts)]), takes_self=True)
    )
    seen: None = attrs.field(default=None, init=False)

    @property
    def total(self) -> int:
        """Number of samples in a pass."""
        lo, hi = self.share.bounds(int(self.starts[-1]))
        return hi - lo

    def of_pass(self, key: tuple[int, ...]) -> PassOrder:
        """Return the order of one pass.

        Args:
            key: the epoch, and the passes of enclosing repetitions.
        """
        first, begin, counts = self.share.cut(self.counts, self.starts)
        n, purpose = len(counts), self.share.purpose
        shards = np.arange(n) if self.shard_seed is None else permutation(n, self.shard_seed, key, f"shards{purpose}")
        starts = np.concatenate([[0], np.cumsum(counts[shards])])
        return PassOrder(self.window, key, first + shards, starts, np.where(shards == 0, begin, 0), purpose)


@final
class PassOrder:
    """The order of the samples in one pass.

    Args:
        window: how samples are shuffled.
        key: the key of the pass.
        shards: the numbers of the shards, in their order.
        starts: positions at which they start, and the number of samples at the end.
        begins: of each, the ordinal of the first sample that is there.
        purpose: tells the random numbers from those of other orders.

    Attributes:
        shards: as above.
        starts: as above.
        bounds: positions at which windows start, or shards where there are none, and the number of samples.
    """

    def __init__(
        self,
        window: Window | None,
        key: tuple[int, ...],
        shards: NDArray[np.intp],
        starts: Positions,
        begins: Positions,
        purpose: str,
    ) -> None:
        self.shards: NDArray[np.intp] = shards
        self.starts: Positions = starts
        self.bounds: Positions = starts if window is None else np.append(starts[:-1][:: window.shards], starts[-1])
        self._window = window
        self._key = key
        self._begins = begins
        self._purpose = f"window{purpose}"
        self._shuffled: tuple[int, NDArray[np.intp]] = (-1, np.empty(0, np.intp))

    def located(self, positions: Positions) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the shards' numbers and the ordinals of the samples at ``positions``, those of one window at a time."""
        windows = np.searchsorted(self.bounds, positions, "right") - 1
        cuts = [] if self._window is None else (np.flatnonzero(np.diff(windows)) + 1).tolist()
        for lo, hi in itertools.pairwise([0, *cuts, len(positions)]):
            part = positions[lo:hi]
            if self._window is not None:
                part = self._shuffled_in(int(windows[lo]), part, self._window.seed)
            places = np.searchsorted(self.starts, part, "right") - 1
            yield self.shards[places].tolist(), (part - self.starts[places] + self._begins[places]).tolist()

    def _shuffled_in(self, window: int, positions: Positions, seed: int) -> Positions:
        """Return where the samples at ``positions``, all of one window, would be if it was not shuffled."""
        start, end = int(self.bounds[window]), int(self.bounds[window + 1])
        if self._shuffled[0] != window:
            self._shuffled = window, permutation(end - start, seed, (*self._key, window), self._purpose)
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
        among: how many the shortest and the longest of the rows have that go in step with this one, and have one of
            two lengths; None for a row by itself.
    """

    total: int | None
    block: int
    remainder: Remainder
    start: int = 0
    among: tuple[int, int] | None = None

    @property
    def end(self) -> int | None:
        """A position behind the last of all rows that go in step; None without end."""
        return self.total if self.among is None else self.among[1]

    def blocks(self, rank: int, world_size: int) -> tuple[int, int] | None:
        """Return how many full blocks one rank gets, and how many positions behind them; None without end."""
        if self.total is None:
            return None
        full, _ = self._full(world_size, self.total)
        lo, hi = self._last(rank, world_size, self.total)
        return (full + 1, 0) if hi - lo == self.block else (full, hi - lo)

    def steps(self, rank: int, world_size: int) -> int | None:
        """Return how many blocks, full or not, one rank gets; None without end."""
        blocks = self.blocks(rank, world_size)
        return None if blocks is None else blocks[0] + (blocks[1] > 0)

    def samples(self, rank: int, world_size: int) -> int | None:
        """Return how many positions one rank gets; None without end."""
        blocks = self.blocks(rank, world_size)
        return None if blocks is None else blocks[0] * self.block + blocks[1]

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
        """Return the number of full steps, and how many positions are left over, of the row that decides on it."""
        if self.among is not None and self.remainder != "uneven":
            total = self.among[self.remainder == "pad"]
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
