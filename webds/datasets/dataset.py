"""Datasets: a plan that torch's DataLoader iterates over, with the older front door's constructor and methods."""

from __future__ import annotations

import functools
import os
import warnings
from abc import ABC
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, cast, final, overload

import attrs
import torch.utils.data
from typing_extensions import Unpack, override

from webds.abc import Splitter
from webds.codecs.tables import decoders_from, default_decoders, extended
from webds.datasets.older import AnyDecoder, DatasetOptions, DecoderSpec, Selection, decoding, older_plan
from webds.datasets.stats import Stats
from webds.errors import LengthError
from webds.metrics import Metrics
from webds.openers.schemes import OpenerLike, reader
from webds.order.epochs import EpochClock
from webds.plans.explaining import explained
from webds.plans.plan import ComposedSource, Plan
from webds.plans.resuming import Known, Mark, Whereabouts
from webds.policy import Guard, Handler, Ledger, Policy, reraise_exception
from webds.shared import is_spawning
from webds.sources.tar import TarShards, Urls
from webds.splitters import NoSplit, SplitByWorker, SplitExplicit, current_place, current_rank
from webds.stages.base import Run, Stage
from webds.stages.fields import Rename, ToTuple
from webds.stages.functions import Map, MapDict, MapTuple, Pipe
from webds.stages.shuffle import Shuffle
from webds.tar import MissingEnd, base_plus_ext
from webds.typing import KeyFunction, Place, Sample, U, ValueT_co

if TYPE_CHECKING:
    from webds.datasets.builder import DatasetBuilder

__all__ = ["BaseDataset", "Dataset", "resolve_decoders"]


