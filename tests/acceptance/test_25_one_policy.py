"""Line 25: one policy, given once, covers open, read, decode, map and collate; what it let pass can be listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from in_workers import fails_on_three, label, refuse_seven, refuse_url
from shards import sample_of, write_shard

import webds
from webds.errors import DecodeError, ErrorBudgetError, OpenError, TarFormatError, WebdsError


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Six shards of two samples. Something is wrong with each but the last.

    The first is not there, the second is cut, the third has JSON that is none; number 3 is refused by `map`,
    though it is in the fourth, and number 7 by the collating function.
    """
    numbers = [[100, 101], [110, 111], [120, 121], [1, 3], [7, 8], [10, 11]]
    urls = [str(tmp_path / f"{i}.tar") for i in range(6)]
    for url, chosen in zip(urls, numbers, strict=True):
        samples = [{**sample_of(number), "json": "[]"} for number in chosen]
        if chosen[0] == 120:
            samples[0]["json"] = "["
        write_shard(Path(url), samples)
    Path(urls[0]).unlink()
    Path(urls[1]).write_bytes(Path(urls[1]).read_bytes()[: 9 * 512])
    return urls


GOOD = [110, 121, 1, 8, 10, 11]
COUNTS = ("open", "read", "decode", "map", "batch")


def _builder(urls: list[str]) -> webds.DatasetBuilder[Any]:
    return webds.DatasetBuilder(urls).decode().map(fails_on_three).map(label).batch(1, collate=refuse_seven)


def _check(dataset: webds.Dataset[Any], urls: list[str]) -> None:
    stats = dataset.stats()
    assert stats.counts == {stage: {url: 1} for stage, url in zip(COUNTS, urls, strict=False)}
    assert sorted((loss.stage, loss.key, loss.field) for loss in stats.losses) == [
        ("batch", "key00007", None),
        ("decode", "key00120", "json"),
        ("map", "key00003", None),
        ("open", None, None),
        ("read", "key00111", "txt"),
    ]
    kinds = {loss.stage: loss.error.partition(":")[0] for loss in stats.losses}
    assert kinds == {
        "open": "OpenError",
        "read": "TarFormatError",
        "decode": "DecodeError",
        "map": "ArithmeticError",
        "batch": "LookupError",
    }


@pytest.mark.parametrize("workers", [0, 2])
def test_25_the_rest_comes_and_the_losses_are_listed(urls: list[str], workers: int) -> None:
    dataset = _builder(urls).on_error("skip").build()
    values = [number for batch in webds.Loader(dataset, num_workers=workers) for number in batch]
    assert sorted(values) == sorted(GOOD)
    _check(dataset, urls)


