"""What tasks of Ray do that write shards: into a folder for each of them, or into a store."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import attrs
import pyarrow as pa
from ray.data.block import BlockAccessor
from ray.data.datasource import Datasink
from typing_extensions import override

from webds.errors import WebdsError, place_of
from webds.openers.streams import open_error
from webds.ray.blocks import Block
from webds.sinks import ShardWriter, TarWriter
from webds.sinks.compression import compression_of
from webds.sinks.fields import EncoderSpec
from webds.sinks.pattern import ShardPattern
from webds.tools.outputs import Output
from webds.typing import Sample

__all__ = ["UNBOUNDED", "Part", "ShardSink", "StagingSink", "StoreSink", "is_whole", "listed"]

UNBOUNDED: Final = float("inf")
"""Samples, or bytes, in a shard, where nobody said how many."""

_MANIFEST: Final = "manifest.json"


@final
@attrs.frozen
class Part:
    """What a task wrote.

    Attributes:
        task: its number, in the order of the rows.
        place: the folder with its shards; in a store, its shard.
        count: number of samples.
        kept: whether it was there from before.
    """

    task: int
    place: str
    count: int
    kept: bool = False


class ShardSink(Datasink[Any], ABC):
    """What Ray calls with the blocks of each task.

    Attributes:
        parts: what tasks wrote, when all are done; None for a task without rows.
    """

    def __init__(self, output: Output, encoder: EncoderSpec, *, keep_meta: bool) -> None:
        self._output = output
        self._encoder = encoder
        self._keep_meta = keep_meta
        self.parts: list[Part | None] = []

    @override
    def get_name(self) -> str:
        return "Shards"

    @property
    @override
    def min_rows_per_write(self) -> int | None:
        count = self._output.maxcount
        return None if count == UNBOUNDED else int(count)

    @property
    @override
    def min_bytes_per_write(self) -> int | None:
        size = self._output.maxsize
        return None if size == UNBOUNDED or self.min_rows_per_write is not None else int(size)  # Ray takes one

    @override
    def write(self, blocks: Iterable[Any], ctx: Any) -> Part | None:
        # Ray holds the blocks of a task until it is done; here they are gone through twice.
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        count = sum(table.num_rows for table in tables)
        return self._write(tables, count, int(ctx.task_idx)) if count else None

    @abstractmethod
    def _write(self, tables: Sequence[Block], count: int, task: int) -> Part:
        """Write the rows of a task."""

    @override
    def on_write_complete(self, write_result: Any) -> None:
        self.parts = list(write_result.write_returns)


@final
class StagingSink(ShardSink):
    """Writes local shards into a folder for each task, called by its number and by what it was given."""

    def __init__(self, output: Output, encoder: EncoderSpec, *, keep_meta: bool, staging: str, work: str) -> None:
        super().__init__(output, encoder, keep_meta=keep_meta)
        self._staging = staging
        self._work = work

    @override
    def _write(self, tables: Sequence[Block], count: int, task: int) -> Part:
        folder = os.path.join(self._staging, f"{task:06d}-{_digest(self._work, tables)}")
        if is_whole(folder):
            return Part(task, folder, count, kept=True)
        temporary = os.path.join(self._staging, f".{task:06d}-{secrets.token_hex(8)}.part")
        try:
            os.mkdir(temporary)
        except OSError as error:
            raise open_error("cannot write", temporary, error) from None
        try:
            with _told_of(self._output.target, temporary):
                self._fill(temporary, tables, count)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not is_whole(folder):  # by another attempt, which was given the same
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return Part(task, folder, count)

    def _fill(self, folder: str, tables: Sequence[Block], count: int) -> None:
        output = self._output
        each = output.maxcount if output.maxcount == UNBOUNDED else -(-count // -(-count // int(output.maxcount)))
        pattern = os.path.join(folder.replace("%", "%%"), "%06d.tar")
        with ShardWriter(
            pattern,
            each,
            output.maxsize,
            compress=compression_of(output.compress, output.target) or False,
            encoder=self._encoder,
            keep_meta=self._keep_meta,
            manifest=_MANIFEST,
            md5=output.md5,
            mtime=output.mtime,
        ) as sink:
            for sample in _samples(tables):
                sink.write(sample)


@contextlib.contextmanager
def _told_of(target: str, folder: str) -> Generator[None]:
    """Let errors name what is written, in place of a folder that nobody knows."""
    try:
        yield
    except WebdsError as error:
        place: dict[str, Any] = place_of(error)
        if not place.get("url", "").startswith(folder):
            raise
        place["url"] = target
        raise type(error)(error.message, **place) from error


@final
class StoreSink(ShardSink):
    """Writes one shard for each task, under a name that goes by the task's number."""

    @override
    def _write(self, tables: Sequence[Block], count: int, task: int) -> Part:
        output = self._output
        name = ShardPattern(output.target, output.opener).name(task)
        with TarWriter(
            name,
            compress=output.compress,
            encoder=self._encoder,
            keep_meta=self._keep_meta,
            mtime=output.mtime,
            overwrite=True,
            opener=output.opener,
        ) as sink:
            for sample in _samples(tables):
                sink.write(sample)
        return Part(task, name, count)


def _samples(tables: Iterable[Block]) -> Iterator[Sample]:
    """Yield the rows of blocks as samples."""
    for table in tables:
        rows: Iterator[Mapping[str, Any]] = BlockAccessor.for_block(table).iter_rows(public_row_format=True)
        for row in rows:
            yield {name: value for name, value in row.items() if value is not None}


@final
class _Hashing:
    """A file whose content is hashed, and not kept."""

    closed = False

    def __init__(self, *parts: str) -> None:
        self.hash = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
        self._size = 0

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def close(self) -> None:
        """Do nothing: the hash is still to be asked for."""


def _digest(work: str, tables: Iterable[Block]) -> str:
    """Return what tells the work, and the rows it is given, from others."""
    file = _Hashing(work)
    for table in tables:
        with pa.ipc.new_stream(pa.PythonFile(file, "w"), table.schema) as stream:
            stream.write_table(table)
    return file.hash.hexdigest()


def listed(folder: str) -> list[dict[str, Any]]:
    """Return what is known of the shards in the folder of a task, in their order."""
    with open(os.path.join(folder, _MANIFEST), encoding="utf-8") as file:
        shards: list[dict[str, Any]] = json.load(file)["shardlist"]
    return shards


def is_whole(folder: str) -> bool:
    """Return whether all shards of a task are there, and none has got its name on a file system without links."""
    try:
        return all(os.path.getsize(os.path.join(folder, one["url"])) == one["filesize"] for one in listed(folder))
    except FileNotFoundError:
        return False
