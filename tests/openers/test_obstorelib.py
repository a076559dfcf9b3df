"""Processes that were forked after obstore was used, which has threads that do not come along."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest
from objectstores import S3Server
from shards import sample_of, tar_bytes
from torch.utils.data import DataLoader

import webds
from webds.errors import OpenError
from webds.openers import obstorelib

CONTENT = bytes(range(256)) * 20_000


def in_fork(action: Callable[[], object]) -> object:
    """Return what ``action`` returns in a forked process."""
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    process = context.Process(target=lambda: queue.put(action()))
    process.start()
    try:
        return queue.get(timeout=60)
    finally:
        process.join(60)
        process.kill()


def test_a_forked_process_reads_after_its_parent_has_read(s3: S3Server) -> None:
    opener, url = s3.opener(), s3.put(f"s3://{s3.bucket()}/x", CONTENT)
    assert opener.size(url) == len(CONTENT)
    assert in_fork(lambda: (opener.open(url).read() == CONTENT, list(opener.list(url + "*")))) == (True, [url])
    assert in_fork(lambda: in_fork(lambda: opener.size(url))) == len(CONTENT), "and so does one that it forks"
    assert opener.open(url).read() == CONTENT, "and the parent goes on"


def test_a_stream_goes_on_in_both_processes(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", CONTENT)
    with s3.opener().open(url) as stream:
        stream.read(1000)
        rest = CONTENT[1000:]
        assert in_fork(lambda: stream.read() == rest)
        assert in_fork(lambda: (stream.read(10), stream.close())) == (rest[:10], None)
        assert stream.read() == rest


def test_a_forked_process_has_no_part_in_an_upload(s3: S3Server) -> None:
    bucket = s3.bucket()
    for size in (10, 6 << 20):
        stream: BinaryIO = s3.opener(part_size=5 << 20).open(f"s3://{bucket}/{size}", "wb")
        stream.write(CONTENT[:10] * (size // 10))
        in_fork(stream.close)
        assert s3.keys(bucket) == []
        in_fork(stream.abort)  # type: ignore[attr-defined]
        stream.close()
        assert s3.opener().size(f"s3://{bucket}/{size}") == size // 10 * 10
        s3.opener().remove(f"s3://{bucket}/{size}")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_their_parent_has_listed_and_read(s3: S3Server, method: str) -> None:
    bucket = s3.bucket()
    keys: list[str] = []
    for shard in range(2):
        samples = [sample_of(10 * shard + number) for number in range(4)]
        members = ((f"{s['__key__']}.{field}", s[field].encode()) for s in samples for field in ("cls", "txt"))
        s3.put(f"s3://{bucket}/x-{shard}.tar", tar_bytes(members))
        keys += [sample["__key__"] for sample in samples]
    dataset = webds.DatasetBuilder(f"s3://{bucket}/x-*.tar", opener=s3.opener()).to_tuple("__key__").build()
    assert [key for (key,) in dataset] == keys
    loader: Any = DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=120)
    for _ in range(2):
        assert sorted(key for (key,) in loader) == keys


def test_where_it_cannot_be_loaded_again_the_error_names_the_way_out(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener, url = s3.opener(), s3.put(f"s3://{s3.bucket()}/x", b"data")
    opener.size(url)

    def fail(path: str) -> None:
        raise ImportError("no second copy here")

    monkeypatch.setattr(obstorelib, "_load_extension", fail)

    def error() -> str:
        try:
            opener.open(url)
        except OpenError as failure:
            return str(failure)
        return "no error"

    assert 'multiprocessing_context="spawn"' in str(in_fork(error))
    assert os.path.exists(str(sys.modules["obstore._obstore"].__file__)), "the parent has its own still"