def test_25_spawned_workers_write_into_the_same_list(urls: list[str]) -> None:
    dataset = _builder(urls).on_error("skip", max_errors=5).build()
    loader = webds.Loader(dataset, num_workers=2, multiprocessing_context="spawn", persistent_workers=True)
    assert sorted(number for batch in loader for number in batch) == sorted(GOOD)
    _check(dataset, urls)
    with raises(ErrorBudgetError, match="max_errors=5"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_25_a_budget_is_that_of_all_workers_together(urls: list[str], workers: int) -> None:
    """Either of two workers alone stays within it."""
    builder = _builder(urls)
    within = builder.on_error("skip", max_errors=5)
    assert len(list(within.loader(num_workers=workers))) == 6
    dataset = builder.on_error("skip", max_errors=4).build()
    with raises(ErrorBudgetError, match="5 errors, and max_errors=4") as caught:
        list(webds.Loader(dataset, num_workers=workers))
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.url in urls[:5]
    assert len(dataset.stats().losses) == 5


def test_25_a_budget_holds_over_the_epochs_of_one_dataset(urls: list[str]) -> None:
    dataset = _builder(urls).on_error("skip", max_errors=12).build()
    assert len(list(dataset)) == len(list(dataset)) == 6
    with pytest.raises(ErrorBudgetError):
        list(dataset)
    assert len(list(dataset.builder.build())) == 6, "another dataset has its own"


def test_25_the_policy_to_raise_raises_each_of_them(urls: list[str]) -> None:
    kinds: list[type[Exception]] = [OpenError, TarFormatError, DecodeError, ArithmeticError, LookupError]
    for url, kind in zip(urls, kinds, strict=False):
        dataset = _builder([url]).build()
        with pytest.raises(kind):
            list(dataset)
        assert dataset.stats().losses == []


def test_25_the_policy_to_stop_ends_the_iteration_at_the_first(urls: list[str]) -> None:
    for i, url in enumerate(urls[:5]):
        dataset = _builder([urls[5], url, urls[5]]).on_error("stop").build()
        assert [number for batch in dataset for number in batch] == [10, 11, *[[], [110], [], [1], []][i]]
        assert list(dataset.stats().counts) == [COUNTS[i]]


def test_25_a_handler_is_asked_about_each_with_its_place(urls: list[str]) -> None:
    asked: list[Exception] = []

    def handler(error: Exception) -> bool:
        asked.append(error)
        return True

    list(_builder(urls).on_error(handler).build())
    assert [type(error).__name__ for error in asked] == [
        "OpenError", "TarFormatError", "DecodeError", "ArithmeticError", "LookupError",
    ]  # fmt: skip
    for error, url, stage in zip(asked, urls, COUNTS, strict=False):
        text = str(error) if isinstance(error, WebdsError) else "".join(error.__notes__)
        assert f'"url": "{url}"' in text
        assert f'"stage": "{stage}"' in text


def test_25_a_handler_may_raise_what_it_likes(urls: list[str]) -> None:
    def handler(error: Exception) -> bool:
        raise KeyboardInterrupt from error

    with pytest.raises(KeyboardInterrupt):
        list(_builder(urls).on_error(handler).build())


def test_25_wherever_in_the_chain_it_is_given(urls: list[str]) -> None:
    first = webds.DatasetBuilder(urls, on_error="skip").decode().map(fails_on_three).map(label)
    for builder in (first.batch(1, collate=refuse_seven), _builder(urls).on_error("skip")):
        dataset = builder.build()
        assert len(list(dataset)) == 6
        _check(dataset, urls)


def test_25_an_opener_function_s_own_exception_counts_as_open(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls[2:4], opener=refuse_url, on_error="skip").build()
    assert list(dataset) == []
    assert dataset.stats().counts == {"open": dict.fromkeys(urls[2:4], 1)}


@pytest.mark.parametrize(
    ("stage", "chain"),
    [
        ("map_dict", lambda b: b.map_dict(cls=refuse_seven)),
        ("map_tuple", lambda b: b.to_tuple("cls").map_tuple(refuse_seven)),
        ("filter", lambda b: b.filter(fails_on_three)),
        ("associate", lambda b: b.associate({})),
        ("rename", lambda b: b.rename(a="absent")),
        ("to_tuple", lambda b: b.to_tuple("absent")),
        ("unbatch", lambda b: b.map(label).unbatch()),
        ("decode", lambda b: b.with_decoder("cls", refuse_seven).decode()),
    ],
)
def test_25_it_covers_every_other_stage_too(urls: list[str], stage: str, chain: Any) -> None:
    builder = chain(webds.DatasetBuilder([urls[3]]).map_dict(cls=_seven_or_three))
    dataset = builder.on_error("skip").build()
    list(dataset)
    assert set(dataset.stats().counts) == {stage}
    with pytest.raises((LookupError, ArithmeticError, WebdsError)):
        list(builder.build())


def _seven_or_three(data: bytes) -> bytes:
    """Make 1 a 7."""
    return b"7" if data == b"1" else data


def test_25_an_error_in_pipe_ends_what_comes_out_of_it(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls[5:]).pipe(lambda samples: map(refuse_url, samples)).on_error("skip").build()
    assert list(dataset) == []
    assert dataset.stats().counts == {"pipe": {urls[5]: 1}}
