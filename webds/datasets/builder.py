"""The fluent front door: a frozen builder whose every method returns another one."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeGuard, final, overload

import attrs
import torch
from typing_extensions import TypeIs, TypeVar, Unpack, override

from webds.abc import Decoder, IndexedSource, Source
from webds.codecs.image_spec import SizedSpec
from webds.datasets.dataset import Dataset, resolve_decoders
from webds.datasets.loader import Loader, LoaderOptions
from webds.datasets.mapstyle import IndexedDataset
from webds.forms import (
    Dimensional,
    Numeric,
    Texts,
    Tuple1,
    Tuple2,
    Tuple3,
    Tuple4,
    Tuple5,
    Tuple6,
    TupleN,
    Unknown,
    UnknownTuple,
)
from webds.openers.ahead import Prefetch
from webds.openers.cache import CachingOpener, Validation
from webds.openers.schemes import OpenerLike, SchemeOpener, as_opener, default_opener
from webds.order.dealing import REMAINDERS, Remainder, Window
from webds.plans.plan import Plan
from webds.plans.planning import EpochPlan, plan_epoch
from webds.policy import Policy, PolicyLike
from webds.sources.indexed import IndexedTarSource, SampleInfo
from webds.sources.tar import TarShards, TarSource, Urls
from webds.splitters import BY_DEFAULT, SplitterLike, as_splitter
from webds.stages.base import EachStage, Stage
from webds.stages.batch import Batch, Unbatch
from webds.stages.collate import collate as default_collate
from webds.stages.fields import Associate, Decode, Rename, Select, ToTuple
from webds.stages.flow import Repeat, Take
from webds.stages.functions import Filter, Map, MapDict, MapTuple, Pipe
from webds.stages.into import Into, RecordT
from webds.stages.join import COLLISIONS, MISSING, Collision, Join, Missing
from webds.stages.shuffle import Shuffle
from webds.streams.verify import Verify
from webds.tar import Duplicates, MissingEnd, base_plus_ext
from webds.typing import KeyFunction, Sample, U, ValueT_co

__all__ = ["DatasetBuilder"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
A2 = TypeVar("A2")
B2 = TypeVar("B2")
C2 = TypeVar("C2")
D2 = TypeVar("D2")
E2 = TypeVar("E2")
F2 = TypeVar("F2")


@final
@attrs.frozen(init=False)
class DatasetBuilder(Generic[ValueT_co]):
    """Says step by step what a dataset reads and what becomes of it. It opens nothing until it is built.

    Frozen: each method returns a new builder, so any number of chains can be derived from one. The type
    parameter is that of the values that come out at the end of the chain; it begins as `Sample`.

    Example:
        >>> import webds
        >>> train = (
        ...     webds.DatasetBuilder("data/train-{000000..000146}.tar")
        ...     .shuffle(5000, seed=17)
        ...     .decode("torchrgb8")
        ...     .to_tuple("jpg;png", "cls")
        ...     .batch(64)
        ... )

    Args:
        urls: a brace expression, a glob, a path, a manifest's URL, a list of these; or a `Source`.
        opener: an `Opener` for all URLs, a function from URL to stream, or a shell command template with
            ``{url}``; None for the default, which goes by the scheme.
        keys: member path → (key, field), or (None, None) to pass the member over.
        on_error: what to do about errors of any stage; see `on_error`.
        missing_end: ``"error"`` or ``"accept"``: what of an archive without end blocks.
        duplicates: what of a field that a sample has twice: ``"error"``; ``"skip"``: leave out the sample, and
            count it; keep the ``"first"`` or the ``"last"``.
        verify: what of each shard must be as a manifest says, when it has been read to its end: the ``"size"``, where
            one says it, which costs nothing; ``"hash"``, of every shard, for which all of its bytes are read, also
            those of fields that nobody wants; or None.
    """

    plan: Plan = attrs.field(repr=False)

    @overload
    def __init__(
        self: DatasetBuilder[Sample],
        urls: Urls,
        *,
        opener: OpenerLike | None = ...,
        keys: KeyFunction = ...,
        on_error: PolicyLike = ...,
        missing_end: MissingEnd = ...,
        duplicates: Duplicates = ...,
        verify: Verify = ...,
    ) -> None: ...

    @overload
    def __init__(self: DatasetBuilder[U], urls: Source[U], *, on_error: PolicyLike = ...) -> None: ...

    def __init__(
        self,
        urls: Urls | Source[Any],
        *,
        opener: OpenerLike | None = None,
        keys: KeyFunction | None = None,
        on_error: PolicyLike = "raise",
        missing_end: MissingEnd = "error",
        duplicates: Duplicates = "error",
        verify: Verify = "size",
    ) -> None:
        if isinstance(urls, Source):
            given = (opener, keys, missing_end, duplicates, verify)
            if given != (None, None, "error", "error", "size"):
                raise TypeError(
                    "opener, keys, missing_end, duplicates and verify are for URLs; a Source reads by itself"
                )
            source: Source[Any] = urls
        else:
            source = TarSource(
                urls,
                default_opener() if opener is None else as_opener(opener),
                keys=base_plus_ext if keys is None else keys,
                missing_end=missing_end,
                duplicates=duplicates,
                verify=verify,
            )
        remainder: Remainder | None = "uneven" if isinstance(source, IndexedSource) else None
        plan = Plan(source=source, splitter=BY_DEFAULT, remainder=remainder, policy=Policy.of(on_error))
        object.__setattr__(self, "plan", plan)  # frozen: there is no other way in

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the builder around ``plan``."""
        builder = cls.__new__(cls)
        object.__setattr__(builder, "plan", plan)
        return builder

    @override
    def __repr__(self) -> str:
        return " → ".join([f"{type(self).__name__}({self.plan.source!r})", *(stage.name for stage in self.plan.stages)])

    def _then(self, stage: Stage) -> DatasetBuilder[Any]:
        return DatasetBuilder[Any].of(self.plan.then(stage))

    def _evolve(self, **changes: Any) -> Self:
        return type(self).of(attrs.evolve(self.plan, **changes))

    # Which samples, and in which order.

    def indexed(self: DatasetBuilder[Sample]) -> DatasetBuilder[Sample]:
        """Read the shards by their indexes: with exact counts, and any sample by its number.

        An index is what the manifest names, or the member table beside each shard; see `build_index` and
        ``ShardWriter(index=True)``. Local shards without one have their headers read at the beginning. The samples are
        the same as without, in the same order. A hash (``verify="hash"``) is compared where whole shards are read,
        also into a `cache`; not where samples are read by themselves.

        Raises:
            TypeError: the builder has a `Source` of its own, which is not of tar shards.
            ValueError: ``duplicates`` is not ``"error"``, or `prefetch` was called.
        """
        source = self.plan.source
        if isinstance(source, IndexedTarSource):
            return self
        if not isinstance(source, TarSource):
            raise TypeError(f"indexed() is for tar shards; the source of this builder is a {type(source).__name__}")
        remainder = "uneven" if self.plan.splitter is BY_DEFAULT else None
        return self._evolve(source=IndexedTarSource(source), remainder=self.plan.remainder or remainder)

    def select_samples(self, predicate: Callable[[SampleInfo], object]) -> Self:
        """Leave out all samples of the source for which ``predicate`` is false, before any data is read.

        It holds for what comes out of the shards, wherever in the chain this is called.

        Args:
            predicate: a function of a `SampleInfo`: key, shard, ordinal and the sizes of the fields. It is called once
                for each sample, when the length or the first sample is asked for.

        Raises:
            TypeError: the source has no index: call `indexed` before.
        """
        source = self.plan.source
        if not isinstance(source, IndexedTarSource):
            raise TypeError("select_samples looks at the index of tar shards: call indexed() before it")
        return self._evolve(source=source.where(_function("select_samples", predicate)))

    @overload
    def split(self, splitter: SplitterLike) -> Self: ...
    @overload
    def split(self, *, remainder: Remainder, nodes: int | None = ...) -> Self: ...
    @overload
    def split(self, *, nodes: int) -> Self: ...
    def split(
        self, splitter: SplitterLike | None = None, *, remainder: Remainder | None = None, nodes: int | None = None
    ) -> Self:
        """Say who reads what: divide the shards by a splitter, or the samples one by one.

        By default, shards that are read as streams are divided over nodes' ranks, then over workers, and the samples of
        an indexed source as with ``remainder="uneven"``.

        Samples are dealt out in steps: in each, every rank gets a batch, and its workers make them in turn. What is in
        a step depends on how many samples it has, and not on how many ranks and workers share them. Ranks and workers
        may be more than there are shards.

        Args:
            splitter: divides the shards.
            remainder: divides the samples, and says what becomes of those at the end that do not fill a step:
                ``"drop"``: they are left out; ``"pad"``: the step is filled up with the first samples of the order once
                more; so all ranks have equal numbers of batches. ``"uneven"``: each sample is there exactly once, and
                ranks may differ by one batch.
            nodes: how many nodes the ranks are on, an equal number on each, those of a node one after the other, as
                torchrun numbers them. Each node then keeps to its own share of the shards in all epochs, so that its
                cache holds only these. Shares are cut by samples, so that they differ by one at most, and what is
                promised of ``remainder`` still holds, each node filling up from its own share; a shard on a border is
                read by two nodes. Samples do not travel between nodes by shuffling, and what is in a step depends on
                the number of nodes. With a `repeat` before the batch, nodes may differ by as many samples as there are
                passes. 1, the default, shuffles all together.

        Raises:
            SplitError: when it is built: there is no index that says how many samples there are; or a stage drops
                values, so that no equal numbers can be promised. When it is iterated over: the world size is no
                multiple of ``nodes``.
        """
        if (splitter is None) == (remainder is None and nodes is None):
            raise TypeError(
                "split() takes a splitter, which divides shards, or remainder= and nodes=, which divide samples"
            )
        if splitter is not None:
            return self._evolve(splitter=as_splitter(splitter), remainder=None, nodes=1)
        remainder = remainder or self.plan.remainder or "uneven"
        if remainder not in REMAINDERS:
            raise ValueError(f"split(remainder={remainder!r}): expected one of {', '.join(map(repr, REMAINDERS))}")
        _at_least("split", nodes=(nodes, 1))
        return self._evolve(remainder=remainder, nodes=nodes or self.plan.nodes)

    def shuffle(
        self,
        size: int | None = None,
        *,
        seed: int = 0,
        shards: bool = True,
        initial: int | None = None,
        max_bytes: int | None = None,
        window_shards: int | None = None,
    ) -> Self:
        """Shuffle the shards, and the values in a buffer or, of an indexed source, across shards.

        The order depends on the seed, the epoch and the shard list alone. A value leaves the buffer at most
        ``size - 1`` places early; how late has no bound, but one in a thousand is late by six times ``size``. It moves
        about ``0.74 * size`` places, early or late on average. In a window of m samples one moves ``m / 3`` places on
        average, and ``m - 1`` at most. What follows `shuffle` in the chain works on shuffled values; what comes before
        it fills the buffer: shuffle before decoding to hold small values.

        Args:
            size: how many values the buffer holds; 0 for none. By default 1000, or none with ``window_shards``.
            seed: any integer. Neither torch's, numpy's nor Python's global seed has an effect.
            shards: whether to permute the shards, anew in each epoch.
            initial: how full the buffer is when the first value leaves, for a quicker start; None: it is filled.
            max_bytes: how much memory the values in the buffer may take, estimated.
            window_shards: permute all samples of so many shards, which come one after the other, together. No more
                shards are open at a time, and unlike a buffer, which each worker has for itself, it leaves the order
                independent of the number of ranks and workers.

        Raises:
            SplitError: when it is built: ``window_shards`` without an index.
        """
        _at_least("shuffle", size=(size, 0), initial=(initial, 1), max_bytes=(max_bytes, 1),
                  window_shards=(window_shards, 1))  # fmt: skip
        if size is None:
            size = 1000 if window_shards is None else 0
        plan = self.plan
        if window_shards is not None:
            plan = attrs.evolve(plan, window=Window(window_shards, seed))
        if shards:
            plan = attrs.evolve(plan, shard_seed=seed)
        if size > 0:
            purpose = f"samples {sum(isinstance(stage, Shuffle) for stage in plan.stages)}"
            plan = plan.then(Shuffle(size=size, seed=seed, initial=initial, max_bytes=max_bytes, purpose=purpose))
        return type(self).of(plan)

    def repeat(self, n: int | None = None) -> Self:
        """Go through all that comes before ``n`` times in one iteration, or without end; shuffled anew each time."""
        _at_least("repeat", n=(n, 1))
        return type(self).of(self.plan.then(Repeat(n=n)))

    def take(self, n: int) -> Self:
        """Let only the first ``n`` values through, per rank; each of several workers takes its part of the n."""
        _at_least("take", n=(n, 0))
        return type(self).of(self.plan.then(Take(n=n)))

    # What becomes of a sample.

    def decode(
        self: DatasetBuilder[Sample],
        spec: str | None = None,
        *,
        threads: int = 0,
        size: int | tuple[int, int] | None = None,
    ) -> DatasetBuilder[Sample]:
        """Decode every field that somebody looks at and that has a decoder for its extension.

        Args:
            spec: how images are decoded: one of the names in `webds.IMAGE_SPECS`, such as ``"torchrgb8"`` or
                ``"pil"``; None leaves images as bytes. A function of one field goes into `with_decoder`; one of
                the whole sample is `map`.
            threads: how many threads of this process, or of each DataLoader worker, decode, each a sample; 0 for
                none but the one that iterates. The order stays, errors come in their place, and up to twice as many
                samples are under way. Decoders of your own are then called by several threads at once.
            size: what images are brought to: the length of the shorter side, the longer one keeping the
                proportion, or (height, width); in pixels. A large jpg is decoded at a fraction of its size; see
                `ImageCodec` for the filter. Decoders of your own are not concerned.

        Raises:
            ValueError: there is no such image specification, or no such size.
        """
        if spec is not None and not isinstance(spec, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # at run time
            raise TypeError(
                f"decode({spec!r}): expected the name of an image specification; "
                "a function of one field goes into with_decoder, one of the whole sample into map"
            )
        _at_least("decode", threads=(threads, 0))
        if spec is None and size is not None:
            raise ValueError(f"decode(size={size}): which images? Name a specification, such as 'torchrgb8'")
        how = spec if spec is None or size is None else SizedSpec(spec, size)
        resolve_decoders({}, how)
        return self._then(Decode(spec=how, threads=threads))

    def select(self: DatasetBuilder[Sample], *fields: str) -> DatasetBuilder[Sample]:
        """Keep only these fields, each a name or alternatives such as ``"jpg;png"``; samples with none are dropped."""
        return self._then(Select(fields=_named("select", fields)))

    def rename(self: DatasetBuilder[Sample], **new_old: str) -> DatasetBuilder[Sample]:
        """Rename fields: ``image="jpg;png"``. Fields that are not named stay; a missing one is a `FieldError`."""
        _named("rename", tuple(new_old.values()))
        return self._then(Rename(fields=new_old))

    def map(self, f: Callable[[ValueT_co], U]) -> DatasetBuilder[U]:
        """Replace each value by what ``f`` makes of it."""
        return self._then(Map(f=_function("map", f)))

    def map_dict(self: DatasetBuilder[Sample], **fs: Callable[[Any], Any]) -> DatasetBuilder[Sample]:
        """Replace the fields named by what their functions make of them; a missing field is a `FieldError`."""
        for f in fs.values():
            _function("map_dict", f)
        return self._then(MapDict(fs=fs))

    @overload
    def map_tuple(self: DatasetBuilder[tuple[A]], a: Callable[[A], A2], /) -> DatasetBuilder[tuple[A2]]: ...
    @overload
    def map_tuple(
        self: DatasetBuilder[tuple[A, B]], a: Callable[[A], A2], b: Callable[[B], B2], /
    ) -> DatasetBuilder[tuple[A2, B2]]: ...
    @overload
    def map_tuple(
        self: DatasetBuilder[tuple[A, B, C]], a: Callable[[A], A2], b: Callable[[B], B2], c: Callable[[C], C2], /
    ) -> DatasetBuilder[tuple[A2, B2, C2]]: ...
    @overload
    def map_tuple(
        self: DatasetBuilder[tuple[A, B, C, D]],
        a: Callable[[A], A2],
        b: Callable[[B], B2],
        c: Callable[[C], C2],
        d: Callable[[D], D2],
        /,
    ) -> DatasetBuilder[tuple[A2, B2, C2, D2]]: ...
    @overload
    def map_tuple(
        self: DatasetBuilder[tuple[A, B, C, D, E]],
        a: Callable[[A], A2],
        b: Callable[[B], B2],
        c: Callable[[C], C2],
        d: Callable[[D], D2],
        e: Callable[[E], E2],
        /,
    ) -> DatasetBuilder[tuple[A2, B2, C2, D2, E2]]: ...
    @overload
    def map_tuple(
        self: DatasetBuilder[tuple[A, B, C, D, E, F]],
        a: Callable[[A], A2],
        b: Callable[[B], B2],
        c: Callable[[C], C2],
        d: Callable[[D], D2],
        e: Callable[[E], E2],
        f: Callable[[F], F2],
        /,
    ) -> DatasetBuilder[tuple[A2, B2, C2, D2, E2, F2]]: ...
    @overload
    def map_tuple(  # more than are counted above, or from a list
        self: DatasetBuilder[TupleN],
        a: Callable[[Any], Any],
        b: Callable[[Any], Any],
        c: Callable[[Any], Any],
        d: Callable[[Any], Any],
        e: Callable[[Any], Any],
        f: Callable[[Any], Any],
        g: Callable[[Any], Any],
        /,
        *more: Callable[[Any], Any],
    ) -> DatasetBuilder[TupleN]: ...
    def map_tuple(self: DatasetBuilder[Any], *fs: Callable[[Any], Any]) -> DatasetBuilder[Any]:
        """Replace each element of a tuple by what its function makes of it; as many functions as elements."""
        for f in fs:
            _function("map_tuple", f)
        return self._then(MapTuple(fs=fs))

    @overload
    def filter(self, predicate: Callable[[ValueT_co], TypeGuard[U]]) -> DatasetBuilder[U]: ...
    @overload
    def filter(self, predicate: Callable[[ValueT_co], TypeIs[U]]) -> DatasetBuilder[U]: ...
    @overload
    def filter(self, predicate: Callable[[ValueT_co], object]) -> Self: ...
    def filter(self, predicate: Callable[[Any], object]) -> DatasetBuilder[Any]:
        """Let only the values through for which ``predicate`` is true.

        Raises:
            EmptyDatasetError: while iterating, at the end of a pass in which it dropped all that came in.
        """
        return self._then(Filter(predicate=_function("filter", predicate)))

    def associate(
        self: DatasetBuilder[Sample], table: Callable[[str], Mapping[str, object]] | Mapping[str, Mapping[str, object]]
    ) -> DatasetBuilder[Sample]:
        """Merge into each sample what ``table``, a dict or a function, has for its key."""
        return self._then(Associate(table=table))

    def join(
        self: DatasetBuilder[Sample],
        companions: DatasetBuilder[Sample] | Source[Sample],
        *,
        by: Callable[[str], str] | None = None,
        missing: Missing = "raise",
        collision: Collision = "raise",
    ) -> DatasetBuilder[Sample]:
        """Put into each sample the fields that companion shards have for its key, such as embeddings beside images.

        Nothing is written anew. Without an index, each shard has its companion shard at the same place of the list, and
        both are read in step: to be called before any `shuffle` of samples. Companions in another order, and some that
        are too many, are found as long as not more than 64 MiB of them have to be held. With one
        (``companions.indexed()``), or in memory, they may be anywhere and in any order: what is in step is read as
        a stream, and all else is read by itself. Several companions of one key are an error where one is searched; in
        step, nothing is.

        Args:
            companions: a builder, with stages of single samples, such as `decode`, `rename` or `filter`: one that is
                dropped is missing; or a source.
            by: from the key of a sample to that of its companion; None for the same.
            missing: what becomes of a sample without a companion: ``"raise"``: a `SampleError` that names key and
                shard; ``"skip"``: it is left out, which the ledger and `Dataset.stats` tell; ``"keep"``: it stays
                as it is.
            collision: what becomes of a field that both have: ``"raise"``: a `FieldError`; ``"left"``: that of the
                sample stays; ``"right"``: that of its companion takes its place.

        Raises:
            TypeError: the companions shuffle, batch, or the like.
            UrlError: when it is built: there is no index, and not one companion shard for each.
        """
        if missing not in MISSING or collision not in COLLISIONS:
            raise ValueError(f"join(missing={missing!r}, collision={collision!r}): expected one of {MISSING}, and one "
                             f"of {COLLISIONS}")  # fmt: skip
        plan = DatasetBuilder[Any](companions).plan if isinstance(companions, Source) else companions.plan
        stages = tuple(stage for stage in plan.stages if isinstance(stage, EachStage))
        others = [stage.name for stage in plan.stages if not isinstance(stage, EachStage)]
        others += [stage.name for stage in stages if not stage.fuses]
        if plan.shard_seed is not None or plan.window is not None:
            others.append("shuffle")
        if isinstance(plan.source, TarShards) and plan.source.foresees:
            others.append("prefetch")
        if others:
            raise TypeError(f"join() reads companions as samples ask for them: {', '.join(others)} has no meaning "
                            "for them")  # fmt: skip
        stage = Join(
            left=self.plan.source, source=plan.source, stages=stages, missing=missing, collision=collision,
            by=None if by is None else _function("join", by), policy=None if plan.policy == Policy() else plan.policy,
            resolve=functools.partial(resolve_decoders, dict(plan.decoders)),
        )  # fmt: skip
        before = [other.name for other in self.plan.stages if other.holds or isinstance(other, Batch)]
        if stage.in_step and before:
            raise TypeError(f"join() reads companions in step, and {before[0]} changes the order: call it before, or "
                            "indexed() on the companions")  # fmt: skip
        return self._then(stage)

    @overload
    def to_tuple(self: DatasetBuilder[Sample], a: str, /, *, missing: object = ...) -> DatasetBuilder[Tuple1]: ...
    @overload
    def to_tuple(
        self: DatasetBuilder[Sample], a: str, b: str, /, *, missing: object = ...
    ) -> DatasetBuilder[Tuple2]: ...
    @overload
    def to_tuple(
        self: DatasetBuilder[Sample], a: str, b: str, c: str, /, *, missing: object = ...
    ) -> DatasetBuilder[Tuple3]: ...
    @overload
    def to_tuple(
        self: DatasetBuilder[Sample], a: str, b: str, c: str, d: str, /, *, missing: object = ...
    ) -> DatasetBuilder[Tuple4]: ...
    @overload
    def to_tuple(
        self: DatasetBuilder[Sample], a: str, b: str, c: str, d: str, e: str, /, *, missing: object = ...
    ) -> DatasetBuilder[Tuple5]: ...
    @overload
    def to_tuple(
        self: DatasetBuilder[Sample], a: str, b: str, c: str, d: str, e: str, f: str, /, *, missing: object = ...
    ) -> DatasetBuilder[Tuple6]: ...
    @overload
    def to_tuple(self: DatasetBuilder[Sample], *fields: str, missing: object = ...) -> DatasetBuilder[TupleN]: ...
    def to_tuple(self: DatasetBuilder[Sample], *fields: str, missing: object = "error") -> DatasetBuilder[Any]:
        """Make a tuple of fields, one name or alternatives such as ``"jpg;png"`` for each element.

        ``"__key__"`` and ``"__url__"`` name the sample's key and shard.

        Args:
            *fields: the fields.
            missing: ``"error"`` raises a `FieldError` for a sample without one of them, ``"skip"`` drops the
                sample; any other value stands in for the field.
        """
        return self._then(ToTuple(fields=_named("to_tuple", fields), missing=missing))

    def into(self: DatasetBuilder[Sample], cls: type[RecordT]) -> DatasetBuilder[RecordT]:
        """Make instances of an attrs class, a dataclass or a NamedTuple.

        Each attribute is a field of that name, or what `webds.field` in its annotation says; it is decoded
        here, if it is not already, and its type is checked.

        Raises:
            TypeError: ``cls`` is no such class.
            FieldError: while iterating, for a missing field or one of another type.
        """
        return self._then(Into(cls=cls))

    @overload
    def batch(self, n: int, *, partial: bool = ..., collate: Callable[[list[ValueT_co]], U]) -> DatasetBuilder[U]: ...
    @overload
    def batch(self: DatasetBuilder[Unknown], n: int, *, partial: bool = ...) -> DatasetBuilder[Any]: ...
    @overload
    def batch(self: DatasetBuilder[UnknownTuple], n: int, *, partial: bool = ...) -> DatasetBuilder[TupleN]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple1], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple1]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple2], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple2]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple3], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple3]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple4], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple4]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple5], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple5]: ...
    @overload
    def batch(self: DatasetBuilder[Tuple6], n: int, *, partial: bool = ...) -> DatasetBuilder[Tuple6]: ...
    @overload
    def batch(
        self: DatasetBuilder[tuple[object, ...] | list[Any]], n: int, *, partial: bool = ...
    ) -> DatasetBuilder[TupleN]: ...
    @overload
    def batch(
        self: DatasetBuilder[Mapping[A, object]], n: int, *, partial: bool = ...
    ) -> DatasetBuilder[dict[A, Any]]: ...
    @overload
    def batch(self: DatasetBuilder[Numeric], n: int, *, partial: bool = ...) -> DatasetBuilder[torch.Tensor]: ...
    @overload
    def batch(self: DatasetBuilder[str], n: int, *, partial: bool = ...) -> DatasetBuilder[list[str]]: ...
    @overload
    def batch(self: DatasetBuilder[bytes], n: int, *, partial: bool = ...) -> DatasetBuilder[list[bytes]]: ...
    @overload
    def batch(self: DatasetBuilder[Texts], n: int, *, partial: bool = ...) -> DatasetBuilder[list[Any]]: ...
    def batch(
        self: DatasetBuilder[Any],
        n: int,
        *,
        partial: bool = True,
        collate: Callable[[list[Any]], Any] = default_collate,
    ) -> DatasetBuilder[Any]:
        """Put ``n`` values at a time into one batch.

        Args:
            n: how many.
            partial: whether the last batch, of each worker, may be smaller; False drops what is left over.
            collate: a function from a list of values to a batch. By default tensors and arrays are stacked to
                tensors of shape (n, …), numbers become tensors of shape (n,), strings and bytes lists, inside
                tuples and dicts as they come.

        Raises:
            BatchError: while iterating, where values do not fit together; it names the field and the shapes.
        """
        _at_least("batch", n=(n, 1))
        return self._then(Batch(n=n, partial=partial, collate=_function("batch", collate)))

    @overload
    def unbatch(self: DatasetBuilder[Unknown]) -> DatasetBuilder[Any]: ...
    @overload
    def unbatch(self: DatasetBuilder[UnknownTuple]) -> DatasetBuilder[TupleN]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple1]) -> DatasetBuilder[Tuple1]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple2]) -> DatasetBuilder[Tuple2]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple3]) -> DatasetBuilder[Tuple3]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple4]) -> DatasetBuilder[Tuple4]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple5]) -> DatasetBuilder[Tuple5]: ...
    @overload
    def unbatch(self: DatasetBuilder[Tuple6]) -> DatasetBuilder[Tuple6]: ...
    @overload
    def unbatch(self: DatasetBuilder[tuple[object, ...]]) -> DatasetBuilder[TupleN]: ...
    @overload
    def unbatch(self: DatasetBuilder[Mapping[A, object]]) -> DatasetBuilder[dict[A, Any]]: ...
    @overload
    def unbatch(self: DatasetBuilder[list[U]]) -> DatasetBuilder[U]: ...
    @overload
    def unbatch(self: DatasetBuilder[torch.Tensor]) -> DatasetBuilder[torch.Tensor]: ...
    @overload
    def unbatch(self: DatasetBuilder[Dimensional]) -> DatasetBuilder[Any]: ...
    def unbatch(self: DatasetBuilder[Any]) -> DatasetBuilder[Any]:
        """Take batches apart again, along the first dimension."""
        return self._then(Unbatch())

    def pipe(self, stage: Callable[[Iterator[ValueT_co]], Iterable[U]]) -> DatasetBuilder[U]:
        """Hand the whole iterator to a function that returns another. What order that makes is up to it."""
        return self._then(Pipe(stage=_function("pipe", stage)))

    # How.

    def on_error(
        self,
        policy: PolicyLike,
        max_errors: int | None = None,
        *,
        max_fraction: float | None = None,
        ledger: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Say what to do about errors of any stage, wherever in the chain this is called.

        Args:
            policy: ``"raise"``; ``"warn"`` and go on; ``"skip"``, silently but counted; ``"stop"``, end the
                iteration; or a handler: a function of the exception that returns True to go on and False to
                stop, or raises.
            max_errors: how many may pass before an `ErrorBudgetError`, over all workers; None for any number.
            max_fraction: which part of the samples, between 0 and 1, may be errors before an `ErrorBudgetError`; None
                for any. Counted in one iteration of one worker, and judged from 100 samples on, and at the end.
            ledger: path of a file of JSON lines to which everything that is let pass, and every retry of a transfer,
                is appended, by all workers and any number of runs; `webds.replay` reads it. None for none.
        """
        return self._evolve(policy=Policy.of(policy, max_errors, max_fraction, ledger))

    def measure(self) -> Self:
        """Note where the time goes: `Dataset.stats` then has values and seconds of each stage, over all workers.

        Stages that would share a loop get one each, so that they can be told apart; what comes out is the same.
        """
        return self._evolve(measured=True)

    def cache(
        self,
        directory: str | os.PathLike[str],
        max_bytes: int | None = None,
        *,
        validate: Validation = "never",
        local: bool = False,
    ) -> Self:
        """Keep copies of the shards that were read to their end, and read them from there the next time.

        Where samples are read one by one by an index, in windows or by `map_style`, each shard is fetched whole when
        its first sample is wanted. Without a cache, ranges of it are asked for.

        See `CachingOpener` for what holds when several processes share the directory, are killed, or the disk is full.
        Manifests and list files are not kept: each builder reads them as they are now.

        Args:
            directory: where the copies are, on a local disk.
            max_bytes: how many bytes they may have together; those that were not used for longest go first. None for
                no limit.
            validate: ``"never"``: a URL always stands for the same bytes; ``"size"``: its size is asked for, each
                time a shard is opened, and a copy of another size is fetched anew.
            local: whether files of the local file system, such as those of a slow network mount, are copied too.
        """
        through = functools.partial(
            CachingOpener, directory=directory, max_bytes=max_bytes, validate=validate, local=local
        )
        source = self._tars("cache")
        limit = "" if max_bytes is None else f", {max_bytes} bytes at most"
        kept = "all shards" if local else "shards that are not local files"
        checked = "; their sizes are compared with the origin" if validate == "size" else ""
        text = f"{kept}, in {through(source.opener).directory}{limit}{checked}"
        return self._evolve(source=self._with_tars(through=through), access={**self.plan.access, "cache": text})

    def prefetch(self, shards: int = 2, max_bytes: int = 1 << 26) -> Self:
        """Open and read the next shards in threads, while one is being read; in each worker.

        Values, their order and errors are those without. A plain local file, also one of a cache, is only opened early
        and its beginning announced to the system, which reads ahead by itself. From a store that could seek, what
        nobody looks at is read as well.

        Args:
            shards: how many shards besides the one that is being read.
            max_bytes: how many bytes that nobody has used yet are held, in each process, divided evenly among the
                shards.
        """
        prefetch = Prefetch(shards, max_bytes)
        text = f"{shards} shards ahead, {max_bytes} bytes at most; local files as they are"
        self._tars("prefetch")
        return self._evolve(source=self._with_tars(ahead=prefetch), access={**self.plan.access, "prefetch": text})

    def _tars(self, method: str) -> TarShards[Any]:
        """Return the tar shards of the source, indexed or not."""
        source = self.plan.source
        tars = source.tar if isinstance(source, IndexedTarSource) else source
        if not isinstance(tars, TarShards):
            raise TypeError(f"{method} is for URLs; this builder has a Source of its own")
        return tars

    def _with_tars(self, **changes: Any) -> Source[Any]:
        """Return the source with its tar shards changed."""
        source = self.plan.source
        if isinstance(source, IndexedTarSource):
            return attrs.evolve(source, tar=attrs.evolve(source.tar, **changes))
        return attrs.evolve(self._tars("this"), **changes)

    def with_opener(self, scheme: str, opener: OpenerLike) -> Self:
        """Open URLs of one scheme by ``opener``: an `Opener`, a function, or a command template with ``{url}``.

        With the scheme ``"pipe"`` it also says that shell commands out of a manifest or list file are trusted.
        """
        source = self._tars("with_opener")
        opens = source.opener
        if not isinstance(opens, SchemeOpener):
            raise TypeError("with_opener adds to the default opener; this builder has an opener= of its own")
        trusted = source.trust_commands or scheme == "pipe"
        opens = opens.with_opener(scheme, as_opener(opener))
        return self._evolve(source=self._with_tars(opener=opens, trust_commands=trusted))

    def with_decoder(self, ext: str, decoder: Decoder[object] | Callable[[bytes], object]) -> Self:
        """Decode fields of the extension ``ext``, or of just that name, by a `Decoder` or a function of the bytes.

        Holds for all decoding of the chain, wherever this is called.
        """
        decoders = {**self.plan.decoders, ext.lower(): decoder}
        resolve_decoders(decoders, None)
        return self._evolve(decoders=decoders)

    # Finish.

    def build(self) -> Dataset[ValueT_co]:
        """Return the dataset.

        Raises:
            UrlError: nothing matches the URLs.
        """
        return Dataset[ValueT_co].of(self.plan)

    def map_style(self) -> IndexedDataset[ValueT_co]:
        """Return a dataset with ``[i]``, ``["key"]`` and ``len``, for the samplers of torch.

        Raises:
            TypeError: the source knows no counts (see `indexed`), or there is a stage that does not make one value of
                each sample: filter, batch, shuffle, repeat and their like are the sampler's and the DataLoader's.
        """
        return IndexedDataset[ValueT_co].of(self.plan)

    def loader(self, *, num_workers: int = 0, **options: Unpack[LoaderOptions]) -> Loader[ValueT_co]:
        """Build the dataset and return a DataLoader that hands its values on as they are.

        Args:
            num_workers: how many worker processes; 0 for none.
            **options: what else `torch.utils.data.DataLoader` takes, such as ``persistent_workers``.
        """
        return Loader(self.build(), num_workers=num_workers, **options)

    def plan_for(
        self,
        *,
        world_size: int = 1,
        workers: int = 0,
        batch_size: int | None = None,
        nodes: int | None = None,
        epoch: int = 0,
    ) -> EpochPlan:
        """Return what an iteration will be for so many ranks and workers, without reading any data.

        Batches and samples of each rank, what is dropped or padded, bytes, open shards and cache of each node, and how
        far shuffling moves samples. It takes the numbers of samples of the shards, from an index or a manifest, and
        seconds at most for ten thousand ranks and a thousand million samples.

        Example:
            >>> import webds
            >>> builder = webds.DatasetBuilder(webds.MemorySource(range(1000), shards=10)).split(remainder="pad")
            >>> builder.plan_for(world_size=8, batch_size=16).batches
            (8, 8, 8, 8, 8, 8, 8, 8)

        Args:
            world_size: number of ranks.
            workers: number of DataLoader workers of each rank; 0 for none.
            batch_size: samples in a batch, in place of the number that `batch` was given; if it was not called, as if
                it was at the end. None: as the builder says.
            nodes: number of nodes that the ranks are on, equally many on each and one after the other. None: as
                `split` says, and else 1.
            epoch: which iteration; shards are in another order in each.

        Raises:
            LengthError: the numbers of samples are not known, or how many values a stage makes of them; or the
                iteration has no end: plan it without `repeat`.
            SplitError: the samples or shards cannot be divided like that.
            ValueError: a number out of range, or ranks that are not evenly on nodes.
        """
        _at_least("plan_for", world_size=(world_size, 1), workers=(workers, 0), batch_size=(batch_size, 1),
                  nodes=(nodes, 1), epoch=(epoch, 0))  # fmt: skip
        source = self.plan.source
        ahead = source.ahead.shards if isinstance(source, TarShards) and isinstance(source.ahead, Prefetch) else 0
        return plan_epoch(
            self.plan, world_size=world_size, workers=workers, batch_size=batch_size, nodes=nodes, epoch=epoch,
            ahead=ahead,
        )  # fmt: skip

    def explain(self) -> str:
        """Return in words what will be read, by whom, in which order, and with which decoders."""
        return self.build().explain()


def _at_least(method: str, **limits: tuple[int | None, int]) -> None:
    for name, (value, least) in limits.items():
        if value is not None and value < least:
            raise ValueError(f"{method}({name}={value}): expected a number from {least}")


def _named(method: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    if not fields:
        raise ValueError(f"{method}() names no field")
    for field in fields:
        if any(space in field for space in " \t\n"):
            raise ValueError(f"{method}({field!r}): one field, or alternatives 'jpg;png', an argument; no spaces")
    return fields


def _function(method: str, f: Any) -> Any:
    if not callable(f):
        raise TypeError(f"{method} wants a function, and got {f!r}")
    return f
