"""Indexes for shards that exist: their headers are read, and what they say is written beside them."""

from __future__ import annotations

import concurrent.futures
import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError, StaleIndexError, UrlError, annotate
from webds.index import index_path, merge_manifest, parse_table, replace_file, scan
from webds.index.manifest import ListedShard, parse_manifest
from webds.openers.schemes import OpenerLike, as_opener, default_opener
from webds.redaction import redact
from webds.sinks.sidecars import entry_of, relative_url
from webds.sources.tables import open_whole
from webds.sources.tar import Urls
from webds.sources.urls import listed_shards
from webds.tar import MissingEnd
from webds.urls import local_path

__all__ = ["IndexJob", "IndexWork", "build_index", "index_shard"]

_PIECE: Final = 1 << 20


@final
@attrs.frozen
class IndexJob:
    """What is to be done for one shard, in any process: what `index_shard` takes.

    Attributes:
        url: the shard.
        manifest: path of the manifest.
        index: path of its member table.
        opener: opens the shard.
        md5: whether its MD5 is noted.
        missing_end: what of an archive without end blocks.
    """

    url: str
    manifest: str
    index: str
    opener: Opener
    md5: bool
    missing_end: MissingEnd

    @override
    def __str__(self) -> str:
        return redact(self.url)


@final
@attrs.frozen
class IndexWork:
    """What is to be done for an index, by whoever does it; arguments and errors of `of` are those of `build_index`.

    Attributes:
        manifest: path of the manifest.
        shards: number of all shards.
        due: what is not done yet.
    """

    manifest: str
    shards: int
    due: Sequence[IndexJob]

    @classmethod
    def of(
        cls,
        urls: Urls,
        *,
        manifest: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        opener: OpenerLike | None = None,
        md5: bool = False,
        missing_end: MissingEnd = "error",
        rebuild: bool = False,
    ) -> IndexWork:
        """Find out what is to be done."""
        opens = default_opener() if opener is None else as_opener(opener)
        shards = listed_shards(urls, opens)
        folder = None if directory is None else os.fspath(directory)
        tables = _table_paths([shard.url for shard in shards], folder)
        if manifest is None:
            manifest = os.path.join(os.path.dirname(tables[0]), "index.json")
        path = os.fspath(manifest)
        if folder is not None:
            try:
                os.makedirs(folder, exist_ok=True)
            except OSError as error:
                raise OpenError(f"cannot make the folder of the index: {error}", url=folder, stage="index") from error
        known = {} if rebuild else _known(path)
        jobs = [
            IndexJob(shard.url, path, table, opens, md5, missing_end)
            for shard, table in zip(shards, tables, strict=True)
        ]
        return cls(path, len(jobs), [job for job in jobs if not _is_done(job, known.get(relative_url(job.url, path)))])

    def record(self, entries: Iterable[dict[str, Any]]) -> Iterator[str]:
        """Note in the manifest what `index_shard` has returned, each when it comes, and yield its URL."""
        for entry in entries:
            merge_manifest(self.manifest, [entry])
            yield entry["url"]
        if not os.path.exists(self.manifest):
            merge_manifest(self.manifest, [])


