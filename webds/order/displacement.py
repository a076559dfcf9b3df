"""How far shuffling moves values: what is to be expected, and what is never exceeded.

All is counted in places of the order that there would be without it. In a window of m values each permutation is as
likely as another, so that a value moves ``(m - 1/m) / 3`` places on average, and ``m - 1`` at most.

Out of a full buffer of n values the next one that leaves is drawn: a value comes ``n - 1`` places early at most, and
stays on with a probability of ``1 - 1/n`` each time, so that in the middle of many it moves
``2 (n - 1) (1 - 1/n)**(n - 1)`` places on average, about 0.74 n.
"""

from __future__ import annotations

import math
from typing import Final, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

__all__ = ["Displacement", "late_one_in", "of_both", "of_buffer", "of_windows"]

_FLOATS = NDArray[np.float64]
_POINTS: Final = 4096
_TAIL: Final = 40
"""So many times the size of the buffer before the end, a value does not notice the end any more."""


@final
@attrs.frozen
class Displacement:
    """How many places values are from where they would be without shuffling.

    Attributes:
        mean: how many are to be expected, early or late.
        early: none comes more places early.
        late: none comes more places late; None where that is not known beforehand.
    """

    mean: float = 0.0
    early: int = 0
    late: int | None = 0

    def times(self, factor: int) -> Displacement:
        """Return it in the places of an order of which only one value in ``factor`` is here."""
        late = None if self.late is None else self.late * factor
        return Displacement(self.mean * factor, self.early * factor, late)

    @override
    def __str__(self) -> str:
        """Return it in words."""
        late = "" if self.late is None else f", and at most {self.late} late"
        return f"{_rounded(self.mean)} places on average; at most {self.early} early{late}"


def _rounded(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def of_windows(sizes: NDArray[np.int64]) -> Displacement:
    """Return what permuting each window by itself does.

    Args:
        sizes: numbers of values of the windows.
    """
    total = float(sizes.sum())
    if not total:
        return Displacement()
    most = int(sizes.max()) - 1
    return Displacement(float((sizes.astype(np.float64) ** 2 - 1)[sizes > 0].sum()) / 3 / total, most, most)


def of_buffer(size: int, values: int | None = None) -> Displacement:
    """Return what a shuffle buffer does that is filled before the first value leaves.

    Args:
        size: how many it holds.
        values: how many go through; None for so many that beginning and end do not matter.
    """
    if size < 2 or values == 0:
        return Displacement()
    if values is None:
        return Displacement(2 * (size - 1) * (1 - 1 / size) ** (size - 1), size - 1, None)
    if values <= size:
        return of_windows(np.array([values]))
    head = _mean_in_buffer(size, values, 0, size)
    tail_start = max(size, values - _TAIL * size)
    middle = tail_start - size
    steady = of_buffer(size).mean
    tail = _mean_in_buffer(size, values, tail_start, values)
    mean = (head * size + steady * middle + tail * (values - tail_start)) / values
    return Displacement(mean, size - 1, values - 1)


def _mean_in_buffer(size: int, values: int, start: int, stop: int) -> float:
    """Return how far the values from number ``start`` on are moved on average, of more than the buffer holds."""
    if start == stop:
        return 0.0
    if stop - start <= _POINTS:
        number = np.arange(start, stop, dtype=np.float64)
    else:  # evenly among them
        number = np.floor(start + (np.arange(_POINTS) + 0.5) * ((stop - start) / _POINTS))
    first = np.maximum(0, number - (size - 1))  # the first draw that it takes part in
    draws = values - size - first + 1  # those of a full buffer that it takes part in
    before = number - first  # so many places early, if it is drawn at once
    stays = 1 - 1 / size

    def counted(n: _FLOATS) -> _FLOATS:
        """Return the sum of g times the probability to leave at draw g, for g below n."""
        return (size - 1) * (1 - stays**n) - n * stays**n

    up_to = np.minimum(draws, before)
    below = before * (1 - stays**up_to) - counted(up_to)
    above = counted(draws) - counted(up_to) - before * (stays**up_to - stays**draws)
    # What is still there when no value comes in any more leaves at one of the last size - 1 places.
    lowest, highest = draws - before, draws - before + size - 2
    negative, positive = np.maximum(0, -lowest), np.maximum(0, highest)
    straddling = (negative * (negative + 1) + positive * (positive + 1)) / 2 / (size - 1)
    last = np.where(lowest > 0, (lowest + highest) / 2, straddling)
    return float((below + above + stays**draws * last).mean())


def late_one_in(n: int, size: int) -> int:
    """Return how many places late one value in ``n`` comes, or more, out of a buffer of ``size``."""
    return 0 if size < 2 else max(0, math.ceil(math.log(n) / -math.log1p(-1 / size)) - (size - 1))


def of_both(sizes: NDArray[np.int64], size: int, values: int, factor: int) -> Displacement:
    """Return what a buffer does, approximately, to what windows have permuted.

    Args:
        sizes: numbers of values of the windows.
        size: how many values the buffer holds.
        values: how many go through a buffer.
        factor: how many buffers there are, each of which gets its part of the windows' values.
    """
    windows, buffer = of_windows(sizes), of_buffer(size, values).times(factor)
    last = max(0, int(sizes.sum()) - 1)
    early, late = min(last, windows.early + buffer.early), min(last, windows.early + (buffer.late or 0))
    if not windows.mean or not buffer.mean or values <= size:  # then the buffer permutes all that there is
        return Displacement(max(windows.mean, buffer.mean), early, late)
    # |m T + s (E - 1)|, where T is the difference of two evenly distributed numbers, and E exponentially distributed.
    spread = float(size * factor)
    scale = buffer.mean / of_buffer(size).times(factor).mean  # a buffer for few values has not that much of an effect
    spread *= scale
    lengths, counts = np.unique(sizes[sizes > 1], return_counts=True)
    inside = (np.arange(512) + 0.5) / 256 - 1
    weights = (1 - np.abs(inside)) / 256
    moved = lengths[:, None] * inside
    mean = np.where(moved >= spread, moved, 2 * spread * np.exp(np.minimum(0, moved / spread - 1)) - moved)
    by_length = (mean * weights).sum(1)
    alone = buffer.mean * float(sizes[sizes == 1].sum())
    return Displacement((float((by_length * lengths * counts).sum()) + alone) / float(sizes.sum()), early, late)
