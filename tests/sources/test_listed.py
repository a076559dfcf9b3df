"""What manifests say of shards is reachable from the source, by the URL that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webds.errors import UrlError
from webds.index.manifest import ListedShard
from webds.openers import default_opener
from webds.sources.tar import TarSource


def write(path: Path, *entries: dict[str, Any]) -> str:
    path.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}))
    return str(path)


def test_it_stands_under_the_url_that_is_read(tmp_path: Path) -> None:
    manifest = write(tmp_path / "x.json", {"url": "a.tar", "nsamples": 3, "filesize": 10240}, {"url": "b.tar"})
    (tmp_path / "c.tar").touch()
    source = TarSource([manifest, str(tmp_path / "c.tar")], default_opener())
    a, b, c = source.shards()
    assert a == str(tmp_path / "a.tar")
    assert source.listed(a) == ListedShard(a, 3, 10240)
    assert source.listed(b) == ListedShard(b)
    assert source.listed(c) == ListedShard(c)


def test_it_still_holds_for_some_of_the_shards(tmp_path: Path) -> None:
    manifest = write(tmp_path / "x.json", {"url": "a.tar", "filesize": 1}, {"url": "b.tar", "filesize": 2})
    source = TarSource(manifest, default_opener())
    _, b = source.shards()
    some = source.with_shards([b, "c.tar"])
    assert some.shards() == [b, "c.tar"]
    assert some.listed(b).size == 2
    assert some.listed("c.tar") == ListedShard("c.tar")


def test_a_shard_listed_twice_is_one(tmp_path: Path) -> None:
    entry = {"url": "a.tar", "filesize": 10240}
    source = TarSource([write(tmp_path / "x.json", entry, entry), str(tmp_path / "a.tar")], default_opener())
    (url,) = set(source.shards())
    assert source.listed(url).size == 10240


def test_a_contradiction_is_an_error(tmp_path: Path) -> None:
    lists = [write(tmp_path / f"{size}.json", {"url": "a.tar", "filesize": size}) for size in (1, 2)]
    source = TarSource(lists, default_opener())
    with pytest.raises(UrlError, match="contradict each other"):
        source.listed(source.shards()[0])
