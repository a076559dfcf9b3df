"""9: a failure inside a shell pipeline, or a non-zero exit after all data, is an error with the end of stderr."""

from __future__ import annotations

import gc
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from processes import alive, children
from shards import numbered_shards

import webds
from webds.errors import OpenError
from webds.openers import CommandOpener, default_opener, gopen
from webds.testing.suite import settled

Open = Callable[[str], BinaryIO]
OPENERS: dict[str, Open] = {
    "gopen": lambda command: gopen(f"pipe:{command}"),
    "opener": lambda command: default_opener().open(f"pipe:{command}"),
    "template": lambda command: CommandOpener(f"{command}; status=$?; : {{url}}; exit $status").open("x"),
}


@pytest.fixture
def shard(tmp_path: Path) -> str:
    return shlex.quote(numbered_shards(tmp_path, 1, 20)[0])


def read(stream: BinaryIO, parts: list[bytes], size: int) -> None:
    with stream:
        while part := stream.read(size):
            parts.append(part)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with pipefail")
@pytest.mark.parametrize("how", OPENERS)
def test_09_a_failure_inside_a_pipeline_is_an_error_with_its_stderr(how: str, shard: str) -> None:
    with pytest.raises(OpenError, match="the disk is on fire"):
        read(OPENERS[how](f"(head -c 2000 {shard}; echo the disk is on fire >&2; exit 5) | cat | cat"), [], 512)


@pytest.mark.parametrize("how", OPENERS)
@pytest.mark.parametrize("size", [512, 1 << 20])
def test_09_a_failure_after_all_data_is_an_error_and_all_data_came(how: str, size: int, shard: str) -> None:
    parts: list[bytes] = []
    with pytest.raises(OpenError, match=r"status 5(.|\n)*checksum mismatch"):
        read(OPENERS[how](f"cat {shard}; echo checksum mismatch >&2; (exit 5)"), parts, size)
    assert b"".join(parts) == Path(shlex.split(shard)[0]).read_bytes()


@pytest.mark.parametrize("how", OPENERS)
def test_09_no_way_of_reading_takes_a_failed_command_for_a_whole_one(how: str, shard: str) -> None:
    with OPENERS[how](f"cat {shard}; (exit 5)") as stream, pytest.raises(OpenError, match="status 5"):
        stream.read()


@pytest.mark.parametrize("how", OPENERS)
def test_09_a_reader_that_has_enough_and_sigpipe_are_no_errors(how: str, shard: str) -> None:
    with OPENERS[how](f"while cat {shard}; do :; done") as stream:
        assert len(stream.read(10_000)) == 10_000
    parts: list[bytes] = []
    read(OPENERS[how](f"yes | head -c 1000; cat {shard}"), parts, 512)
    assert len(b"".join(parts)) > 1000


def test_09_the_error_names_the_command_without_its_secrets() -> None:
    with pytest.raises(OpenError) as caught:
        read(
            gopen("pipe:echo no access for --password hush >&2; cat --password hush 'http://u:hush@h/x?s=hush'"),
            [],
            512,
        )
    assert caught.value.url is not None
    assert caught.value.url.startswith("pipe:echo no access")
    assert "no access for" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_09_a_failed_command_that_is_written_to_is_an_error(tmp_path: Path) -> None:
    stream = gopen("pipe:cat > /dev/null; echo quota exceeded >&2; exit 5", "wb")
    stream.write(b"data")
    with pytest.raises(OpenError, match=r"status 5(.|\n)*quota exceeded"):
        stream.close()


# Through a dataset: also where threads read ahead, or a cache is filled.

WAYS: dict[str, Callable[[webds.DatasetBuilder[webds.Sample], Path], webds.DatasetBuilder[webds.Sample]]] = {
    "plain": lambda builder, folder: builder,
    "prefetch": lambda builder, folder: builder.prefetch(),
    "little prefetch": lambda builder, folder: builder.prefetch(1, max_bytes=5000),
    "cache": lambda builder, folder: builder.cache(folder / "cache"),
    "both": lambda builder, folder: builder.cache(folder / "cache").prefetch(),
}
ways = pytest.mark.parametrize("way", WAYS)


@ways
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell with pipefail")
@pytest.mark.parametrize(
    ("command", "samples"),
    [
        ("cat {}; echo checksum mismatch >&2; exit 5", 20),
        ("(head -c 5120 {}; echo checksum mismatch >&2; exit 5) | cat", 2),
    ],
)
def test_09_a_dataset_raises_what_the_command_said_after_all_that_was_good(
    way: str, command: str, samples: int, shard: str, tmp_path: Path
) -> None:
    urls = [f"pipe:cat {shard}", f"pipe:{command.format(shard)}", f"pipe:cat {shard}"]
    builder = WAYS[way](webds.DatasetBuilder(urls), tmp_path)
    before = children()
    found: list[webds.Sample] = []
    with pytest.raises(OpenError, match=r"status 5(.|\n)*checksum mismatch") as caught:
        found.extend(builder.build())
    assert caught.value.url == urls[1]
    assert caught.value.stage == "read"
    assert len(found) == 20 + samples
    assert children() <= before
    dataset = builder.on_error("skip").build()
    assert len(list(dataset)) == 40 + samples
    assert dataset.stats().counts == {"read": {urls[1]: 1}}
    if "cache" in way or way == "both":
        assert len(list((tmp_path / "cache").iterdir())) == 1, "and what failed is not kept"


def _pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


@pytest.fixture
def endless(tmp_path: Path, shard: str) -> list[str]:
    """Commands that write their numbers down, and some samples, and do not end by themselves."""
    wanted = " ".join([shard] * 60)
    return [f"pipe:echo $$ >> {tmp_path}/pids; cat {wanted}; sleep 360{n}" for n in range(4)]


def _ends_by_break(iterator: Iterator[Any]) -> None:
    for _ in iterator:
        break


def _ends_by_exception(iterator: Iterator[Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        next(1 / 0 for _ in iterator)


def _ends_as_garbage(iterator: Iterator[Any]) -> None:
    next(iterator)
    cycle: list[Any] = [iterator]
    cycle.append(cycle)


@ways
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="counts by /proc")
@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are bash's")
@pytest.mark.parametrize("ends", [_ends_by_break, _ends_by_exception, _ends_as_garbage])
def test_09_commands_end_with_the_iterator(
    way: str, ends: Callable[[Iterator[Any]], None], endless: list[str], tmp_path: Path
) -> None:
    dataset = WAYS[way](webds.DatasetBuilder(endless), tmp_path).build()
    before = children()
    for _ in range(3):
        ends(iter(dataset))
        gc.collect()
        assert children() <= before
    assert _pids(tmp_path)
    assert not [pid for pid in _pids(tmp_path) if alive(pid)]


@ways
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="counts by /proc")
@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are bash's")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_09_commands_end_with_their_workers(way: str, method: str, endless: list[str], tmp_path: Path) -> None:
    builder = WAYS[way](webds.DatasetBuilder(endless), tmp_path)
    for _ in builder.loader(num_workers=2, multiprocessing_context=method):
        break
    gc.collect()
    assert settled(lambda: not [pid for pid in _pids(tmp_path) if alive(pid)], 10)
