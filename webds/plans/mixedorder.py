"""The order of a mix whose samples stand in one row, and how they are read one by one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.order.dealing import Dealing
from webds.order.turns import InRow, Interleaved, Row
from webds.plans.bysample import BySample, OrderOfPass
from webds.plans.members import Member, none_of, tagged
from webds.plans.picking import LOST, Part
from webds.policy import Guard
from webds.stages.base import EachStage, Item, Run
from webds.typing import Place

__all__ = ["MixedOrder", "Reading"]


@final
class MixedOrder:
    """The order of the samples of a mix, for any pass; see `webds.plans.bysample.Order`.

    Args:
        members: the plans.
        in_row: how they come to stand in one row.
        purpose: tells the random numbers of the mix from those of others.
        place: whose node it is of; each of its ranks is let have what a `take` of a member says.
    """

    def __init__(self, members: Sequence[Member], in_row: InRow, purpose: str, place: Place) -> None:
        divisions = [member.division for member in members]
        dealt = [division.dealing(place) for division in divisions]
        sizes = [dealing.total for _, dealing in dealt]
        if isinstance(in_row, Interleaved) and in_row.counts is not None and 0 in sizes:
            raise none_of(members[sizes.index(0)])
        self.row: Row = in_row.row(sizes, purpose)
        self.total: int | None = self.row.total
        firsts = [one_pass for one_pass, _ in dealt]
        self.seen: int | None = None
        if self.total is None and None not in firsts:
            last = [self.row.position(i, first - 1) + 1 for i, first in enumerate(firsts) if first]
            self.seen = max(last, default=0)
        self.wraps: bool = in_row.wraps
        self.place: Place = place
        shards = [0, *itertools.accumulate(len(division.counts) for division in divisions)]
        self.parts: list[tuple[BySample, tuple[int | None, Dealing], int]] = list(
            zip(divisions, dealt, shards, strict=False)
        )

    def of_pass(self, key: tuple[int, ...]) -> OrderOfPass:
        """Return the order of one pass."""
        rows = [
            _MemberRow(division, self.place, one_pass, dealing.total if self.wraps else None, first, key)
            for division, (one_pass, dealing), first in self.parts
        ]
        return _MixedPass(self.row, rows)


@final
class _MixedPass:
    """The order of the samples of a mix in one pass."""

    def __init__(self, row: Row, rows: Sequence[_MemberRow]) -> None:
        self._row = row
        self._rows = rows

    def located(self, positions: NDArray[np.int64]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the shards' numbers and the ordinals of the samples at ``positions``."""
        whose, numbers = self._row.locate(positions)
        shards, ordinals = np.empty_like(positions), np.empty_like(positions)
        for member, row in enumerate(self._rows):
            mine = whose == member
            if mine.any():
                shards[mine], ordinals[mine] = row.located(numbers[mine])
        yield shards.tolist(), ordinals.tolist()


@final
class _MemberRow:
    """The samples of one member in their order, in one pass of the mix.

    Args:
        division: how they are divided.
        place: whose node it is of.
        one_pass: how many samples a pass of the member has; None without end.
        wraps: after how many of its samples it begins again; None for never.
        first: the number of its first shard in the mix.
        key: the key of the pass.
    """

    def __init__(
        self,
        division: BySample,
        place: Place,
        one_pass: int | None,
        wraps: int | None,
        first: int,
        key: tuple[int, ...],
    ) -> None:
        self._order = division.order_at(place)
        self._one_pass = one_pass
        self._repeats = division.repeats and one_pass is not None
        self._wraps = wraps
        self._again = wraps is not None
        self._first = first
        self._key = key
        self._known: tuple[tuple[int, ...], OrderOfPass] | None = None

    def located(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the shards' numbers in the mix, and the ordinals, of samples by their numbers in the row."""
        rounds, numbers = divmod(numbers, self._wraps) if self._wraps else (np.zeros_like(numbers), numbers)
        one_pass = self._one_pass if self._repeats else None
        passes, numbers = divmod(numbers, one_pass) if one_pass else (np.zeros_like(numbers), numbers)
        cuts = (np.flatnonzero(np.diff(rounds) | np.diff(passes)) + 1).tolist()
        shards: list[int] = []
        ordinals: list[int] = []
        for lo, hi in itertools.pairwise([0, *cuts, len(numbers)]):
            key = self._key + ((int(rounds[lo]),) if self._again else ())
            key += (int(passes[lo]),) if self._repeats else ()
            for some, inside in self._of_pass(key).located(numbers[lo:hi]):
                shards += some
                ordinals += inside
        return self._first + np.array(shards, np.int64), np.array(ordinals, np.int64)

    def _of_pass(self, key: tuple[int, ...]) -> OrderOfPass:
        if self._known is None or self._known[0] != key:
            self._known = key, self._order.of_pass(key)
        return self._known[1]


@final
class Reading:
    """How the samples of one member are read in one iteration, where they are dealt out one by one."""

    def __init__(self, member: Member, run: Run) -> None:
        self._member = member
        self._guard = run.guard.of(member.path, member.policy)
        plan = member.plan
        inner = attrs.evolve(run, guard=self._guard)
        self._parts = member.division.parts(inner, plan.fields, names_url=plan.names_url)
        self._work: list[tuple[str, Callable[[Any], Any], Guard]] = [
            (stage.name, stage.function(), self._guard.using(stage.policy))
            for stage in plan.stages
            if isinstance(stage, EachStage)
        ]
        self._read = 0
        if member.policy is not None:  # it has a budget of its own
            self._guard.begin_reading(lambda: self._read)

    def part(self, number: int) -> Part:
        """Return how one of its shards is read."""
        part = self._parts(number)
        before = part.finish  # of a mix in the mix
        return attrs.evolve(part, finish=self._finish if before is None else lambda item: self._finish(before(item)))

    def _finish(self, item: Item) -> Item:
        """Return what the stages of the member make of a sample."""
        self._read += 1
        origin, value = item
        origin = tagged(origin, self._member.path)
        if value is LOST:
            return item
        for name, function, guard in self._work:
            try:
                value = function(value)
            except Exception as error:
                guard.handle(error, name, origin)
                return origin, LOST
        return origin, value
