"""Who reads which shards: nobody's business, by worker, by node, by node and worker, or by explicit part."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Splitter
from webds.errors import SplitError, annotate
from webds.typing import Place

__all__ = [
    "BY_DEFAULT",
    "FunctionSplitter",
    "NoSplit",
    "SplitByNode",
    "SplitByNodeAndWorker",
    "SplitByWorker",
    "SplitExplicit",
    "SplitFunction",
    "SplitterLike",
    "as_splitter",
    "current_place",
    "current_rank",
]

SplitFunction: TypeAlias = Callable[[Sequence[str], Place], Sequence[str]]
"""The shards and a place → the shards that this place reads, in their order."""

SplitterLike: TypeAlias = "Splitter | SplitFunction"

_Axis: TypeAlias = Literal["rank", "worker"]
_AXES: Final[frozenset[_Axis]] = frozenset(("rank", "worker"))


def _check(place: Place) -> None:
    """Raise unless ``place`` is one that exists."""
    if not 0 <= place.rank < place.world_size:
        raise SplitError(f"rank {place.rank} of world size {place.world_size}: ranks are counted from 0")
    if not 0 <= place.worker < place.num_workers:
        raise SplitError(f"worker {place.worker} of {place.num_workers}: workers are counted from 0")


def _of_rank(shards: Sequence[str], place: Place) -> Sequence[str]:
    """Return what one rank reads.

    Raises:
        SplitError: some rank would have nothing to read; depends on nothing that differs between ranks.
    """
    _check(place)
    if len(shards) < place.world_size:
        raise SplitError(
            f"{len(shards)} shards cannot be divided over a world size of {place.world_size}: "
            f"{place.world_size - len(shards)} ranks would have nothing to read, and the others would wait for them. "
            "Write the data in more and smaller shards, train on fewer ranks, or let all ranks read all shards "
            "(webds.NoSplit, webds.SplitByWorker)",
            stage="split",
        )
    return shards[place.rank :: place.world_size]


@final
@attrs.frozen
class NoSplit(Splitter):
    """Every worker of every rank reads all shards."""

    axes: frozenset[_Axis] = attrs.field(default=frozenset(), init=False, repr=False)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        _check(place)
        return shards


@final
@attrs.frozen
class SplitByWorker(Splitter):
    """The workers of a rank share the shards; every rank reads all.

    A worker more than there are shards reads nothing.
    """

    axes: frozenset[_Axis] = attrs.field(default=frozenset(("worker",)), init=False, repr=False)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        _check(place)
        return shards[place.worker :: place.num_workers]


@final
@attrs.frozen
class SplitByNode(Splitter):
    """The ranks share the shards; every worker of a rank reads all of the rank's."""

    axes: frozenset[_Axis] = attrs.field(default=frozenset(("rank",)), init=False, repr=False)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return _of_rank(shards, place)


@final
@attrs.frozen
class SplitByNodeAndWorker(Splitter):
    """The ranks share the shards, and the workers of a rank share the rank's: ``shards[rank::world_size]`` first.

    A worker more than its rank has shards reads nothing; a rank without shards is an error at every rank.
    """

    axes: frozenset[_Axis] = attrs.field(default=_AXES, init=False, repr=False)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return _of_rank(shards, place)[place.worker :: place.num_workers]


BY_DEFAULT: Final = SplitByNodeAndWorker()
"""The splitter of whom nobody said anything: by its identity, it is known that nobody did."""


def _in_total(instance: SplitExplicit, attribute: attrs.Attribute[int], value: int) -> None:
    if not 0 <= instance.index < instance.total:
        raise ValueError(f"part {instance.index} of {instance.total}: parts are counted from 0")


@final
@attrs.frozen
class SplitExplicit(Splitter):
    """One part of the shards, ``shards[index::total]``, at every place: for those who divide by themselves.

    Nothing here knows who reads the other parts. With fewer shards than parts, some parts are empty.

    Attributes:
        index: which part, from 0.
        total: number of parts.

    Raises:
        ValueError: an index outside ``0 <= index < total``.
    """

    index: int
    total: int = attrs.field(validator=_in_total)

    axes: frozenset[_Axis] = attrs.field(default=frozenset(), init=False, repr=False)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards[self.index :: self.total]


def _checked_axes(axes: Collection[_Axis]) -> frozenset[_Axis]:
    known = frozenset(axes)
    if not known <= _AXES:
        raise ValueError(f"axes={sorted(axes)}: expected some of 'rank' and 'worker'")
    return known


@final
@attrs.frozen
class FunctionSplitter(Splitter):
    """Divides by a function. An exception of the function keeps its type.

    Attributes:
        function: the shards and a place → the shards that this place reads, in their order. To be pickled, it
            has to be one that can be, such as a function of a module.
        axes: the coordinates that the function divides over.
    """

    function: SplitFunction
    axes: frozenset[_Axis] = attrs.field(default=_AXES, converter=_checked_axes)

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        try:
            part: Any = self.function(shards, place)
        except Exception as error:
            annotate(error, stage="split")
            raise
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        if isinstance(part, str) or not isinstance(part, Sequence):
            raise SplitError(
                f"the split function {name} has to return a sequence of shards, not {type(part).__name__}",
                stage="split",
            )
        mine = cast("Sequence[str]", part)
        rest = iter(shards)
        for shard in mine:
            if shard not in rest:  # goes on from the last one that was found
                what = "out of order or more often than it was given" if shard in shards else "that it was not given"
                raise SplitError(f"the split function {name} returned {shard!r}, {what}", stage="split")
        return mine


def _check_axes(splitter: Splitter) -> None:
    """Raise unless ``splitter`` has its axes, which a class may set as late as in its ``__init__``."""
    name = type(splitter).__name__
    axes: object = getattr(splitter, "axes", None)
    if axes is None:
        raise TypeError(
            f"{name} does not say over what it divides: give it the attribute axes, "
            'a frozenset of "rank" and "worker", of one of them, or of neither'
        )
    if not isinstance(axes, frozenset) or not axes <= _AXES:
        raise TypeError(f'{name}.axes is {axes!r}: expected a frozenset with no others in it than "rank" and "worker"')


def as_splitter(splitter: SplitterLike) -> Splitter:
    """Return ``splitter`` as a `Splitter`.

    Args:
        splitter: a `Splitter`, or a function of (shards, place) that divides over ranks and workers; for one that
            divides over less, see `FunctionSplitter`.

    Raises:
        TypeError: it is neither, or a `Splitter` that does not say over which axes it divides.
    """
    if isinstance(splitter, Splitter):
        _check_axes(splitter)
        return splitter
    if isinstance(splitter, type):
        raise TypeError(f"{splitter.__name__} is a class: expected an instance, {splitter.__name__}(…)")
    if callable(cast("object", splitter)):
        return FunctionSplitter(splitter)
    raise TypeError(f"{splitter!r} divides nothing: expected a webds.Splitter or a function of (shards, place)")


def current_rank() -> tuple[int, int]:
    """Return rank and world size: of torch.distributed where it is initialised, else of the environment."""
    import torch.distributed  # noqa: PLC0415  # splitters are known before torch is needed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def current_place(known_rank: tuple[int, int] | None = None) -> Place:
    """Return who is reading in this process.

    Args:
        known_rank: rank and world size, where they are known; None finds them out.
    """
    import torch.utils.data  # noqa: PLC0415  # as above

    rank, world_size = known_rank or current_rank()
    info = torch.utils.data.get_worker_info()
    if info is None:
        return Place(rank, world_size)
    return Place(rank, world_size, info.id, info.num_workers)