class BaseDataset(torch.utils.data.IterableDataset[ValueT_co], ABC, Generic[ValueT_co]):
    """What all datasets have in common: a plan, the count of epochs, and the ledger of what was left out.

    The first iteration is epoch 0, and each further one adds one, whether this process iterates or DataLoader
    workers do. The order of an epoch depends on the seed and its number alone.
    """

    _warned_of_ranks = False

    def __init__(self, plan: Plan, selection: Selection) -> None:
        super().__init__()
        self._start(plan, selection)

    def _start(self, plan: Plan, selection: Selection) -> None:
        self._plan = plan
        self._bound = plan.bound(functools.partial(resolve_decoders, dict(plan.decoders)))
        self._selection = selection
        self._clock = EpochClock()
        self._ledger = Ledger(plan.policy.ledger, self._bound.ledgers)
        self._metrics = Metrics(len(plan.stages)) if plan.measured else None
        self._known_rank: tuple[int, int] | None = None
        self._known = Known()
        self.urls: list[str] = list(plan.source.shards())

    @property
    def builder(self) -> DatasetBuilder[ValueT_co]:
        """The builder with the same plan, to derive another dataset from or to explain this one."""
        from webds.datasets.builder import DatasetBuilder  # noqa: PLC0415  # builder imports this module

        return DatasetBuilder[ValueT_co].of(self._plan)

    @override
    def __iter__(self) -> Iterator[ValueT_co]:
        place = current_place(self._known_rank)
        turn, resume = self._whereabouts.begin()
        meter = None if self._metrics is None else self._metrics.meter()
        run = Run(
            guard=Guard(self._plan.policy, self._ledger, turn.epoch),
            place=place if resume is None else resume.placed(place),
            turn=turn,
            clock=self._clock,
            checks_empty=self._plan.checks_empty,
            meter=meter,
            observed=meter,
        )
        if resume is not None:
            run = resume.run(run)
        self._whereabouts.begun(Mark(turn.epoch, run.place, run.progress, resume))
        return _values(self._selected(place), run)

    def __len__(self) -> int:
        """Number of values that an iteration yields on this rank.

        Raises:
            LengthError: (a TypeError) it is not known.
        """
        if self._selection.length is not None:
            return self._selection.length
        if self._selection.prepare is not None:
            raise LengthError("this dataset has no length, since none was given: pass length=")
        return self._bound.length(current_place(self._known_rank))

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration epoch ``epoch``, also in DataLoader workers that are alive.

        A state that was loaded is of its own epoch, and forgotten if this is another one.
        """
        self._whereabouts.forget(unless_of=epoch)
        self._clock.set(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration that was started last is, for JSON; it may be at its end, or broken off.

        What was handed out is behind it, what was only read ahead is not. Before the first value of a resumed
        iteration, and before that began, it is the position that was loaded. In a DataLoader worker it is that of this
        worker.

        Where samples are dealt out one by one (see `DatasetBuilder.split`) and no stage holds values back or drops
        some, a state is one number, and can be loaded for any number of ranks and workers. Otherwise it is for as many
        as there were. Of what a shuffle buffer or `unbatch` holds back, it has shard and number of each sample, some
        bytes for each: only these are read again, and go through the stages before once more, where what is random
        draws anew. What `pipe` holds back is not known, so that the pass is read from its beginning. `explain` says
        which of these it is.

        Raises:
            StateError: DataLoader workers iterated, so that this process does not know how far they are: use
                `DatasetBuilder.loader`, whose state counts what the training loop got.
        """
        return self._whereabouts.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration be the rest of the one that ``state`` is of, and the one after it the next epoch.

        The rest may be empty.

        Args:
            state: what `state_dict` returned, of this dataset or of a loader.

        Raises:
            StateError: the state does not fit this dataset; the difference is named.
        """
        self._whereabouts.load(state)

    def explain(self) -> str:
        """Return in words what an iteration reads, by whom, in which order, and with which decoders."""
        return explained(self._divided(self._bound, current_place(self._known_rank)))

    def stats(self) -> Stats:
        """Return what was lost and tried again so far, and where the time went, if the builder says `measure`.

        Of this process and of DataLoader workers that it started.
        """
        return Stats.of(self._ledger, self._metrics, [stage.name for stage in self._plan.stages])

    def raw_iter(self) -> Iterator[Any]:
        """Iterate over the samples as they are in the shards of this place, before any method's stage."""
        place = current_place(self._known_rank)
        plan = self._selected(place)
        plan = attrs.evolve(plan, stages=plan.stages[: self._selection.raw])
        return _values(plan, Run(guard=Guard(plan.policy, self._ledger), place=place, checks_empty=False))

    # How the older front doors choose shards.

    @property
    def subset(self) -> tuple[int, int] | None:
        """(index, total): which share of the shards to read, whatever the worker. Derived datasets inherit it."""
        return self._selection.subset

    @subset.setter
    def subset(self, subset: tuple[int, int] | None) -> None:
        if subset is not None:
            SplitExplicit(*subset)
            if isinstance(self._plan.source, ComposedSource):
                raise ValueError("subset chooses among the shards of one source, and this is a mix of several")
        self._selection.subset = subset

    def shard_selection(self) -> list[str]:
        """Return the shards that this place reads: of a worker, ``[id::num_workers]``; `subset` wins."""
        place = current_place(self._known_rank)
        splitter = self._splitter(place)
        return list(splitter.split(self.urls, place))

    def _splitter(self, place: Place) -> Splitter:
        if self._selection.subset is not None:
            return SplitExplicit(*self._selection.subset)
        if self._selection.prepare is None:
            return self._plan.splitter
        if self._selection.prepare is not True:
            return NoSplit()
        if place.world_size > 1 and not BaseDataset._warned_of_ranks:
            BaseDataset._warned_of_ranks = True
            self._warn_once(
                f"world size {place.world_size}: Dataset and WebDataset divide the shards over workers, not over "
                "ranks, so every rank reads all; DatasetBuilder divides them over both"
            )
        if place.num_workers > len(self.urls):
            self._warn_once(
                f"{place.num_workers} workers and {len(self.urls)} shards: some workers have nothing to read"
            )
        return SplitByWorker()

    def _warn_once(self, text: str) -> None:
        """Warn, unless another worker has done so, or a worker of an earlier epoch."""
        if self._clock.once(text):
            warnings.warn(text, RuntimeWarning, stacklevel=5)

    def _selected(self, place: Place) -> Plan:
        """Return the plan of an iteration that begins now."""
        prepare, plan = self._selection.prepare, self._bound
        chosen = prepare() if callable(prepare) else None
        # What the function returns may also mean nothing: it was made for what it does.
        given = isinstance(chosen, (Sequence, Iterator)) and not isinstance(chosen, str)
        urls = [os.fspath(url) for url in cast("Iterable[str]", chosen)] if given else self.urls
        if prepare is not None and isinstance(plan.source, TarShards):
            plan = attrs.evolve(plan, source=plan.source.with_shards(urls))
        return self._divided(plan, place)

    @property
    def _whereabouts(self) -> Whereabouts:
        """Where the iterations of this dataset are, for those who hand out its values."""
        return Whereabouts(self._known, self._clock, self._plan_here)

    def _plan_here(self) -> tuple[Plan, Place]:
        place = current_place(self._known_rank)
        return self._divided(self._bound, place), place

    def _divided(self, plan: Plan, place: Place) -> Plan:
        """Return ``plan`` with what divides it here: an explicit subset is one of shards."""
        remainder = plan.remainder if self._selection.subset is None else None
        splitter = self._splitter(place)
        if splitter is plan.splitter and remainder == plan.remainder:
            return plan  # which may have found out things already
        return attrs.evolve(plan, splitter=splitter, remainder=remainder)

    # The older fluent methods. Each returns another dataset and leaves this one as it is.

    def _then(self, *stages: Stage, shard_seed: int | None = None) -> Dataset[Any]:
        plan = functools.reduce(Plan.then, stages, self._plan)
        if shard_seed is not None:
            plan = attrs.evolve(plan, shard_seed=shard_seed)
        derived: Dataset[Any] = Dataset[Any].of(plan, attrs.evolve(self._selection))
        derived.urls = list(self.urls)
        return derived

    @overload
    def decode(self: BaseDataset[Sample], decoder: DecoderSpec = ..., handler: Handler = ...) -> Dataset[Sample]: ...
    @overload
    def decode(self, decoder: Callable[[ValueT_co], U], handler: Handler = ...) -> Dataset[U]: ...
    def decode(
        self: BaseDataset[Any], decoder: AnyDecoder = "rgb", handler: Handler = reraise_exception
    ) -> Dataset[Any]:
        """Decode fields by their extensions.

        Args:
            decoder: name of an image specification; True for ``"rgb"``; False or None for nothing; a function
                of the whole sample; or a dict from extension to function or `Decoder`.
            handler: what to do about a sample that cannot be decoded.
        """
        return self._then(*decoding(decoder, Policy(handler)))

    def map(self, f: Callable[[ValueT_co], U], handler: Handler = reraise_exception) -> Dataset[U]:
        """Replace each value by ``f`` of it. Where a dict becomes a dict, ``__key__`` is kept."""
        return self._then(Map(f=f, keeps_key=True, policy=Policy(handler)))

    def map_dict(
        self: BaseDataset[Sample], handler: Handler = reraise_exception, **fns: Callable[[Any], Any]
    ) -> Dataset[Sample]:
        """Replace fields of each sample by what the functions of the same names make of them."""
        return self._then(MapDict(fs=fns, policy=Policy(handler)))

    def map_tuple(
        self: BaseDataset[tuple[Any, ...] | list[Any]],
        *fns: Callable[[Any], Any] | None,
        handler: Handler = reraise_exception,
    ) -> Dataset[tuple[Any, ...]]:
        """Replace each element of a tuple by what its function makes of it; None leaves one as it is."""
        return self._then(MapTuple(fs=fns, policy=Policy(handler)))

    def pipe(self, stage: Callable[[Iterator[ValueT_co]], Iterable[U]]) -> Dataset[U]:
        """Hand the whole iterator to a function that returns another."""
        return self._then(Pipe(stage=stage, policy=Policy()))

    def rename(self: BaseDataset[Sample], handler: Handler = reraise_exception, **new_old: str) -> Dataset[Sample]:
        """Make samples of the fields named, ``new="old"`` or ``new="old;other"``, and drop all others."""
        return self._then(Rename(fields=new_old, keeps_rest=False, policy=Policy(handler)))

    def shuffle(self, size: int) -> Dataset[ValueT_co]:
        """Shuffle the shards, and samples in a buffer of ``size``; 0 does nothing."""
        if size < 0:
            raise ValueError(f"shuffle({size}): expected a number from 0")
        if size == 0:
            return self._then()
        purpose = f"samples {sum(isinstance(stage, Shuffle) for stage in self._plan.stages)}"
        return self._then(Shuffle(size=size, seed=0, purpose=purpose), shard_seed=0)

    def to_tuple(
        self: BaseDataset[Sample], *fields: str, handler: Handler = reraise_exception
    ) -> Dataset[tuple[Any, ...]]:
        """Make a tuple of fields: ``"png;jpg", "cls"``, or all in one text, separated by spaces."""
        names = tuple(name for field in fields for name in field.split())
        return self._then(ToTuple(fields=names, policy=Policy(handler)))

    @override
    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned does not know of the process group that its parent belongs to.
        return self.__dict__ | ({"_known_rank": self._known_rank or current_rank()} if is_spawning() else {})

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.urls)} shards, {len(self._plan.stages)} stages)"


