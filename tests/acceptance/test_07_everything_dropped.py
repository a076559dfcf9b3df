"""Line 7: a stream from which everything was dropped raises after one pass; what only looks like one does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from in_workers import drop, fails, is_odd, label
from shards import numbered_shards, write_members, write_shard

import webds
from webds.errors import EmptyDatasetError


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Four shards of five samples, numbered through."""
    return numbered_shards(tmp_path)


def _nothing(path: str) -> tuple[str | None, str | None]:
    return None, None


CHAINS: dict[str, Any] = {
    "filter": (lambda b: b.filter(drop), "cls, txt"),
    "filter of tuples": (lambda b: b.to_tuple("cls").filter(drop), "values without fields"),
    "select": (lambda b: b.select("jpg;png"), "cls, txt"),
    "missing": (lambda b: b.to_tuple("jpg", missing="skip"), "cls, txt"),
    "behind others": (lambda b: b.decode().shuffle(3).map(dict).filter(drop).batch(2), "cls, txt"),
    "repeated": (lambda b: b.filter(drop).repeat(), "cls, txt"),
    "of a repetition": (lambda b: b.repeat().filter(drop), "cls, txt"),
    "of a shuffled repetition": (lambda b: b.repeat().shuffle(7).map(dict).filter(drop).take(3), "cls, txt"),
    "of a repetition of 3": (lambda b: b.repeat(3).filter(drop), "cls, txt"),
    "second of two": (lambda b: b.filter(bool).filter(drop), "cls, txt"),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", CHAINS)
def test_07_it_raises_with_the_fields_that_were_seen(urls: list[str], name: str, workers: int) -> None:
    chain, seen = CHAINS[name]
    with raises(EmptyDatasetError, match=rf"dropped all [2-9]\d .*{seen}") as caught:
        list(chain(webds.DatasetBuilder(urls)).loader(num_workers=workers))
    assert caught.value.stage in ("filter", "select", "to_tuple")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("repeat", [False, True])
def test_07_a_rule_for_keys_that_fits_nothing(urls: list[str], workers: int, repeat: bool) -> None:
    builder = webds.DatasetBuilder(urls, keys=_nothing)
    with raises(EmptyDatasetError, match=r"dropped all 40 .*key00000\.cls"):
        list((builder.repeat() if repeat else builder).loader(num_workers=workers))


def test_07_the_default_rule_says_so_of_names_without_dots(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("README", b""), ("dir/LICENSE", b"")])
    with pytest.raises(EmptyDatasetError, match="README, dir/LICENSE"):
        list(webds.DatasetBuilder(url).build())


def test_07_it_raises_in_every_epoch(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls).filter(drop).build()
    for _ in range(3):
        with pytest.raises(EmptyDatasetError):
            list(dataset)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("persistent", [False, True])
def test_07_a_worker_whose_share_alone_is_dropped_is_no_error(urls: list[str], workers: int, persistent: bool) -> None:
    few = webds.DatasetBuilder(urls).map(label).filter(_below_three)
    loader = few.loader(num_workers=workers, persistent_workers=persistent)
    for _ in range(3):
        assert sorted(loader) == [0, 1, 2]


@pytest.mark.parametrize("chain", ["filtered and repeated", "repeated and filtered"])
def test_07_such_a_worker_does_not_hold_up_an_endless_repetition(urls: list[str], chain: str) -> None:
    numbers = webds.DatasetBuilder(urls).map(label)
    filters_first = chain == "filtered and repeated"
    few = numbers.filter(_below_three).repeat() if filters_first else numbers.repeat().filter(_below_three)
    iterator = iter(few.loader(num_workers=2))
    assert [next(iterator) for _ in range(9)] == [0, 1, 2] * 3


def _below_three(number: int) -> bool:
    return number < 3


@pytest.mark.parametrize("workers", [0, 2])
def test_07_empty_shards_are_no_error(tmp_path: Path, workers: int) -> None:
    urls = [write_shard(tmp_path / f"{i}.tar", []) for i in range(3)]
    builder = webds.DatasetBuilder(urls)
    assert list(builder.loader(num_workers=workers)) == []
    assert list(builder.filter(drop).select("x").repeat().loader(num_workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("filtered", [False, True])
def test_07_what_an_error_policy_skipped_is_no_error(urls: list[str], workers: int, filtered: bool) -> None:
    builder = webds.DatasetBuilder(urls, on_error="skip")
    chain = (builder.filter(bool) if filtered else builder).map(fails)
    dataset = chain.build()
    assert list(webds.Loader(dataset, num_workers=workers)) == []
    assert len(dataset.stats().losses) == 20


def test_07_shards_that_cannot_be_opened_are_no_such_case(tmp_path: Path) -> None:
    missing = [str(tmp_path / f"{i}.tar") for i in range(2)]
    dataset = webds.DatasetBuilder(missing, on_error="skip").filter(drop).build()
    assert list(dataset) == []
    assert dataset.stats().counts == {"open": dict.fromkeys(missing, 1)}


def test_07_an_error_policy_does_not_hide_it(urls: list[str]) -> None:
    with pytest.raises(EmptyDatasetError):
        list(webds.DatasetBuilder(urls, on_error="skip").filter(drop).build())
    with pytest.raises(EmptyDatasetError):
        list(webds.DatasetBuilder(urls, on_error="skip").filter(drop).pipe(iter).batch(2).build())


@pytest.mark.parametrize("workers", [0, 2, 6])
def test_07_idle_workers_are_no_error(urls: list[str], workers: int) -> None:
    odd = webds.DatasetBuilder(urls[:1]).map(label).filter(is_odd)
    assert list(odd.loader(num_workers=workers)) == [1, 3]


def test_07_idle_workers_do_not_hide_it(urls: list[str]) -> None:
    with raises(EmptyDatasetError, match="dropped all 5 "):
        list(webds.DatasetBuilder(urls[:1]).filter(drop).loader(num_workers=3))


def test_07_an_early_end_proves_nothing(urls: list[str]) -> None:
    late = webds.DatasetBuilder(urls).map(label).filter(lambda n: n > 15)
    assert list(late.take(2).build()) == [16, 17]
    assert list(webds.DatasetBuilder(urls).filter(drop).take(0).build()) == []


def test_07_the_older_front_doors_do_not_raise(urls: list[str]) -> None:
    assert list(webds.Dataset(urls, keys=_nothing)) == []
    assert list(webds.Dataset(urls, suffixes=["jpg"])) == []
    assert list(webds.WebDataset(urls, keys=_nothing)) == []
