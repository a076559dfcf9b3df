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
from typing import Any, Final, final

import attrs
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.errors import LengthError, SplitError, WebdsError
from webds.order.progress import Progress
from webds.order.turns import Concatenated, InRow, Interleaved, Row
from webds.plans.bysample import BySample, OrderOfPass
from webds.plans.byshard import RecoveringSource
from webds.plans.picking import LOST, Part
from webds.plans.plan import Plan
from webds.policy import Guard, Policy
from webds.splitters import BY_DEFAULT
from webds.stages.base import EachStage, Item, Labels, Resolver, Run
from webds.tar import ReadStats
from webds.typing import Origin, Place

__all__ = ["IndexedMixture", "Member", "Mixture", "mixture_of"]


@final
@attrs.frozen(kw_only=True, slots=False)
class Member:
    """One of the plans that are mixed.

    Attributes:
        name: its name in the mix.
        plan: what it reads, and what becomes of it.
        resolve: finds its decoders.
        splits: whether it has a splitter of its own.
    """

    name: str
    plan: Plan
    resolve: Resolver
    splits: bool

    @property
    def obstacle(self) -> str | None:
        """Why its samples are not known one by one before they are read; None if they are."""
        division = self.plan.by_sample
        if division is None:
            return f"{self.name!r} is not divided by sample (see indexed() and split(remainder=…))"
        for i, stage in enumerate(self.plan.stages):
            if i in division.passed_over:
                continue
            if i >= division.known or not isinstance(stage, EachStage) or not stage.fuses:
                return f"{self.name!r} has the stage {stage.name}({stage.describe()}), which belongs behind the mix"
        return None

    @property
    def division(self) -> BySample:
        """How its samples are divided."""
        division = self.plan.by_sample
        assert division is not None  # else it has an obstacle
        return division

    @property
    def path(self) -> str:
        """Its name, with those of the mixes around."""
        return self.plan.path or self.name

    @property
    def policy(self) -> Policy | None:
        """Its policy; None for that of the mix."""
        return None if self.plan.policy == Policy() else self.plan.policy

    def bound(self, mix: Plan, *, by_shard: bool) -> Member:
        """Return the member that is run: what it was not told itself, ``mix`` says.

        Args:
            mix: the plan around it.
            by_shard: whether that says that shards are to be divided.
        """
        plan = self.plan
        if mix.by_sample is not None and plan.nodes not in (1, mix.nodes):
            raise SplitError(
                f"split(nodes={plan.nodes}) of one source of a mix: say it of the mix, for the ranks of a node get "
                "samples of all its sources",
                stage="split", source=self.path,
            )  # fmt: skip
        plan = attrs.evolve(
            plan,
            shard_seed=mix.shard_seed if plan.shard_seed is None else plan.shard_seed,
            window=mix.window if plan.window is None else plan.window,
            nodes=mix.nodes if mix.by_sample is not None else plan.nodes,
            splitter=plan.splitter if self.splits else mix.splitter,
            remainder=plan.remainder if self.splits or not by_shard else None,
            path=self.name if mix.path is None else f"{mix.path}/{self.name}",
            wanted=mix.fields,
            url_wanted=mix.names_url,
        )
        try:
            return attrs.evolve(self, plan=plan.bound(self.resolve))
        except WebdsError as error:
            raise error.locate(source=plan.path)  # noqa: B904  # the same error


def _tagged(origin: Origin, path: str) -> Origin:
    """Return the origin with the name of the source; of a batch, those of its samples."""
    if origin and isinstance(origin[0], tuple):
        return tuple(_tagged(one, path) for one in origin)
    return (*origin, path) if len(origin) == 3 else origin


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

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Any]:
        """Read like `read`; see `webds.plans.byshard.RecoveringSource`."""
        source = self._source_of(shard)
        if isinstance(source, RecoveringSource):
            return source.read_on(shard, fields, start, on_error=on_error, stats=stats)
        return source.read(shard, fields, start)

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
        mixing = _Mixing(self, run)
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
    def _orders(self) -> dict[tuple[int, int], _MixedOrder]:
        return {}

    def order(self, place: Place) -> _MixedOrder:
        """Return the order of its samples; see `webds.plans.bysample.OrderedSource`."""
        node = place.rank * self.members[0].division.nodes // place.world_size
        if (node, place.world_size) not in self._orders:
            self._orders[node, place.world_size] = _MixedOrder(self, place)
        return self._orders[node, place.world_size]

    def parts(self, run: Run) -> Callable[[int], Part]:
        """Return a function from the number of a shard to how it is read."""
        starts = [0, *itertools.accumulate(len(self._indexed(member).counts()) for member in self.members)]
        readings = [_Reading(member, run) for member in self.members]

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


