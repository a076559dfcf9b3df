"""Line 4 for whole datasets: a field that comes twice is an error, unless ``duplicates=`` says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from expecting import raises
from shards import numbered_shards, write_members

import webds
from webds.errors import SampleError

TWICE = [("a.cls", b"1"), ("a.txt", b"x"), ("a.cls", b"2"), ("b.cls", b"3"), ("b.txt", b"y")]
AGAIN = [("a.cls", b"1"), ("b.cls", b"3"), ("a.cls", b"2"), ("c.cls", b"4")]


def _numbers(builder: webds.DatasetBuilder[webds.Sample]) -> list[int]:
    return [int(data) for (data,) in builder.to_tuple("cls").build()]


def test_04_by_default_it_is_an_error_with_its_place(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", TWICE)
    with pytest.raises(SampleError, match="twice") as caught:
        _numbers(webds.DatasetBuilder(url))
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == (url, "a", "cls", "read")
    assert error.offset in (4 * 512, 5 * 512), "its header or its data"


def test_04_the_error_policy_leaves_out_just_that_sample(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", TWICE)
    dataset = webds.DatasetBuilder(url, on_error="skip").to_tuple("cls").build()
    assert list(dataset) == [(b"3",)]
    assert [(loss.key, loss.field) for loss in dataset.stats().losses] == [("a", "cls")]


@pytest.mark.parametrize(
    ("duplicates", "numbers", "counted"), [("skip", [3], 1), ("first", [1, 3], 0), ("last", [2, 3], 0)]
)
def test_04_duplicates_says_which_counts(tmp_path: Path, duplicates: Any, numbers: list[int], counted: int) -> None:
    url = write_members(tmp_path / "x.tar", TWICE)
    builder = webds.DatasetBuilder(url, duplicates=duplicates)
    assert _numbers(builder) == numbers
    dataset = builder.build()
    list(dataset)
    assert len(dataset.stats().losses) == counted, "what is left out is counted"


@pytest.mark.parametrize(
    ("duplicates", "numbers"), [("error", None), ("last", None), ("skip", [1, 3, 4]), ("first", [1, 3, 4])]
)
def test_04_a_whole_sample_that_comes_again_is_an_error_or_passed_over(
    tmp_path: Path, duplicates: Any, numbers: list[int] | None
) -> None:
    url = write_members(tmp_path / "x.tar", AGAIN)
    builder = webds.DatasetBuilder(url, duplicates=duplicates)
    if numbers is not None:
        assert _numbers(builder) == numbers
        return
    with pytest.raises(SampleError, match="second time") as caught:
        _numbers(builder)
    assert (caught.value.url, caught.value.key) == (url, "a")
    assert _numbers(builder.on_error("skip")) == [1, 3, 4]


def test_04_a_duplicate_that_nobody_looks_at_counts_too(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", TWICE)
    with pytest.raises(SampleError, match="twice"):
        list(webds.DatasetBuilder(url).to_tuple("txt").build())


@pytest.mark.parametrize("workers", [0, 2])
def test_04_the_same_in_workers(tmp_path: Path, workers: int) -> None:
    good = numbered_shards(tmp_path, shards=2, samples=2)
    bad = [write_members(tmp_path / f"x{i}.tar", TWICE) for i in range(2)]
    urls = [good[0], bad[0], good[1], bad[1]]
    left_out = webds.DatasetBuilder(urls, duplicates="skip").to_tuple("cls").build()
    assert sorted(int(data) for (data,) in webds.Loader(left_out, num_workers=workers)) == [0, 1, 2, 3, 3, 3]
    assert left_out.stats().counts == {"read": dict.fromkeys(bad, 1)}
    with raises(SampleError) as caught:
        list(webds.DatasetBuilder(urls).loader(num_workers=workers))
    assert caught.value.url in bad
    assert (caught.value.key, caught.value.field) == ("a", "cls")
