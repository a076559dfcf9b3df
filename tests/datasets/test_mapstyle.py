"""Map-style datasets of indexed shards, and the builder's methods around them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import in_workers
import pytest
import torch.utils.data
from shards import numbered_shards, write_shard
from torch.utils.data.distributed import DistributedSampler

import webds
from webds.errors import FieldError

KEYS = [f"key{n:05d}" for n in range(20)]


@pytest.fixture
def builder(tmp_path: Path) -> webds.DatasetBuilder:
    return webds.DatasetBuilder(numbered_shards(tmp_path)).indexed()


def test_samples_come_by_number_and_by_key(builder: webds.DatasetBuilder) -> None:
    dataset = builder.map_style()
    samples = list(builder.build())
    assert len(dataset) == 20
    assert [dataset[i] for i in range(20)] == samples
    assert list(dataset) == samples
    assert dataset[-1] == samples[-1]
    assert dataset[torch.tensor(7)] == samples[7]
    assert dataset["key00013"] == samples[13]
    assert dataset.__getitems__([19, 3, 3, 12]) == [samples[19], samples[3], samples[3], samples[12]]


@pytest.mark.parametrize("wrong", [20, -21, 10**12])
def test_a_number_outside_is_an_index_error(builder: webds.DatasetBuilder, wrong: int) -> None:
    with pytest.raises(IndexError, match=str(wrong)):
        builder.map_style()[wrong]


def test_an_unknown_or_ambiguous_key_is_a_key_error(tmp_path: Path) -> None:
    urls = [write_shard(tmp_path / f"{n}.tar", [{"__key__": "a", "cls": "1"}]) for n in range(2)]
    dataset = webds.DatasetBuilder(urls).indexed().map_style()
    with pytest.raises(KeyError, match="no sample has the key 'b'"):
        dataset["b"]
    with pytest.raises(KeyError, match="several samples: 0 of"):
        dataset["a"]


def test_stages_work_on_each_sample(builder: webds.DatasetBuilder) -> None:
    chain = builder.decode().to_tuple("cls", "txt", "__url__").map_tuple(in_workers.as_is, str.upper, Path)
    cls, txt, url = chain.map_style()[6]
    assert (cls, txt, url.name) == (6, "TEXT 6", "shard-000001.tar")


def test_only_fields_that_a_stage_looks_at_are_read(builder: webds.DatasetBuilder) -> None:
    assert "cls" in (chain := builder.to_tuple("cls").map_style())._plan.fields  # type: ignore[operator]
    assert chain[3] == (b"3",)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_samplers_of_torch_work_with_workers(builder: webds.DatasetBuilder, context: str) -> None:
    dataset = builder.to_tuple("__key__").map_style()
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=3, shuffle=True, num_workers=2, multiprocessing_context=context
    )
    epochs = [[key for (keys,) in loader for key in keys] for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [KEYS, KEYS]
    assert epochs[0] != epochs[1]


def test_a_distributed_sampler_splits_it(builder: webds.DatasetBuilder) -> None:
    dataset = builder.to_tuple("__key__").map_style()
    seen: list[str] = []
    for rank in range(2):
        sampler: Any = DistributedSampler(dataset, num_replicas=2, rank=rank)
        loader = torch.utils.data.DataLoader(dataset, batch_size=4, sampler=sampler, num_workers=1)
        mine = [key for (keys,) in loader for key in keys]
        assert len(mine) == 10
        seen += mine
    assert sorted(seen) == KEYS


def test_errors_say_where(builder: webds.DatasetBuilder) -> None:
    dataset = builder.map(in_workers.fails_on_three).map_style()
    with pytest.raises(ArithmeticError) as caught:
        dataset[3]
    assert "key00003" in caught.value.__notes__[0]
    assert "shard-000000.tar" in caught.value.__notes__[0]
    with pytest.raises(FieldError, match=r"select\(jpg\) drops this sample") as dropped:
        builder.select("jpg").map_style()[4]
    assert dropped.value.key == "key00004"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda builder: builder.shuffle(3), "shuffle does not"),
        (lambda builder: builder.shuffle(0), "shuffle does not"),
        (lambda builder: builder.filter(bool).batch(2), "filter, batch do not"),
        (lambda builder: builder.repeat(2), "repeat does not"),
        (lambda builder: builder.take(2), "take does not"),
        (lambda builder: builder.pipe(iter), "pipe does not"),
        (lambda builder: builder.to_tuple("jpg", missing="skip"), "to_tuple does not"),
        (lambda builder: builder.on_error("skip"), "on_error does not"),
    ],
)
def test_what_is_not_about_one_sample_is_refused(builder: webds.DatasetBuilder, change: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        change(builder).map_style()


def test_without_an_index_it_is_refused(tmp_path: Path) -> None:
    plain = webds.DatasetBuilder(numbered_shards(tmp_path))
    with pytest.raises(TypeError, match=r"call indexed\(\) first"):
        plain.map_style()
    with pytest.raises(TypeError, match=r"call indexed\(\) before"):
        plain.select_samples(bool)
    with pytest.raises(TypeError, match="MemorySource"):
        webds.DatasetBuilder(webds.MemorySource([{"__key__": "a"}])).indexed()


def test_shards_come_out_of_the_cache_and_are_not_read_ahead(tmp_path: Path) -> None:
    plain = webds.DatasetBuilder(numbered_shards(tmp_path))
    assert plain.cache(tmp_path / "copies").indexed().map_style()[3] == plain.indexed().map_style()[3]
    with pytest.raises(ValueError, match="prefetch"):
        plain.prefetch().indexed()


def test_an_index_makes_the_length_exact(builder: webds.DatasetBuilder, tmp_path: Path) -> None:
    assert builder.indexed() is builder
    assert len(builder.build()) == 20
    assert len(builder.to_tuple("cls").take(7).build()) == 7
    plain = webds.DatasetBuilder(numbered_shards(tmp_path))
    assert list(builder.build()) == list(plain.build())


def test_select_samples_leaves_samples_out_everywhere(builder: webds.DatasetBuilder) -> None:
    chosen = builder.to_tuple("__key__").select_samples(lambda info: info.sizes["cls"] == 2)
    assert len(chosen.build()) == 10
    assert [key for (key,) in chosen.build()] == KEYS[10:]
    assert chosen.map_style()[0] == ("key00010",)
    assert len(pickle.loads(pickle.dumps(chosen.map_style()))) == 10


def test_a_memory_source_has_map_style_too() -> None:
    dataset = webds.DatasetBuilder(webds.MemorySource([1, 2, 3], shards=2)).map(str).map_style()
    assert [dataset[i] for i in range(3)] == ["1", "2", "3"]
    with pytest.raises(KeyError, match="only an index"):
        dataset["1"]
