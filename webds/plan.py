"""The plan of a dataset: what is read, by whom, in which order, and what becomes of it. It opens nothing."""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import attrs

from webds.abc import IndexedSource, Source, Splitter
from webds.bysample import BySample
from webds.dealing import Remainder, Window
from webds.errors import LengthError, SplitError, place_of
from webds.metrics import FIRST_STAGE, SOURCE, Meter
from webds.observing import Observer, observing
from webds.order import permutation
from webds.policy import Policy
from webds.progress import Progress
from webds.redaction import redact
from webds.stages.base import EachStage, Fields, Item, Labels, Resolver, Run, Stage, Upstream, run_each
from webds.stages.flow import Take
from webds.stages.functions import name_of
from webds.tar import ReadStats
from webds.typing import Place, T

__all__ = ["ComposedSource", "DescribedSource", "ForeseeingSource", "Plan", "RecoveringSource"]


@runtime_checkable
class ForeseeingSource(Protocol):
    """A source that can read shards before their turn comes, where it knows them."""

    @property
    def foresees(self) -> bool:
        """Whether it was told to."""
        ...

    def reading(self, shards: Sequence[str]) -> AbstractContextManager[Source[Any]]:
        """Return the source to read ``shards`` from, in this order. When it is left, nothing is read any more."""
        ...


@runtime_checkable
class RecoveringSource(Protocol):
    """A source that can go on behind a sample that is unsound, and tells what it passed over."""

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Any]:
        """Read like `Source.read`.

        Args:
            shard: one of the source's shards.
            fields: the fields that somebody will look at, None for all.
            start: ordinal of the first sample to yield.
            on_error: called with the error of a sample that can be left out; True goes on behind it, False ends
                the shard. None: the error is raised.
            stats: where to count what the shard held.
        """
        ...


@runtime_checkable
class DescribedSource(Protocol):
    """A source that has more to say of what it does than its shards."""

    def describe(self) -> Sequence[tuple[str, str]]:
        """Return lines for `Plan.explain`: a word, and what there is to say."""
        ...


@runtime_checkable
class ComposedSource(Protocol):
    """A source whose samples come out of other plans."""

    @property
    def plans(self) -> Mapping[str, Plan]:
        """The plans by their names."""
        ...

    @property
    def how(self) -> str:
        """In words, how they come together."""
        ...

    @property
    def labels(self) -> Labels:
        """How the elements of the tuples are called that come out; None where that is not known."""
        ...

    @property
    def obstacle(self) -> str | None:
        """Why single samples of all of them cannot be dealt out; None if they can."""
        ...

    def bound(self, plan: Plan) -> Source[Any]:
        """Return the source that is run, of plans that are bound, and have what ``plan`` says of all."""
        ...

    def run(self, run: Run) -> Iterator[Item]:
        """Yield the items of one place, where samples are not dealt out one by one."""
        ...

    def length(self, place: Place) -> int:
        """Return how many values `run` yields on one rank.

        Raises:
            LengthError: that is not known.
        """
        ...


_Locate: TypeAlias = "Callable[[str, Iterator[Any], Progress], Iterator[T]]"
"""From a shard, its samples and a note of how many there were to what goes on."""