@final
class _Reading:
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
        part = self._parts(number)
        before = part.finish  # of a mix in the mix
        return attrs.evolve(part, finish=self._finish if before is None else lambda item: self._finish(before(item)))

    def _finish(self, item: Item) -> Item:
        """Return what the stages of the member make of a sample."""
        self._read += 1
        origin, value = item
        origin = _tagged(origin, self._member.path)
        if value is LOST:
            return item
        for name, function, guard in self._work:
            try:
                value = function(value)
            except Exception as error:
                guard.handle(error, name, origin)
                return origin, LOST
        return origin, value


@final
class _MixedOrder:
    """The order of the samples of a mix, for any pass; see `webds.plans.bysample.Order`.

    Args:
        mixture: the mix.
        place: whose node it is of; each of its ranks is let have what a `take` of a member says.
    """

    def __init__(self, mixture: IndexedMixture, place: Place) -> None:
        divisions = [member.division for member in mixture.members]
        dealt = [division.dealing(place) for division in divisions]
        sizes = [dealing.total for _, dealing in dealt]
        if isinstance(mixture.in_row, Interleaved) and mixture.in_row.counts is not None and 0 in sizes:
            raise _none_of(mixture.members[sizes.index(0)])
        self.row: Row = mixture.in_row.row(sizes, mixture.purpose)
        self.total: int | None = self.row.total
        firsts = [one_pass for one_pass, _ in dealt]
        self.seen: int | None = None
        if self.total is None and None not in firsts:
            last = [self.row.position(i, first - 1) + 1 for i, first in enumerate(firsts) if first]
            self.seen = max(last, default=0)
        self.wraps = mixture.in_row.wraps
        self.place = place
        shards = [0, *itertools.accumulate(len(division.counts) for division in divisions)]
        self.parts = list(zip(divisions, dealt, shards, strict=False))

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


def _none_of(member: Member) -> SplitError:
    return SplitError(
        f"mix(counts=…): {member.name!r} has no samples here, of which so many are to be handed out", stage="split",
        source=member.path,
    )  # fmt: skip


_TAKEN: Final = "of "
"""Begins the names under which it is noted how many values a member has handed out."""


@final
class _Stream:
    """One member at one place.

    Args:
        member: which.
        run: the iteration of the mix.
        wraps: whether it can begin again.
        over: called when it has been gone through once.
    """

    def __init__(self, member: Member, run: Run, over: Callable[[], None], *, wraps: bool) -> None:
        resumed = run.resumes_here
        before = None if resumed is None else resumed.members.get(member.name)
        self.member = member
        self.progress = Progress() if before is None else before.copy()
        self.number = 0
        if wraps and before is not None and len(before.passes) > len(run.passes):
            self.number = before.passes[len(run.passes)]
        self.is_dry = self.progress.done
        self.was_dry = self.is_dry or self.number > 0
        self._wraps = wraps
        self._over = over
        self._run = attrs.evolve(
            run, guard=run.guard.of(member.path, member.policy), progress=self.progress, resumed=before, start=None,
            meter=None, watchers=(over,),
        )  # fmt: skip
        self._items: Iterator[Item] | None = None

    def next(self) -> Item | None:
        """Return the next item; None at the end of a pass."""
        try:
            if self._items is None:
                passes = (*self._run.passes, self.number) if self._wraps else self._run.passes
                self._items = self.member.plan.run(attrs.evolve(self._run, passes=passes))
            origin, value = next(self._items)
        except StopIteration:
            self.was_dry = True
            self._over()
            return None
        except WebdsError as error:
            error.locate(source=self.member.path)
            raise
        return _tagged(origin, self.member.path), value

    def again(self) -> Item | None:
        """Begin again, and return the first item; None if there is none."""
        self.close()
        self.number += 1
        return self.next()

    def end(self) -> None:
        """Leave it out from now on."""
        self.is_dry = self.progress.done = True
        self.close()

    def close(self) -> None:
        """Let go of what it reads."""
        close = getattr(self._items, "close", None)
        self._items = None
        if close is not None:
            close()


