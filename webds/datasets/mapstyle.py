"""Datasets whose samples are reached by their number or key, for the samplers of torch."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Self, SupportsIndex, final

import numpy as np
import torch.utils.data
from typing_extensions import override

from webds.abc import IndexedSource
from webds.datasets.dataset import resolve_decoders
from webds.errors import FieldError, annotate
from webds.plans.plan import ComposedSource, Plan
from webds.sources.indexed import IndexedTarSource
from webds.stages.base import DROP, EachStage, Stage
from webds.stages.fields import Select
from webds.stages.join import Join, Joiner
from webds.typing import Origin, ValueT_co

__all__ = ["IndexedDataset"]


@final
class IndexedDataset(torch.utils.data.Dataset[ValueT_co], Generic[ValueT_co]):
    """The samples of an indexed source, each read and worked on when it is asked for. Made by ``map_style``.

    ``dataset[i]`` is the value of sample i in the order of the shards, ``dataset["key"]`` that of a key. A DataLoader
    asks for the samples of a batch at once: those that lie side by side are then read at once. It pickles, and holds
    no open files. Errors are raised; there is no policy that leaves out a sample.
    """

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the dataset of a plan; what `DatasetBuilder.map_style` calls.

        Raises:
            TypeError: the plan is none of single samples, or its source knows no counts.
        """
        if isinstance(plan.source, ComposedSource):
            raise TypeError(
                "map_style() is of one source: torch.utils.data.ConcatDataset puts several together, and a sampler "
                "with weights mixes them"
            )
        if not isinstance(plan.source, IndexedSource):
            raise TypeError(
                f"map_style() needs to know how many samples there are, and {type(plan.source).__name__} does not: "
                "call indexed() first"
            )
        dataset = cls()
        dataset._plan = plan.bound(functools.partial(resolve_decoders, dict(plan.decoders)))
        _refuse_others(plan)
        counts = plan.source.counts()
        dataset._source = plan.source
        dataset._shards = list(plan.source.shards())
        dataset._starts = np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)
        return dataset

    _plan: Plan
    _source: IndexedSource[Any]
    _shards: list[str]
    _starts: Any

    def __len__(self) -> int:
        """Number of samples."""
        return int(self._starts[-1])

    @override
    def __getitem__(self, index: SupportsIndex | str) -> ValueT_co:
        """Return the value of one sample.

        Args:
            index: its number, from the end if negative; or its key.

        Raises:
            IndexError: there is no such number.
            KeyError: no sample has this key, or several have it.
        """
        (value,) = self.__getitems__([self._find(index) if isinstance(index, str) else index])
        return value

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[ValueT_co]:
        """Return the values of several samples, in the order asked for; what a DataLoader calls for a batch."""
        numbers = [self._number(index) for index in indices]
        by_shard: dict[int, list[int]] = {}
        for position, number in enumerate(numbers):
            place = int(np.searchsorted(self._starts, number, "right")) - 1
            by_shard.setdefault(place, []).append(position)
        work = self._work
        values: list[Any] = [None] * len(numbers)
        for place, positions in by_shard.items():
            shard = self._shards[place]
            ordinals = [numbers[position] - int(self._starts[place]) for position in positions]
            samples = self._source.read_at(shard, ordinals, self._plan.fields)
            for position, ordinal, sample in zip(positions, ordinals, samples, strict=True):
                values[position] = work(shard, ordinal, sample)
        return values

    def __iter__(self) -> Iterator[ValueT_co]:
        """Yield the values of all samples in their order."""
        for start in range(0, len(self), 256):
            yield from self.__getitems__(range(start, min(start + 256, len(self))))

    def _number(self, index: SupportsIndex) -> int:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} of a dataset of {len(self)}")
        return number % len(self)

    def _find(self, key: str) -> int:
        if not isinstance(self._source, IndexedTarSource):
            raise KeyError(f"{key!r}: only an index of tar shards knows keys")
        found = self._source.find(key)
        if len(found) != 1:
            where = ", ".join(f"{ordinal} of {shard}" for shard, ordinal in found[:3])
            raise KeyError(f"the key {key!r} is that of several samples: {where}" if found else
                           f"no sample has the key {key!r}")  # fmt: skip
        ((shard, ordinal),) = found
        return int(self._starts[self._shards.index(shard)]) + ordinal

    @functools.cached_property
    def _functions(self) -> list[tuple[Stage, Callable[[Origin, Any], Any]]]:
        return [(stage, _function(stage)) for stage in self._plan.stages]

    def _work(self, shard: str, ordinal: int, value: Any) -> Any:
        """Return what the stages make of one sample."""
        key = value.get("__key__") if isinstance(value, dict) else None
        if isinstance(value, dict) and self._plan.names_url:
            value["__url__"] = shard
        for stage, function in self._functions:
            try:
                value = function((shard, ordinal, key), value)
            except Exception as error:
                annotate(error, url=shard, key=key, stage=stage.name)
                raise
            if value is DROP:
                raise FieldError(
                    f"{stage.name}({stage.describe()}) drops this sample, and there is no other in its place; "
                    "leave it out with select_samples",
                    url=shard, key=key, stage=stage.name,
                )  # fmt: skip
        return value

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_functions"}

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples in {len(self._shards)} shards)"


def _makes_one(stage: Stage) -> bool:
    return isinstance(stage, EachStage) or (isinstance(stage, Join) and not stage.in_step)


def _function(stage: Stage) -> Callable[[Origin, Any], Any]:
    """Return what a stage makes of one value, which has an origin."""
    if isinstance(stage, Join):
        return functools.partial(_joined, stage.joiner(streams=False))
    assert isinstance(stage, EachStage)
    function = stage.function()
    return lambda origin, value: function(value)


def _joined(joiner: Joiner, origin: Origin, sample: Any) -> Any:
    joined = joiner.joined(origin, sample)
    return DROP if joined is None else joined


def _refuse_others(plan: Plan) -> None:
    """Raise an error for what has no meaning where each sample is reached by itself."""
    others = [
        stage.name for stage in plan.stages if not _makes_one(stage) or (stage.drops and not isinstance(stage, Select))
    ]
    if plan.shard_seed is not None and "shuffle" not in others:
        others.insert(0, "shuffle")
    if not plan.policy.raises:
        others.append("on_error")
    if others:
        raise TypeError(
            f"map_style() makes one value of each sample, and {', '.join(others)} "
            f"{'does' if len(others) == 1 else 'do'} not: order is the sampler's, batches are the DataLoader's, "
            "and select_samples leaves samples out"
        )