def build_index(
    urls: Urls,
    *,
    manifest: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    workers: int = 0,
    opener: OpenerLike | None = None,
    md5: bool = False,
    missing_end: MissingEnd = "error",
    rebuild: bool = False,
) -> str:
    """Write the member table of each shard, and a manifest of all.

    Of a local shard, and of a remote one whose size is known, only headers are read, unless its members are so small
    that reading all of it is quicker. Every shard is recorded when it is done, so that a run that was broken off goes
    on where it was: a shard whose entry in the manifest has its present size, and whose table is good, is passed over.
    A compressed shard, and one with sparse members, gets no table, and its samples are counted.

    Args:
        urls: the shards, as `DatasetBuilder` takes them.
        manifest: path of the manifest, which is added to if it exists; by default ``index.json`` in ``directory``, or
            beside the first shard.
        directory: a local folder for the tables, which is made if need be; needed for remote shards. By default they
            are beside the shards.
        workers: how many processes; 0 for this one alone. A script that has them calls this under
            ``if __name__ == "__main__":``, as for any process that is spawned.
        opener: opens the shards, as in `DatasetBuilder`. It is pickled for the processes.
        md5: whether to note the MD5 of each shard, for which all of it is read.
        missing_end: ``"error"`` or ``"accept"``: what of an archive without end blocks.
        rebuild: whether to do again what is there already.

    Returns:
        The path of the manifest.

    Raises:
        UrlError: nothing matches, remote shards without ``directory``, or two shards whose tables would be one.
        OpenError: a shard cannot be read, or an index not be written.
        TarFormatError: a shard is damaged.
        SampleError: the members of a shard make no samples; see `DatasetBuilder`.
    """
    if workers < 0:
        raise ValueError(f"workers={workers}: expected a number from 0")
    work = IndexWork.of(
        urls,
        manifest=manifest,
        directory=directory,
        opener=opener,
        md5=md5,
        missing_end=missing_end,
        rebuild=rebuild,
    )
    for _ in work.record(_done(work.due, min(len(work.due), workers))):
        pass
    return work.manifest


def _table_paths(urls: Sequence[str], folder: str | None) -> list[str]:
    """Return where the table of each shard is to be."""
    paths: list[str] = []
    for url in urls:
        path = local_path(url)
        if folder is not None:
            name = index_path(url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2] if path is None
                              else os.path.basename(path))  # fmt: skip
            paths.append(os.path.join(folder, name))
        elif path is not None:
            paths.append(index_path(path))
        else:
            raise UrlError("no index can be written beside this shard: name a folder with directory=", url=url)
    taken: dict[str, str] = {}
    for url, table in zip(urls, paths, strict=True):
        if taken.setdefault(table, url) != url:
            raise UrlError(f"the tables of two shards would both be {table!r}: index them apart", url=url)
    return paths


def _known(path: str) -> dict[str, ListedShard]:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8-sig") as file:
        return {shard.url: shard for shard in parse_manifest(file.read(), path).shards}


def _is_done(job: IndexJob, known: ListedShard | None) -> bool:
    """Return whether a shard has all that is asked for, and has not changed since."""
    if known is None or known.size is None or known.samples is None or (job.md5 and known.md5 is None):
        return False
    if job.opener.size(job.url) != known.size:
        return False
    if "no_index" in known.more:
        return True
    try:
        with open(job.index, "rb") as file:
            table = parse_table(file.read(), job.index, size=known.size)
    except (OSError, StaleIndexError):
        return False
    return table is not None and len(table) == known.samples


def _done(jobs: Sequence[IndexJob], workers: int) -> Iterator[dict[str, Any]]:
    """Do the jobs, and yield the entry of each when it is done."""
    if workers <= 1:
        yield from map(index_shard, jobs)
        return
    # Processes that are started afresh inherit no locks of threads that other libraries have.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(index_shard, job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def index_shard(job: IndexJob) -> dict[str, Any]:
    """Write the table of one shard and return its entry in the manifest."""
    try:
        with open_whole(job.opener, job.url) as stream:
            found = scan(stream, url=job.url, missing_end=job.missing_end)
        size, digest = job.opener.size(job.url), None
        if job.md5:
            size, digest = _hashed(job)
    except Exception as error:
        annotate(error, url=job.url, stage="index")
        raise
    why = found.hindrance or (None if found.sayable else "names")
    entry = entry_of(job.url, job.manifest, found.count, size, why)
    if digest is not None:
        entry["md5sum"] = digest
    if found.table is not None and found.sayable:
        replace_file(job.index, found.table.dump())
        path = local_path(job.url)
        if path is None or index_path(path) != job.index:
            entry["index"] = relative_url(job.index, job.manifest)
    return entry


def _hashed(job: IndexJob) -> tuple[int, str]:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    with job.opener.open(job.url) as stream:
        while data := stream.read(_PIECE):
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()
