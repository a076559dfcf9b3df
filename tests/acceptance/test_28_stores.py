"""28: a crashed writer leaves nothing under a final name in a bucket, and calls no ``post`` for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from objectstores import S3Server

from webds.sinks import ShardWriter, TarWriter
from webds.typing import Sample

PART = 5 << 20


def sample(number: int, size: int = 2000) -> Sample:
    return {"__key__": f"{number:06d}", "bin": bytes(size), "cls": number}


def keys(s3: S3Server, bucket: str, name: str) -> list[str]:
    import webds

    urls = [f"s3://{bucket}/{name}"]
    return [one["__key__"] for one in webds.DatasetBuilder(urls, opener=s3.opener()).select("cls").build()]


@pytest.mark.parametrize("size", [2000, 3 << 20], ids=["small", "parts"])
@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_28_an_exception_leaves_finished_objects_only(s3: S3Server, crash: type[BaseException], size: int) -> None:
    bucket = s3.bucket()
    finished: list[str] = []

    def run() -> None:
        opener = s3.opener(part_size=PART)
        with ShardWriter(f"s3://{bucket}/x-%02d.tar", maxcount=4, post=finished.append, opener=opener) as sink:
            for number in range(11):
                sink.write(sample(number, size))
            raise crash("crash")

    with pytest.raises(crash):
        run()
    assert s3.keys(bucket) == ["x-00.tar", "x-01.tar"]
    assert s3.uploads(bucket) == []
    assert finished == [f"s3://{bucket}/x-00.tar", f"s3://{bucket}/x-01.tar"]
    assert keys(s3, bucket, "x-01.tar") == [f"{number:06d}" for number in range(4, 8)]


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_28_a_crashed_tar_writer_leaves_no_object(s3: S3Server, name: str) -> None:
    bucket = s3.bucket()

    def run() -> None:
        with TarWriter(f"s3://{bucket}/{name}", opener=s3.opener()) as sink:
            sink.write(sample(0))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        run()
    assert s3.keys(bucket) == []


KILLED = """
import os, sys, time
from webds.openers import ObjectStoreOpener
from webds.sinks import ShardWriter
opener = ObjectStoreOpener(endpoint=sys.argv[2], part_size=5 << 20)
with ShardWriter(sys.argv[1], maxcount=4, post=lambda name: print("post", name, flush=True), opener=opener) as sink:
    for number in range(11):
        sink.write({"__key__": f"{number:06d}", "bin": bytes(3 << 20), "cls": number})
    print("ready", flush=True)
    time.sleep(600)
"""


def test_28_a_killed_process_leaves_finished_objects_and_resume_goes_on(s3: S3Server) -> None:
    bucket = s3.bucket()
    pattern = f"s3://{bucket}/x-%02d.tar"
    command = [sys.executable, "-c", KILLED, pattern, s3.endpoint]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hush"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        deadline = time.monotonic() + 60
        while not s3.uploads(bucket) and time.monotonic() < deadline:  # its thread is a moment behind
            time.sleep(0.01)
        process.kill()
    assert lines == [f"post s3://{bucket}/x-00.tar", f"post s3://{bucket}/x-01.tar", "ready"]
    assert s3.keys(bucket) == ["x-00.tar", "x-01.tar"]
    assert s3.uploads(bucket) == ["x-02.tar"], "a part was on its way, which nobody sees"
    with ShardWriter(pattern, maxcount=4, resume=True, opener=s3.opener()) as sink:
        assert sink.fname == f"s3://{bucket}/x-02.tar"
        for number in range(8, 11):
            sink.write(sample(number))
    assert s3.keys(bucket) == ["x-00.tar", "x-01.tar", "x-02.tar"]
    found = [key for name in s3.keys(bucket) for key in keys(s3, bucket, name)]
    assert found == [f"{number:06d}" for number in range(11)]
