"""How many bytes values have: a histogram in little memory, which can be added to another one."""

from __future__ import annotations

from typing import Final, final

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["FieldSizes"]

_STEPS: Final = 4
"""Steps of the histogram in which a size doubles."""

_BINS: Final = 1 + 64 * _STEPS


@final
@attrs.define
class FieldSizes:
    """How large the values of one field are.

    Attributes:
        count: number of values.
        total: bytes of all.
        least: bytes of the smallest.
        most: bytes of the largest.
        bins: numbers of values by size, int64, shape (257,): bin 0, of 0 bytes; bin 1 + 4·k + j, from
            2**k·(1 + j/4) bytes on, j below 4.
    """

    count: int = 0
    total: int = 0
    least: int = -1
    most: int = -1
    bins: NDArray[np.int64] = attrs.field(factory=lambda: np.zeros(_BINS, np.int64), eq=False, repr=False)

    def add(self, size: int) -> None:
        """Count a value."""
        self.count += 1
        self.total += size
        self.most = max(self.most, size)
        self.least = size if self.least < 0 else min(self.least, size)
        octave = size.bit_length() - 1
        self.bins[1 + _STEPS * octave + ((size - (1 << octave)) * _STEPS >> octave) if size else 0] += 1

    def merge(self, other: FieldSizes) -> None:
        """Add what was counted elsewhere."""
        self.count += other.count
        self.total += other.total
        if other.count:
            self.least = other.least if self.least < 0 else min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.bins += other.bins

    @property
    def mean(self) -> float:
        """Bytes of a value, on average."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> int:
        """Return a size below which about this share of the values lie; it is off by an eighth at most."""
        if not self.count:
            return 0
        bin_ = int(np.searchsorted(np.cumsum(self.bins), share * self.count))
        low, high = _bounds(bin_)
        return max(self.least, min(self.most, (low + high) // 2))

    def histogram(self, rows: int) -> list[tuple[int, int, int]]:
        """Return (from, below, number) of at most ``rows`` ranges of sizes, which grow by the same factor."""
        used = np.flatnonzero(self.bins)
        if not len(used):
            return []
        first, last = int(used[0]), int(used[-1])
        width = -(-(last - first + 1) // rows)
        return [
            (_bounds(at)[0], _bounds(min(at + width - 1, _BINS - 1))[1], int(self.bins[at : at + width].sum()))
            for at in range(first, last + 1, width)
        ]


def _bounds(bin_: int) -> tuple[int, int]:
    """Return from which size on, and below which, values are in a bin of `FieldSizes`."""
    return _start(bin_), _start(bin_ + 1)


def _start(bin_: int) -> int:
    octave, step = divmod(bin_ - 1, _STEPS)
    return -(-((_STEPS + step) << octave) // _STEPS) if bin_ else 0
