"""Shards from one place to another, byte for byte, between any two openers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, Literal, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError, WriteError, annotate
from webds.index import index_path
from webds.index.manifest import KIND, ListedShard
from webds.openers.schemes import OpenerLike
from webds.redaction import redact
from webds.sinks.destination import destination
from webds.sinks.sidecars import relative_url
from webds.sinks.stores import opener_for, remove_stored, tells
from webds.sources.tar import Urls
from webds.streams.verify import VerifyingReader
from webds.tools.engine import Engine, report
from webds.tools.jobs import Job, running
from webds.tools.outputs import Output, clear_abandoned
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import engine_for, identity, measured, source_of
from webds.urls import local_path, scheme_of

__all__ = ["Copied", "VerifyCopies", "copy"]

VerifyCopies: TypeAlias = Literal["size", "hash"]
"""How a copy is verified: by its size; or by reading all of it again, and comparing its SHA-256 with that of what was
read. What a manifest says of size and hash of a shard is compared in either case, with what is read."""

_PIECE: Final = 1 << 20


@final
@attrs.define
class Copied:
    """What was copied.

    Attributes:
        files: number of files written.
        size: bytes in them.
        kept: number of files that were there already, with the same content.
    """

    files: int = 0
    size: int = 0
    kept: int = 0


def copy(
    urls: Urls,
    target: str | os.PathLike[str],
    *,
    verify: VerifyCopies = "size",
    index: bool = False,
    manifest: str | None = None,
    overwrite: bool = False,
    jobs: int = 1,
    engine: Engine | None = None,
    opener: OpenerLike | None = None,
    target_opener: OpenerLike | None = None,
    progress: Progress | None = None,
) -> Copied:
    """Copy shards, or any other files.

    A copy appears when it is whole, locally and in object stores. What is there already is compared by its hash, and
    kept if it is the same. Work that was broken off and is repeated keeps the copies that it had made, by their size.

    Args:
        urls: what to copy, as `webds.DatasetBuilder` takes shards; ``-`` for standard input.
        target: a folder that exists, or with a slash at the end; a pattern, such as ``x-%06d.tar``; the name of a
            single copy; ``-`` for standard output.
        verify: how the copies are verified.
        index: whether the member table beside each shard is copied, too, where there is one.
        manifest: name of a manifest of the copies, in their folder; it says what is known of the shards already, and
            their sizes. None for none.
        overwrite: whether files with another content are replaced.
        jobs: how many processes.
        engine: does the work, in place of these.
        opener: opens what is read; None for the default.
        target_opener: opens what is written; None for the default.
        progress: hears how many bytes have been read.

    Raises:
        OpenError: something cannot be read or written; or it is not what a manifest says, or the copy is not what was
            read, and is removed.
        WriteError: there is something else under the name of a copy.
        ValueError: several files, and one name for them.
    """
    source = attrs.evolve(source_of(urls, opener), verify=None)
    shards = source.shards()
    sizes = measured(source)
    output = Output(target=os.fspath(target), overwrite=overwrite, opener=target_opener)
    output.prepare()
    names = output.names_for(shards)
    tasks = [_Task(shard, name, source.listed(shard)) for shard, name in zip(shards, names, strict=True)]
    if index:
        tasks = list(_with_tables(tasks, source.opener))
    tells = progress or NoProgress()
    result = Copied()
    with running(
        output.target,
        "cp",
        {"input": identity(source, sizes), "output": output.target, "index": index},
        opener=output.opens,
        existing=lambda: output.existing([task.name for task in tasks]),
        overwrite=overwrite,
        refuses=False,
    ) as job:
        tells.begin("copy", _total(sizes), "bytes")
        work = _Copy(source.opener, output, job, verify)
        copied: list[ListedShard] = []
        with contextlib.closing(engine_for(shards, engine, jobs).run(work, tasks, tells.advance)) as done:
            for task, (size, kept) in zip(tasks, done, strict=True):
                job.has_begun = True
                result.files += not kept
                result.kept += kept
                result.size += 0 if kept else size
                if not task.is_table:
                    copied.append(attrs.evolve(task.listed, url=task.name, size=size))
        if manifest is not None:
            _write_manifest(copied, _beside(names[0], manifest), target_opener)
    return result


def _total(sizes: Sequence[int | None]) -> int | None:
    """Return the bytes to copy, where they are known at once."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


@final
@attrs.frozen
class _Task:
    """One file to be copied."""

    url: str
    name: str
    listed: ListedShard
    is_table: bool = False

    @override
    def __str__(self) -> str:
        return redact(self.url)


def _with_tables(tasks: Sequence[_Task], opener: Opener) -> Iterator[_Task]:
    """Yield the tasks, each followed by that of its member table, if there is one."""
    for task in tasks:
        yield task
        url = index_path(task.url)
        if scheme_of(task.url) in ("-", "pipe") or scheme_of(task.name) in ("-", "pipe") or url == task.url:
            continue
        if _is_there(opener, url):
            yield _Task(url, index_path(task.name), ListedShard(url), is_table=True)


