"""8: whatever names no shards is an error with the pattern; str, Path, lists, globs, drives, file URLs are welcome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from shards import numbered_shards

from webds.errors import UrlError
from webds.openers import default_opener
from webds.sources.urls import expand_urls


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, 3, 1)


@pytest.mark.parametrize(
    "pattern",
    [
        "y-*.tar",
        "y-{0..2}.tar",
        "y-[0-9].tar",
        "{y,z}-*.tar",
        "**/y.tar",
        r"C:\data\y-*.tar",
        "file:///nowhere/y-*.tar",
        "",
    ],
)
def test_08_a_pattern_without_a_match_is_an_error_that_names_it(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for urls in (pattern, [pattern]):
        with pytest.raises(UrlError) as caught:
            expand_urls(urls, default_opener())
        assert caught.value.url == pattern


def test_08_an_empty_list_is_an_error() -> None:
    empties: list[Sequence[str]] = [[], ()]
    for empty in empties:
        with pytest.raises(UrlError, match="empty list"):
            expand_urls(empty, default_opener())


def test_08_a_directory_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    for urls in (str(tmp_path), f"{tmp_path}/", tmp_path, f"file://{tmp_path}", [tmp_path]):
        with pytest.raises(UrlError, match=r"directory.*\*\.tar") as caught:
            expand_urls(urls, default_opener())
        assert str(tmp_path) in str(caught.value.url)


def test_08_all_ways_to_name_shards_name_the_same(tmp_path: Path, shards: list[str]) -> None:
    folder = Path(shards[0]).parent
    assert [Path(shard).name for shard in shards] == sorted(path.name for path in folder.glob("*.tar"))
    ways: list[Any] = [
        f"{folder}/*.tar",
        folder / "*.tar",
        f"{tmp_path}/**/*.tar",
        f"file://{folder}/*.tar",
        shards,
        tuple(Path(shard) for shard in shards),
        [f"{folder}/*.tar"],
        ["{" + ",".join(shards) + "}"],
    ]
    for urls in ways:
        assert expand_urls(urls, default_opener()) == shards, urls


def test_08_drives_and_file_urls_are_paths() -> None:
    urls = [r"C:\data\x-{0..1}.tar", "file:///data/x%20y.tar", "file:///C:/data/x.tar"]
    opener = default_opener()
    assert expand_urls(r"D:\data\x.tar", opener) == [r"D:\data\x.tar"]
    assert expand_urls(urls[1:], opener) == urls[1:]
    with pytest.raises(UrlError, match="none of the 2 files"):
        expand_urls(urls[0], opener)
