"""A dataset of Ray Data as shards: written by tasks under other names, and given their own by this process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from typing import Any, final

import attrs
import ray.data
import ray.exceptions

from webds.errors import WebdsError, WriteError
from webds.index import index_path, merge_manifest
from webds.openers.schemes import OpenerLike
from webds.openers.streams import open_error
from webds.ray.tasks import UNBOUNDED, Part, ShardSink, StagingSink, StoreSink, is_whole, listed
from webds.sinks.compression import Compression
from webds.sinks.fields import EncoderSpec
from webds.sinks.pattern import ShardPattern
from webds.sinks.sidecars import relative_url
from webds.tools.functions import identity_of
from webds.tools.jobs import job_url, running
from webds.tools.outputs import Output, Written, remove_shards
from webds.urls import absolute_url, local_path

__all__ = ["write_shards"]


def write_shards(
    dataset: ray.data.Dataset,
    pattern: str | os.PathLike[str],
    *,
    maxcount: int | None = None,
    maxsize: int | None = None,
    compress: bool | Compression | None = None,
    encoder: EncoderSpec = True,
    keep_meta: bool = False,
    index: bool = False,
    manifest: str | None = None,
    md5: bool = False,
    mtime: int = 0,
    overwrite: bool = False,
    opener: OpenerLike | None = None,
    **options: Any,
) -> Written:
    """Write a dataset of Ray Data as shards, and wait until all are there.

    A row is a sample: the column ``__key__`` is its key, the others are its fields, encoded by their names as
    `webds.ShardWriter` does; bytes are written as they are. Nulls are fields that the sample does not have, and other
    columns of the form ``__name__`` are left out. The shards have the rows in the order of the dataset (its
    ``preserve_order`` is set meanwhile), and equal rows, blocks and arguments make equal bytes.

    In a local folder, which has to be the same on all hosts, shards are numbered from 0 without gaps. Each task writes
    into a hidden folder beside them; when all are done, this process gives the shards their names, then writes the
    manifest. So an attempt that was killed, or made twice, leaves nothing behind. If the work fails or is broken off,
    what tasks had finished stays in the hidden folder (``.PATTERN.staged``), and when it is repeated, tasks that are
    given the same rows find their shards there. They compare all rows; Ray computes them again.

    In a store, where nothing can be renamed, each task writes one shard under its final name, which shows when it is
    whole; a task that is given no rows leaves its number out. Work that was broken off is done again.

    Args:
        dataset: the samples.
        pattern: name or URL of the shards, with one place for the number.
        maxcount: samples in a shard, at most. So many rows are brought together for a task, and held in Ray's object
            store meanwhile; what it is given more is cut into shards of like size. In a store, it is not cut.
        maxsize: payload bytes after which a shard is finished; so many are brought together for a task, unless
            ``maxcount`` says how many rows (and if Ray can do it, which it could not at first). Without both, each
            block of the dataset becomes a shard.
        compress: as for `webds.TarWriter`; None goes by the suffix of the name.
        encoder: how values become bytes, as for `webds.TarWriter`; it is pickled.
        keep_meta: whether fields whose names begin with ``_`` are written.
        index: whether a member table (``.idx``) is written beside each shard. Local shards only, as for the next two.
        manifest: name of a manifest (``.json``) that lists the shards, in their folder unless it has one itself; None
            for none. It implies ``index``.
        md5: whether it has the MD5 of each shard.
        mtime: time of modification of all members, whole seconds since 1970.
        overwrite: whether shards that are there are replaced, when all new ones are done; those with higher numbers
            are removed then.
        opener: opens what is no local file; None for the default.
        **options: what else `ray.data.Dataset.write_datasink` takes, such as ``concurrency``.

    Returns:
        How many shards and samples there are, and how many of the shards were found from before.

    Raises:
        WriteError: shards exist; a sample cannot be written; somebody else is at work there.
        OpenError: a shard or a folder cannot be written.
        EncodeError: a value cannot be encoded.
        ValueError: arguments that do not go together.
        Exception: what another step of the dataset raised, as Ray raises it.
    """
    if (maxcount is not None and maxcount < 1) or (maxsize is not None and maxsize < 1):
        raise ValueError(f"maxcount={maxcount!r}, maxsize={maxsize!r}: expected 1 of each at least")
    output = Output(
        target=absolute_url(os.fspath(pattern)),
        maxcount=maxcount or UNBOUNDED,
        maxsize=maxsize or UNBOUNDED,
        compress=compress,
        index=index or manifest is not None,
        manifest=manifest,
        md5=md5,
        mtime=mtime,
        overwrite=overwrite,
        opener=opener,
    )
    names = ShardPattern(output.target, opener)
    parameters = {**output.parameters(), "encoder": _identity(encoder), "keep_meta": keep_meta}
    there = _Existing(output)
    with running(output.target, "ray", parameters, opener=output.opens, existing=there, overwrite=overwrite) as job:
        if not names.is_local:
            sink: ShardSink = StoreSink(output, encoder, keep_meta=keep_meta)
            return _stored(_run(dataset, sink, options), output)
        staging = _staging(output.target)
        there.untouched = True
        with _tidying(staging):
            sink = StagingSink(output, encoder, keep_meta=keep_meta, staging=staging, work=_hash(parameters))
            parts = _run(dataset, sink, options)
            there.untouched = False
            return _commit(parts, output, names, replaces=overwrite or job.resumed)


@final
@attrs.define
class _Existing:
    """Tells which shards are there that the work has to do with.

    Attributes:
        output: what is written.
        untouched: whether the work has not come to them yet: if it is broken off, it leaves them as if it had not been.
    """

    output: Output
    untouched: bool = False

    def __call__(self) -> list[str]:
        return [] if self.untouched else self.output.existing()


def _identity(encoder: EncoderSpec) -> Any:
    if isinstance(encoder, Mapping):
        return {name: identity_of(one) if callable(one) else repr(one) for name, one in encoder.items()}
    return identity_of(encoder) if callable(encoder) else encoder


def _hash(parameters: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).hexdigest()


def _staging(target: str) -> str:
    """Return the folder in which shards are until they get their names."""
    path = local_path(job_url(target))
    assert path is not None
    return os.path.splitext(path)[0] + ".staged"


@contextlib.contextmanager
def _tidying(staging: str) -> Generator[None]:
    """Make the folder, without what is not whole in it; remove it, unless there is something to go on from."""
    try:
        os.makedirs(staging, exist_ok=True)
    except OSError as error:
        raise open_error("cannot put shards aside", staging, error) from None
    for name in os.listdir(staging):
        folder = os.path.join(staging, name)
        if name.startswith(".") or not is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.rmdir(staging)  # if nothing is in it
        raise
    shutil.rmtree(staging, ignore_errors=True)


def _run(dataset: ray.data.Dataset, sink: ShardSink, options: Mapping[str, Any]) -> list[Part]:
    """Let tasks write the dataset, and return what they wrote, in the order of the rows."""
    execution = dataset.context.execution_options
    before = execution.preserve_order
    execution.preserve_order = True
    try:
        dataset.write_datasink(sink, **options)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, WebdsError):
            raise error.cause from error
        raise
    finally:
        execution.preserve_order = before
    return sorted((part for part in sink.parts if part is not None), key=lambda part: part.task)


def _commit(parts: Sequence[Part], output: Output, names: ShardPattern, *, replaces: bool) -> Written:
    """Give the shards of all tasks their names, in the order of the rows, and write the manifest.

    What is there already of an earlier attempt is replaced by the same, so that this can be broken off anywhere.
    """
    written = Written()
    entries: list[dict[str, Any]] = []
    path = output.manifest_for(names.name(0))
    for part in parts:
        for entry in _listed_or_say(part.place):
            name = names.name(written.shards)
            staged = os.path.join(part.place, entry["url"])
            _publish(staged, local_path(name) or name, index=output.index, replaces=replaces)
            if path is not None:
                entries.append({**entry, "url": relative_url(name, path)})
            written.shards += 1
            written.kept += part.kept
        written.samples += part.count
    if replaces:
        remove_shards([name for number, name in names.existing().items() if number >= written.shards], output)
    if path is not None:
        merge_manifest(path, entries)
    return written


def _listed_or_say(folder: str) -> list[dict[str, Any]]:
    try:
        return listed(folder)
    except FileNotFoundError as error:
        raise WriteError(
            "a task has written shards here, and they are not to be seen from this host: the folder has to be one that "
            "all hosts share", url=folder, stage="write",
        ) from error  # fmt: skip


def _publish(staged: str, path: str, *, index: bool, replaces: bool) -> None:
    """Give a shard its name, and then its member table."""
    if replaces:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(index_path(path))
    _name(staged, path, replaces=replaces)
    if index and os.path.exists(index_path(staged)):  # one that is compressed has none
        _name(index_path(staged), index_path(path), replaces=True)


def _name(staged: str, path: str, *, replaces: bool) -> None:
    """Give a file its name; where there are links it keeps the one it has, so that this can be done again."""
    if not replaces and os.path.lexists(path):
        raise WriteError(
            f"{path!r} came into being while shards were written here; overwrite=True would replace it",
            url=path, stage="write",
        )  # fmt: skip
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.part")
    try:
        try:
            os.link(staged, temporary)
        except OSError:
            os.replace(staged, path)
            return
        try:
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):  # it stays where the two names are of one file already
                os.unlink(temporary)
    except OSError as error:
        raise open_error("cannot write", path, error) from None


def _stored(parts: Sequence[Part], output: Output) -> Written:
    """Remove shards that are not of this work, and count those that are."""
    names = {part.place for part in parts}
    remove_shards(_without(output.existing(), names), output)
    return Written(len(parts), sum(part.count for part in parts))


def _without(names: Iterable[str], others: Collection[str]) -> list[str]:
    return [name for name in names if name not in others]
