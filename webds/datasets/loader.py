"""The DataLoader for datasets that make their own batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from multiprocessing.context import BaseContext
from typing import Any, Final, Generic, TypedDict, cast, final

import attrs
import torch
import torch.utils.data
from typing_extensions import Unpack, override

from webds.datasets.dataset import BaseDataset
from webds.order.progress import Progress
from webds.plans.resuming import Mark, Report
from webds.splitters import current_rank
from webds.typing import Place, ValueT_co

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
    """Hand a value on as it is; from a worker, with a note of how far that is."""
    info = torch.utils.data.get_worker_info()
    return value if info is None else (value, cast("BaseDataset[Any]", info.dataset)._whereabouts.report())


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

        self._following: _Following | None = None

    @override
    def __iter__(self) -> Iterator[ValueT_co]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # torch's iterator says Any
        if self.num_workers == 0:
            return super().__iter__()
        dataset = self._dataset()
        self._following = _Following(dataset, self.num_workers)
        iterator = super().__iter__()
        dataset._whereabouts.forget()  # the workers have it
        return _Handed(iterator, self._following)

    def state_dict(self) -> dict[str, Any]:
        """Return where the iteration that was started last is, as `Dataset.state_dict` does.

        It counts the values that were handed out here, and not those that workers have made ahead. Lightning keeps it
        in its checkpoints; of a loader without a length it fetches one value ahead, which is then counted too, so that
        a checkpoint in the middle of an epoch wants an indexed source.
        """
        return self._dataset().state_dict() if self._following is None else self._following.state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration be the rest of the one that ``state`` is of; see `Dataset.load_state_dict`.

        Raises:
            StateError: the state does not fit; the difference is named.
        """
        dataset = self._dataset()
        dataset._whereabouts.resume_of(state).placed(Place(*current_rank(), 0, max(1, self.num_workers)))
        self._iterator = None  # workers that were kept know nothing of it
        self._following = None
        dataset.load_state_dict(state)

    def _dataset(self) -> BaseDataset[ValueT_co]:
        return cast("BaseDataset[ValueT_co]", self.dataset)


@final
class _Following:
    """Follows how far the workers of one iteration are, by what was handed out.

    Args:
        dataset: what they iterate over.
        workers: how many there are.
    """

    def __init__(self, dataset: BaseDataset[Any], workers: int) -> None:
        self._dataset = dataset
        self._place = Place(*current_rank(), 0, workers)
        self._begins = dataset._whereabouts.next(self._place)
        self._marks: dict[int, Mark] = {}
        self._last: int | None = None
        self._done = False

    def note(self, report: Report) -> None:
        """Take note of a value that was handed out."""
        worker = self._last = report.place.worker
        if worker not in self._marks:
            origin = self._begins.origin if report.resumed else None
            self._marks[worker] = Mark(report.epoch, report.place, Progress(), origin)
        self._marks[worker].progress.follow(report.changes)

    def end(self) -> None:
        """Take note of the end."""
        self._done = True

    def state(self) -> dict[str, Any]:
        """Return the state."""
        marks = {**self._begins.marks, **self._marks}
        following = self._begins.following if self._last is None else (self._last + 1) % self._place.num_workers
        epoch = next((mark.epoch for mark in self._marks.values()), self._begins.epoch)
        if self._done:
            for worker in range(self._place.num_workers):
                place = self._place._replace(worker=worker)
                mark = marks.get(worker, Mark(epoch, place, Progress(), self._begins.origin))
                marks[worker] = attrs.evolve(mark, progress=attrs.evolve(mark.progress, done=True))
        return self._dataset._whereabouts.state_of_rank(epoch, self._place, marks, following)


@final
class _Handed(Iterator[ValueT_co]):
    """Hands out the values of an iterator over workers, and notes how far they are.

    Args:
        iterator: yields values with notes.
        following: who is told.
    """

    def __init__(self, iterator: Iterator[Any], following: _Following) -> None:
        self._iterator = iterator
        self._following = following

    @override
    def __next__(self) -> ValueT_co:
        try:
            value, report = next(self._iterator)
        except StopIteration:
            self._following.end()
            raise
        self._following.note(report)
        return cast("ValueT_co", value)
