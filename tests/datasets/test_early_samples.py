"""The first samples of a shard come before the rest of it: whoever sends the rest waits until it has seen one."""

from __future__ import annotations

import io
import shlex
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import attrs
import pytest
from shards import tar_bytes
from typing_extensions import override
from webserver import Exchange, WebServer, serving

import webds
from webds.abc import Opener

SAMPLES = 2000
SHARD = tar_bytes((f"{number:04d}.x", bytes(3000)) for number in range(SAMPLES))
FIRST = 1 << 20  # bytes that are sent at once

Builder = webds.DatasetBuilder[Any]
WAYS: dict[str, Callable[[Builder, Path], Builder]] = {
    "alone": lambda builder, folder: builder,
    "ahead": lambda builder, folder: builder.prefetch(),
    "kept": lambda builder, folder: builder.cache(folder / "cache"),
    "both": lambda builder, folder: builder.cache(folder / "cache").prefetch(),
    "measured": lambda builder, folder: builder.measure(),
}
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def early(builder: Builder, see: Callable[[], object]) -> None:
    """See that a sample comes before the rest of its shard does, and then all that are left."""
    samples = iter(builder.build())
    assert next(samples)["__key__"] == "0000"
    see()
    assert sum(1 for _ in samples) == SAMPLES - 1


@ways
@pytest.mark.parametrize("how", ["pipe", "template"])
def test_of_a_command(tmp_path: Path, way: str, how: str) -> None:
    shard, seen = tmp_path / "x.tar", tmp_path / "seen"
    shard.write_bytes(SHARD)
    parts = [f"{part} {shlex.quote(str(shard))}" for part in (f"head -c {FIRST}", f"tail -c +{FIRST + 1}")]
    command = f"{parts[0]}; until [ -e {shlex.quote(str(seen))} ]; do sleep 0.01; done; {parts[1]}"
    if how == "pipe":
        builder = webds.DatasetBuilder(f"pipe:{command}")
    else:
        builder = webds.DatasetBuilder("mine://x", opener=f"{command}; : {{url}}")
    early(WAYS[way](builder, tmp_path), seen.touch)


@attrs.frozen
class Slow(Opener):
    """Streams of which the end waits until the beginning has been seen."""

    seen: threading.Event
    late: list[str] = attrs.field(factory=list[str])

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return cast("BinaryIO", self.stream(url))

    def stream(self, url: str) -> io.BytesIO:
        opener = self

        class Stream(io.BytesIO):
            @override
            def read(self, size: int | None = -1, /) -> bytes:
                left = FIRST - self.tell()
                if left <= 0 and not opener.seen.wait(60):
                    opener.late.append(url)
                wanted = 1 << 16 if size is None or size < 0 else min(size, 1 << 16)
                return super().read(wanted if left <= 0 else min(wanted, left))

            @override
            def seekable(self) -> bool:
                return False

        return Stream(SHARD)


@ways
@pytest.mark.parametrize("how", ["opener", "function"])
def test_of_anybody_s_stream(tmp_path: Path, way: str, how: str) -> None:
    slow = Slow(threading.Event())
    opener: Any = slow if how == "opener" else slow.stream
    early(WAYS[way](webds.DatasetBuilder("mine://x", opener=opener), tmp_path), slow.seen.set)
    assert slow.late == []


def holding(seen: threading.Event, late: list[str]) -> Callable[[Exchange], None]:
    """Return what sends any bytes before `FIRST`, and others when a sample has been seen."""

    def answer(exchange: Exchange) -> None:
        wanted = exchange.headers.get("Range")
        if exchange.command == "HEAD":
            exchange.reply(SHARD)
            return
        first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), int(last or len(SHARD)) + 1
        part = SHARD[start:stop]
        span = f"bytes {start}-{start + len(part) - 1}/{len(SHARD)}"
        more = {"Content_Range": span} if wanted else {}
        length = {"Content_Length": str(len(part))}
        now = part if len(part) <= 1024 else part[: max(0, FIRST - start)]  # the end of the archive is looked at
        exchange.reply(now, 206 if wanted else 200, ETag='"1"', **more, **length)
        exchange.wfile.flush()
        if len(now) < len(part):
            if not seen.wait(60):
                late.append(exchange.path)
            exchange.wfile.write(part[len(now) :])

    return answer


INDEXES: dict[str, Callable[[Builder], Builder]] = {
    "none": lambda builder: builder,
    "shards": lambda builder: builder.indexed(),
    "samples": lambda builder: builder.indexed().split(remainder="uneven"),
}


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("index", INDEXES)
def test_of_a_web_server_with_and_without_an_index(tmp_path: Path, web: WebServer, index: str, kept: bool) -> None:
    seen, late = threading.Event(), list[str]()
    path = tmp_path / "x.tar"
    path.write_bytes(SHARD)
    webds.build_index(str(path))
    web.routes |= {"/x.tar": holding(seen, late), "/x.idx": (tmp_path / "x.idx").read_bytes()}
    builder: Builder = webds.DatasetBuilder(web.url("/x.tar"))
    builder = builder.cache(tmp_path / "cache") if kept else builder
    early(INDEXES[index](builder), seen.set)
    assert late == []
