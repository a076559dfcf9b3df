"""Line 12: eight processes and one URL give one valid file, and nothing that is killed leaves one that is none."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from caching import digest, hold, read_and_tell, read_for_ever, unsound, write_limited
from shards import numbered_shards
from webserver import Exchange, WebServer, serving

import webds
from webds.openers import CachingOpener, HttpOpener

BODY = random.Random(12).randbytes(5_000_000)
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start processes, of which none is left at the end."""
    processes: list[Any] = []

    def started(function: Callable[..., object], *args: object) -> Any:
        process = SPAWN.Process(target=function, args=args, daemon=True)
        processes.append(process)
        process.start()
        return process

    yield started
    for process in processes:
        process.kill()
        process.join()


def in_steps(body: bytes, pause: float = 0.0) -> Callable[[Exchange], None]:
    """Return what sends ``body`` so that there is a time in the middle of it."""

    def answer(exchange: Exchange) -> None:
        exchange.reply(Content_Length=str(len(body)))
        for offset in range(0, len(body), 200_000):
            exchange.wfile.write(body[offset : offset + 200_000])
            time.sleep(pause)

    return answer


def kept(directory: Path) -> list[str]:
    return sorted(path.suffix for path in directory.iterdir())


def test_12_eight_processes_and_one_url_are_one_transfer_and_one_valid_file(
    tmp_path: Path, web: WebServer, start: Callable[..., Any]
) -> None:
    web.routes["/x.tar"] = in_steps(BODY, 0.01)
    opener = CachingOpener(HttpOpener(), tmp_path)
    barrier, queue = SPAWN.Barrier(8), SPAWN.Queue()
    for _ in range(8):
        start(read_and_tell, opener, web.url("/x.tar?sig=hush"), barrier, queue)
    assert {queue.get(timeout=60) for _ in range(8)} == {digest(BODY)}
    assert [asked.method for asked in web.asked] == ["GET"]
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == BODY
    assert file.suffix == ".shard"
    assert "hush" not in file.name


def test_12_who_is_killed_in_the_middle_leaves_his_turn_to_the_next(
    tmp_path: Path, web: WebServer, start: Callable[..., Any]
) -> None:
    opener, url = CachingOpener(HttpOpener(), tmp_path), web.url("/x.tar")

    def never_ends(exchange: Exchange) -> None:
        exchange.reply(BODY[: 2 << 20], Content_Length=str(len(BODY)))
        exchange.wfile.flush()
        exchange.rfile.read(1)

    web.routes["/x.tar"] = never_ends
    held, enough, queue = SPAWN.Event(), SPAWN.Event(), SPAWN.Queue()
    first = start(hold, opener, url, held, enough, queue)
    assert held.wait(60)
    web.routes["/x.tar"] = BODY
    barrier, digests = SPAWN.Barrier(4), SPAWN.Queue()
    for _ in range(3):
        start(read_and_tell, opener, url, barrier, digests)
    barrier.wait(60)
    assert kept(tmp_path) == [".part"]
    os.kill(first.pid, signal.SIGKILL)
    assert {digests.get(timeout=60) for _ in range(3)} == {digest(BODY)}
    assert len(web.asked) == 2
    assert kept(tmp_path) == [".shard"]


@pytest.mark.parametrize("limit", [None, 2_500_000])
def test_12_kill_9_at_any_moment_leaves_nothing_that_is_taken_for_good(
    tmp_path: Path, web: WebServer, start: Callable[..., Any], limit: int | None
) -> None:
    """Eight processes fill the cache and read from it, and are killed one after the other while the others go on."""
    bodies = [random.Random(n).randbytes(500_000 + n) for n in range(6)]
    for n, body in enumerate(bodies):
        web.routes[f"/{n}.tar"] = in_steps(body, 0.02)
    opener = CachingOpener(HttpOpener(), tmp_path, limit)
    rng = random.Random(9)
    urls = [web.url(f"/{n % 6}.tar?{n}") for n in range(600)]  # more than they come to
    started = [SPAWN.Event() for _ in range(8)]
    victims = [start(read_for_ever, opener, urls, n, event) for n, event in enumerate(started)]
    assert all(event.wait(60) for event in started)
    left: set[str] = set()
    for victim in victims:
        time.sleep(rng.uniform(0.0, 0.05))
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        left |= {path.name for path in tmp_path.glob("*.part")}
        assert unsound(tmp_path, bodies) == []
    assert left, "some were killed in the middle of a transfer"
    assert list(tmp_path.glob("*.shard")), "they came to something"
    for url, body in zip([web.url(f"/{n}.tar") for n in range(6)], bodies, strict=True):
        with opener.open(url) as stream:
            assert stream.read() == body
    assert set(kept(tmp_path)) == {".shard"}, "no temporary is left"
    assert unsound(tmp_path, bodies) == []
    if limit is not None:
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit


