"""Line 25, in real workers: what was let pass stands in one file, whole whatever becomes of the workers; budgets."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch.utils.data
from expecting import raises
from in_workers import fails, fails_on_three, kill_worker_at_fifty, label
from shards import numbered_shards
from webserver import Exchange, WebServer, serving

import webds
from webds.errors import ErrorBudgetError


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=4, samples=100)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skipped.jsonl"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_25_workers_write_into_one_file(urls: list[str], path: Path, method: str) -> None:
    builder = webds.DatasetBuilder(["absent.tar", *urls]).map(label).map(fails).on_error("skip", ledger=path)
    dataset = builder.build()
    loader = webds.Loader(dataset, num_workers=3, multiprocessing_context=method, persistent_workers=True)
    for _ in range(2):
        assert list(loader) == []
    lines = _lines(path)
    assert len(lines) == 802
    for epoch in (0, 1):
        of = [line for line in lines if line["epoch"] == epoch and line["stage"] == "map"]
        assert sorted(line["key"] for line in of) == [f"key{number:05d}" for number in range(400)]
        assert {(line["url"], line["ordinal"]) for line in of} == {(url, i) for url in urls for i in range(100)}
    assert {line["action"] for line in lines} == {"skipped"}
    told = sorted((loss.epoch, loss.key or "") for loss in dataset.stats().losses)
    assert told == sorted((line["epoch"], line["key"] or "") for line in lines)
    assert [line["url"] for line in lines if line["stage"] == "open"] == ["absent.tar"] * 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_25_a_worker_that_is_killed_leaves_whole_lines(urls: list[str], path: Path, method: str) -> None:
    """One of two workers is killed as it works; all that either let pass before stands in the file."""
    builder = webds.DatasetBuilder(urls).map(label).map(kill_worker_at_fifty).on_error("skip", ledger=path)
    dataset = builder.build()
    with raises(RuntimeError, match="killed|exited unexpectedly"):
        list(webds.Loader(dataset, num_workers=2, multiprocessing_context=method))
    keys = {line["key"] for line in _lines(path)}
    assert {f"key{number:05d}" for number in range(50)} <= keys
    assert keys == {loss.key for loss in dataset.stats().losses}
    replayed = [sample["__key__"] for sample in webds.replay(path, builder)]
    assert sorted(replayed) == sorted(keys)


def test_25_the_main_process_may_be_killed_as_well(urls: list[str], path: Path) -> None:
    dataset = webds.DatasetBuilder(urls).map(label).map(fails).on_error("skip", ledger=path).build()
    pid = os.fork()
    while pid == 0:
        list(dataset)
    while not path.exists() or path.stat().st_size < 100_000:
        os.sched_yield()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    whole, _, rest = path.read_bytes().rpartition(b"\n")
    assert all(json.loads(line)["stage"] == "map" for line in whole.splitlines())
    list(webds.DatasetBuilder(urls[:1]).map(label).map(fails_on_three).on_error("skip", ledger=path).build())
    assert _lines(path)[-1]["key"] == "key00003"
    assert len(rest) < 1 << 20


@pytest.mark.parametrize("workers", [0, 2])
def test_25_a_part_of_the_samples_is_a_budget_too(urls: list[str], workers: int) -> None:
    """Each worker has 200 samples, of which every tenth fails."""
    builder = webds.DatasetBuilder(urls).map(label).map(_tenth)
    assert len(list(builder.on_error("skip", max_fraction=0.11).loader(num_workers=workers))) == 360
    dataset = builder.on_error("skip", max_fraction=0.05).build()
    with raises(ErrorBudgetError, match=r"\d+ errors in \d+ samples .* max_fraction=0.05 .* ArithmeticError: tenth"):
        list(webds.Loader(dataset, num_workers=workers))


def _faulty(web: WebServer, urls: list[str]) -> list[str]:
    """Serve shards: one breaks off once, one is busy once, one is not there, one is another one when it is resumed."""
    bodies = [Path(url).read_bytes() for url in urls]
    cut = bodies[0].index(b"key00050.cls")

    def breaks_off(exchange: Exchange) -> None:
        if exchange.headers.get("Range") is None:
            exchange.reply(bodies[0][:cut], Content_Length=str(len(bodies[0])), ETag='"1"')
            exchange.cut_off()
        else:
            span = f"bytes {cut}-{len(bodies[0]) - 1}/{len(bodies[0])}"
            exchange.reply(bodies[0][cut:], 206, Content_Range=span, ETag='"1"')

    def is_busy(exchange: Exchange) -> None:
        if sum(asked.path == "/1.tar" for asked in web.asked) % 2:
            exchange.reply(status=503, Retry_After="0")
        else:
            exchange.reply(bodies[1])

    def changes(exchange: Exchange) -> None:
        tag = f'"{sum(asked.path == "/3.tar" for asked in web.asked)}"'
        exchange.reply(bodies[3][:cut], Content_Length=str(len(bodies[3])), ETag=tag)
        exchange.cut_off()

    web.routes |= {"/0.tar": breaks_off, "/1.tar": is_busy, "/3.tar": changes}
    return [web.url(f"/{n}.tar") for n in range(4)]


@pytest.mark.parametrize(("method", "way"), [("fork", "alone"), ("fork", "kept"), ("spawn", "ahead")])
def test_25_what_servers_did_is_told_once_whoever_read_it(
    urls: list[str], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, way: str
) -> None:
    """The numbers of two workers, over faults of their servers, add up to what happened, and no more."""
    monkeypatch.setenv("no_proxy", "*")
    with serving() as web:
        remote = _faulty(web, urls)
        source = webds.DatasetBuilder(remote, opener=webds.HttpOpener(backoff=0.001))
        source = {"alone": source, "ahead": source.prefetch(), "kept": source.cache(tmp_path / "cache")}[way]
        builder = source.map(label).map(fails_on_three).on_error("skip", max_errors=3, ledger=path)
        dataset = builder.measure().build()
        loader = webds.Loader(dataset, num_workers=2, multiprocessing_context=method)
        assert sorted(loader) == [n for n in [*range(200), *range(300, 349)] if n != 3]  # 349 may go on
        stats = dataset.stats()
        assert sorted((retry.url, retry.attempt, retry.offset > 0) for retry in stats.retries) == [
            (remote[0], 2, True), (remote[1], 2, False), (remote[3], 2, True),
        ]  # fmt: skip
        assert stats.counts == {"open": {remote[2]: 1}, "read": {remote[3]: 1}, "map": {remote[0]: 1}}
        assert [(loss.url, loss.ordinal) for loss in stats.cut_short] == [(remote[3], 49)]
        assert "changed while it was read" in stats.cut_short[0].error
        assert stats.samples == 249
        assert {stage.name: stage.values for stage in stats.stages}["map 2"] == stats.consumed == 248
        cut = Path(urls[3]).read_bytes().index(b"key00350.cls")
        assert stats.bytes_read == sum(Path(url).stat().st_size for url in urls[:2]) + cut
        lines = _lines(path)
        assert sorted(line["action"] for line in lines) == ["cut short", *["retried"] * 3, *["skipped"] * 2]

        if way == "kept":
            assert len(list((tmp_path / "cache").iterdir())) == 2
        web.routes |= {f"/{n}.tar": Path(url).read_bytes() for n, url in enumerate(urls)}
        replayed = webds.replay(path, builder)
        assert [sample["__key__"] for sample in replayed] == ["key00003"]
        assert {loss.url for loss in replayed.without_sample} == {remote[2], remote[3]}
        assert len(replayed.retries) == 3

        _faulty(web, urls)
        del web.routes["/2.tar"]
        web.asked.clear()
        bounded = source.map(label).map(fails_on_three).on_error("skip", max_errors=2).build()
        with raises(ErrorBudgetError, match="max_errors=2"):
            list(webds.Loader(bounded, num_workers=2, multiprocessing_context="fork"))


def _tenth(number: int) -> int:
    if number % 10 == 0:
        raise ArithmeticError("tenth")
    return number


def test_25_an_error_at_the_start_is_no_large_part(urls: list[str]) -> None:
    def first(number: int) -> int:
        return 1 // number

    assert (
        len(list(webds.DatasetBuilder(urls).map(label).map(first).on_error("skip", max_fraction=0.01).build())) == 399
    )
    few = webds.DatasetBuilder(urls[:1]).map(label).take(20)
    assert len(list(few.map(first).on_error("skip", max_fraction=0.1).build())) == 19
    with pytest.raises(ErrorBudgetError, match="20 errors in 20 samples"):
        list(few.map(fails).on_error("skip", max_fraction=0.1).build())


def test_25_shards_that_are_lost_count_as_a_sample_each(urls: list[str]) -> None:
    builder = webds.DatasetBuilder([*urls, *(f"absent-{i}.tar" for i in range(50))]).map(label)
    assert len(list(builder.on_error("skip", max_fraction=0.12).build())) == 400
    with pytest.raises(ErrorBudgetError, match=r"in 4\d+ samples") as caught:
        list(builder.on_error("skip", max_fraction=0.1).build())
    assert isinstance(caught.value.__cause__, webds.OpenError)


def test_25_every_epoch_begins_its_part_anew(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls).map(label).map(_tenth).on_error("skip", max_fraction=0.11).build()
    for _ in range(3):
        assert len(list(torch.utils.data.DataLoader(dataset, batch_size=None))) == 360
