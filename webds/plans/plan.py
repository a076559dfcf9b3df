"""The plan of a dataset: what is read, by whom, in which order, and what becomes of it. It opens nothing."""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, final, runtime_checkable

import attrs

from webds.abc import IndexedSource, Source, Splitter
from webds.errors import LengthError, SplitError
from webds.metrics import FIRST_STAGE, SOURCE, Meter
from webds.order.dealing import Remainder, Window
from webds.plans.bysample import BySample
from webds.plans.byshard import ByShard
from webds.plans.recalling import Recalling
from webds.policy import Policy
from webds.redaction import redact
from webds.stages.base import EachStage, Fields, Item, Labels, Resolver, Run, Stage, Upstream, run_each
from webds.stages.batch import Batch
from webds.stages.flow import Repeat
from webds.typing import Place

__all__ = ["ComposedSource", "IdentifiedSource", "Plan", "digest_of"]

_MAY_HIDE: Final = re.compile(r"[?@=\s]|:(?!//)")
"""Without any of these, a URL has no secret in it."""


def digest_of(data: bytes) -> str:
    """Return a few characters that tell ``data`` from other data."""
    return hashlib.blake2b(data, digest_size=4).hexdigest()


@runtime_checkable
class IdentifiedSource(Protocol):
    """A source of which more decides than its shards which samples it has."""

    def identity(self) -> Mapping[str, object]:
        """Return, for JSON, what has to be the same so that the samples are; without what is as it is by default."""
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
        nodes: how many nodes keep to a share of the samples each, where single samples are divided.
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
    nodes: int = 1
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
        self.check_division()
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
        named = [attrs.evolve(stage, number=str(i)) for i, stage in enumerate(named)]
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

    def check_division(self) -> None:
        """Raise if samples cannot be divided as they are to be; see `bound`."""
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
            window=self.window, nodes=self.nodes,
        )  # fmt: skip

    @functools.cached_property
    def shards_told(self) -> str:
        """How many shards there are, and what tells their names from others, with no regard to secrets in them."""
        shards = self.source.shards()
        told = (redact(shard) if _MAY_HIDE.search(shard) else shard for shard in shards)
        return f"{len(shards)} {digest_of(chr(10).join(told).encode('utf-8', 'surrogateescape'))}"

    @functools.cached_property
    def by_shard(self) -> ByShard:
        """How shards are divided, where single samples are not."""
        return ByShard(source=self.source, splitter=self.splitter, shard_seed=self.shard_seed, fields=self.fields)

    def run(self, run: Run) -> Iterator[Item]:
        """Start one iteration and yield its items."""
        last = len(self.stages)
        if run.resumed is not None:
            run = attrs.evolve(run, recall=functools.partial(self._recalling.recall, run))
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
            return self.by_shard.read_bare(run)
        return map(operator.itemgetter(1), self.run(run))

    @functools.cached_property
    def replayed(self) -> int:
        """The number of stages up to the last one that can only be gone on with by running all before it again.

        Such a stage holds values back, and it or one before it cannot make those again by their origins.
        """
        if isinstance(self.source, ComposedSource):  # whose values are not made again by the stages of this plan alone
            recalled = 0
        else:
            recalled = next((i for i, stage in enumerate(self.stages) if not stage.recalls), len(self.stages))
        return max((i for i, stage in enumerate(self.stages, 1) if stage.holds and i > recalled), default=0)

    def is_elastic(self, world_size: int, workers: int) -> bool:
        """Return whether what has been handed out at any time is the beginning of an order that all places share.

        Then one number says how far an iteration is, and any number of ranks and workers can go on from there.
        """
        division = self.by_sample
        if division is None or any(stage.holds for stage in self.stages):
            return False
        repeats = [
            i for i, stage in enumerate(self.stages) if isinstance(stage, Repeat) and not self._is_passed_over(i)
        ]
        if len(repeats) > 1:
            return False
        if world_size == workers == 1:
            return True
        behind = self.stages[division.known + 1 :]
        keeps = all(isinstance(stage, Repeat) or stage.length(1) == 1 for stage in behind)
        is_whole = division.known == len(self.stages) or isinstance(self.stages[division.known], Batch)
        return keeps and is_whole and self.raises

    @property
    def _recalling(self) -> Recalling:
        return Recalling(source=self.source, stages=self.stages, fields=self.fields, names_url=self.names_url)

    def _upstream(self, count: int) -> Upstream:
        """Return what starts an iteration of the source and the first ``count`` stages."""
        if 0 < count == self.replayed:
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
        if count == self.replayed:
            return lambda run: meter.timed(row, _counted(functools.partial(stage.run, before), run))
        return lambda run: meter.timed(row, stage.run(before, run))

    def _label(self, stage: Stage, number: int) -> str:
        """Return what tells a stage from all others."""
        return f"{stage.name} {number}" if self.path is None else f"{stage.name} {number} of {self.path}"

    def _is_passed_over(self, number: int) -> bool:
        return self.by_sample is not None and number in self.by_sample.passed_over

    def _read(self, run: Run) -> Iterator[Item]:
        """Yield the samples of this place, with their origins."""
        if self.by_sample is not None:
            return self.by_sample.read(run, self.fields, names_url=self.names_url)
        if isinstance(self.source, ComposedSource):
            return self.source.run(run)
        return self.by_shard.read(run, names_url=self.names_url)

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
                "the number of samples is not known before all shards have been read; an index knows it "
                "(webds.build_index, then indexed()), and the older front doors take length="
            )
        counts = dict(zip(self.source.shards(), self.source.counts(), strict=True))
        if self.shard_seed is not None and place.world_size > 1 and len(set(counts.values())) > 1:
            raise LengthError("the number of samples of one rank changes with the epoch, since the shards are unequal")
        rank = place._replace(worker=0, num_workers=1)
        return self._length_behind(sum(counts[shard] for shard in self.by_shard.shards((0,), rank)))

    def _length_behind(self, n: int) -> int:
        """Return how many values the stages make of ``n`` samples."""
        for stage in self.stages:
            if (length := stage.length(n)) is None:
                raise LengthError(
                    f"the number of values after {stage.name}({stage.describe()}) is not known beforehand"
                )
            n = length
        return n


def _counted(upstream: Upstream, run: Run) -> Iterator[Item]:
    """Yield the items of a stage that holds some back; where the run goes on, without those that were handed out."""
    resumed, progress = run.resumes_here, run.progress
    progress.passes, progress.shard, progress.read = run.passes, 0, 0
    before = 0 if resumed is None else resumed.read
    for item in upstream(run.untracked):
        progress.read += 1
        if progress.read > before:
            yield item
