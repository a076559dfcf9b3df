"""Whose turn it is, where several sources are mixed: a pattern that depends on their weights and a seed alone.

The pattern is the same in each epoch and goes on without end; what each source hands out in its turns is up to its own
order. It is made in rounds, and any of them can be worked out by itself: how many turns a source had before a round is
known from its rate, so that what stands at a position is found without what is before it.

Turns by weight are a stratified sample: the k-th turn of a source with rate a (turns a round) comes at the time
``(k + u) / a``, with u drawn between 0 and 1 for each k. So after any time a source has had its share, give or take one
turn, and no rhythm can fall in with that of batches or ranks.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from webds.order.draws import bits

__all__ = ["EXHAUSTED", "Concatenated", "Exhausted", "InRow", "Interleaved", "Row", "Turns"]

Exhausted: TypeAlias = Literal["stop", "continue", "repeat"]
"""What happens when a source runs dry: the mix ends; it goes on with the rest, in their proportions; or the source
begins again, and the mix ends when all have been gone through."""

EXHAUSTED: Final[tuple[Exhausted, ...]] = ("stop", "continue", "repeat")

Integers: TypeAlias = NDArray[np.int64]

_ROUND: Final = 64
"""About so many turns are in a round."""

_BLOCK: Final = 64
_KEPT: Final = 64
_ENDLESS: Final = 1 << 62


@final
@attrs.frozen(kw_only=True)
class Turns:
    """The pattern.

    Attributes:
        shares: by what the turns are shared out: weights, or the number of turns in each cycle.
        in_cycles: whether every cycle has just the numbers of turns that ``shares`` says.
        seed: of the order within a cycle, or a round; None for that of the sources.
        purpose: tells the random numbers from those of other mixes.
    """

    shares: tuple[float, ...]
    in_cycles: bool
    seed: int | None
    purpose: str = "mix"
    _drawn: dict[tuple[int, int], NDArray[np.float64]] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    @property
    def _cycles(self) -> int:
        """How many cycles there are in a round."""
        return max(1, int(_ROUND // sum(self.shares))) if self.in_cycles else 1

    def rate(self, source: int) -> float:
        """Return how many turns a source has in a round, on average."""
        if self.in_cycles:
            return self.shares[source] * self._cycles
        return _ROUND * (self.shares[source] / sum(self.shares))

    def least(self, source: int, rounds: Integers) -> Integers:
        """Return a number of turns that a source had before ``rounds``; it may have had one more."""
        least: Integers = np.floor(rounds * self.rate(source)).astype(np.int64)
        return least

    def before(self, source: int, rounds: Integers) -> Integers:
        """Return how many turns a source had before each of ``rounds``."""
        if self.in_cycles:
            return rounds * int(self.rate(source))
        time = rounds * self.rate(source)
        k: Integers = np.floor(time).astype(np.int64)
        before: Integers = k + (self._uniform(source, k) < time - k)
        return before

    def _uniform(self, source: int, numbers: Integers) -> NDArray[np.float64]:
        """Return what is drawn for turns of a source, between 0 and 1."""
        if not len(numbers):
            return np.empty(0)
        blocks = numbers // _BLOCK
        first, last = int(blocks.min()), int(blocks.max())
        if last - first <= len(numbers) // _BLOCK + 1:
            drawn = [self._draw(source, block) for block in range(first, last + 1)]
            return np.concatenate(drawn)[numbers - first * _BLOCK]
        found = np.empty(len(numbers))
        for block in np.unique(blocks).tolist():
            mine = blocks == block
            found[mine] = self._draw(source, block)[numbers[mine] % _BLOCK]
        return found

    def _draw(self, source: int, block: int) -> NDArray[np.float64]:
        drawn = self._drawn.get((source, block))
        if drawn is None:
            raw = bits(_BLOCK, self.seed or 0, (source, block), f"{self.purpose}: times")
            drawn = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
            while len(self._drawn) >= _KEPT * len(self.shares):
                self._drawn.pop(next(iter(self._drawn)))
            self._drawn[source, block] = drawn
        return drawn

    def between(self, lo: int, hi: int) -> tuple[Integers, Integers]:
        """Return the turns of the rounds from ``lo`` on, and before ``hi``.

        Returns:
            The source of each turn, and how many turns that source had before; both of shape (turns,).
        """
        rounds = np.arange(lo, hi + 1)
        before = np.array([self.before(source, rounds) for source in range(len(self.shares))], np.int64)
        sources = self._in_cycles(lo, hi) if self.in_cycles else self._by_time(before)
        # Of each source, the first turn here is its next one, and so on.
        by_source = np.argsort(sources, kind="stable")
        first = np.searchsorted(sources[by_source], sources[by_source])
        ordinals = np.empty(len(sources), np.int64)
        ordinals[by_source] = np.arange(len(sources)) - first
        return sources, ordinals + before[sources, 0]

    def _by_time(self, before: Integers) -> Integers:
        """Return the sources in the order of their turns, by how many they had before each round."""
        counts = before[:, -1] - before[:, 0]
        times = np.concatenate([
            (k + self._uniform(source, k)) / self.rate(source)
            for source, k in enumerate(np.arange(*ends) for ends in before[:, [0, -1]])
        ])  # fmt: skip
        rounds = np.concatenate([np.repeat(np.arange(before.shape[1] - 1), n) for n in np.diff(before)])
        return np.repeat(np.arange(len(counts)), counts)[np.lexsort((times, rounds))]

    def _in_cycles(self, lo: int, hi: int) -> Integers:
        listed = np.repeat(np.arange(len(self.shares)), np.array(self.shares, np.int64))
        if self.seed is None:
            return np.tile(listed, self._cycles * (hi - lo))
        n = self._cycles * len(listed)
        raw = np.concatenate([bits(n, self.seed, (number,), f"{self.purpose}: turns") for number in range(lo, hi)])
        return listed[np.argsort(raw.reshape(-1, len(listed)), axis=1, kind="stable")].ravel()


def _last(holds: Callable[[Integers], NDArray[np.bool_]], lo: Integers, hi: Integers) -> Integers:
    """Return the last numbers from ``lo`` on, and before ``hi``, of which something holds that holds of ``lo``."""
    lo, hi = lo.copy(), hi.copy()
    while np.any(wide := hi - lo > 1):
        middle = (lo + hi) // 2
        good = holds(middle)
        lo = np.where(wide & good, middle, lo)
        hi = np.where(wide & ~good, middle, hi)
    return lo


class Row(ABC):
    """The samples of several sources in one row, each known by its source and its number there.

    Attributes:
        total: how many there are; None without end.
    """

    total: int | None

    @abstractmethod
    def position(self, source: int, number: int) -> int:
        """Return the position of sample ``number`` of a source, if the row goes on for as long."""

    @abstractmethod
    def locate(self, positions: Integers) -> tuple[Integers, Integers]:
        """Return source and number of what is at each of ``positions``, which are below `total`."""


@final
class _InTurns(Row):
    """A row in which the sources take turns.

    Args:
        turns: whose turn it is.
        sizes: how many samples each source has; None without end.
        limits: how many turns each has before it is left out; None for any number.
        ends: at the first turn that finds nothing; when all limits are reached; or when each has had a turn for each of
            its samples.
    """

    def __init__(
        self, turns: Turns, sizes: Sequence[int | None], limits: Sequence[int | None], ends: Exhausted
    ) -> None:
        self._turns = turns
        self._limits: Integers = np.array([_ENDLESS if limit is None else limit for limit in limits], np.int64)
        self.total: int | None
        if ends == "continue":
            self.total = None if None in limits else int(self._limits.sum())
        elif ends == "repeat":
            last = [self.position(source, size - 1) + 1 for source, size in enumerate(sizes) if size]
            self.total = max(last) if last else None if None in sizes else 0
        else:
            dry = [self.position(source, size) for source, size in enumerate(sizes) if size is not None]
            self.total = min(dry, default=None)

    def _start(self, rounds: Integers) -> Integers:
        """Return the positions at which rounds begin."""
        starts = [np.minimum(self._turns.before(i, rounds), limit) for i, limit in enumerate(self._limits)]
        return functools.reduce(np.add, starts)

    def _least(self, rounds: Integers) -> Integers:
        """Return positions at which rounds begin, if not up to one for each source later."""
        starts = [np.minimum(self._turns.least(i, rounds), limit) for i, limit in enumerate(self._limits)]
        return functools.reduce(np.add, starts)

    def _rounds(self, positions: Integers) -> Integers:
        """Return the last rounds that begin at or before ``positions``."""
        n = len(self._limits)
        hi = np.ones_like(positions)
        while np.any(low := self._least(hi) <= positions):
            hi = np.where(low, hi * 2, hi)
        zero = np.zeros_like(positions)
        above = _last(lambda rounds: self._least(rounds) <= positions, zero, hi)
        below = _last(lambda rounds: self._least(rounds) + n <= positions, zero, above + 1)
        return _last(lambda rounds: self._start(rounds) <= positions, below, above + 1)

    @override
    def position(self, source: int, number: int) -> int:
        rate = self._turns.rate(source)
        lo = np.array([max(0, int((number - 1) / rate) - 1)])
        hi = np.array([int((number + 2) / rate) + 2])
        last = _last(lambda rounds: self._turns.before(source, rounds) <= number, lo, hi)
        sources, ordinals = self._turns.between(int(last[0]), int(last[0]) + 1)
        alive = ordinals < self._limits[sources]
        at = int(np.flatnonzero((sources == source) & (ordinals == number))[0])
        return int(self._start(last)[0]) + int(alive[:at].sum())

    @override
    def locate(self, positions: Integers) -> tuple[Integers, Integers]:
        sources, ordinals = np.empty_like(positions), np.empty_like(positions)
        if not len(positions):
            return sources, ordinals
        ends = self._rounds(np.array([positions.min(), positions.max()]))
        if ends[1] - ends[0] <= len(positions):
            return self._found(int(ends[0]), int(ends[1]), positions)
        rounds = self._rounds(positions)
        by_round = np.argsort(rounds, kind="stable")
        cuts = np.flatnonzero(np.diff(rounds[by_round])) + 1
        for mine in np.split(by_round, cuts):
            number = int(rounds[mine[0]])
            sources[mine], ordinals[mine] = self._found(number, number, positions[mine])
        return sources, ordinals

    def _found(self, first: int, last: int, positions: Integers) -> tuple[Integers, Integers]:
        """Return what is at positions in some rounds that follow one another."""
        sources, ordinals = self._turns.between(first, last + 1)
        alive = ordinals < self._limits[sources]
        inside = positions - self._start(np.array([first]))
        return sources[alive][inside], ordinals[alive][inside]


@final
class _OneByOne(Row):
    """A row in which one source follows the other."""

    def __init__(self, sizes: Sequence[int | None]) -> None:
        self._starts: Integers = np.cumsum([0, *(_ENDLESS >> 8 if size is None else size for size in sizes[:-1])])
        last = sizes[-1] if sizes else 0
        self.total: int | None = None if last is None else int(self._starts[-1]) + last

    @override
    def position(self, source: int, number: int) -> int:
        return int(self._starts[source]) + number

    @override
    def locate(self, positions: Integers) -> tuple[Integers, Integers]:
        sources = np.searchsorted(self._starts, positions, "right") - 1
        return sources.astype(np.int64), positions - self._starts[sources]


class InRow(ABC):
    """How several sources come to stand in one row."""

    @property
    @abstractmethod
    def wraps(self) -> bool:
        """Whether a source begins again when it is at its end."""

    @abstractmethod
    def row(self, sizes: Sequence[int | None], purpose: str = "mix") -> Row:
        """Return the row of sources that have so many samples; None for one without end.

        Args:
            sizes: of each source.
            purpose: tells the random numbers from those of other mixes.
        """

    @abstractmethod
    def describe(self, names: Sequence[str]) -> str:
        """Say it in words."""


@final
@attrs.frozen(kw_only=True)
class Interleaved(InRow):
    """The sources take turns.

    Attributes:
        shares: weights, numbers of turns in each cycle, or of samples in all; None: weights as large as the sources.
        in_cycles: whether the shares are those of each cycle.
        exhausted: what happens when a source runs dry; None: ``shares`` says how many samples each hands out.
        seed: of the order of the turns; None: in each cycle they come in the order of the sources.
    """

    shares: tuple[float, ...] | None
    in_cycles: bool
    exhausted: Exhausted | None
    seed: int | None

    @property
    @override
    def wraps(self) -> bool:
        return self.exhausted in (None, "repeat")

    @property
    def counts(self) -> tuple[int, ...] | None:
        """How many samples each source hands out in all; None where that is not said."""
        return tuple(map(int, self.shares)) if self.exhausted is None and self.shares is not None else None

    def turns(self, purpose: str, sizes: Sequence[int | None] = ()) -> Turns:
        """Return whose turn it is."""
        shares = self.shares
        if shares is None:
            shares = tuple(float(size or 0) for size in sizes)
            shares = shares if any(shares) else (1.0,) * len(sizes)
            least = min(filter(None, shares))
            shares = tuple(share or least for share in shares)  # one that is empty has its turn, and nothing to say
        return Turns(shares=shares, in_cycles=self.in_cycles, seed=self.seed, purpose=purpose)

    @override
    def row(self, sizes: Sequence[int | None], purpose: str = "mix") -> Row:
        turns = self.turns(purpose, sizes)
        if (counts := self.counts) is not None:
            return _InTurns(turns, sizes, counts, "continue")
        if self.exhausted == "continue":
            return _InTurns(turns, sizes, sizes, "continue")
        # One that is empty cannot begin again.
        limits = [0 if size == 0 and self.exhausted == "repeat" else None for size in sizes]
        return _InTurns(turns, sizes, limits, self.exhausted or "stop")

    @override
    def describe(self, names: Sequence[str]) -> str:
        ends = {
            None: "each begins again until it has handed out its number",
            "stop": "ends when the first of them runs dry",
            "continue": "goes on with the rest when one runs dry",
            "repeat": "one that runs dry begins again, until all have been gone through",
        }[self.exhausted]
        if self.shares is None:
            what = "in proportion to their sizes"
        else:
            total = sum(self.shares)
            each = [f"{n:g} {m}" if self.in_cycles or self.counts else f"{n / total:.4g} {m}"
                    for n, m in zip(self.shares, names, strict=True)]  # fmt: skip
            what = ", ".join(each)
            if self.in_cycles:
                what = f"in every {total:g}: {what}"
            elif self.counts:
                what = f"in all: {what}"
        order = "in their order" if self.seed is None else f"turns shuffled by seed {self.seed}"
        return f"{what}; {order}; {ends}"


@final
@attrs.frozen
class Concatenated(InRow):
    """One source follows the other."""

    @property
    @override
    def wraps(self) -> bool:
        return False

    @override
    def row(self, sizes: Sequence[int | None], purpose: str = "mix") -> Row:
        return _OneByOne(sizes)

    @override
    def describe(self, names: Sequence[str]) -> str:
        return f"one after the other: {', '.join(names)}"
