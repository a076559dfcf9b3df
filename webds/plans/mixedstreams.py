"""A mix at one place: its members hand out their values in turn, where samples do not stand in one row."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

import attrs

from webds.errors import SplitError, WebdsError
from webds.order.progress import Progress
from webds.order.turns import InRow, Interleaved
from webds.plans.members import Member, none_of, tagged
from webds.plans.plan import ComposedSource
from webds.splitters import BY_DEFAULT
from webds.stages.base import Item, Run
from webds.typing import Place

__all__ = ["Mixing"]

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
        return tagged(origin, self.member.path), value

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
class Mixing:
    """A mix at one place, in one iteration.

    Args:
        members: the plans.
        in_row: how their values come in turn.
        purpose: tells the random numbers of the mix from those of others.
        run: the iteration.
    """

    def __init__(self, members: Sequence[Member], in_row: InRow, purpose: str, run: Run) -> None:
        self._members, self._in_row, self._purpose = members, in_row, purpose
        self._run = run
        self._unseen = {member.name for member in members}
        resumed, progress = run.resumes_here, run.progress
        progress.passes = run.passes
        progress.shard, progress.read = (0, 0) if resumed is None else (resumed.shard, resumed.read)
        self._streams = [
            _Stream(member, run, functools.partial(self._over, member.name), wraps=in_row.wraps) for member in members
        ]
        for member in members:
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
        """Let go of what all members read."""
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
        how = self._in_row
        assert isinstance(how, Interleaved)  # the other kind has no turns
        self._check_shards(how)
        place, progress = self._run.place, self._run.progress
        turns = how.turns(f"{self._purpose} at {place.rank} {place.worker}")
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
                raise none_of(stream.member)
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
        for member in self._members:
            plan = member.plan
            if plan.by_sample is not None or isinstance(plan.source, ComposedSource):
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
