from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from webds.sources.memory import MemorySource
from webds.testing import IndexedSourceSuite

SHARDS: list[list[dict[str, Any]]] = [
    [{"__key__": "a", "cls": 1, "txt": "one"}, {"__key__": "b", "cls": 2}, {"__key__": "c", "txt": "three"}],
    [],
    [{"__key__": "d", "cls": 4, "txt": "four"}],
]


class TestMemorySource(IndexedSourceSuite[dict[str, Any]]):
    @override
    def make_source(self, folder: Path) -> MemorySource[dict[str, Any]]:
        return MemorySource({f"shard {i}": shard for i, shard in enumerate(SHARDS)})

    @override
    def samples(self) -> Sequence[Sequence[dict[str, Any]]]:
        return SHARDS


class TestMemorySourceOfOneList(IndexedSourceSuite[int]):
    @override
    def make_source(self, folder: Path) -> MemorySource[int]:
        return MemorySource(range(7), shards=2)

    @override
    def samples(self) -> Sequence[Sequence[int]]:
        return [[0, 1, 2], [3, 4, 5, 6]]


def test_a_list_is_cut_as_evenly_as_can_be() -> None:
    assert list(MemorySource(range(10), shards=4).counts()) == [2, 3, 2, 3]
    assert list(MemorySource(range(2), shards=3).counts()) == [0, 1, 1]
    assert list(MemorySource(iter("abc")).counts()) == [3]
    assert list(MemorySource([]).counts()) == [0]


def test_a_mapping_names_its_shards() -> None:
    source = MemorySource({"b": [1], "a": [2, 3]})
    assert list(source.shards()) == ["b", "a"]
    assert list(source.read("a")) == [2, 3]


def test_the_number_of_shards_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="shards=0"):
        MemorySource([1], shards=0)
    with pytest.raises(ValueError, match="shards=2"):
        MemorySource({"a": [1]}, shards=2)


def test_what_is_in_memory_cannot_be_changed_through_a_sample() -> None:
    samples = [{"cls": 1}]
    source = MemorySource(samples)
    (sample,) = source.read("memory-000000")
    sample["cls"] = 2
    assert samples == [{"cls": 1}]
    assert list(source.read("memory-000000")) == [{"cls": 1}]


def test_what_is_added_later_to_the_list_is_not_seen() -> None:
    values = [1]
    source = MemorySource(values)
    values.append(2)
    assert list(source.counts()) == [1]


def test_it_shows_how_much_it_holds() -> None:
    assert repr(MemorySource(range(5), shards=2)) == "MemorySource(5 samples in 2 shards)"
