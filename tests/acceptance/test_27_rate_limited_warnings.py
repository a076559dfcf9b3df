"""Line 27: warnings are rate-limited, and nothing sleeps."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from in_workers import label, warns_and_fails
from shards import numbered_shards

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=4, samples=300)


def _warned(builder: webds.DatasetBuilder[Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(builder.on_error("warn").build())
    return [str(warning.message) for warning in caught]


def _fails(number: int) -> int:
    raise ArithmeticError(f"not {number}")


def _fails_in_two_ways(number: int) -> int:
    if number % 100 == 7:
        raise LookupError("a rare one")
    raise ArithmeticError("a common one")


def test_27_of_many_errors_of_a_kind_a_few_are_shown_and_their_number_is_said(urls: list[str]) -> None:
    texts = _warned(webds.DatasetBuilder(urls).map(label).map(_fails))
    assert 3 <= len(texts) <= 10, "of 1200"
    assert "not 0" in texts[0]
    assert "1000 such errors so far" in texts[-1]
    assert all("key0" in text and "shard-" in text for text in texts), "each says where"


def test_27_another_kind_is_not_hidden_by_the_many(urls: list[str]) -> None:
    texts = _warned(webds.DatasetBuilder(urls).map(label).map(_fails_in_two_ways))
    assert sum("a rare one" in text for text in texts) >= 3
    assert len(texts) <= 20


def test_27_all_of_them_are_counted(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls, on_error="warn").map(label).map(_fails).build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        list(dataset)
    assert dataset.stats().counts == {"map": dict.fromkeys(urls, 300)}


def test_27_a_warning_tells_no_secret() -> None:
    builder = webds.DatasetBuilder(["https://user:hunter2@localhost:1/a.tar?token=hunter2"], opener=_refuse)
    (text,) = _warned(builder)
    assert "hunter2" not in text
    assert "localhost:1/a.tar" in text


def _refuse(url: str) -> Any:
    raise ConnectionError(f"no way to {url}")


@pytest.mark.parametrize("policy", ["warn", "skip", "stop"])
def test_27_nothing_sleeps(urls: list[str], policy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        pytest.fail(f"sleeps {seconds} s")

    monkeypatch.setattr(time, "sleep", sleep)
    dataset = webds.DatasetBuilder(["missing.tar", *urls], on_error=policy).decode().to_tuple("cls", "absent").build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(dataset) == []
    assert len(dataset.stats().losses) == (1 if policy == "stop" else 1201)


@pytest.mark.parametrize("measured", [False, True])
def test_27_nothing_sleeps_to_write_a_ledger_or_to_measure(
    urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"sleeps {seconds} s"))
    ledger = tmp_path / "skipped.jsonl"
    builder = webds.DatasetBuilder(["missing.tar", *urls]).decode().to_tuple("cls", "absent")
    builder = builder.on_error("skip", max_errors=2000, ledger=ledger)
    dataset = (builder.measure() if measured else builder).build()
    assert list(dataset) == []
    assert len(ledger.read_text().splitlines()) == len(dataset.stats().losses) == 1201


def test_27_each_worker_shows_a_few(urls: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The warnings of a worker go to its standard error."""
    builder = webds.DatasetBuilder(urls, on_error="warn").map(label).map(warns_and_fails)
    dataset = builder.build()
    assert list(webds.Loader(dataset, num_workers=2, multiprocessing_context="spawn")) == []
    shown = capfd.readouterr().err.count("webds left out a sample")
    assert 2 * 3 <= shown <= 2 * 10, "of 600 each"
    assert len(dataset.stats().losses) == 1200
