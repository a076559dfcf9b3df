"""Replaying a ledger: exactly the samples that were left out, raw, once; the rest is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Literal

import attrs
import pytest
from in_workers import fails_on_three, label, refuse_seven
from shards import numbered_shards, sample_of, write_members, write_shard
from typing_extensions import override

import webds
from webds.errors import OpenError, SampleError, UntrustedDataError, UrlError
from webds.openers import FileOpener


@attrs.define
class _Counting(webds.Opener):
    """Opens files, whatever the query of their URL, and notes which."""

    opened: list[str] = attrs.field(factory=list[str])

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        self.opened.append(url)
        return FileOpener().open(url.partition("?")[0].removeprefix("mine://"))


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=3, samples=4)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "skipped.jsonl")


def _odd(number: int) -> int:
    if number % 2:
        raise ArithmeticError(number)
    return number


def _keys(samples: Any) -> list[str]:
    return [sample["__key__"] for sample in samples]


def names(*numbers: int) -> list[str]:
    return [f"key{number:05d}" for number in numbers]


def test_each_comes_once_and_each_shard_is_read_once(urls: list[str], path: str) -> None:
    builder = webds.DatasetBuilder(urls).shuffle(100, seed=3).map(label).map(_odd).on_error("skip", ledger=path)
    dataset = builder.build()
    for _ in range(2):
        assert sorted(dataset) == [0, 2, 4, 6, 8, 10]
    counting = _Counting()
    replayed = webds.replay(path, opener=counting)
    assert len(replayed.losses) == 12
    expected = names(1, 3, 5, 7, 9, 11)
    assert sorted(_keys(replayed)) == expected
    first = list(dict.fromkeys(loss.url for loss in replayed.losses))
    assert counting.opened == first, "in the order in which the ledger names them"
    assert next(iter(replayed)) == {**_raw(int(_keys(replayed)[0][3:]))}
    for of in (builder, dataset, builder.plan.source):
        assert _keys(webds.replay(path, of)) == _keys(replayed)
    assert _keys(webds.replay(dataset.stats().losses, dataset)) == _keys(replayed)
    assert replayed.without_sample == []


def _raw(number: int) -> dict[str, Any]:
    sample = sample_of(number)
    return {name: value if name == "__key__" else value.encode() for name, value in sample.items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_all_samples_of_a_batch_that_failed(urls: list[str], path: str, workers: int) -> None:
    builder = webds.DatasetBuilder(urls).map(label).batch(4, collate=refuse_seven).on_error("skip", ledger=path)
    list(builder.loader(num_workers=workers))
    assert _keys(webds.replay(path, builder)) == names(4, 5, 6, 7)


def test_what_has_no_sample_is_listed(tmp_path: Path, path: str) -> None:
    """One shard is not there, one is cut, one has a sample twice over; after pipe nobody knows the sample."""
    good = write_shard(tmp_path / "good.tar", map(sample_of, [2, 3]))
    cut = write_shard(tmp_path / "cut.tar", map(sample_of, [3, 11, 12]))
    Path(cut).write_bytes(Path(cut).read_bytes()[: 11 * 512])
    twice = write_members(tmp_path / "twice.tar", [("a.cls", b"1"), ("a.cls", b"1"), ("b.cls", b"3")])
    urls = [str(tmp_path / "absent.tar"), cut, twice, good]
    piped = webds.DatasetBuilder(good).pipe(iter).map(fails_on_three)
    list(piped.on_error("skip", ledger=path).build())
    builder = webds.DatasetBuilder(urls).map(fails_on_three).on_error("skip", ledger=path)
    dataset = builder.build()
    list(dataset)
    replayed = webds.replay(path, dataset)
    assert _keys(replayed) == ["key00003", "b", "key00003"]
    assert [(loss.stage, loss.action, loss.ordinal) for loss in replayed.without_sample] == [
        ("map", "skipped", 1),
        ("open", "skipped", None),
        ("read", "cut short", 2),
        ("read", "skipped", None),
    ]
    assert repr(replayed) == "Replay(7 losses, 4 of them without a sample, of 3 shards; 0 retries)"
    assert _keys(webds.replay(path)) == _keys(replayed), "its own URLs will do, too"


def test_values_without_a_key_are_known_by_their_number(path: str) -> None:
    builder = webds.DatasetBuilder(webds.MemorySource(range(10), shards=3)).map(_odd).on_error("skip", ledger=path)
    list(builder.build())
    assert list(webds.replay(path, builder.plan.source)) == [1, 3, 5, 7, 9]


def test_what_does_not_come_again_is_an_error_after_all_that_does(urls: list[str], path: str) -> None:
    builder = webds.DatasetBuilder(urls).map(label).map(_odd).on_error("skip", ledger=path)
    list(builder.build())
    Path(urls[0]).unlink()
    write_shard(Path(urls[1]), map(sample_of, [4, 7]))
    came: list[str] = []
    with pytest.raises(SampleError, match="3 of the samples that the ledger names did not come again") as caught:
        came.extend(sample["__key__"] for sample in webds.replay(path, builder))
    assert came == names(7, 9, 11)
    assert (caught.value.url, caught.value.key) == (urls[0], "key00001")
    assert isinstance(caught.value.__cause__, OpenError)


# --- secrets and commands ----------------------------------------------------------------------------------


def test_the_ledger_keeps_no_secret_and_the_dataset_has_it(urls: list[str], path: str) -> None:
    secret = [f"mine://{url}?token=hunter2" for url in urls]
    counting = _Counting()
    builder = webds.DatasetBuilder(secret, opener=counting).map(label).map(_odd).on_error("skip", ledger=path)
    list(builder.build())
    assert "hunter2" not in Path(path).read_text()
    assert _keys(webds.replay(path, builder)) == names(1, 3, 5, 7, 9, 11)
    assert counting.opened == secret * 2
    with pytest.raises(UrlError, match="secrets, which a ledger does not keep"):
        webds.replay(path)


def test_shards_that_look_alike_are_not_guessed_at(urls: list[str], path: str) -> None:
    opener = _Counting()
    secret = [f"mine://{urls[0]}?token={token}" for token in "ab"]
    builder = webds.DatasetBuilder(secret, opener=opener).map(label).map(_odd).on_error("skip", ledger=path)
    list(builder.build())
    with pytest.raises(UrlError, match="2 shards look alike"):
        webds.replay(path, builder)
    one = webds.DatasetBuilder(secret[:1], opener=opener)
    assert _keys(webds.replay(path, one)) == names(1, 3)


def test_a_command_out_of_a_ledger_is_not_run(tmp_path: Path, urls: list[str], path: str) -> None:
    command = f"pipe:touch {tmp_path}/ran; cat {urls[0]}"
    builder = webds.DatasetBuilder([command]).map(label).map(_odd).on_error("skip", ledger=path)
    list(builder.build())
    (tmp_path / "ran").unlink()
    with pytest.raises(UntrustedDataError, match="came out of a ledger"):
        webds.replay(path)
    assert not (tmp_path / "ran").exists()
    assert _keys(webds.replay(path, builder)) == names(1, 3)


def test_another_dataset_is_an_error(urls: list[str], path: str) -> None:
    list(webds.DatasetBuilder(urls[:1]).map(label).map(_odd).on_error("skip", ledger=path).build())
    with pytest.raises(UrlError, match="none of the shards that the ledger names"):
        webds.replay(path, webds.DatasetBuilder(urls[1:]))
    opener: Any = FileOpener()
    dataset: Any = webds.DatasetBuilder(urls)
    with pytest.raises(TypeError, match="opener"):
        webds.replay(path, dataset, opener=opener)


def test_an_empty_ledger_has_nothing(tmp_path: Path, path: str) -> None:
    Path(path).touch()
    assert list(webds.replay(path)) == []
    assert list(webds.replay([], webds.MemorySource([1]))) == []
