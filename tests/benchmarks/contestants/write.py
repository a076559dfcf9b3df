"""Writing samples whose fields are bytes into one shard."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.contest import Contents, Job, Task, peer

__all__ = ["WRITE"]


def _samples(job: Job) -> list[dict[str, Any]]:
    """Return the samples of the first shard, read by the standard library."""
    found: list[dict[str, Any]] = []
    with tarfile.open(job.shards[0]) as archive:
        for member in archive:
            key, _, field = member.name.partition(".")
            stream = archive.extractfile(member)
            assert stream is not None
            if not found or found[-1]["__key__"] != key:
                found.append({"__key__": key})
            found[-1][field] = stream.read()
    return found


def _new(job: Job) -> str:
    """Return the pattern of a shard that is not there yet."""
    for name in os.listdir(job.folder):
        os.remove(os.path.join(job.folder, name))
    return os.path.join(job.folder, "written-%06d.tar")


def _webds(job: Job) -> Callable[[], int]:
    import webds

    samples, pattern = _samples(job), _new(job)

    def run() -> int:
        with webds.ShardWriter(pattern) as sink:
            for sample in samples:
                sink.write(sample)
        return len(samples)

    return run


def _webdataset(**options: Any) -> Callable[[Job], Callable[[], int]]:
    def prepare(job: Job) -> Callable[[], int]:
        wds = peer("webdataset")
        samples, pattern = _samples(job), _new(job)

        def run() -> int:
            with wds.ShardWriter(pattern, verbose=0, **options) as sink:
                for sample in samples:
                    sink.write(sample)
            return len(samples)

        return run

    return prepare


def _blocks(job: Job) -> Callable[[], int]:
    """The bytes of the shard from which the samples are, without any work on them."""
    path = _new(job) % 0
    with open(job.shards[0], "rb") as stream:
        data = memoryview(stream.read())
    samples = len(_samples(job))

    def run() -> int:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for start in range(0, len(data), 1 << 20):
            os.write(file, data[start : start + (1 << 20)])
        os.close(file)
        return samples

    return run


def _task(name: str, prepare: Callable[[Job], Callable[[], int]], needs: tuple[str, ...] = ()) -> Task:
    def found(job: Job) -> Iterator[Contents]:
        prepare(job)()
        (name,) = os.listdir(job.folder)
        with tarfile.open(os.path.join(job.folder, name)) as archive:
            for member in archive:
                stream = archive.extractfile(member)
                assert stream is not None
                yield [member.name.encode(), stream.read()]

    return Task(name, prepare, found, needs=needs)


WRITE = (
    _task("webds", _webds),
    _task("webdataset", _webdataset(), ("webdataset",)),
    # Its default is a fractional time, for which every member gets another two blocks.
    _task("webdataset, mtime=0", _webdataset(mtime=0), ("webdataset",)),
    _task("1 MiB blocks", _blocks),
)
