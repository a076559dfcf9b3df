"""Line 20: 20 epochs, each ended early, leave as many processes, threads and open files as one."""

from __future__ import annotations

import contextlib
import gc
import operator
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_workers import open_files_and, pairs_of, with_place
from shards import numbered_shards, tar_bytes
from webserver import Exchange, serving

import webds

EPOCHS = 20


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=4, samples=40)


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """What an iteration opened goes with it, and does not wait for the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _children() -> int:
    children = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            children += len(Path(f"/proc/self/task/{task}/children").read_text().split())
    return children


def _held() -> tuple[int, int, int]:
    """Return the numbers of child processes, threads and open files of this process."""
    return _children(), threading.active_count(), len(os.listdir("/proc/self/fd"))


def _settles(expected: tuple[int, int, int]) -> bool:
    """Return whether no more than that is held now or soon: a thread that was told to end takes a moment.

    Less may be held, where something of a test before this one was on its way out when that was counted.
    """
    deadline = time.monotonic() + 10
    while not all(map(operator.le, _held(), expected)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return all(map(operator.le, _held(), expected))


def _break_often(loader: webds.Loader[Any], after: int = 3) -> None:
    """Begin 20 epochs, and check that each, ended early, leaves nothing behind."""
    before = _held()
    for _ in range(EPOCHS):
        for count, value in enumerate(loader, 1):
            del value  # a tensor out of a worker holds a file
            if count == after:
                break
        assert _settles(before), (before, _held())


CHAINS: dict[str, Any] = {
    "read ahead": lambda b: b.prefetch(),
    "samples": lambda b: b,
    "stages": lambda b: b.decode().shuffle(10).to_tuple("cls", "txt").map_tuple(int, len).batch(2),
    "pipe": lambda b: b.decode().to_tuple("cls").pipe(pairs_of).map(len),
    "repetition": lambda b: b.repeat().filter(bool).shuffle(5).take(1000),
}

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts by /proc")


@needs_proc
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("workers", [0, 2])
def test_20_of_files(urls: list[str], chain: str, workers: int) -> None:
    _break_often(CHAINS[chain](webds.DatasetBuilder(urls)).loader(num_workers=workers))


@needs_proc
@pytest.mark.parametrize("workers", [0, 2])
def test_20_of_commands(urls: list[str], workers: int) -> None:
    """Each shard is a child process, and what it still has to say when nobody listens any more is more than a pipe."""
    commands = [f"pipe:cat {url} {url} {url} {url}" for url in urls]
    _break_often(webds.DatasetBuilder(commands).decode().loader(num_workers=workers))


HOWS: dict[str, Any] = {
    "prefetch": lambda b, folder: b.prefetch(shards=2),
    "little prefetch": lambda b, folder: b.prefetch(shards=3, max_bytes=2000),
    "cache": lambda b, folder: b.cache(folder / "cache", max_bytes=1 << 22),
    "both": lambda b, folder: b.cache(folder / "cache").prefetch(),
}


@needs_proc
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("workers", [0, 2])
def test_20_of_commands_read_ahead_and_kept(tmp_path: Path, urls: list[str], how: str, workers: int) -> None:
    commands = [f"pipe:cat {url} {url} {url} {url}" for url in urls]
    _break_often(HOWS[how](webds.DatasetBuilder(commands), tmp_path).loader(num_workers=workers))
    assert not list(tmp_path.glob("cache/*.part"))


@needs_proc
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("workers", [0, 2])
def test_20_of_a_server_that_stalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, workers: int) -> None:
    """It sends some samples of each shard, and then nothing for longer than this test takes."""
    body = tar_bytes((f"{n}.bin", bytes(2000)) for n in range(400))[:-10_000]

    def stalls(exchange: Exchange) -> None:
        exchange.reply(body, Content_Length=str(1 << 30))
        exchange.wfile.flush()
        exchange.rfile.read(1)  # until the client goes

    monkeypatch.setenv("no_proxy", "*")
    with serving() as web:
        web.routes["/x.tar"] = stalls
        urls = [web.url(f"/x.tar?{n}") for n in range(6)]
        builder = webds.DatasetBuilder(urls, opener=webds.HttpOpener(timeout=3600))
        _break_often(HOWS[how](builder, tmp_path).loader(num_workers=workers))
    assert not list(tmp_path.glob("cache/*"))


@needs_proc
def test_20_of_persistent_workers(urls: list[str]) -> None:
    numbers = webds.DatasetBuilder(urls).decode().shuffle(10).to_tuple("cls").map(open_files_and).map(with_place)
    loader = numbers.loader(num_workers=2, persistent_workers=True)
    before = _held()
    first: tuple[int, int, int] | None = None
    in_workers: dict[int, set[int]] = {0: set(), 1: set()}
    for _ in range(EPOCHS):
        for count, (worker, (open_files, _value)) in enumerate(loader, 1):
            in_workers[worker].add(open_files)
            if count == 12:
                break
        first = first or _held()
        assert _settles(first), (first, _held())
    assert first is not None
    assert first[0] == before[0] + 2, "the workers are kept"
    for counts in in_workers.values():
        assert max(counts) - min(counts) <= 1, "at most the one shard that is being read"


@needs_proc
def test_20_an_iterator_that_is_closed_closes_its_shard(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls).shuffle(3).build()
    before = _held()
    iterators = [iter(dataset) for _ in range(5)]
    assert len([next(iterator) for iterator in iterators]) == 5
    assert _held()[2] == before[2] + 5
    iterators.clear()
    assert _held() == before


@needs_proc
def test_20_datasets_go_with_their_files(urls: list[str]) -> None:
    before = _held()
    for _ in range(EPOCHS):
        dataset = webds.DatasetBuilder(urls).batch(2).build()
        next(iter(dataset))
        del dataset
        assert _held() == before


def test_20_iterators_that_are_left_open_at_the_end_of_a_program_say_nothing(tmp_path: Path) -> None:
    script = """
import sys
import webds

class Keeper: ...

with webds.ShardWriter("x-%d.tar", maxcount=20, manifest="x.json") as sink:
    for i in range(60):
        sink.write({"__key__": f"{i}", "cls": i, "txt": "a" * 100})
streamed = webds.DatasetBuilder("x.json").shuffle(10).decode()
indexed = webds.DatasetBuilder("x.json").indexed().decode().to_tuple("cls")
windows = indexed.shuffle(5, window_shards=2).batch(4)
sys.keeper = Keeper()  # which goes when modules are gone
mixed = webds.round_robin([indexed, indexed], exhausted="stop")
sys.keeper.all = [iter(one.build()) for one in (streamed, indexed, windows, mixed)]
kept = [iter(windows.build()), *sys.keeper.all]
for one in kept:
    next(one)
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