def _is_there(opener: Opener, url: str) -> bool:
    try:
        opener.size(url)
    except OpenError as error:
        if isinstance(error.__cause__, FileNotFoundError) or scheme_of(url) in ("http", "https"):
            return False
        raise
    return True


def _beside(name: str, manifest: str) -> str:
    """Return the URL of a manifest beside a copy."""
    return manifest if "/" in manifest else name[: name.rfind("/") + 1] + manifest


def _write_manifest(copied: Sequence[ListedShard], url: str, opener: OpenerLike | None) -> None:
    entries: list[dict[str, Any]] = []
    for shard in copied:
        name = shard.url
        if local_path(url) is not None:
            name = relative_url(shard.url, url)
        elif shard.url.rpartition("/")[0] == url.rpartition("/")[0]:
            name = shard.url.rpartition("/")[2]
        known = {"nsamples": shard.samples, "filesize": shard.size, "md5sum": shard.md5, "sha256": shard.sha256}
        more = {name: value for name, value in shard.more.items() if name != "index"}
        entries.append({"url": name, **{name: value for name, value in known.items() if value is not None}, **more})
    text = json.dumps({"__kind__": KIND, "wids_version": 1, "shardlist": entries}, indent=1) + "\n"
    _, _, opens = destination(url, opener, overwrite=True)
    target = opens()
    try:
        target.write(text.encode())
        target.commit()
    except BaseException:
        target.discard()
        raise


@final
@attrs.frozen
class _Copy:
    """Copies one file; returns its size, and whether it was there already."""

    opener: Opener
    output: Output
    job: Job
    verify: VerifyCopies

    def __call__(self, task: _Task) -> tuple[int, bool]:
        try:
            return self._do(task)
        except Exception as error:
            annotate(error, url=task.url, stage="copy")
            raise

    def _do(self, task: _Task) -> tuple[int, bool]:
        if not self.output.overwrite and self.output.is_there(task.name):
            size = self._kept(task)
            report(size)
            return size, True
        clear_abandoned(task.name)
        _, _, opens = destination(task.name, self.output.opener, overwrite=self.output.overwrite)
        digest = hashlib.sha256()
        size = 0
        with self._open(task) as stream:
            target = opens()
            try:
                while data := stream.read(_PIECE):
                    target.write(data)
                    digest.update(data)
                    size += len(data)
                    report(len(data))
                stream.close()  # what is wrong with it may show only now
                target.commit()
            except BaseException:
                target.discard()
                raise
        if scheme_of(task.name) not in ("-", "pipe"):
            self._check(task, size, digest.digest())
        return size, False

    def _open(self, task: _Task) -> BinaryIO:
        """Open a file for reading, to be compared with what is known of it."""
        listed = task.listed
        size = listed.size
        if size is None:
            size = self.opener.size(task.url)
        stream = self.opener.open(task.url)
        reader = VerifyingReader(stream, size=size, md5=listed.md5, sha256=listed.sha256, url=task.url)
        return cast("BinaryIO", reader)

    def _kept(self, task: _Task) -> int:
        """Return the size of a file that is there already, and is the same.

        Raises:
            WriteError: it is another one.
        """
        opener = opener_for(task.name, self.output.opener)
        there = opener.size(task.name)
        known = task.listed.size if task.listed.size is not None else self.opener.size(task.url)
        same = known is None or there is None or known == there
        if same and not (self.job.resumed and self.verify == "size" and there is not None and known is not None):
            with self._open(task) as one, opener.open(task.name) as other:
                same = _hash(one) == _hash(other)
        if not same:
            raise WriteError(f"{task.name!r} exists with another content; overwrite=True replaces it",
                             url=task.name, stage="copy")  # fmt: skip
        return there or known or 0

    def _check(self, task: _Task, size: int, digest: bytes) -> None:
        """Raise an error, and remove the copy, if it is not what was read."""
        opener = opener_for(task.name, self.output.opener)
        there = opener.size(task.name) if local_path(task.name) is not None or tells(opener) else None
        fault = None
        if there is not None and there != size:
            fault = f"it has {there} bytes, and {size} were written"
        elif self.verify == "hash":
            with opener.open(task.name) as stream:
                if _hash(stream) != digest:
                    fault = "its SHA-256 is not that of what was read"
        if fault is None:
            return
        path = local_path(task.name)
        if path is None:
            remove_stored(opener, task.name)
        else:
            os.unlink(path)
        raise OpenError(f"the copy is not what was written, and was removed: {fault}", url=task.name, stage="copy")


def _hash(stream: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while data := stream.read(_PIECE):
        digest.update(data)
    return digest.digest()
