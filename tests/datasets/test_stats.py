"""Where the time goes: the same values, told apart by stage, over all workers; and nothing where nobody asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from in_workers import fails_on_three, is_odd, label, pairs_of
from shards import numbered_shards
from webserver import Exchange, serving

import webds
from webds import metrics
from webds.datasets.stats import StageTime, Stats
from webds.metrics import FIRST_STAGE, Metrics


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=4, samples=5)


def _chain(urls: list[str]) -> webds.DatasetBuilder[Any]:
    return webds.DatasetBuilder(urls).shuffle(4).map(label).filter(is_odd).map(abs).batch(3)


def _values(stats: Stats) -> dict[str, int]:
    return {stage.name: stage.values for stage in stats.stages}


def test_it_counts_what_leaves_each_stage(urls: list[str]) -> None:
    dataset = _chain(urls).measure().build()
    assert [batch.tolist() for batch in dataset] == [batch.tolist() for batch in _chain(urls).build()]
    stats = dataset.stats()
    size = sum(Path(url).stat().st_size for url in urls)
    assert _values(stats) == {
        "io": size, "read": 20, "shuffle": 20, "map 1": 20, "filter": 10, "map 2": 10, "batch": 4,
    }  # fmt: skip
    assert (stats.samples, stats.bytes_read, stats.consumed) == (20, size, 4)
    assert all(stage.seconds > 0 for stage in stats.stages)
    assert stats.consumer_seconds > 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_add_up(urls: list[str], method: str) -> None:
    builder = webds.DatasetBuilder(urls).map(label).measure()
    dataset = builder.build()
    loader = webds.Loader(dataset, num_workers=2, multiprocessing_context=method)
    for epochs in (1, 2):
        assert sorted(loader) == list(range(20))
        assert _values(dataset.stats())["map"] == 20 * epochs


class Clock:
    """The clock that is measured by: it goes on by a microsecond when it is looked at, and by 50 ms in `slow`."""

    def __init__(self) -> None:
        self.now = 0

    def look(self) -> int:
        self.now += 1000
        return self.now

    def slow(self, value: Any) -> Any:
        self.now += 50_000_000
        return value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(metrics, "perf_counter_ns", clock.look)
    return clock


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("map 2", lambda b, slow: b.map(label).map(slow).map(abs)),
        ("filter", lambda b, slow: b.map(label).filter(lambda value: slow(True))),
        ("decode", lambda b, slow: b.with_decoder("cls", slow).decode().to_tuple("cls")),
        ("batch", lambda b, slow: b.map(label).batch(1, collate=slow)),
        ("pipe", lambda b, slow: b.pipe(lambda samples: map(slow, samples)).map(len)),
    ],
)
def test_the_slowest_stage_is_named(urls: list[str], clock: Clock, name: str, chain: Any) -> None:
    dataset = chain(webds.DatasetBuilder(urls), clock.slow).measure().build()
    list(dataset)
    slowest = dataset.stats().slowest
    assert slowest is not None
    assert slowest.name == name
    assert slowest.seconds == pytest.approx(1.0, abs=0.01), "20 times 50 ms"
    assert f"the slowest stage: {name}" in str(dataset.stats())


def test_a_slow_consumer_is_told_from_a_slow_stage(urls: list[str], clock: Clock) -> None:
    dataset = webds.DatasetBuilder(urls).map(label).measure().build()
    for value in dataset:
        clock.slow(value)
    stats = dataset.stats()
    assert stats.consumer_seconds == pytest.approx(1.0, abs=0.01)
    assert "the consumer is slower than any stage" in str(stats)


def test_a_slow_server_is_io(urls: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    data = Path(urls[0]).read_bytes()

    def slow(exchange: Exchange) -> None:
        clock.slow(None)
        exchange.reply(data)

    with serving() as web:
        web.routes["/a.tar"] = slow
        dataset = webds.DatasetBuilder([web.url("/a.tar")] * 10).map(label).measure().build()
        assert len(list(dataset)) == 50
    slowest = dataset.stats().slowest
    assert slowest is not None
    assert slowest.name == "io"
    assert slowest.seconds == pytest.approx(0.5, abs=0.01)


def test_what_a_pass_drops_and_repeats_is_the_same(urls: list[str]) -> None:
    def none(value: int) -> bool:
        return False

    builder = webds.DatasetBuilder(urls).map(label)
    chains: list[Callable[[webds.DatasetBuilder[int]], webds.DatasetBuilder[int]]] = [
        lambda b: b.filter(none),
        lambda b: b.repeat(2).map(abs).filter(none),
        lambda b: b.filter(none).map(abs),
    ]
    for chain in chains:
        for chosen in (chain(builder), chain(builder.measure())):
            with pytest.raises(webds.EmptyDatasetError, match="dropped all 20"):
                list(chosen.build())
    assert list(builder.repeat(3).measure().build()) == list(builder.repeat(3).build())
    assert list(builder.pipe(pairs_of).take(3).measure().build()) == list(builder.pipe(pairs_of).take(3).build())


def test_errors_are_located_and_counted_as_without(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls, on_error="skip").map(label).map(fails_on_three).map(abs)
    datasets = [builder.build(), builder.measure().build()]
    for dataset in datasets:
        list(dataset)
    assert datasets[0].stats().losses == datasets[1].stats().losses
    assert _values(datasets[1].stats())["map 2"] == 19


def test_what_was_left_early_is_counted_too(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls).map(label).measure().build()
    values = iter(dataset)
    assert [next(values) for _ in range(7)] == list(range(7))
    del values
    assert _values(dataset.stats())["map"] == 7


def test_sums_are_handed_on_now_and_then(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_FLUSH", 10)
    dataset = webds.DatasetBuilder(urls).map(label).measure().build()
    values = iter(dataset)
    seen: set[int] = set()
    for _ in range(19):
        next(values)
        seen.add(dataset.stats().samples)
    assert seen == {0, 10}


def test_no_value_is_held_by_what_measures() -> None:
    class Value:
        alive = 0

        def __init__(self, _: object) -> None:
            Value.alive += 1

        def __del__(self) -> None:
            Value.alive -= 1

    meter = Metrics(1).meter()
    timed = meter.timed(FIRST_STAGE, map(Value, range(3)))
    for _ in range(3):
        next(timed)
        assert Value.alive == 0


def test_without_asking_there_are_no_numbers(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls).map(label).build()
    list(dataset)
    stats = dataset.stats()
    assert (stats.stages, stats.slowest, stats.samples, stats.bytes_read) == ([], None, 0, 0)
    assert ".measure()" in str(stats)


def test_off_is_the_same_path_as_ever(urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Iterator[Any]:
        pytest.fail("measures")

    for name in ("switch", "timed", "opened", "flush"):
        monkeypatch.setattr(metrics.Meter, name, refuse)
    assert len(list(webds.DatasetBuilder(urls).map(label).map(abs).build())) == 20
    monkeypatch.undo()


def test_the_table() -> None:
    loss = webds.Loss("decode", "a.tar", "1", None, "x")
    cut = webds.Loss("read", "a.tar", None, None, "x", action="cut short")
    stages = [StageTime("io", 2048, 1.0), StageTime("read", 20, 0.5), StageTime("decode", 19, 6.5)]
    retry = webds.Retry("http://h/a.tar", "503", 2, 0.5, 0)
    stats = Stats([loss, cut], {"decode": {"a.tar": 1}, "read": {"a.tar": 1}}, [retry], stages, 19, 2.0)
    assert str(stats).splitlines() == [
        "2 errors were let pass, 1 of them cut a shard short; 1 retries",
        "  decode: 1",
        "  read: 1",
        "stage                  values    seconds  share",
        "io                2,048 bytes      1.000  10.0%",
        "read                       20      0.500   5.0%",
        "decode                     19      6.500  65.0%",
        "consumer                   19      2.000  20.0%",
        "the slowest stage: decode",
    ]
    assert stats.cut_short == [cut]
