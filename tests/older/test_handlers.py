"""The older handlers: functions of the exception; True goes on, False stops; and what a dataset makes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from shards import numbered_shards, sample_of, tar_bytes, write_shard

import webds

Make = Callable[..., Iterable[Any]]


def dataset_of(urls: list[str], **options: Any) -> Iterable[Any]:
    return webds.Dataset(urls, **options)


def web_dataset_of(urls: list[str], **options: Any) -> Iterable[Any]:
    return webds.WebDataset(urls, **options)


@pytest.fixture(params=[dataset_of, web_dataset_of], ids=["Dataset", "WebDataset"])
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = request.param
    return found


@pytest.fixture
def damaged(tmp_path: Path) -> list[str]:
    """Three shards of five samples; the second is cut in the middle of its fourth."""
    urls = numbered_shards(tmp_path, shards=3)
    path = Path(urls[1])
    path.write_bytes(path.read_bytes()[: 3 * 2048 + 1024 + 700])
    return urls


@pytest.fixture
def missing(tmp_path: Path) -> list[str]:
    """Three shards of five samples, of which the second is not there."""
    urls = numbered_shards(tmp_path, shards=3)
    Path(urls[1]).unlink()
    return urls


@pytest.fixture
def twice(tmp_path: Path) -> list[str]:
    """Two shards; in the first, of samples 0 to 2, number 1 has its label twice."""
    members = [("key0.cls", b"0"), ("key1.cls", b"1"), ("key1.cls", b"1"), ("key2.cls", b"2")]
    (tmp_path / "twice.tar").write_bytes(tar_bytes(members))
    return [str(tmp_path / "twice.tar"), write_shard(tmp_path / "good.tar", [sample_of(3)])]


def labels(samples: Iterable[dict[str, Any]]) -> list[int]:
    return [int(sample["cls"]) for sample in samples]


def test_called_by_themselves_they_say_how_to_go_on() -> None:
    error = ValueError("what happened")
    assert webds.ignore_and_continue(error) is True
    assert webds.ignore_and_stop(error) is False
    with pytest.warns(RuntimeWarning, match="what happened"):
        assert webds.warn_and_continue(error) is True
    with pytest.warns(RuntimeWarning, match="what happened"):
        assert webds.warn_and_stop(error) is False
    with pytest.raises(ValueError, match="what happened") as caught:
        webds.reraise_exception(error)
    assert caught.value is error


class TestShards:
    def test_damage_is_raised_with_the_url_after_the_good_samples(self, make: Make, damaged: list[str]) -> None:
        seen: list[int] = []
        with pytest.raises(webds.TarFormatError) as caught:
            seen += (int(sample["cls"]) for sample in make(damaged))
        assert caught.value.url == damaged[1]
        assert "after 3 samples" in str(caught.value)
        assert seen == [] or seen == list(range(8))

    def test_ignore_and_continue_keeps_what_is_whole(self, make: Make, damaged: list[str]) -> None:
        dataset = make(damaged, handler=webds.ignore_and_continue)
        assert labels(dataset) == [*range(8), *range(10, 15)]

    def test_ignore_and_stop_ends_there(self, make: Make, damaged: list[str]) -> None:
        assert labels(make(damaged, handler=webds.ignore_and_stop)) == list(range(8))

    def test_warn_and_continue_warns_of_the_shard(self, make: Make, damaged: list[str]) -> None:
        with pytest.warns(RuntimeWarning, match="shard-000001.tar"):
            assert labels(make(damaged, handler=webds.warn_and_continue)) == [*range(8), *range(10, 15)]

    def test_warn_and_stop_warns_and_ends(self, make: Make, damaged: list[str]) -> None:
        with pytest.warns(RuntimeWarning, match="shard-000001.tar"):
            assert labels(make(damaged, handler=webds.warn_and_stop)) == list(range(8))

    def test_a_shard_that_cannot_be_opened(self, make: Make, missing: list[str]) -> None:
        with pytest.raises(webds.OpenError, match=r"shard-000001\.tar"):
            list(make(missing))
        assert labels(make(missing, handler=webds.ignore_and_continue)) == [*range(5), *range(10, 15)]
        assert labels(make(missing, handler=webds.ignore_and_stop)) == list(range(5))

    def test_a_sample_that_is_unsound_is_left_out_alone(self, make: Make, twice: list[str]) -> None:
        with pytest.raises(webds.SampleError, match="twice"):
            list(make(twice))
        assert labels(make(twice, handler=webds.ignore_and_continue)) == [0, 2, 3]
        assert labels(make(twice, handler=webds.ignore_and_stop)) == [0]

    def test_a_function_of_the_user_gets_the_located_error(self, make: Make, missing: list[str]) -> None:
        seen: list[Exception] = []

        def remember(error: Exception) -> bool:
            seen.append(error)
            return True

        assert labels(make(missing, handler=remember)) == [*range(5), *range(10, 15)]
        assert [getattr(error, "url", None) for error in seen] == [missing[1]]

    def test_what_was_left_out_is_counted(self, damaged: list[str]) -> None:
        dataset = webds.Dataset(damaged, handler=webds.ignore_and_continue)
        list(dataset)
        list(dataset)
        assert dataset.stats().counts == {"read": {damaged[1]: 2}}

    def test_an_opener_function_that_fails(self, make: Make, missing: list[str]) -> None:
        def fail_on_one(url: str) -> Any:
            if url == missing[1]:
                raise PermissionError("not for you")
            return open(url, "rb")

        with pytest.raises(PermissionError, match="not for you"):
            list(make(missing, opener=fail_on_one))
        kept = make(missing, opener=fail_on_one, handler=webds.ignore_and_continue)
        assert labels(kept) == [*range(5), *range(10, 15)]


class TestWebDataset:
    """Its one handler covers all that its arguments ask for."""

    @pytest.fixture
    def urls(self, tmp_path: Path) -> list[str]:
        samples = [
            {"__key__": "a", "cls": "0", "json": "[1]", "txt": "x"},
            {"__key__": "b", "cls": "1", "json": "no json", "txt": "x"},
            {"__key__": "c", "cls": "2", "json": "[3]"},
            {"__key__": "d", "cls": "3", "json": "[4]", "txt": "bad"},
            {"__key__": "e", "cls": "4", "json": "[5]", "txt": "x"},
        ]
        return [write_shard(tmp_path / "a.tar", samples)]

    @staticmethod
    def transform(text: str) -> str:
        if text == "bad":
            raise ArithmeticError("bad text")
        return text

    def test_decoding_missing_fields_and_transforms(self, urls: list[str]) -> None:
        dataset = webds.WebDataset(
            urls,
            extensions="cls json txt",
            transforms=[None, None, self.transform],
            associate={key: {"more": key} for key in "abcde"},
            handler=webds.ignore_and_continue,
        )
        assert list(dataset) == [(0, [1], "x"), (4, [5], "x")]
        losses = [(loss.stage, loss.key) for loss in dataset.stats().losses]
        assert losses == [("decode", "b"), ("to_tuple", "c"), ("map_tuple", "d")]

    def test_a_key_that_associate_does_not_know(self, urls: list[str]) -> None:
        def make(handler: Callable[[Exception], bool]) -> webds.WebDataset[tuple[Any, ...]]:
            table = {"a": {"more": 1}, "e": {"more": 5}}
            return webds.WebDataset(urls, extensions="cls more", associate=table, handler=handler)

        with pytest.raises(KeyError, match="'b'"):
            list(make(webds.reraise_exception))
        assert list(make(webds.ignore_and_continue)) == [(0, 1), (4, 5)]

    def test_stopping_ends_at_the_first(self, urls: list[str]) -> None:
        assert labels(webds.WebDataset(urls, handler=webds.ignore_and_stop)) == [0]

    def test_a_decoder_of_the_user_keeps_its_exception(self, urls: list[str]) -> None:
        def decode(data: bytes) -> str:
            return self.transform(data.decode())

        with pytest.raises(ArithmeticError, match="bad text") as caught:
            list(webds.WebDataset(urls, decoder={"txt": decode}))
        notes = " ".join(caught.value.__notes__)
        assert '"key": "d"' in notes
        assert '"field": "txt"' in notes


def test_many_errors_of_a_kind_make_few_warnings(tmp_path: Path) -> None:
    url = write_shard(tmp_path / "a.tar", [{"__key__": f"k{i:03d}", "json": "{"} for i in range(150)])
    with pytest.warns(RuntimeWarning, match="webds left out a sample") as warned:
        assert list(webds.Dataset(url).decode(handler=webds.warn_and_continue)) == []
    assert 1 <= len(warned) <= 10
