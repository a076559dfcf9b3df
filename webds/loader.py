"""The DataLoader for datasets that make their own batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from typing import Any, Final, Generic, TypedDict, final

import torch
import torch.utils.data
from typing_extensions import Unpack, override

from webds.dataset import BaseDataset
from webds.typing import ValueT_co

__all__ = ["Loader", "LoaderOptions"]

_THEIRS: Final = {
    "batch_size": "call .batch(n) on the builder",
    "drop_last": "call .batch(n, partial=False) on the builder",
    "collate_fn": "call .batch(n, collate=…) on the builder",
    "shuffle": "call .shuffle(…) on the builder",
    "sampler": "the dataset chooses its own order",
    "batch_sampler": "the dataset makes its own batches",
}


@final
class LoaderOptions(TypedDict, total=False):
    """The further keyword arguments of `Loader`, as torch's DataLoader describes them.

    Which of them there are, and what they mean, is up to the version of torch.
    """

    pin_memory: bool
    timeout: float
    worker_init_fn: Callable[[int], None] | None
    multiprocessing_context: BaseContext | str | None
    generator: torch.Generator | None
    prefetch_factor: int | None
    persistent_workers: bool
    pin_memory_device: str
    in_order: bool


def _as_built(value: Any) -> Any:
    """Hand a value on as it is."""
    return value


@final
class Loader(torch.utils.data.DataLoader[ValueT_co], Generic[ValueT_co]):
    """A DataLoader that hands on the values of a dataset as they were built.

    Nothing is converted, and no dimension is added.

    Args:
        dataset: what to iterate over.
        num_workers: how many worker processes; 0 iterates in this one.
        **options: all else that `torch.utils.data.DataLoader` takes, but for what the builder decides:
            batch size, collating, shuffling and sampling.

    Raises:
        TypeError: an option that the builder decides, or that torch does not know.
    """

    def __init__(
        self, dataset: BaseDataset[ValueT_co], *, num_workers: int = 0, **options: Unpack[LoaderOptions]
    ) -> None:
        for name, way in _THEIRS.items():
            if name in options:
                raise TypeError(f"loader({name}=…): {way}")
        super().__init__(dataset, batch_size=None, collate_fn=_as_built, num_workers=num_workers, **options)

    @override
    def __iter__(self) -> Iterator[ValueT_co]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # torch's iterator says Any
        return super().__iter__()