@final
@attrs.frozen(kw_only=True)
class Plan:
    """Everything that a builder was told.

    Attributes:
        source: where samples come from.
        splitter: who reads which shards.
        remainder: what becomes of the samples that do not divide evenly, where single samples are divided, and not
            shards by the splitter; None where shards are.
        window: how samples are shuffled across shards, where single samples are divided.
        stages: what becomes of the samples, in order.
        shard_seed: seed of the order of the shards; None keeps the source's.
        policy: what to do about errors.
        decoders: decoders by extension or field, on top of those of each stage's specification.
        checks_empty: whether it is an error when everything is dropped.
        access: how the source gets at its shards, such as through a cache, in words for `explain`.
        measured: whether it is noted where the time goes.
        path: in a mix, the name of this plan there.
        wanted: the fields of the values at the end of the plan that somebody looks at; None for all.
        url_wanted: whether somebody asks for the shard's URL there.
    """

    source: Source[Any]
    splitter: Splitter
    remainder: Remainder | None = None
    window: Window | None = None
    stages: tuple[Stage, ...] = ()
    shard_seed: int | None = None
    policy: Policy = attrs.field(factory=Policy)
    decoders: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    checks_empty: bool = True
    access: Mapping[str, str] = attrs.field(factory=dict[str, str])
    measured: bool = False
    path: str | None = None
    wanted: Fields = None
    url_wanted: bool = False
    is_bound: bool = False

    def then(self, stage: Stage) -> Plan:
        """Return the plan with one more stage at its end."""
        return attrs.evolve(self, stages=(*self.stages, stage))

    def bound(self, resolve: Resolver) -> Plan:
        """Return the plan that is run: every stage has its decoders and knows which fields matter after it.

        Raises:
            SplitError: single samples are to be divided or shuffled, and the source does not know how many there are;
                or equal parts of them cannot be promised.
        """
        self._check_division()
        source = self.source.bound(self) if isinstance(self.source, ComposedSource) else self.source
        stages: list[Stage] = []
        fields = self.wanted
        for stage in reversed(self.stages):
            stages.append(stage.bound(resolve, fields))
            fields = stage.wants(fields)
        labels = source.labels if isinstance(source, ComposedSource) else None
        named: list[Stage] = []
        for stage in reversed(stages):
            named.append(stage.labelled(labels))
            labels = stage.labels(labels)
        named = [
            attrs.evolve(stage, number=str(i)) if isinstance(stage, Take) else stage for i, stage in enumerate(named)
        ]
        return attrs.evolve(self, source=source, stages=tuple(named), is_bound=True)

    @functools.cached_property
    def fields(self) -> Fields:
        """The fields of the source that any stage looks at; None for all."""
        fields = self.wanted
        for stage in reversed(self.stages):
            fields = stage.wants(fields)
        return fields

    @functools.cached_property
    def names_url(self) -> bool:
        """Whether any stage asks for the shard's URL as a field."""
        return self.url_wanted or any("__url__" in stage.named() for stage in self.stages)

    @property
    def raises(self) -> bool:
        """Whether every error is raised, so that nothing can be missing."""
        plans = self.source.plans.values() if isinstance(self.source, ComposedSource) else ()
        return self.policy.raises and all(plan.raises for plan in plans)

    @property
    def ledgers(self) -> dict[str, str | None]:
        """The sources of a mix that have policies of their own, and the paths of their ledgers."""
        plans = self.source.plans.values() if isinstance(self.source, ComposedSource) else ()
        found = {plan.path or "": plan.policy.ledger for plan in plans if plan.policy != Policy()}
        for plan in plans:
            found |= plan.ledgers
        return found

    def _check_division(self) -> None:
        if self.by_sample is not None:
            self.by_sample.check()
        elif isinstance(self.source, ComposedSource):
            if self.remainder is not None:
                raise SplitError(
                    f'split(remainder="{self.remainder}") deals out the samples of all sources of a mix from one row, '
                    f"which cannot be: {self.source.obstacle}",
                    stage="split",
                )
        elif self.remainder is not None or self.window is not None:
            asked = "shuffle(window_shards=…)" if self.window is not None else f'split(remainder="{self.remainder}")'
            if isinstance(self.source, IndexedSource):
                raise SplitError(
                    f"{asked} shuffles single samples, and a splitter divides shards: say "
                    'split(remainder="uneven") or another remainder in its place',
                    stage="split",
                )
            raise SplitError(
                f"{asked} has to know how many samples there are, which takes an index, and a "
                f"{type(self.source).__name__} reads streams: call indexed(), for shards that build_index or "
                "ShardWriter(index=True) made an index of, or local ones",
                stage="split",
            )

    @functools.cached_property
    def by_sample(self) -> BySample | None:
        """How single samples are divided; None where shards are."""
        if self.remainder is None or not isinstance(self.source, IndexedSource):
            return None
        return BySample(
            source=self.source, stages=self.stages, remainder=self.remainder, shard_seed=self.shard_seed,
            window=self.window,
        )  # fmt: skip

    def shards(self, key: tuple[int, ...], place: Place) -> Sequence[str]:
        """Return the shards that ``place`` reads, in their order.

        Args:
            key: the epoch and the passes of enclosing repetitions.
            place: who reads; it only selects from an order that is the same everywhere.
        """
        shards = self.source.shards()
        fixed = not self.splitter.axes  # the same part everywhere stays the same in all epochs: it may be a test set
        if fixed:
            shards = self.splitter.split(shards, place)
        if self.shard_seed is not None:
            order: list[int] = permutation(len(shards), self.shard_seed, key, "shards").tolist()
            shards = [shards[i] for i in order]
        return shards if fixed else self.splitter.split(shards, place)

    def run(self, run: Run) -> Iterator[Item]:
        """Start one iteration and yield its items."""
        last = len(self.stages)
        return (self._upstream(last) if run.meter is None else self._measured(last, run.meter))(run)

    def values(self, run: Run) -> Iterator[Any]:
        """Start one iteration and yield its values, without their origins."""
        if (
            not self.stages
            and self.by_sample is None
            and run.meter is None
            and run.guard.policy.raises
            and not isinstance(self.source, ComposedSource)
        ):  # then nobody needs to know origins
            return self._read_shards(run, _as_they_are)
        return map(operator.itemgetter(1), self.run(run))

    @functools.cached_property
    def held(self) -> int:
        """The number of stages up to the last one that holds values back: behind it, progress is counted."""
        return max((i for i, stage in enumerate(self.stages, 1) if stage.holds), default=0)

    def _upstream(self, count: int) -> Upstream:
        """Return what starts an iteration of the source and the first ``count`` stages."""
        if 0 < count == self.held:
            return functools.partial(_counted, self._uncounted(count))
        return self._uncounted(count)

    def _uncounted(self, count: int) -> Upstream:
        if count == 0:
            return self._read
        if self._is_passed_over(count - 1):
            return self._upstream(count - 1)
        stage = self.stages[count - 1]
        if not isinstance(stage, EachStage) or not stage.fuses:
            before = self._upstream(count - 1)
            return lambda run: stage.run(before, run)
        together: list[tuple[EachStage, str]] = []
        while count and isinstance(stage := self.stages[count - 1], EachStage) and stage.fuses:
            count -= 1
            together.append((stage, self._label(stage, count)))
        before = self._upstream(count)
        return lambda run: run_each(together[::-1], before, run)

    def _measured(self, count: int, meter: Meter) -> Upstream:
        """Return the same as `_upstream`, measured: each stage has a loop of its own, to be told from the others."""
        if count == 0:
            return lambda run: meter.timed(SOURCE, self._read(run))
        before = self._measured(count - 1, meter)
        if self._is_passed_over(count - 1):
            return lambda run: meter.timed(FIRST_STAGE + count - 1, before(run))
        stage, row = self.stages[count - 1], FIRST_STAGE + count - 1
        if isinstance(stage, EachStage) and stage.fuses:
            alone = [(stage, self._label(stage, count - 1))]
            return lambda run: meter.timed(row, run_each(alone, before, run))
        if count == self.held:
            return lambda run: meter.timed(row, _counted(functools.partial(stage.run, before), run))
        return lambda run: meter.timed(row, stage.run(before, run))

    def _label(self, stage: Stage, number: int) -> str:
        """Return what tells a stage from all others."""
        return f"{stage.name} {number}" if self.path is None else f"{stage.name} {number} of {self.path}"

    def _is_passed_over(self, number: int) -> bool:
        return self.by_sample is not None and number in self.by_sample.passed_over

    def _read(self, run: Run) -> Iterator[Item]:
        """Yield the samples of all shards of this place, with their origins."""
        if self.by_sample is not None:
            return self.by_sample.read(run, self.fields, names_url=self.names_url)
        if isinstance(self.source, ComposedSource):
            return self.source.run(run)
        return self._read_shards(run, _with_origins_and_url if self.names_url else _with_origins)

    def _read_shards(self, run: Run, locate: _Locate[T]) -> Generator[T]:
        """Yield what ``locate`` makes of the samples of each shard of this place."""
        shards = self.shards(run.key, run.place)
        resumed = run.resumes_here
        run.progress.passes, run.progress.shard = run.passes, 0 if resumed is None else resumed.shard
        run.progress.read = 0 if resumed is None else resumed.read
        shards = shards[run.progress.shard :]
        observer = run.observer
        if not isinstance(self.source, ForeseeingSource) or not self.source.foresees:
            yield from self._read_in_turn(shards, run, locate, observer)
            return
        with contextlib.ExitStack() as stack:
            with observing(observer):
                source = stack.enter_context(self.source.reading(shards))
            reader = attrs.evolve(self, source=source)
            yield from reader._read_in_turn(shards, run, locate, observer)  # noqa: SLF001  # of its own class

    def _read_in_turn(self, shards: Sequence[str], run: Run, locate: _Locate[T], observer: Observer) -> Generator[T]:
        """Yield what ``locate`` makes of the samples of each of ``shards``."""
        guard = run.guard
        stats = ReadStats()
        failed = False
        progress = run.progress
        begin = progress.read
        for number, shard in enumerate(shards, progress.shard):
            stopped = False
            progress.shard, progress.read = number, begin

            def on_error(error: Exception, shard: str = shard, after: int | None = None) -> bool:
                nonlocal failed, stopped
                failed = True
                stopped = not guard.handle(error, "read", url=shard, after=after)
                return not stopped

            samples: Iterator[Any] | None = None
            samples_read = functools.partial(_since, progress, begin)
            guard.begin_reading(samples_read)
            try:
                with observing(observer):
                    samples = self._open(shard, None if guard.policy.raises else on_error, stats, begin)
                    begun = _begun(samples)
                yield from locate(shard, begun, progress)
            except Exception as error:  # of the source: what is done with a sample raises elsewhere
                on_error(error, after=None if place_of(error).get("stage") == "open" else progress.read)
            finally:
                guard.end_reading(samples_read)
                begin = 0
                close = getattr(samples, "close", None)
                if close is not None:
                    close()
                if stats.left_out:
                    guard.left_out(shard, stats.left_out)
                    stats.left_out = 0
            if stopped:
                return
        if not failed:
            used = stats.members - stats.passed_over
            label = "read" if self.path is None else f"read of {self.path}"
            run.check_not_empty(label, "the keys rule", used, stats.passed_over, stats.examples)

    def _open(
        self, shard: str, on_error: Callable[[Exception], bool] | None, stats: ReadStats, start: int
    ) -> Iterator[Any]:
        if isinstance(self.source, RecoveringSource):
            return iter(self.source.read_on(shard, self.fields, start, on_error=on_error, stats=stats))
        return iter(self.source.read(shard, self.fields, start))

    def length(self, place: Place) -> int:
        """Return how many values an iteration of one rank yields.

        Args:
            place: the rank; its worker does not matter.

        Raises:
            LengthError: that is not known before everything has been read.
        """
        if self.by_sample is not None:
            return self.by_sample.length(place)
        if isinstance(self.source, ComposedSource):
            return self._length_behind(self.source.length(place))
        if not isinstance(self.source, IndexedSource):
            raise LengthError(
                "the number of samples is not known before all shards have been read; "
                "give length= to the older front doors, or count while iterating"
            )
        counts = dict(zip(self.source.shards(), self.source.counts(), strict=True))
        if self.shard_seed is not None and place.world_size > 1 and len(set(counts.values())) > 1:
            raise LengthError("the number of samples of one rank changes with the epoch, since the shards are unequal")
        rank = place._replace(worker=0, num_workers=1)
        return self._length_behind(sum(counts[shard] for shard in self.shards((0,), rank)))

    def _length_behind(self, n: int) -> int:
        """Return how many values the stages make of ``n`` samples."""
        for stage in self.stages:
            if (length := stage.length(n)) is None:
                raise LengthError(
                    f"the number of values after {stage.name}({stage.describe()}) is not known beforehand"
                )
            n = length
        return n

    def explain(self) -> str:
        """Return, line by line, what an iteration will do."""
        shards = self.source.shards()
        first, last = (redact(shards[0]), redact(shards[-1])) if shards else ("", "")
        rows = [("shards", f"{len(shards)}: {first}" + (f" … {last}" if len(shards) > 1 else ""))]
        order = "as listed" if self.shard_seed is None else f"permuted anew each epoch, by seed {self.shard_seed}"
        if isinstance(self.source, ComposedSource):
            rows.append(("mix", self.source.how))
        if self.by_sample is not None:
            rows += self.by_sample.describe(order)
        elif isinstance(self.source, ComposedSource):
            why = self.source.obstacle or "shards are divided by a splitter"
            rows.append(("order", f"each worker mixes what it reads, so that it depends on their number: {why}"))
        else:
            axes = " and ".join(sorted(self.splitter.axes)) or "nothing"
            rows.append(("order", f"{order}; split over {axes} by {name_of(self.splitter)}"))  # type: ignore[arg-type]
        if self.fields is None:
            rows.append(("read", "all fields"))
        else:
            named = ", ".join(sorted(name for name in self.fields if not name.startswith("__")))
            rows.append(("read", f"{named or 'no field'}; other fields are passed over"))
        rows += self.access.items()
        if isinstance(self.source, DescribedSource):
            rows += self.source.describe()
        rows += [(stage.name, stage.describe()) for stage in self.stages]
        if self.path is None or self.policy != Policy():  # else it is that of the mix
            rows.append(("on error", name_of(self.policy.handler) + self.policy.limits()))
        if self.measured:
            rows.append(("measure", "values and seconds of each stage, each in a loop of its own"))
        lines = [f"{name:<10} {text}" for name, text in rows]
        for name, plan in self.source.plans.items() if isinstance(self.source, ComposedSource) else ():
            lines += ["", f"of {name}:", *(f"  {line}" if line else line for line in plan.explain().split("\n"))]
        return "\n".join(lines)