@final
class _Mixing:
    """A mix at one place, in one iteration."""

    def __init__(self, mixture: _Mixed, run: Run) -> None:
        self._mixture = mixture
        self._run = run
        self._unseen = {member.name for member in mixture.members}
        resumed, progress = run.resumes_here, run.progress
        progress.passes = run.passes
        progress.shard, progress.read = (0, 0) if resumed is None else (resumed.shard, resumed.read)
        self._streams = [
            _Stream(member, run, functools.partial(self._over, member.name), wraps=mixture.in_row.wraps)
            for member in mixture.members
        ]
        for member in mixture.members:
            name = _TAKEN + member.name
            progress.taken[name] = 0 if resumed is None else resumed.taken.get(name, 0)
        progress.members = {stream.member.name: stream.progress for stream in self._streams}

    def _over(self, name: str) -> None:
        """Take note that a member has been gone through once."""
        if name in self._unseen:
            self._unseen.remove(name)
            if not self._unseen:
                self._run.pass_over()

    def close(self) -> None:
        for stream in self._streams:
            stream.close()

    def one_by_one(self) -> Iterator[Item]:
        """Yield the items of one member after the other."""
        progress = self._run.progress
        for number, stream in list(enumerate(self._streams))[progress.shard :]:
            progress.shard = number
            while (item := stream.next()) is not None:
                yield item
            stream.end()
            if self._run.guard.stopped:
                return

    def in_turns(self) -> Iterator[Item]:
        """Yield the items of the members as their turns come."""
        how = self._mixture.in_row
        assert isinstance(how, Interleaved)  # the other kind has no turns
        self._check_shards(how)
        place, progress = self._run.place, self._run.progress
        turns = how.turns(f"{self._mixture.purpose} at {place.rank} {place.worker}")
        limits = self._limits(how)
        first, skipped = progress.shard, progress.read
        for number in itertools.count(first):
            alive = [stream for stream in self._streams if not stream.is_dry]
            if not alive:
                return
            if len(alive) == 1 and how.exhausted == "continue":  # its next turn may be far away
                progress.shard, progress.read = number, 0
                yield from iter(alive[0].next, None)
                alive[0].end()
                return
            sources = turns.between(number, number + 1)[0].tolist()
            for turn, source in enumerate(sources):
                stream = self._streams[source]
                if (number == first and turn < skipped) or stream.is_dry:
                    continue
                name = _TAKEN + stream.member.name
                if limits is not None and progress.taken[name] >= limits[source]:
                    stream.end()
                    if all(one.is_dry for one in self._streams):
                        return
                    continue
                item = stream.next()
                if item is None and not self._run.guard.stopped:
                    if how.exhausted == "stop":
                        return
                    item = self._dry(stream, how)
                if self._run.guard.stopped or (item is None and all(one.is_dry for one in self._streams)):
                    return
                if item is None:
                    continue
                progress.shard, progress.read = number, turn + 1
                if limits is not None:
                    progress.taken[name] += 1
                yield item

    def _dry(self, stream: _Stream, how: Interleaved) -> Item | None:
        """Return what comes in the turn of a member that has run dry; None for nothing."""
        if how.exhausted == "repeat" and all(one.was_dry for one in self._streams):
            for one in self._streams:
                one.end()
            return None
        item = stream.again() if how.wraps and not stream.is_dry else None
        if item is None:
            if how.counts is not None and self._run.progress.taken[_TAKEN + stream.member.name] == 0:
                raise _none_of(stream.member)
            stream.end()
        return item

    def _limits(self, how: Interleaved) -> list[int] | None:
        """Return how many values each member hands out here; None where that is not said."""
        if how.counts is None:
            return None
        place = self._run.place
        places, here = place.world_size * place.num_workers, place.rank * place.num_workers + place.worker
        return [n // places + (here < n % places) for n in how.counts]

    def _check_shards(self, how: Interleaved) -> None:
        """Raise if some worker has nothing to read of a member, so that it could not keep the weights."""
        if how.exhausted == "continue":
            return
        key, here = self._run.key, self._run.place
        for member in self._mixture.members:
            plan = member.plan
            if plan.by_sample is not None or isinstance(plan.source, _Mixed):
                continue
            n = len(plan.source.shards())
            if n >= here.world_size * here.num_workers and plan.splitter == BY_DEFAULT:
                continue
            for rank, worker in itertools.product(range(here.world_size), range(here.num_workers)):
                if not plan.by_shard.shards(key, Place(rank, here.world_size, worker, here.num_workers)):
                    raise SplitError(
                        f"{n} shards leave worker {worker} of rank {rank} nothing to read, which could not keep the "
                        "weights of the mix: use fewer workers, write more and smaller shards, call indexed() on all "
                        'sources, or say exhausted="continue"',
                        stage="split", source=member.path,
                    )  # fmt: skip
