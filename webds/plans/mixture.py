"""What stands in place of a source where several plans are mixed: each reads for itself, and they take turns.

Where all of them know their samples beforehand, the samples of all stand in one row, which is dealt out to ranks and
workers like that of one source (`IndexedMixture`). Elsewhere every worker mixes what it reads itself (`Mixture`).
"""

from __future__ import annotations

import bisect
import functools
import itertools
from abc import ABC
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import attrs
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.errors import LengthError
from webds.order.turns import Concatenated, InRow, Interleaved
from webds.plans.members import Member
from webds.plans.mixedorder import MixedOrder, Reading
from webds.plans.mixedstreams import Mixing
from webds.plans.picking import Part
from webds.plans.plan import Plan
from webds.splitters import BY_DEFAULT
from webds.stages.base import Item, Labels, Run
from webds.typing import Place

__all__ = ["IndexedMixture", "Member", "Mixture", "mixture_of"]


@attrs.frozen(kw_only=True, slots=False)
class _Mixed(Source[Any], ABC):
    """What both kinds have in common.

    Attributes:
        members: the plans.
        in_row: how they come to stand in one row.
        purpose: tells the random numbers of the mix from those of others.
    """

    members: tuple[Member, ...]
    in_row: InRow
    purpose: str = "mix"

    @property
    def plans(self) -> Mapping[str, Plan]:
        """The plans by their names."""
        return {member.name: member.plan for member in self.members}

    @property
    def how(self) -> str:
        """In words, how they come together."""
        return self.in_row.describe([member.name for member in self.members])

    @property
    def labels(self) -> Labels:
        """How the elements of the tuples are called that come out, if all members call them the same."""
        found: set[Labels] = set()
        for member in self.members:
            source = member.plan.source
            labels = source.labels if isinstance(source, _Mixed) else None
            for stage in member.plan.stages:
                labels = stage.labels(labels)
            found.add(labels)
        return found.pop() if len(found) == 1 else None

    @property
    def obstacle(self) -> str | None:
        """Why single samples of all of them cannot be dealt out; None if they can."""
        return next(filter(None, (member.obstacle for member in self.members)), None)

    @override
    def shards(self) -> Sequence[str]:
        return [shard for member in self.members for shard in member.plan.source.shards()]

    def _source_of(self, shard: str) -> Source[Any]:
        """Return the first source that has a shard."""
        for member in self.members:
            if shard in member.plan.source.shards():
                return member.plan.source
        raise KeyError(f"no source of the mix has the shard {shard!r}")

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Any]:
        return self._source_of(shard).read(shard, fields, start)

    def bound(self, plan: Plan) -> Source[Any]:
        """Return the source that is run, of plans that are bound, and have what ``plan`` says of all."""
        by_shard = plan.remainder is None and (plan.splitter != BY_DEFAULT or isinstance(self, IndexedMixture))
        members = tuple(member.bound(plan, by_shard=by_shard) for member in self.members)
        return attrs.evolve(self, members=members, purpose="mix" if plan.path is None else f"mix {plan.path}")

    def length(self, place: Place) -> int:
        """Return how many values `run` yields on one rank.

        Raises:
            LengthError: that is not known.
        """
        in_row = self.in_row
        if isinstance(in_row, Interleaved) and in_row.exhausted != "continue":
            raise LengthError(
                "how many values a mix yields is not known before they are read, unless single samples of all its "
                f"sources are dealt out: {self.obstacle or 'they are split by a splitter'}"
            )
        return sum(member.plan.length(place) for member in self.members)

    def run(self, run: Run) -> Generator[Item]:
        """Yield the items of one place."""
        mixing = Mixing(self.members, self.in_row, self.purpose, run)
        try:
            yield from mixing.one_by_one() if isinstance(self.in_row, Concatenated) else mixing.in_turns()
        finally:
            mixing.close()


@final
class Mixture(_Mixed):
    """A mix in which every worker mixes what it reads itself."""


@final
class IndexedMixture(_Mixed, IndexedSource[Any]):
    """A mix whose samples stand in one row."""

    @override
    def counts(self) -> Sequence[int]:
        return [count for member in self.members for count in self._indexed(member).counts()]

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[Any]:
        source = self._source_of(shard)
        assert isinstance(source, IndexedSource)  # else it is no member of this
        return source.read_at(shard, ordinals, fields)

    @staticmethod
    def _indexed(member: Member) -> IndexedSource[Any]:
        return member.division.source

    @functools.cached_property
    def _orders(self) -> dict[tuple[int, int], MixedOrder]:
        return {}

    def order(self, place: Place) -> MixedOrder:
        """Return the order of its samples; see `webds.plans.bysample.OrderedSource`."""
        node = place.rank * self.members[0].division.nodes // place.world_size
        if (node, place.world_size) not in self._orders:
            self._orders[node, place.world_size] = MixedOrder(self.members, self.in_row, self.purpose, place)
        return self._orders[node, place.world_size]

    def parts(self, run: Run) -> Callable[[int], Part]:
        """Return a function from the number of a shard to how it is read."""
        starts = [0, *itertools.accumulate(len(self._indexed(member).counts()) for member in self.members)]
        readings = [Reading(member, run) for member in self.members]

        def part(number: int) -> Part:
            which = bisect.bisect(starts, number) - 1
            return readings[which].part(number - starts[which])

        return part

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_orders"}


def mixture_of(members: Sequence[Member], in_row: InRow) -> Source[Any]:
    """Return the source that stands for a mix of these."""
    mixture = Mixture(members=tuple(members), in_row=in_row)
    return mixture if mixture.obstacle else IndexedMixture(members=mixture.members, in_row=in_row)