def _counted(upstream: Upstream, run: Run) -> Iterator[Item]:
    """Yield the items of a stage that holds some back; where the run goes on, without those that were handed out."""
    resumed, progress = run.resumes_here, run.progress
    progress.passes, progress.shard, progress.read = run.passes, 0, 0
    before = 0 if resumed is None else resumed.read
    for item in upstream(run.untracked):
        progress.read += 1
        if progress.read > before:
            yield item


def _since(progress: Progress, begin: int) -> int:
    """Return how many samples have been read of a shard that was begun at one."""
    return progress.read - begin


def _as_they_are(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Any]:
    for ordinal, sample in enumerate(samples, progress.read):
        progress.read = ordinal + 1
        yield sample


def _with_origins(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Item]:
    """Yield the samples of a shard with their origins."""
    for ordinal, sample in enumerate(samples, progress.read):
        progress.read = ordinal + 1
        yield (shard, ordinal, sample.get("__key__") if isinstance(sample, dict) else None), sample


def _with_origins_and_url(shard: str, samples: Iterator[Any], progress: Progress) -> Iterator[Item]:
    """The same, and the shard's URL in each sample."""
    for origin, sample in _with_origins(shard, samples, progress):
        if isinstance(sample, dict):
            sample["__url__"] = shard
        yield origin, sample


def _begun(samples: Iterator[Any]) -> Iterator[Any]:
    """Return the iterator, of which the first sample has been read: so long its shard has been opened."""
    for first in samples:
        return itertools.chain((first,), samples)
    return samples
