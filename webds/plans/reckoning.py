"""How much each place gets, and which shards its node needs for it, without anybody's order being worked out.

Amounts are numpy arrays of shape (ranks, workers). What lies together in an order, a window or a shard, is a unit: an
interval of positions. Of a row of positions, nodes get pieces in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.errors import LengthError
from webds.order.dealing import Dealing, PassOrder, Positions, Window
from webds.plans.bysample import BySample
from webds.stages.base import Stage
from webds.stages.batch import Batch
from webds.stages.flow import Repeat, Take
from webds.typing import Place

__all__ = ["Amounts", "Units", "amounts_dealt", "bytes_of_nodes", "bytes_together"]

_NO_END: Final = "no end is known: repeat() was given no number of passes"


@final
@attrs.frozen(eq=False)
class Amounts:
    """What places get; int64, each of shape (ranks, workers).

    Attributes:
        values: how many values: samples, or batches.
        samples: how many samples are in them.
        fresh: how many of these are no repetition to fill a step up.
    """

    values: Positions
    samples: Positions
    fresh: Positions

    def through(self, stages: Sequence[Stage]) -> Amounts:
        """Return what comes out behind ``stages``, each of which is passed by each place by itself.

        Raises:
            LengthError: that is not known before everything has been read.
        """
        now = one = self
        size = 0
        for stage in stages:
            if isinstance(stage, Batch) and not size:
                size = stage.n
                now = one = now._batched(stage)
            elif isinstance(stage, Take):
                now = one = one.cut(np.minimum(now.values, _shares(stage.n, now.values.shape[1])), max(1, size))
            elif isinstance(stage, Repeat):
                if stage.n is None:
                    raise LengthError(_NO_END)
                now = Amounts(now.values * stage.n, now.samples * stage.n, now.fresh * stage.n)
            elif isinstance(stage, Batch) or stage.length(1) != 1:
                raise LengthError(
                    f"the number of values after {stage.name}({stage.describe()}) is not known beforehand"
                )
        return now

    def _batched(self, stage: Batch) -> Amounts:
        if stage.partial:
            return Amounts(-(-self.samples // stage.n), self.samples, self.fresh)
        full = self.samples // stage.n
        return Amounts(full, full * stage.n, np.minimum(self.fresh, full * stage.n))

    def cut(self, values: Positions, size: int) -> Amounts:
        """Return the first ``values`` of any number of repetitions of this, in which all but the last hold ``size``."""
        times, rest = np.divmod(values, np.maximum(1, self.values))
        return Amounts(
            values,
            times * self.samples + np.minimum(rest * size, self.samples),
            times * self.fresh + np.minimum(rest * size, self.fresh),
        )


def _shares(n: int, workers: int) -> Positions:
    """Return the part of ``n`` that each worker takes; see `webds.stages.flow.Take`."""
    return n // workers + (np.arange(workers) < n % workers)


def amounts_dealt(division: BySample, world_size: int, workers: int) -> Amounts:
    """Return what is dealt out to all places, before any stage that is not passed over.

    Raises:
        LengthError: there is no end.
        SplitError: the nodes cannot have equal numbers of ranks.
    """
    ranks = division.on_node(Place(0, world_size)).world_size
    found = np.zeros((world_size, 3), np.int64)
    for first in range(0, world_size, ranks):
        _, dealing = division.dealing(Place(first, world_size))
        for rank in range(ranks):
            blocks = dealing.blocks(rank, ranks)
            if blocks is None:
                raise LengthError(_NO_END)
            found[first + rank] = (*blocks, _fresh(dealing, rank, ranks, blocks[0]))
    full, last, fresh = (column[:, None] for column in found.T)
    samples = _over_workers(full, last, division.block, workers)
    if division.remainder != "pad":
        return Amounts(samples, samples, samples)
    whole, part = np.divmod(fresh, division.block)
    return Amounts(samples, samples, _over_workers(whole, part, division.block, workers))


def _fresh(dealing: Dealing, rank: int, ranks: int, blocks: int) -> int:
    """Return how many positions there are in the first blocks of a rank that are before the end of the row."""
    step = ranks * dealing.block
    whole, rest = divmod(max(0, (dealing.total or 0) - rank * dealing.block), step)
    return min(blocks * dealing.block, whole * dealing.block + min(rest, dealing.block))


def _over_workers(full: Positions, last: Positions, block: int, workers: int) -> Positions:
    """Return what each worker gets of full blocks and a last one, which they get in turn."""
    worker = np.arange(workers)
    return block * -(-(full - worker) // workers) + np.where(full % workers == worker, last, 0)


@final
@attrs.frozen(eq=False)
class Units:
    """What lies together in an order: windows, or else shards. U of them, in the order of their positions.

    Attributes:
        starts: the position at which each begins; int64, shape (U,).
        ends: the position behind its last; likewise.
        sizes: how many bytes its shards have; likewise.
        shards: how many shards it has; likewise.
    """

    starts: Positions
    ends: Positions
    sizes: Positions
    shards: Positions

    @classmethod
    def of(cls, order: PassOrder, window: Window | None, sizes: Positions) -> Units:
        """Return the units of an order that have samples.

        Args:
            order: the order.
            window: how it was shuffled.
            sizes: how many bytes each shard of the source has.
        """
        there = np.diff(order.starts) > 0
        firsts = np.arange(0, len(there), 1 if window is None else window.shards)
        held = np.where(there, sizes[order.shards], 0)
        starts, ends = order.bounds[:-1], order.bounds[1:]
        kept = starts < ends
        if not len(firsts):
            return cls(starts, ends, starts, starts)
        in_all = np.add.reduceat(held, firsts), np.add.reduceat(there.astype(np.int64), firsts)
        return cls(starts[kept], ends[kept], in_all[0][kept], in_all[1][kept])

    def before(self, end: int) -> Units:
        """Return those that begin before a position, up to there."""
        n = int(np.searchsorted(self.starts, end))
        return Units(self.starts[:n], np.minimum(self.ends[:n], end), self.sizes[:n], self.shards[:n])


def bytes_together(units: Units, length: int) -> int:
    """Return the most bytes of units that are read from within ``length`` positions around any one of them."""
    if not len(units.starts):
        return 0
    sums = np.concatenate([[0], np.cumsum(units.sizes)])
    first = np.searchsorted(units.ends, units.starts - (length - 1), "right")
    last = np.searchsorted(units.starts, units.ends + (length - 1))
    return int((sums[last] - sums[first]).max())


def bytes_of_nodes(units: Units, dealing: Dealing, ranks: int, nodes: int) -> Positions:
    """Return how many bytes the units have that each node reads from, where all share one row.

    Args:
        units: those of the first pass.
        dealing: how the row is dealt out.
        ranks: how many there are.
        nodes: how many nodes these are on, one after the other.
    """
    piece = ranks // nodes * dealing.block
    one_pass, total = int(units.ends[-1]) if len(units.ends) else 0, dealing.total or 0
    first = total // (piece * nodes) * piece * nodes
    full = units.before(min(first, one_pass))
    begins, count = full.starts // piece, (full.ends - 1) // piece - full.starts // piece + 1
    # A node more than there are gets what goes on with the first again.
    change = np.zeros(2 * nodes + 1, np.int64)
    begin, end = begins % nodes, begins % nodes + np.minimum(count, nodes)
    np.add.at(change, begin, full.sizes)
    np.add.at(change, end, -full.sizes)
    found: Positions = np.cumsum(change)[:-1].reshape(2, nodes).sum(0)
    node, unit = _at_the_end(units, dealing, first, piece, nodes)
    is_new = np.ones(len(unit), np.bool_)
    known = unit < len(full.starts)
    is_new[known] = (node[known] - begin[unit[known]]) % nodes >= count[unit[known]]
    np.add.at(found, node[is_new], units.sizes[unit[is_new]])
    return found


def _at_the_end(
    units: Units, dealing: Dealing, first: int, piece: int, nodes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of nodes and the units that they read from in the step that is not full, each pair once."""
    one_pass, total = int(units.ends[-1]) if len(units.ends) else 0, dealing.total or 0
    if dealing.remainder == "drop" or not first < min(total, one_pass):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    node = np.arange(nodes)
    if dealing.remainder == "uneven":
        rest = total - first
        parts = [(node, first + -(-rest * node // nodes), first + -(-rest * (node + 1) // nodes))]
    else:
        lo = first + node * piece
        parts = [(node, lo, np.minimum(lo + piece, total))]
        lo, hi = np.maximum(lo, total) - total, lo + piece - total
        # What fills up is the beginning again, any number of times.
        for turn in range(-(-int(hi[-1]) // total)):
            parts.append((node, np.maximum(lo - turn * total, 0), np.minimum(hi - turn * total, total)))
    found: list[NDArray[np.int64]] = []
    for who, lo, hi in parts:
        begin, end = np.searchsorted(units.ends, lo, "right"), np.searchsorted(units.starts, hi)
        count = np.where(lo < hi, end - begin, 0)
        inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        found.append(np.repeat(who, count) * len(units.starts) + np.repeat(begin, count) + inside)
    pairs = np.unique(np.concatenate(found))
    return pairs // len(units.starts), pairs % len(units.starts)
