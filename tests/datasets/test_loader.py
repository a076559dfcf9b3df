from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.data
from expecting import raises
from in_workers import label
from shards import numbered_shards

import webds
from webds.errors import LengthError


@pytest.fixture
def numbers(tmp_path: Path) -> webds.DatasetBuilder[int]:
    """The numbers of the samples, 0 to 19, in four shards."""
    return webds.DatasetBuilder(numbered_shards(tmp_path)).map(label)


def _untyped(value: Any) -> Any:
    """Return a value of which the type checker does not know that what follows is wrong."""
    return value


def test_it_is_a_dataloader_over_the_built_dataset(numbers: webds.DatasetBuilder[int]) -> None:
    loader = numbers.loader()
    assert isinstance(loader, webds.Loader)
    assert isinstance(loader, torch.utils.data.DataLoader)
    assert isinstance(loader.dataset, webds.Dataset)
    assert loader.batch_size is None


@pytest.mark.parametrize("workers", [0, 1, 2, 4, 6])
def test_every_value_comes_once_with_any_number_of_workers(numbers: webds.DatasetBuilder[int], workers: int) -> None:
    loader = numbers.loader(num_workers=workers)
    for _ in range(2):
        assert sorted(loader) == list(range(20))


@pytest.mark.parametrize("name", ["batch_size", "drop_last", "collate_fn", "shuffle", "sampler", "batch_sampler"])
def test_what_the_builder_decides_is_refused_and_the_way_is_named(
    numbers: webds.DatasetBuilder[int], name: str
) -> None:
    with pytest.raises(TypeError, match=rf"loader\({name}=…\): (call \.|the dataset)"):
        _untyped(numbers).loader(**{name: 1})


def test_other_options_are_the_dataloader_s(numbers: webds.DatasetBuilder[int]) -> None:
    started: list[int] = []
    generator = torch.Generator().manual_seed(5)
    loader = numbers.loader(num_workers=1, timeout=60, worker_init_fn=started.append, generator=generator)
    assert (loader.timeout, loader.generator) == (60, generator)
    assert list(loader) == list(range(20))
    with pytest.raises(TypeError, match="no_such"):
        _untyped(numbers).loader(no_such=1)


def test_the_generator_s_seed_has_no_influence_on_the_order(numbers: webds.DatasetBuilder[int]) -> None:
    orders = [
        list(numbers.shuffle(20).loader(num_workers=2, generator=torch.Generator().manual_seed(seed)))
        for seed in range(3)
    ]
    assert orders[0] == orders[1] == orders[2]


def test_a_loader_of_a_dataset(numbers: webds.DatasetBuilder[int]) -> None:
    dataset = numbers.batch(6).build()
    assert [batch.tolist() for batch in webds.Loader(dataset)] == [batch.tolist() for batch in dataset]


def test_the_length_is_the_dataset_s(numbers: webds.DatasetBuilder[int]) -> None:
    known = webds.DatasetBuilder(webds.MemorySource(range(10), shards=3)).map(str)
    loader = known.loader(num_workers=2)
    assert len(loader) == 10
    assert len(list(loader)) == 10
    with pytest.raises(LengthError):
        len(numbers.loader())


def test_persistent_workers_go_on_with_the_next_epoch(numbers: webds.DatasetBuilder[int]) -> None:
    shuffled = numbers.shuffle(20)
    epochs = [list(epoch) for epoch in itertools.repeat(shuffled.loader(num_workers=2), 3)]
    persistent = shuffled.loader(num_workers=2, persistent_workers=True)
    assert [list(persistent) for _ in range(3)] == epochs
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_an_error_in_a_worker_ends_the_iteration_and_the_loader_can_be_used_again(
    numbers: webds.DatasetBuilder[int],
) -> None:
    def fails(n: int) -> float:
        return 1 / (n - 12)

    loader = numbers.map(fails).loader(num_workers=2)
    for _ in range(2):
        with raises(ZeroDivisionError):
            list(loader)


def test_batches_are_made_in_the_workers(numbers: webds.DatasetBuilder[int]) -> None:
    batches = [batch.tolist() for batch in numbers.batch(4).loader(num_workers=2)]
    assert sorted(n for batch in batches for n in batch) == list(range(20))
    assert sorted(map(len, batches)) == [2, 2, 4, 4, 4, 4], "each worker has a last batch of its own"
