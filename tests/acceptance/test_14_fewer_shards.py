"""Line 14: fewer shards than workers or ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_workers import key_of
from shards import numbered_shards

import webds
from webds.errors import SplitError


@pytest.fixture
def numbers(tmp_path: Path) -> webds.DatasetBuilder[Any]:
    """The keys of two shards of ten."""
    return webds.DatasetBuilder(numbered_shards(tmp_path, shards=2, samples=10)).map(key_of)


def test_14_idle_workers_are_fine(numbers: webds.DatasetBuilder[Any]) -> None:
    assert len(set(numbers.loader(num_workers=4))) == 20


def test_14_an_idle_rank_is_an_error_with_the_counts(
    numbers: webds.DatasetBuilder[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.raises(SplitError, match="2 shards cannot be divided over a world size of 3"):
            list(numbers.build())


@pytest.mark.parametrize("workers", [0, 4])
def test_14_an_indexed_source_divides_samples_and_nobody_is_idle(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path, shards=2, samples=10)).indexed().map(key_of)
    monkeypatch.setenv("WORLD_SIZE", "3")
    parts: list[list[Any]] = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(list(builder.loader(num_workers=workers)))
    assert [len(part) for part in parts] == [7, 7, 6]
    assert len(set().union(*parts)) == 20
