"""A DataLoader of two workers: photographs decoded, resized, and put into batches of 64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.benchmarks.contest import Contents, Job, Task, only_if_accepted, peer
from tests.benchmarks.contestants.decode import SIDE, resized

__all__ = ["LOADER"]

_BATCH = 64
_WORKERS = 2


def collate(samples: list[tuple[Any, int]]) -> tuple[Any, Any]:
    """Return a uint8 tensor of shape (n, height, width, 3) and one of n labels; the same function for all."""
    import numpy as np
    import torch

    images, labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


def _webds(job: Job) -> Iterable[Any]:
    import webds

    accepted = only_if_accepted(webds.DatasetBuilder.decode, size=SIDE)
    return (
        webds.DatasetBuilder(list(job.shards))
        .decode("rgb8", **accepted)
        .to_tuple("jpg", "cls")
        .batch(_BATCH, collate=collate)
        .loader(num_workers=_WORKERS)
    )


def _webds_resized(job: Job) -> Iterable[Any]:
    import webds

    return (
        webds.DatasetBuilder(list(job.shards))
        .decode("pilrgb")
        .to_tuple("jpg", "cls")
        .map_tuple(resized, int)
        .batch(_BATCH, collate=collate)
        .loader(num_workers=_WORKERS)
    )


def _webdataset(job: Job) -> Iterable[Any]:
    wds = peer("webdataset")
    dataset = (
        # empty_check=False: there are fewer shards than workers where it warms up
        wds.WebDataset(list(job.shards), shardshuffle=False, empty_check=False)
        .decode("pilrgb")
        .to_tuple("jpg", "cls")
        .map_tuple(resized, int)
        .batched(_BATCH, collation_fn=collate)
    )
    loader: Iterable[Any] = wds.WebLoader(dataset, batch_size=None, num_workers=_WORKERS)
    return loader


def _task(name: str, open_loader: Callable[[Job], Iterable[Any]], needs: tuple[str, ...] = ()) -> Task:
    def prepare(job: Job) -> Callable[[], int]:
        loader = open_loader(job)
        return lambda: sum(len(labels) for _, labels in loader)

    def found(job: Job) -> Iterator[Contents]:
        for images, labels in open_loader(job):
            for image, label in zip(images, labels, strict=True):
                yield [str(tuple(image.shape)).encode(), str(int(label)).encode()]

    return Task(name, prepare, found, needs=needs)


LOADER = (
    _task("webds, size=224", _webds),
    _task("webds, resized by the same function", _webds_resized),
    _task("webdataset", _webdataset, ("webdataset",)),
)