def _values(plan: Plan, run: Run) -> Generator[Any]:
    try:
        if run.resumed is None or not run.resumed.done:
            yield from plan.values(run)
            run.guard.finish()
        run.progress.done = True
    finally:
        if run.meter is not None:
            run.meter.flush()


def resolve_decoders(extra: Mapping[str, Any], spec: Any) -> dict[str, Any]:
    """Return the decoders by extension for what a stage was given as ``spec``."""
    return extended(default_decoders(None) if spec is None else decoders_from(spec), extra)


@final
class Dataset(BaseDataset[ValueT_co]):
    """A dataset of tar shards: what `DatasetBuilder.build` returns, and the older system's front door.

    Args:
        urls: a brace expression, a glob, a path, or a list of these.
        keys: member path → (key, field), or (None, None) to pass the member over.
        suffixes: keep only these fields.
        length: what ``len`` returns.
        epochs: how many passes over the shards one iteration makes.
        opener: an `Opener`, a function from URL to stream, or a shell command template with ``{url}``.
        handler: what to do about a shard that cannot be opened or read.
        shuffle: whether to shuffle the shards, anew in each pass.
        prepare_for_worker: True: a DataLoader worker reads its own share of the shards. False: every worker
            reads all. A function without arguments: it is called at each iteration and replaces the selection;
            it may set ``urls`` or ``subset`` of the dataset, or return a list of the shards to read this time.
        initial_pipeline: functions of the iterator over a shard's (name, bytes) members, in place of grouping
            them into samples; an empty list yields the members.

    Raises:
        UrlError: nothing matches ``urls``.
    """

    @overload
    def __init__(
        self: Dataset[Sample], urls: Urls, *, initial_pipeline: None = ..., **options: Unpack[DatasetOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Dataset[Any],
        urls: Urls,
        *,
        initial_pipeline: Sequence[Callable[[Iterator[Any]], Iterable[Any]]],
        **options: Unpack[DatasetOptions],
    ) -> None: ...
    def __init__(
        self,
        urls: Urls,
        *,
        keys: KeyFunction = base_plus_ext,
        suffixes: Collection[str] | None = None,
        length: int | None = None,
        epochs: int = 1,
        opener: OpenerLike = reader,
        handler: Handler = reraise_exception,
        shuffle: bool = False,
        prepare_for_worker: bool | Callable[[], object] = True,
        initial_pipeline: Sequence[Callable[[Iterator[Any]], Iterable[Any]]] | None = None,
        missing_end: MissingEnd = "error",
    ) -> None:
        plan = older_plan(urls, keys, epochs, opener, handler, missing_end, suffixes, initial_pipeline)
        if shuffle:
            plan = attrs.evolve(plan, shard_seed=0)
        self._start(plan, Selection(prepare_for_worker, None, length, len(plan.stages)))

    @classmethod
    def of(cls, plan: Plan, selection: Selection | None = None) -> Self:
        """Return the dataset that runs ``plan``; what `DatasetBuilder.build` calls."""
        dataset = cls.__new__(cls)
        dataset._start(plan, selection or Selection())  # noqa: SLF001  # of its own class
        return dataset
