"""What a stage is: one step of a plan, from an iterator of items to another.

Inside, a value travels as an item ``(origin, value)``; the origin says from which shard, at which ordinal and
with which key it came, so that every error can say so however far from the shard it happens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias, final

import attrs
from typing_extensions import override

from webds.abc import Decoder
from webds.errors import EmptyDatasetError
from webds.metrics import Meter
from webds.order.epochs import EpochClock, Turn
from webds.order.progress import Held, Progress
from webds.policy import Guard, Policy
from webds.streams.observing import Observer
from webds.typing import UNREAD, Origin, Place

__all__ = [
    "DROP",
    "EachStage",
    "Fields",
    "Item",
    "Labels",
    "Recall",
    "Resolver",
    "Run",
    "Stage",
    "Upstream",
    "alternatives",
    "fields_there",
    "run_each",
]

Item: TypeAlias = tuple[Origin, Any]
Fields: TypeAlias = frozenset[str] | None
"""The fields that somebody looks at; None for any of them."""
Labels: TypeAlias = tuple[str, ...] | None
"""The fields that became the elements of a tuple, for errors that would only know their numbers."""
Resolver: TypeAlias = Callable[[Any], Mapping[str, Decoder[Any]]]
"""From what the user gave as decoders (a specification's name, a table, None) to a table by extension."""

Recall: TypeAlias = Callable[[Origin], Any]
"""From an origin to the value that came of it once, made again; `DROP` where that has failed and was let pass."""

DROP: Final = object()
"""Returned by the function of an `EachStage` for a value that does not go on."""


@final
@attrs.frozen
class Run:
    """One iteration of a plan at one place.

    Attributes:
        guard: what to call when something fails.
        place: who reads.
        turn: the iteration, as the clock numbers it.
        clock: where workers add up what they dropped.
        passes: of each enclosing repetition, which pass this is.
        checks_empty: whether it is an error when everything is dropped.
        meter: measures where the time goes; None where nobody asked for it.
        watchers: called when a repetition has gone through everything before it for the first time, and all
            that came of it has left the stages in between.
        progress: where it is noted how far the run has come.
        resumed: where the run goes on, instead of at the beginning.
        start: the first position that is dealt out of the pass ``resumed`` is in, where samples are dealt out.
        recall: of a run that goes on: makes what a stage, told by its number, held back again.
        observed: measures opening and reading; also in the sources of a mix, which have no rows of a meter.
    """

    guard: Guard
    place: Place = Place()
    turn: Turn = Turn(0)
    clock: EpochClock | None = None
    passes: tuple[int, ...] = ()
    checks_empty: bool = True
    meter: Meter | None = None
    watchers: tuple[Callable[[], None], ...] = ()
    progress: Progress = attrs.field(factory=Progress)
    resumed: Progress | None = None
    start: int | None = None
    recall: Callable[[str, Sequence[Origin]], list[Item]] | None = None
    observed: Meter | None = None

    def held_by(self, number: str) -> Held:
        """Return what a stage holds when it begins: nothing, or what is made again where the run goes on.

        The progress has it from now on.
        """
        resumed = self.resumes_here
        there = None if resumed is None else resumed.held.get(number)
        held = Held() if there is None else there.copy()
        if held.items:
            assert self.recall is not None  # who resumes a run sets it
            held.items = self.recall(number, held.origins)
        self.progress.held[number] = held
        return held

    @property
    def observer(self) -> Observer:
        """Who hears of what is opened."""
        return Observer(self.guard.retried, None if self.observed is None else self.observed.opened)

    @property
    def resumes_here(self) -> Progress | None:
        """Where to go on in this pass; None for its beginning."""
        n = len(self.passes)
        return self.resumed if self.resumed is not None and self.resumed.passes[:n] == self.passes else None

    @property
    def untracked(self) -> Run:
        """The run for what comes before a stage that notes the progress itself, and has to see all again."""
        return attrs.evolve(self, progress=Progress(), resumed=None, start=None, recall=None)

    def watched_by(self, *watchers: Callable[[], None]) -> Run:
        """Return the run with just these watchers, for what comes before a stage."""
        return attrs.evolve(self, watchers=watchers)

    def pass_over(self) -> None:
        """Tell the watchers."""
        for watcher in self.watchers:
            watcher()

    @property
    def key(self) -> tuple[int, ...]:
        """The part of a random key that changes with epochs and passes."""
        return (self.turn.epoch, *self.passes)

    def check_not_empty(self, stage: str, how: str, kept: int, dropped: int, names: Iterable[str]) -> None:
        """Raise if a stage, over all workers of this rank, dropped everything in one full pass.

        Args:
            stage: the stage, told apart from others of its kind by its place in the plan.
            how: what dropped the values, for the error's text.
            kept: how many values this worker let through.
            dropped: how many it dropped.
            names: the fields or names that those had.
        """
        if not self.checks_empty or any(self.passes):
            return
        seen = sorted(names)
        if self.clock is not None:
            sums = self.clock.gather(self.turn, stage, self.place, kept, dropped, seen)
            if sums is None:
                return
            kept, dropped, seen = sums
        if dropped and not kept:
            raise EmptyDatasetError(
                f"{how} dropped all {dropped} that went in, so there is nothing to iterate over; "
                f"seen were {', '.join(seen) if seen else 'values without fields'}",
                stage=stage.partition(" ")[0],
                source=self.guard.source,
            )


Upstream: TypeAlias = Callable[[Run], Iterator[Item]]


@attrs.frozen(kw_only=True)
class Stage(ABC):
    """One step of a plan. Frozen and picklable; the same for every iteration.

    Attributes:
        policy: what to do about errors of this stage, where it has a policy of its own.
        number: tells the stage from others of its plan, once that is bound.
    """

    name: ClassVar[str]
    keeps_order: ClassVar[bool] = True
    holds: ClassVar[bool] = False
    """Whether values that came in before may come out later than the next that is asked for."""
    recalls: ClassVar[bool] = False
    """Whether `recalling` makes values again: then those that are held back behind the stage need not be made by
    running it from the beginning."""
    policy: Policy | None = None
    number: str = attrs.field(default="", eq=False)

    @property
    def drops(self) -> bool:
        """Whether the stage may drop single values, by what it is told of them."""
        return False

    @property
    def in_step(self) -> bool:
        """Whether samples have to come in the order of their shards."""
        return False

    @abstractmethod
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        """Yield the items of this stage.

        Args:
            upstream: starts an iteration of everything before this stage.
            run: the iteration.
        """

    def recalling(self, before: Recall, guard: Guard) -> Recall:
        """Return what makes values of this stage again, by their origins; they pass through it, by default.

        Args:
            before: makes those that came in.
            guard: what to call when something fails.
        """
        return before

    def wants(self, fields: Fields) -> Fields:
        """Return which fields must come in so that ``fields`` can go out. Any, unless a stage knows better."""
        return None

    def named(self) -> frozenset[str]:
        """Return the fields that the stage calls by their names."""
        return frozenset()

    def bound(self, resolve: Resolver, fields: Fields) -> Stage:
        """Return the stage with its decoders, doing no work for what is not in ``fields``, wanted after it."""
        return self

    def labelled(self, labels: Labels) -> Stage:
        """Return the stage that knows how the elements of the tuples that come in are called."""
        return self

    def labels(self, labels: Labels) -> Labels:
        """Return how the elements of the tuples that go out are called; None where that is not known."""
        return None

    def length(self, n: int) -> int | None:
        """Return how many values come out when ``n`` go in; None where that is not known."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """Say in one line what the stage does, without its name."""


@attrs.frozen(kw_only=True)
class EachStage(Stage):
    """A stage that turns each value into one other, or drops it. Neighbours that fuse run in one loop."""

    recalls: ClassVar[bool] = True

    @abstractmethod
    def function(self) -> Callable[[Any], Any]:
        """Return a new function from value to value; it may return `DROP`, if the stage `drops`."""

    @property
    def fuses(self) -> bool:
        """Whether the stage runs in one loop with its neighbours, and has no `run` of its own."""
        return True

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        return run_each([(self, self.name)], upstream, run)

    @override
    def recalling(self, before: Recall, guard: Guard) -> Recall:
        function, guard = self.function(), guard.using(self.policy)

        def recall(origin: Origin) -> Any:
            value = before(origin)
            if value is DROP:
                return DROP
            try:
                return function(value)
            except Exception as error:
                guard.handle(error, self.name, origin)
                return DROP

        return recall


def run_each(stages: list[tuple[EachStage, str]], upstream: Upstream, run: Run) -> Iterator[Item]:
    """Run neighbouring per-value stages in one loop.

    Args:
        stages: the stages, each with a text that tells it apart from others of the plan.
        upstream: everything before them.
        run: the iteration.

    Yields:
        The items that went through all of them.
    """
    functions = [stage.function() for stage, _ in stages]
    guards = [run.guard.using(stage.policy) for stage, _ in stages]
    tally = _Tally(stages, run)
    for origin, value in upstream(run.watched_by(tally.judge, *run.watchers)):
        if tally.over:
            return
        before = value
        step = 0
        try:
            for step, function in enumerate(functions):  # noqa: B007  # read when a function raises
                before, value = value, function(value)
                if value is DROP:
                    break
        except Exception as error:
            tally.failed[step] += 1
            if not guards[step].handle(error, stages[step][0].name, origin):
                return
            continue
        if value is DROP:
            tally.drop(step, before)
            continue
        tally.kept += 1
        yield origin, value
    tally.judge()


class _Tally:
    """What neighbouring stages did with the values of one iteration at this place."""

    def __init__(self, stages: list[tuple[EachStage, str]], run: Run) -> None:
        self._stages = stages
        self._run = run
        self._judged = run.resumed is not None  # then only a part of a pass goes by here
        self._shapes: list[set[str]] = [set() for _ in stages]
        self._dropped = [0] * len(stages)
        self.failed = [0] * len(stages)
        self.kept = 0
        self.over = False

    def drop(self, step: int, value: Any) -> None:
        """Count a value that a stage dropped, and note what it looked like."""
        self._dropped[step] += 1
        if len(self._shapes[step]) < 20 and isinstance(value, Mapping):
            self._shapes[step].update(fields_there(value))

    def judge(self) -> None:
        """Raise if a stage dropped everything; end a repetition of which nothing gets through at this place."""
        if self._judged or self._run.guard.stopped:
            return
        self._judged = True
        for step, (stage, label) in enumerate(self._stages):
            if stage.drops:
                through = self.kept + sum(self._dropped[step + 1 :]) + sum(self.failed[step + 1 :])
                how = f"{stage.name}({stage.describe()})"
                self._run.check_not_empty(label, how, through, self._dropped[step], self._shapes[step])
        self.over = any(self._dropped) and not any(self.failed) and not self.kept


def alternatives(field: str) -> tuple[str, ...]:
    """Return the names in ``"jpg;png"``, in the order in which they are tried."""
    names = tuple(name.strip() for name in field.split(";"))
    if not all(names):
        raise ValueError(f"field {field!r}: expected names separated by ';', such as 'jpg;png'")
    return names


def fields_there(sample: Mapping[str, Any]) -> list[str]:
    """Return the names of a sample's own fields, also of those that were not read."""
    return sorted(str(name) for name in sample if not str(name).startswith("__"))


def is_there(sample: Mapping[str, Any], name: str) -> bool:
    """Return whether the sample has the field ``name``, and it was read."""
    return name in sample and sample[name] is not UNREAD