def test_12_what_another_process_reads_is_not_removed(
    tmp_path: Path, web: WebServer, start: Callable[..., Any]
) -> None:
    bodies = [random.Random(n).randbytes(1_000_000) for n in range(4)]
    for n, body in enumerate(bodies):
        web.routes[f"/{n}.tar"] = body
    urls = [web.url(f"/{n}.tar") for n in range(4)]
    opener = CachingOpener(HttpOpener(), tmp_path, 2_200_000)

    def read(n: int) -> None:
        with opener.open(urls[n]) as stream:
            assert stream.read() == bodies[n]

    read(0)
    (first,) = tmp_path.iterdir()
    held, enough, queue = SPAWN.Event(), SPAWN.Event(), SPAWN.Queue()
    holder = start(hold, opener, urls[0], held, enough, queue)
    assert held.wait(60)
    for n in (1, 2, 3):
        read(n)
        assert first.exists(), "although it was not used for longest"
    assert len(list(tmp_path.iterdir())) == 2
    enough.set()
    assert queue.get(timeout=60) == digest(bodies[0])
    holder.join()
    read(1)
    read(2)
    assert not first.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_12_where_the_disk_takes_no_more_the_reading_goes_on(
    tmp_path: Path, web: WebServer, start: Callable[..., Any]
) -> None:
    web.routes["/x.tar"] = BODY
    queue = SPAWN.Queue()
    start(write_limited, CachingOpener(HttpOpener(), tmp_path), web.url("/x.tar"), 3_100_000, queue)
    digests, warned = queue.get(timeout=60)
    assert digests == [digest(BODY)] * 2
    assert len(warned) == 1
    assert "File too large" in warned[0]
    assert kept(tmp_path) == []


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_12_a_dataset_reads_each_shard_once_from_the_server(tmp_path: Path, web: WebServer, method: str) -> None:
    (tmp_path / "made").mkdir()
    paths = numbered_shards(tmp_path / "made", shards=4, samples=5)
    for n, path in enumerate(paths):
        web.routes[f"/{n}.tar"] = Path(path).read_bytes()
    web.routes["/list.txt"] = b"0.tar\n1.tar\n2.tar\n3.tar\n"

    def builder() -> webds.DatasetBuilder[webds.Sample]:
        return webds.DatasetBuilder(web.url("/list.txt")).shuffle(0).cache(tmp_path / "cache").prefetch(shards=2)

    keys = [f"key{n:05d}" for n in range(20)]
    # Which worker reads which shard differs from epoch to epoch.
    loader = builder().loader(num_workers=2, multiprocessing_context=method, persistent_workers=True)
    for _ in range(3):
        assert sorted(sample["__key__"] for sample in loader) == keys
    assert sorted(asked.path for asked in web.asked) == ["/0.tar", "/1.tar", "/2.tar", "/3.tar", "/list.txt"]
    assert kept(tmp_path / "cache") == [".shard"] * 4
    web.routes["/list.txt"] = b"0.tar\n1.tar\n"
    assert len(list(builder().build())) == 10, "a list is no shard, and is read anew"
    assert web.asked[-1].path == "/list.txt"


@pytest.mark.parametrize("workers", [0, 2])
def test_12_so_does_one_that_is_shuffled_in_windows(tmp_path: Path, web: WebServer, workers: int) -> None:
    """Samples are read one by one there, from the copies; the plan says how large the cache has to be for that."""
    (tmp_path / "made").mkdir()
    for n, path in enumerate(numbered_shards(tmp_path / "made", shards=6, samples=5)):
        body = Path(path).read_bytes()
        web.routes[f"/{n}.tar"] = functools.partial(Exchange.reply_range, body=body)
    urls = [web.url(f"/{n}.tar") for n in range(6)]
    manifest = webds.build_index(urls, directory=tmp_path / "tables")
    web.asked.clear()
    train = webds.DatasetBuilder(manifest).cache(tmp_path / "cache").indexed().shuffle(window_shards=2)
    needed = train.plan_for(workers=workers).cache_per_node
    assert needed is not None
    train = train.cache(tmp_path / "cache", max_bytes=max(needed, 1))
    for epoch in range(1, 3):
        keys = [sample["__key__"] for sample in train.loader(num_workers=workers)]
        assert sorted(keys) == [f"key{n:05d}" for n in range(30)]
        assert keys != sorted(keys)
        whole = [one.path for one in web.asked if one.method == "GET" and "range" not in one.headers]
        assert {whole.count(f"/{n}.tar") for n in range(6)} <= set(range(1, epoch + 1))
        parts = [one for one in web.asked if "range" in one.headers]
        assert len(parts) <= 6 * epoch * max(1, workers), "the end of a shard is looked at, where there is no copy yet"


def test_12_cache_and_opener_may_come_before_the_index_or_after(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, shards=1, samples=5)
    builder = webds.DatasetBuilder(shard)
    opener = HttpOpener(attempts=2)
    before = builder.with_opener("http", opener).cache(tmp_path / "cache", local=True).indexed()
    after = builder.indexed().cache(tmp_path / "cache", local=True).with_opener("http", opener)
    assert after.explain() == before.explain()
    assert len(list(after.shuffle(window_shards=1).build())) == 5
    assert kept(tmp_path / "cache") == [".shard"]
    with pytest.raises(ValueError, match="prefetch reads shards ahead that are read as streams"):
        builder.indexed().prefetch()
    with pytest.raises(TypeError, match="cache is for URLs"):
        webds.DatasetBuilder(webds.MemorySource([{"__key__": "a"}])).cache(tmp_path)
