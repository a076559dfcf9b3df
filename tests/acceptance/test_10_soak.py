"""10: 200 epochs over a server that fails all the time: every sample once in each, and nothing that grows."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from shards import sample_of, tar_bytes
from webserver import Exchange, WebServer, serving

import webds

PER_SHARD = 5
SIZE = 20 * 1024
ROOM = 4 * SIZE + 1000  # so that what was read first is gone when its turn comes again
MB = 1 << 20

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="counts by /proc")


def _shard(number: int) -> bytes:
    samples = map(sample_of, range(number * PER_SHARD, (number + 1) * PER_SHARD))
    return tar_bytes((f"{s['__key__']}.{field}", s[field].encode()) for s in samples for field in ("cls", "txt"))


def _send(exchange: Exchange, body: bytes, upto: int | None = None) -> None:
    """Answer with the rest that is asked for, and close the connection after byte ``upto``."""
    start = int(exchange.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
    span: Mapping[str, str] = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
    exchange.reply(body[start:upto], 206 if start else 200, Content_Length=str(len(body) - start), ETag='"1"', **span)
    if upto is not None:
        exchange.cut_off()


class _Faults:
    """What goes wrong, one after the other; whatever it is, the next request is answered well."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()  # for what stalls
        self.done = 0
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._last: dict[str, bool] = {}

    def answer(self, body: bytes) -> Callable[[Exchange], None]:
        faults: list[Callable[[Exchange], object]] = [
            lambda x: _send(x, body, 0),
            lambda x: _send(x, body, 700),
            lambda x: _send(x, body, len(body) - 1),
            lambda x: x.reply(status=503, Retry_After="0"),
            lambda x: x.reply(status=429, Retry_After=formatdate(time.time() - 5, usegmt=True)),
            lambda x: x.reply(status=500),
            lambda x: x.cut_off(),
            lambda x: x.reply(status=302, Location=x.path),
            self._stall(body),
        ]

        def answer(exchange: Exchange) -> None:
            with self._lock:
                failed = self._last.get(exchange.path, False)
                self._last[exchange.path] = not failed
                turn = next(self._turn)
            if failed:
                _send(exchange, body)
            else:
                self.done += 1
                # A stall takes as long as the opener's patience lasts: now and then is enough.
                faults[-1 if turn % 100 == 0 else turn % (len(faults) - 1)](exchange)

        return answer

    def _stall(self, body: bytes) -> Callable[[Exchange], None]:
        def stall(exchange: Exchange) -> None:
            exchange.reply(body[:900], Content_Length=str(len(body)), ETag='"1"')
            exchange.wfile.flush()
            self.goes_on.wait(20)
            exchange.close_connection = True

        return stall


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _held() -> tuple[int, int]:
    """Return the numbers of our threads and of open files that are no connection to, or of, the server."""
    ours = sum(thread.name.startswith("webds") for thread in threading.enumerate())
    return ours, len(os.listdir("/proc/self/fd"))


HOWS: dict[str, Any] = {
    "alone": lambda b, folder: b,
    "prefetch": lambda b, folder: b.prefetch(shards=2),
    "cache": lambda b, folder: b.cache(folder, max_bytes=ROOM),
    "both": lambda b, folder: b.cache(folder, max_bytes=ROOM).prefetch(shards=2),
}


@needs_proc
@pytest.mark.parametrize(
    ("how", "epochs", "shards"), [("alone", 200, 3), ("prefetch", 50, 6), ("cache", 50, 6), ("both", 50, 6)]
)
def test_10_many_epochs_over_a_failing_server_cost_nothing(
    web: WebServer, tmp_path: Path, how: str, epochs: int, shards: int
) -> None:
    faults = _Faults()
    web.routes |= {f"/{n}.tar": faults.answer(_shard(n)) for n in range(shards)}
    opener = webds.HttpOpener(timeout=0.2, backoff=0.0005, max_backoff=0.001, attempts=8)
    builder = webds.DatasetBuilder([web.url(f"/{n}.tar") for n in range(shards)], opener=opener).shuffle(
        5, seed=3, shards=False
    )
    dataset = HOWS[how](builder, tmp_path / "cache").build()
    expected = [sample_of(n)["__key__"] for n in range(shards * PER_SHARD)]
    most_held, memory, blocks = (0, 0), 0, 0
    for epoch in range(epochs):
        assert sorted(sample["__key__"] for sample in dataset) == expected, epoch
        web.asked.clear()
        if epoch == epochs // 4:
            gc.collect()
            most_held, memory, blocks = _held(), _resident(), sys.getallocatedblocks()
    faults.goes_on.set()
    assert faults.done > epochs // 2
    assert len(dataset.stats().retries) >= faults.done // 2
    assert dataset.stats().losses == []
    gc.collect()
    threads, files = _held()
    assert threads <= most_held[0]
    assert files <= most_held[1] + 8, "connections that the server has not closed yet come and go"
    transfers = (epochs - epochs // 4) * shards
    assert sys.getallocatedblocks() - blocks < transfers, "not one object for each transfer"
    assert _resident() - memory < 16 * MB, "what is not Python's own is looked at, too"
