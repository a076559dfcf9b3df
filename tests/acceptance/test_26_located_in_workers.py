"""Line 26 in real workers, forked and spawned: url, key, field and stage arrive, with what was expected and found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from in_workers import fails_on_three, label, refuse_seven
from shards import sample_of, write_shard

import webds
from webds.errors import DecodeError, OpenError

methods = pytest.mark.parametrize("method", ["fork", "spawn"])
measures = pytest.mark.parametrize("measured", [False, True])


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Three shards of four samples, numbered through; number 6 has JSON that is none."""
    samples = [{**sample_of(number), "json": "[" if number == 6 else "[]"} for number in range(12)]
    return [write_shard(tmp_path / f"{i}.tar", samples[4 * i : 4 * i + 4]) for i in range(3)]


def _load(builder: webds.DatasetBuilder[Any], method: str, measured: bool) -> list[Any]:
    chosen = builder.measure() if measured else builder
    return list(chosen.loader(num_workers=2, multiprocessing_context=method))


@methods
@measures
def test_26_of_decode(urls: list[str], method: str, measured: bool) -> None:
    with raises(DecodeError) as caught:
        _load(webds.DatasetBuilder(urls).shuffle(5).decode().to_tuple("json").batch(2), method, measured)
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == (urls[1], "key00006", "json", "decode")
    assert "JSONDecodeError" in str(error)


@methods
@measures
def test_26_of_map_and_batch(urls: list[str], method: str, measured: bool) -> None:
    with raises(ArithmeticError, match="three is too much") as caught:
        _load(webds.DatasetBuilder(urls).shuffle(5).map(fails_on_three), method, measured)
    for part in ('"stage": "map"', f'"url": "{urls[0]}"', '"key": "key00003"'):
        assert part in str(caught.value)
    with raises(LookupError, match="seven is taken") as other:
        _load(webds.DatasetBuilder(urls).map(label).batch(4, collate=refuse_seven), method, measured)
    for part in ('"stage": "batch"', f'"url": "{urls[1]}"', '"key": "key00004 (and 3 more)"'):
        assert part in str(other.value)


@methods
@measures
def test_26_of_a_shard_that_is_not_as_its_manifest_says(
    tmp_path: Path, urls: list[str], method: str, measured: bool
) -> None:
    entries = [{"url": url, "md5sum": hashlib.md5(Path(url).read_bytes()).hexdigest()} for url in urls]
    found, entries[1]["md5sum"] = entries[1]["md5sum"], "0" * 32
    manifest = tmp_path / "x.json"
    manifest.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "shardlist": entries}))
    with raises(OpenError, match=f"is {found}, and {'0' * 32} was expected") as caught:
        _load(webds.DatasetBuilder(manifest, verify="hash"), method, measured)
    assert (caught.value.url, caught.value.stage) == (urls[1], "read")
    assert "after 4 samples" in "".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
