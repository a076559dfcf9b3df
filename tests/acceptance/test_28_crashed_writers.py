"""28. A crashed ``with ShardWriter`` leaves no file under a final name and calls no ``post`` for it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from webds.errors import EncodeError
from webds.sinks import ShardWriter, TarWriter
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
