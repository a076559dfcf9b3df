"""Retries reach the dataset whose shard is being opened, and nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_workers import label
from shards import sample_of, tar_bytes
from webserver import Exchange, WebServer, serving

import webds
from webds.policy.ledger import Retry
from webds.streams.observing import Observer, observed_open, observer, observing

SHARD = tar_bytes((f"{s['__key__']}.cls", s["cls"].encode()) for s in map(sample_of, range(3000)))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def faulty() -> Callable[[Exchange], None]:
    """Return an answer: 503 at first, then a connection that breaks off, then all is well."""
    asked = 0

    def answer(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        start = int(exchange.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        if asked == 1:
            exchange.reply(b"", 503)
        elif asked == 2:
            exchange.reply(SHARD[: len(SHARD) // 2], Content_Length=str(len(SHARD)), ETag='"v"')
            exchange.cut_off()
        else:
            span = f"bytes {start}-{len(SHARD) - 1}/{len(SHARD)}"
            exchange.reply(SHARD[start:], 206, Content_Range=span, ETag='"v"')

    return answer


def builder_of(*urls: str) -> webds.DatasetBuilder[Any]:
    opener = webds.HttpOpener(backoff=0.001, max_backoff=0.002)
    return webds.DatasetBuilder(list(urls)).with_opener("http", opener).map(label)


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
def test_retries_are_summed_over_workers(web: WebServer, tmp_path: Path, method: str | None) -> None:
    paths = ["/a.tar", "/b.tar"]
    web.routes |= {path: faulty() for path in paths}
    ledger = tmp_path / "x.jsonl"
    builder = builder_of(*(web.url(path) + "?token=hunter2" for path in paths)).on_error("raise", ledger=ledger)
    dataset = builder.build()
    if method is None:
        values = list(dataset)
    else:
        values = list(webds.Loader(dataset, num_workers=2, multiprocessing_context=method))
    assert len(values) == 6000
    retries = dataset.stats().retries
    assert sorted((retry.url, retry.offset > 0) for retry in retries) == [
        (web.url(path) + "?***", later) for path in paths for later in (False, True)
    ]
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert sorted((line["url"], line["stage"], line["action"]) for line in lines) == [
        (web.url(path) + "?***", stage, "retried") for path in paths for stage in ("open", "read")
    ]
    assert any("503" in line["error"] for line in lines)
    assert dataset.stats().losses == []
    assert "hunter2" not in ledger.read_text()
    # Two workers may be written down in another order there.
    assert sorted(webds.replay(ledger, builder).retries, key=str) == sorted(retries, key=str)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_retries_in_threads_reach_their_dataset(
    web: WebServer, tmp_path: Path, kept: bool, ahead: bool, workers: int
) -> None:
    paths = ["/a.tar", "/b.tar"]
    web.routes |= {path: faulty() for path in paths}
    ledger = tmp_path / "x.jsonl"
    builder = builder_of(*map(web.url, paths)).on_error("raise", ledger=ledger)
    builder = builder.cache(tmp_path / "cache") if kept else builder
    builder = builder.prefetch() if ahead else builder
    dataset = builder.build()
    assert len(list(webds.Loader(dataset, num_workers=workers))) == 6000
    expected = [(web.url(path), later) for path in paths for later in (False, True)]
    assert sorted((retry.url, retry.offset > 0) for retry in dataset.stats().retries) == expected
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert sorted((line["url"], line["offset"] > 0) for line in lines) == expected


def test_two_datasets_in_turn_have_their_own(web: WebServer) -> None:
    web.routes |= {"/a.tar": faulty(), "/b.tar": SHARD}
    failing, good = builder_of(web.url("/a.tar")).build(), builder_of(web.url("/b.tar")).build()
    assert len(list(zip(failing, good, strict=True))) == 3000
    assert len(failing.stats().retries) == 2
    assert good.stats().retries == []
    assert observer() is None, "nobody is left behind"


def test_whoever_opens_is_observed_while_the_block_lasts() -> None:
    told: list[Retry] = []
    outer, inner = Observer(told.append), Observer(told.append)
    with observing(outer):
        assert observer() is outer
        with observing(inner):
            assert observer() is inner
        assert observer() is outer
    assert observer() is None


def test_a_stream_may_be_replaced_by_one_that_passes_it_on(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")

    def seen(opening: Callable[[], Any]) -> Any:
        with opening() as stream:
            assert stream.read() == b"content"
        return open(path, "rb")

    with observing(Observer(lambda retry: None, seen)), observed_open(lambda: open(path, "rb")) as stream:
        assert stream.read(3) == b"con"
    with observing(Observer(lambda retry: None)), observed_open(lambda: open(path, "rb")) as stream:
        assert stream.read(3) == b"con"
