"""What is iterated over: Dataset, Loader, and what they tell."""

from __future__ import annotations

import random
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any, assert_type

import torch
import torch.utils.data

import webds


def iterating(dataset: webds.Dataset[tuple[str, int]], samples: webds.Dataset) -> None:
    assert_type(iter(dataset), Iterator[tuple[str, int]])
    for text, number in dataset:
        assert_type(text, str)
        assert_type(number, int)
    assert_type(next(iter(samples)), webds.Sample)
    assert_type(list(dataset), list[tuple[str, int]])
    assert_type(len(dataset), int)


def telling(dataset: webds.Dataset[int]) -> None:
    assert_type(dataset.builder, webds.DatasetBuilder[int])
    assert_type(dataset.builder.map(str).build(), webds.Dataset[str])
    assert_type(dataset.explain(), str)
    assert_type(dataset.urls, list[str])
    dataset.set_epoch(3)
    stats = dataset.stats()
    assert_type(stats, webds.Stats)
    assert_type(stats.counts, dict[str, dict[str, int]])
    assert_type(stats.losses, list[webds.Loss])
    loss = stats.losses[0]
    assert_type((loss.stage, loss.error), tuple[str, str])
    assert_type((loss.url, loss.key, loss.field), tuple[str | None, str | None, str | None])
    assert_type((loss.ordinal, loss.epoch), tuple[int | None, int])
    assert_type(stats.retries, list[webds.Retry])
    assert_type(stats.cut_short, list[webds.Loss])
    assert_type(stats.slowest, webds.StageTime | None)
    assert_type([(stage.name, stage.values, stage.seconds) for stage in stats.stages], list[tuple[str, int, float]])


def going_on(dataset: webds.Dataset[int], older: webds.WebDataset[int], loader: webds.Loader[int]) -> None:
    base: webds.BaseDataset[int] = dataset
    assert_type(dataset.state_dict(), dict[str, Any])
    assert_type(base.state_dict(), dict[str, Any])
    assert_type(loader.state_dict(), dict[str, Any])
    older.load_state_dict(older.state_dict())
    dataset.load_state_dict(loader.state_dict())
    base.load_state_dict(dataset.state_dict())
    loader.load_state_dict(loader.state_dict())


def replaying(builder: webds.DatasetBuilder[int], dataset: webds.Dataset[str]) -> None:
    measured = builder.on_error("skip", max_fraction=0.1, ledger="skipped.jsonl").measure()
    assert_type(measured, webds.DatasetBuilder[int])
    assert_type(webds.replay("skipped.jsonl"), webds.Replay[webds.Sample])
    assert_type(webds.replay(dataset.stats().losses, dataset), webds.Replay[webds.Sample])
    replayed = webds.replay("skipped.jsonl", webds.MemorySource([1, 2]))
    assert_type(next(iter(replayed)), int)
    assert_type(replayed.without_sample, list[webds.Loss])


def seed_worker(worker: int) -> None:
    random.seed(worker)


def loading(dataset: webds.Dataset[tuple[str, int]]) -> None:
    loader = webds.Loader(
        dataset,
        num_workers=2,
        pin_memory=True,
        timeout=30,
        worker_init_fn=seed_worker,
        multiprocessing_context=get_context("spawn"),
        generator=torch.Generator(),
        prefetch_factor=4,
        persistent_workers=True,
    )
    assert_type(loader, webds.Loader[tuple[str, int]])
    assert_type(iter(loader), Iterator[tuple[str, int]])
    for text, number in loader:
        assert_type(text, str)
        assert_type(number, int)
    assert_type(len(loader), int)


def they_are_what_torch_takes(dataset: webds.Dataset[int]) -> torch.utils.data.DataLoader[int]:
    iterable: torch.utils.data.IterableDataset[int] = dataset
    torch.utils.data.DataLoader(iterable, batch_size=None, num_workers=2)
    return webds.Loader(dataset)


def whatever_the_front_door(dataset: webds.BaseDataset[int]) -> None:
    assert_type(next(iter(dataset)), int)
    assert_type(dataset.builder, webds.DatasetBuilder[int])
    assert_type(dataset.subset, tuple[int, int] | None)
    dataset.subset = (1, 3)
    assert_type(dataset.shard_selection(), list[str])
    assert_type(dataset.raw_iter(), Iterator[Any])


def a_dataset_of_something_is_one_of_something_more_general(
    dataset: webds.Dataset[int], loader: webds.Loader[int]
) -> tuple[webds.BaseDataset[float], webds.Loader[object]]:
    return dataset, loader


def of_a_plan(dataset: webds.Dataset[int]) -> None:
    assert_type(webds.Dataset[int].of(dataset.builder.plan), webds.Dataset[int])
