"""Rows of Hugging Face's data sets as sources: they keep to the contracts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from huggingface import numbered_rows, rows_of
from typing_extensions import override

from webds.sources.columns import Naming
from webds.sources.huggingface import HuggingFaceRows, HuggingFaceStream
from webds.testing import IndexedSourceSuite, SourceSuite
from webds.typing import Sample

datasets: Any = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def _expected(first: int, count: int, key: str) -> list[Sample]:
    return [
        {"__key__": key.format(number, number - first), "number.cls": number, "text": f"text {number}"}
        for number in range(first, first + count)
    ]


class TestRows(IndexedSourceSuite[Sample]):
    @override
    def make_source(self, folder: Path) -> HuggingFaceRows:
        return HuggingFaceRows(datasets.Dataset.from_list(numbered_rows(0, 11)), Naming(), (0, 5, 5, 11))

    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return [_expected(lo, hi - lo, "{:09d}") for lo, hi in ((0, 5), (5, 5), (5, 11))]


class TestStream(SourceSuite[Sample]):
    @override
    def make_source(self, folder: Path) -> HuggingFaceStream:
        stream = datasets.IterableDataset.from_generator(rows_of, gen_kwargs={"shards": [0, 1, 2]})
        return HuggingFaceStream(stream, Naming())

    @override
    def samples(self) -> Sequence[Sequence[Sample]]:
        return [_expected(5 * shard, 5, f"{shard:05d}-{{1:09d}}") for shard in range(3)]


class TestStreamWithFeatures(TestStream):
    @override
    def make_source(self, folder: Path) -> HuggingFaceStream:
        features = datasets.Features({"number": datasets.Value("int32"), "text": datasets.Value("string")})
        stream = datasets.IterableDataset.from_generator(rows_of, features, gen_kwargs={"shards": [0, 1, 2]})
        return HuggingFaceStream(stream, Naming())


@pytest.mark.parametrize("kind", [TestRows, TestStreamWithFeatures])
def test_columns_that_nobody_looks_at_are_not_read(
    kind: type[TestRows | TestStreamWithFeatures], tmp_path: Path
) -> None:
    source = kind().make_source(tmp_path)

    def fields(wanted: Collection[str]) -> set[str]:
        (names,) = {tuple(sample) for sample in source.read(source.shards()[0], wanted)}
        return set(names)

    assert fields(["text"]) == {"__key__", "text"}
    assert fields(["number.cls", "else"]) == {"__key__", "number.cls"}
