"""Shards as a dataset of Ray Data: a read task for each shard, or for a range of its samples."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any, Final, final

import attrs
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.datasets.builder import DatasetBuilder
from webds.datasets.dataset import resolve_decoders
from webds.errors import FieldError, StaleIndexError
from webds.index import MemberTable, index_path
from webds.openers.schemes import OpenerLike
from webds.plans.plan import ComposedSource, Plan
from webds.policy import Guard, Ledger
from webds.ray.blocks import Block, BlockBuilder
from webds.sources.indexed import IndexedTarSource
from webds.sources.tables import Tables
from webds.sources.tar import TarSource, Urls
from webds.splitters import NoSplit
from webds.stages.base import EachStage, Run, alternatives
from webds.typing import Sample
from webds.urls import local_path

__all__ = ["read_shards"]

_BLOCK_SIZE: Final = 1 << 27
"""Bytes of a block, where Ray does not say."""


def read_shards(
    shards: Urls | DatasetBuilder[Sample],
    *,
    fields: Collection[str] | None = None,
    decode: bool | str = False,
    opener: OpenerLike | None = None,
    **options: Any,
) -> ray.data.Dataset:
    """Return the samples of shards as a dataset of Ray Data, one row a sample.

    Nothing is read before the dataset is used. Each shard is read by a task of its own. If Ray wants more tasks than
    there are shards, those with an index are cut into ranges of samples: if it is beside each shard (``x.idx``), or a
    manifest says how many samples there are, or `DatasetBuilder.indexed` was called. Tasks stream their part, and hand
    it on in blocks of the size that Ray aims at (``DataContext.target_max_block_size``).

    The columns are ``__key__`` and ``__url__`` (text), and the fields: bytes as binary, text as text, numbers as int64,
    float64 or bool, arrays and tensors as tensors, lists and dicts as lists and structs. A field that a sample does not
    have is null. Where ``fields`` are not named, the columns of a block are the fields that its samples have.

    Errors are those of `DatasetBuilder`, with URL, key, field and stage, raised where the dataset is used: Ray raises
    an exception that is a `ray.exceptions.RayTaskError` and an instance of the class of ours too, whose attributes it
    has.

    Args:
        shards: as `DatasetBuilder` takes them: a brace expression, a glob, a path, a manifest's URL, or a list; or a
            builder, whose stages are applied in the tasks. They may be those that make one sample of each, or drop it:
            ``decode``, ``map``, ``filter``, ``select``, …; order, batches and the like are Ray's. Local paths have to
            be the same on all hosts.
        fields: the fields that become columns, in this order; others are not read, unless a stage looks at them. Each
            a name, or alternatives such as ``"jpg;png"``, which all become columns. None for all.
        decode: True to decode the fields by their extensions; the name of an image specification such as ``"rgb8"``
            to decode images, too; False leaves bytes. A builder says it itself.
        opener: opens the shards, as in `DatasetBuilder`. A builder has its own.
        **options: what else `ray.data.read_datasource` takes, such as ``override_num_blocks`` (how many tasks to make),
            ``concurrency`` (how many at once), ``num_cpus`` and ``memory`` of each.

    Raises:
        UrlError: nothing matches.
        TypeError: a builder with a stage that does not go by single samples, or of a mix.
    """
    if isinstance(shards, DatasetBuilder):
        if decode is not False or opener is not None:
            raise TypeError("decode= and opener= are for URLs; a builder says them by its methods")
        plan = shards.plan
    else:
        builder = DatasetBuilder(shards, opener=opener)
        if decode:
            builder = builder.decode(None if decode is True else decode)
        plan = builder.plan
    if isinstance(fields, str):
        raise TypeError(f"fields={fields!r}: expected a collection of field names, not one string")
    named = None if fields is None else [name for field in fields for name in alternatives(field)]
    dataset: ray.data.Dataset = ray.data.read_datasource(ShardDatasource(_checked(plan), named), **options)
    return dataset


def _checked(plan: Plan) -> Plan:
    """Return the plan as each task has it; raise if it does not go by single samples."""
    if isinstance(plan.source, ComposedSource):
        raise TypeError("read_shards reads one list of shards, and this builder mixes several: read each by itself")
    for stage in plan.stages:
        if not isinstance(stage, EachStage):
            raise TypeError(
                f"the stage {stage.name} does not go by single samples, which tasks of Ray read apart from each other: "
                "leave it out, and use what ray.data.Dataset has for it"
            )
    source = plan.source
    if isinstance(source, TarSource):
        source = source.absolute()
        if all(_has_index(source, url) for url in source.shards()):
            source = IndexedTarSource(source)
    elif isinstance(source, IndexedTarSource):
        source = attrs.evolve(source, tar=source.tar.absolute())
    return attrs.evolve(plan, source=source, splitter=NoSplit(), remainder=None, window=None, shard_seed=None, nodes=1)


def _has_index(source: TarSource, url: str) -> bool:
    """Return whether an index says how many samples a shard has, as far as this is known without opening anything."""
    path = local_path(url)
    if source.duplicates != "error" or source.foresees or source.verify == "hash":  # which takes whole shards
        return False
    return source.listed(url).samples is not None or (path is not None and os.path.exists(index_path(path)))


@final
@attrs.frozen(slots=False)
class _Part(Source[Any]):
    """One shard of a source, or a range of its samples.

    Attributes:
        source: has the shard.
        shard: the shard.
        start: the first sample.
        stop: the sample behind the last one; None for the end of the shard.
    """

    source: Source[Any]
    shard: str
    start: int = 0
    stop: int | None = None

    @override
    def shards(self) -> Sequence[str]:
        return [self.shard]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Any]:
        start += self.start
        if self.stop is None:
            return self.source.read(shard, fields, start)
        assert isinstance(self.source, IndexedSource)  # who else knows where to stop
        return self.source.read_at(shard, range(start, max(start, self.stop)), fields)


@final
class ShardDatasource(Datasource):
    """What Ray Data asks for the tasks that read shards.

    Args:
        plan: what is read, and what becomes of each sample.
        fields: the columns; None for all.
    """

    def __init__(self, plan: Plan, fields: Sequence[str] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._plan = attrs.evolve(plan, wanted=None if fields is None else frozenset(fields))
        self._plan.bound(functools.partial(resolve_decoders, dict(plan.decoders)))  # what is wrong with it shows here
        self._fields = fields
        self._source: Source[Any] = self._plan.source
        self._shards = list(self._source.shards())
        self._tables = Tables(self._source.tar) if isinstance(self._source, IndexedTarSource) else None
        self._counts: dict[str, int | None] = {}
        if isinstance(self._source, IndexedSource) and self._tables is None:
            self._counts.update(zip(self._shards, self._source.counts(), strict=True))

    @override
    def get_name(self) -> str:
        return "Shards"

    @override
    def estimate_inmemory_data_size(self) -> int | None:
        sizes = [self._size(shard) for shard in self._shards]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @override
    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        aimed = getattr(data_context, "target_max_block_size", None) or _BLOCK_SIZE
        # A part ends at what is unsound in it: where that is let pass, what is behind it is found in whole shards.
        pieces = -(-parallelism // max(1, len(self._shards))) if self._plan.raises else 1
        return [
            self._task(shard, start, stop, aimed, per_task_row_limit)
            for shard in self._shards
            for start, stop in (self._ranges(shard, pieces) if pieces > 1 else [(0, None)])
        ]

    def _task(self, shard: str, start: int, stop: int | None, aimed: int, limit: int | None) -> ReadTask:
        whole = stop is None
        count = self._count(shard) if stop is None else stop - start
        keeps = self._plan.raises and all(stage.length(1) == 1 for stage in self._plan.stages)
        size = self._size(shard)
        if size is not None and not whole:
            size = size * (count or 0) // max(1, self._count(shard) or 1)
        metadata = BlockMetadata(
            num_rows=count if keeps else None, size_bytes=size, exec_stats=None, input_files=(shard,)
        )
        source = _narrowed(self._source, shard, start, stop)
        read = functools.partial(_blocks, attrs.evolve(self._plan, source=source), self._fields, aimed)
        return ReadTask(read, metadata, **({} if limit is None else {"per_task_row_limit": limit}))

    def _ranges(self, shard: str, pieces: int) -> list[tuple[int, int | None]]:
        """Return where a shard is cut, if it can be."""
        count = self._count(shard)
        if count is None or count < 2 or not self._is_reachable(shard):
            return [(0, None)]
        cuts = [count * i // pieces for i in range(pieces + 1)] if pieces < count else list(range(count + 1))
        return list(itertools.pairwise(cuts))

    def _count(self, shard: str) -> int | None:
        """Return the number of samples of a shard; None where nobody has said it."""
        if shard not in self._counts:
            source = self._source
            selects = isinstance(source, IndexedTarSource) and source.predicates
            self._counts[shard] = None if self._tables is None or selects else self._tables.count(shard)
        return self._counts[shard]

    def _is_reachable(self, shard: str) -> bool:
        """Return whether single samples of a shard can be read without those before them."""
        source = self._source
        if self._tables is None or not isinstance(source, IndexedTarSource):
            return True
        try:
            return isinstance(self._tables.get(shard), MemberTable)
        except StaleIndexError:
            if source.tar.listed(shard).samples is None:
                raise
            return False  # a manifest says how many samples there are, and nobody where

    def _size(self, shard: str) -> int | None:
        """Return the bytes of a shard as it is stored; None where nobody has said them."""
        source = self._source
        tar = source.tar if isinstance(source, IndexedTarSource) else source
        listed = tar.listed(shard).size if isinstance(tar, TarSource) else None
        path = local_path(shard)
        if listed is None and path is not None and os.path.isfile(path):
            return os.path.getsize(path)
        return listed


def _narrowed(source: Source[Any], shard: str, start: int, stop: int | None) -> Source[Any]:
    """Return the source of one part, which takes nothing along of other shards."""
    if isinstance(source, IndexedTarSource):
        source = attrs.evolve(source, tar=source.tar.with_shards([shard]))
    elif isinstance(source, TarSource):
        source = source.with_shards([shard])
    if stop is None and list(source.shards()) == [shard]:
        return source
    return _Part(source, shard, start, stop)


def _blocks(plan: Plan, fields: Sequence[str] | None, aimed: int) -> Generator[Block]:
    """Read one part, in a process of Ray's, and yield it in blocks."""
    bound = plan.bound(functools.partial(resolve_decoders, dict(plan.decoders)))
    builder = BlockBuilder(fields, undecoded=not plan.stages)
    items = bound.run(Run(guard=Guard(bound.policy, Ledger(bound.policy.ledger)), checks_empty=False))
    close: Callable[[], object] = getattr(items, "close", lambda: None)
    with contextlib.ExitStack() as stack:
        stack.callback(close)
        for (url, _, key, *_), sample in items:
            if not isinstance(sample, dict):
                raise FieldError(
                    f"a stage made a {type(sample).__name__} of the sample: expected a dict of fields, which become "
                    "columns", url=url, key=key, stage="block",
                )  # fmt: skip
            builder.add(url, {"__key__": key, **sample})
            if builder.size >= aimed:
                yield builder.take()
        if len(builder):
            yield builder.take()
