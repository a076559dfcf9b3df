"""29: a writer over shards that a bucket has refuses, unless ``overwrite=True`` or ``resume=True``."""

from __future__ import annotations

from typing import Any

import pytest
from objectstores import S3Server
from stores import put

import webds
from webds.errors import OpenError, WriteError
from webds.sinks import ShardWriter, TarWriter
from webds.typing import Sample


def sample(number: int) -> Sample:
    return {"__key__": f"{number:03d}", "cls": number}


def write(sink: ShardWriter | TarWriter, *numbers: int) -> None:
    with sink:
        for number in numbers:
            sink.write(sample(number))


def writer(s3: S3Server, bucket: str, **options: Any) -> ShardWriter:
    return ShardWriter(f"s3://{bucket}/d/x-%03d.tar", maxcount=2, opener=s3.opener(), **options)


def shards(s3: S3Server, bucket: str) -> dict[str, list[int]]:
    def read(key: str) -> list[int]:
        builder = webds.DatasetBuilder([f"s3://{bucket}/{key}"], opener=s3.opener())
        return [int(one["__key__"]) for one in builder.build()]

    return {key: read(key) for key in s3.keys(bucket)}


@pytest.mark.parametrize("existing", [0, 7, 1234])
def test_29_any_existing_object_is_refused_at_creation(s3: S3Server, existing: int) -> None:
    bucket = s3.bucket()
    s3.put(f"s3://{bucket}/d/x-{existing:03d}.tar", b"there")
    for other in ("d/y-001.tar", "x-001.tar", "d/x-001.tar.idx", "d/e/x-001.tar"):
        s3.put(f"s3://{bucket}/{other}", b"another")
    with pytest.raises(WriteError, match=f"1 shards of .*x-{existing:03d}.tar.*overwrite=True replaces them"):
        writer(s3, bucket)
    if existing:
        writer(s3, bucket, start_shard=existing + 1).close()


def test_29_no_object_appears_before_the_first_write(s3: S3Server) -> None:
    bucket = s3.bucket()
    sink = writer(s3, bucket)
    assert s3.keys(bucket) == []
    sink.close()
    assert s3.keys(bucket) == []


def test_29_overwrite_replaces_and_removes_those_that_come_after(s3: S3Server) -> None:
    bucket = s3.bucket()
    write(writer(s3, bucket), *range(7))
    write(writer(s3, bucket, overwrite=True), 10, 11, 12)
    assert shards(s3, bucket) == {"d/x-000.tar": [10, 11], "d/x-001.tar": [12]}


def test_29_resume_goes_on_after_the_last_whole_object(s3: S3Server) -> None:
    bucket = s3.bucket()
    write(writer(s3, bucket, resume=True), 0, 1, 2)
    write(writer(s3, bucket, resume=True), 3)
    assert shards(s3, bucket) == {"d/x-000.tar": [0, 1], "d/x-001.tar": [2], "d/x-002.tar": [3]}
    s3.put(f"s3://{bucket}/d/x-002.tar", s3.opener().open(f"s3://{bucket}/d/x-002.tar").read()[:1024])
    with pytest.raises(WriteError, match=r"cannot resume after '.*x-002.tar', which is not whole"):
        writer(s3, bucket, resume=True)


def test_29_a_tar_writer_refuses_an_object_also_one_that_came_late(s3: S3Server) -> None:
    bucket = s3.bucket()
    url = f"s3://{bucket}/x.tar"
    late = TarWriter(url, opener=s3.opener())
    late.write(sample(1))
    write(TarWriter(url, opener=s3.opener()), 2)
    with pytest.raises(WriteError, match="came into being while it was written"):
        late.close()
    with pytest.raises(WriteError, match="exists; overwrite=True replaces it"):
        TarWriter(url, opener=s3.opener())
    assert shards(s3, bucket) == {"x.tar": [2]}
    write(TarWriter(url, opener=s3.opener(), overwrite=True), 3)
    assert shards(s3, bucket) == {"x.tar": [3]}


def test_29_a_store_that_does_not_answer_is_an_error_at_creation(s3: S3Server) -> None:
    for make in (TarWriter, ShardWriter):
        with pytest.raises(OpenError, match="cannot"):
            make("s3://bucket/x-%d.tar", opener=s3.opener(port=9, attempts=1))


def test_29_so_does_any_store_that_lists(s3: S3Server) -> None:
    put("memory://lists29/x-003.tar", b"there")
    with pytest.raises(WriteError, match="1 shards of"):
        ShardWriter("memory://lists29/x-%03d.tar")
    with pytest.raises(WriteError, match="exists"):
        TarWriter("memory://lists29/x-003.tar")
    put("memory://lists29/x-007.tar", b"there")
    sink = ShardWriter("memory://lists29/x-%03d.tar", overwrite=True)
    sink.write(sample(0))
    with pytest.warns(RuntimeWarning, match="2 shards of an earlier run are still there"):
        sink.close()
