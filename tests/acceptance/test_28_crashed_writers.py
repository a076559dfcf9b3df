"""28. A crashed ``with ShardWriter`` leaves no file under a final name and calls no ``post`` for it."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from writing import write_for_ever

import webds
from webds.errors import EncodeError
from webds.index import parse_table
from webds.sinks import ShardWriter, TarWriter
from webds.tar import read_samples
from webds.typing import Sample


def sample(number: int) -> Sample:
    return {"__key__": f"{number:06d}", "bin": bytes(2000), "cls": number}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keys(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return sorted({name.partition(".")[0] for name in tar.getnames()})


@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_28_an_exception_leaves_finished_shards_only(tmp_path: Path, crash: type[BaseException]) -> None:
    finished: list[str] = []

    def run() -> None:
        with ShardWriter(f"{tmp_path}/x-%02d.tar", maxcount=2, post=finished.append) as sink:
            for number in range(5):
                sink.write(sample(number))
            raise crash("crash")

    with pytest.raises(crash):
        run()
    assert names(tmp_path) == ["x-00.tar", "x-01.tar"]
    assert finished == [f"{tmp_path}/x-00.tar", f"{tmp_path}/x-01.tar"]
    assert keys(tmp_path / "x-01.tar") == ["000002", "000003"]


def test_28_an_exception_before_the_first_sample_leaves_nothing(tmp_path: Path) -> None:
    finished: list[str] = []

    def run() -> None:
        with ShardWriter(f"{tmp_path}/x-%02d.tar", post=finished.append) as sink:
            sink.write({"__key__": "a", "cls": 1.5})

    with pytest.raises(EncodeError):
        run()
    assert names(tmp_path) == []
    assert finished == []


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.xz"])
def test_28_a_crashed_tar_writer_leaves_no_file(tmp_path: Path, name: str) -> None:
    def run() -> None:
        with TarWriter(tmp_path / name) as sink:
            sink.write(sample(0))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        run()
    assert names(tmp_path) == []


def test_28_a_stream_gets_no_end_of_archive() -> None:
    stream = io.BytesIO()

    def run() -> None:
        with TarWriter(stream) as sink:
            sink.write(sample(0))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        run()
    assert not stream.closed
    assert len(stream.getvalue()) == 512 + 2048 + 512 + 512, "two members, and nothing after them"


KILLED = """
import sys, time
from webds.sinks import ShardWriter
with ShardWriter(sys.argv[1], maxcount=2, post=lambda name: print("post", name, flush=True)) as sink:
    for number in range(5):
        sink.write({"__key__": f"{number:06d}", "bin": bytes(2000), "cls": number})
    print("ready", flush=True)
    time.sleep(600)
"""


def test_28_a_killed_process_leaves_finished_shards_and_resume_cleans_up(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/x-%02d.tar"
    with subprocess.Popen([sys.executable, "-c", KILLED, pattern], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()
    assert lines == [f"post {tmp_path}/x-00.tar", f"post {tmp_path}/x-01.tar", "ready"]
    hidden, *shards = names(tmp_path)
    assert shards == ["x-00.tar", "x-01.tar"]
    assert hidden.startswith(".x-02.tar.")
    assert hidden.endswith(".part")
    assert [path.name for path in sorted(tmp_path.glob("*.tar"))] == shards
    with ShardWriter(pattern, maxcount=2, resume=True) as sink:
        assert names(tmp_path) == shards
        assert sink.fname == f"{tmp_path}/x-02.tar"
        sink.write(sample(4))
    assert names(tmp_path) == ["x-00.tar", "x-01.tar", "x-02.tar"]
    assert [key for shard in names(tmp_path) for key in keys(tmp_path / shard)] == [f"{n:06d}" for n in range(5)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills")
def test_28_writers_that_are_killed_at_any_moment_leave_whole_files(tmp_path: Path) -> None:
    """Three at a time, with a manifest in common; and whoever resumes completes what they left out."""
    spawn = multiprocessing.get_context("spawn")
    rng = random.Random(28)
    patterns = [str(tmp_path / f"{name}-%05d.tar") for name in "abc"]
    shards: list[str] = []
    for round_ in range(2):
        started = [spawn.Event() for _ in patterns]
        writers = [
            spawn.Process(target=write_for_ever, args=(pattern, "all.json", 3 * round_ + n, started[n]), daemon=True)
            for n, pattern in enumerate(patterns)
        ]
        for writer in writers:
            writer.start()
        try:
            assert all(event.wait(60) for event in started)
        finally:
            for writer in writers:
                time.sleep(rng.uniform(0.0, 0.05))
                writer.kill()
                writer.join()
        shards = sorted(map(str, tmp_path.glob("*.tar")))
        assert shards
        for shard in shards:
            assert len(list(read_samples(io.BytesIO(Path(shard).read_bytes()), url=shard))) == 4
        for index in tmp_path.glob("*.idx"):
            table = parse_table(index.read_bytes(), str(index), size=index.with_suffix(".tar").stat().st_size)
            assert table is not None
            assert len(table) == 4
        for entry in json.loads((tmp_path / "all.json").read_text())["shardlist"]:
            assert entry["md5sum"] == hashlib.md5((tmp_path / entry["url"]).read_bytes()).hexdigest()
    for pattern in patterns:
        with ShardWriter(pattern, maxcount=4, manifest="all.json", md5=True, resume=True):
            pass
    assert not list(tmp_path.glob(".*.part*")), "what was unfinished is gone"
    whole = webds.DatasetBuilder(str(tmp_path / "all.json"), verify="hash")
    assert sorted(whole.plan.source.shards()) == shards
    assert len(list(whole.build())) == 4 * len(shards)
    assert len(list(whole.indexed().build())) == 4 * len(shards)
