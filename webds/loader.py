"""The DataLoader for datasets that make their own batches."""

from __future__ import annotations

from typing import Any, Final, Generic, final

import torch.utils.data
from typing_extensions import TypeVar

from webds.dataset import BaseDataset

__all__ = ["Loader"]

T_co = TypeVar("T_co", covariant=True)

_THEIRS: Final = {
    "batch_size": "call .batch(n) on the builder",
    "drop_last": "call .batch(n, partial=False) on the builder",
    "collate_fn": "call .batch(n, collate=…) on the builder",
    "shuffle": "call .shuffle(…) on the builder",
    "sampler": "the dataset chooses its own order",
    "batch_sampler": "the dataset makes its own batches",
}


def _as_built(value: Any) -> Any:
    """Hand a value on as it is."""
    return value


@final
class Loader(torch.utils.data.DataLoader[T_co], Generic[T_co]):
    """A DataLoader that hands on the values of a dataset as they were built.

    Nothing is converted, and no dimension is added.

    Args:
        dataset: what to iterate over.
        num_workers: how many worker processes; 0 iterates in this one.
        **options: all else that `torch.utils.data.DataLoader` takes, but for what the builder decides:
            batch size, collating, shuffling and sampling.
    """

    def __init__(self, dataset: BaseDataset[T_co], *, num_workers: int = 0, **options: Any) -> None:
        for name, way in _THEIRS.items():
            if name in options:
                raise TypeError(f"loader({name}=…): {way}")
        super().__init__(dataset, batch_size=None, collate_fn=_as_built, num_workers=num_workers, **options)
