"""Line 3 for whole datasets: members of one sample that are apart raise, and are never delivered as fragments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from shards import numbered_shards, write_members

import webds
from webds.errors import SampleError

APART = [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.cls", b"3"), ("b.cls", b"4")]
LATER = [("a.jpg", b"1"), ("a.cls", b"1"), *((f"m{n}.cls", b"") for n in range(50)), ("a.txt", b"late")]


@pytest.mark.parametrize(("members", "key"), [(APART, "a"), (LATER, "a")])
def test_03_the_error_names_key_and_shard_and_the_way_out(tmp_path: Path, members: Any, key: str) -> None:
    url = write_members(tmp_path / "x.tar", members)
    with pytest.raises(SampleError, match=r"apart.*tar --sort=name") as caught:
        list(webds.DatasetBuilder(url).build())
    error = caught.value
    assert (error.url, error.key, error.stage) == (url, key, "read")
    assert error.offset is not None


@pytest.mark.parametrize("fields", [("jpg",), ("cls",), ("jpg", "cls"), ("__key__",)])
def test_03_whatever_is_looked_at_no_fragment_comes_out(tmp_path: Path, fields: tuple[str, ...]) -> None:
    url = write_members(tmp_path / "x.tar", APART)
    builder = webds.DatasetBuilder(url).to_tuple(*fields, missing=None)
    values: list[Any] = []
    with pytest.raises(SampleError):
        values.extend(builder.build())
    assert values == []
    skipping = builder.on_error("skip").build()
    assert list(skipping) == []
    assert skipping.stats().counts == {"read": {url: 1}}


@pytest.mark.parametrize("duplicates", ["error", "skip", "first", "last"])
def test_03_no_policy_for_duplicates_joins_what_is_apart(tmp_path: Path, duplicates: Any) -> None:
    url = write_members(tmp_path / "x.tar", LATER)
    with pytest.raises(SampleError, match="apart"):
        list(webds.DatasetBuilder(url, duplicates=duplicates).build())


@pytest.mark.parametrize("workers", [0, 2])
def test_03_the_same_out_of_workers(tmp_path: Path, workers: int) -> None:
    good = numbered_shards(tmp_path, shards=3, samples=2)
    bad = write_members(tmp_path / "x.tar", APART)
    builder = webds.DatasetBuilder([*good[:2], bad, good[2]]).shuffle(2).to_tuple("cls")
    with raises(SampleError, match=r"apart.*tar --sort=name") as caught:
        list(builder.loader(num_workers=workers))
    assert (caught.value.url, caught.value.key) == (bad, "a")
    dataset = builder.on_error("skip").build()
    values = [int(data) for (data,) in webds.Loader(dataset, num_workers=workers)]
    assert sorted(values) == list(range(6))
    assert dataset.stats().counts == {"read": {bad: 1}}
