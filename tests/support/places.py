"""All places of a training, one after the other in one process: what each of them gets, as DataLoaders hand it out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import webds
from webds.dataset import resolve_decoders
from webds.order import Turn
from webds.policy import Guard, Ledger
from webds.stages.base import Run
from webds.typing import Place

__all__ = ["at_place", "in_turn", "of_rank", "of_ranks", "steps"]

V = TypeVar("V")


def at_place(builder: webds.DatasetBuilder[V], place: Place, epoch: int = 0) -> Iterator[V]:
    """Yield what one worker of one rank gets."""
    plan = builder.plan.bound(lambda spec: resolve_decoders({}, spec))
    run = Run(Guard(plan.policy, Ledger()), place, Turn(epoch), None, checks_empty=False)
    return iter(plan.values(run))


def in_turn(workers: Sequence[Iterable[V]]) -> Iterator[V]:
    """Yield values as a DataLoader does: of each worker that is not at its end, one in turn."""
    alive = [iter(values) for values in workers]
    while alive:
        for values in list(alive):
            try:
                yield next(values)
            except StopIteration:
                alive.remove(values)


def of_rank(
    builder: webds.DatasetBuilder[V], rank: int, world_size: int, workers: int, epoch: int = 0, n: int | None = None
) -> list[V]:
    """Return the first ``n`` values of one rank, all for None; 0 workers are the process itself."""
    places = [Place(rank, world_size, worker, max(workers, 1)) for worker in range(max(workers, 1))]
    return list(itertools.islice(in_turn([at_place(builder, place, epoch) for place in places]), n))


def of_ranks(
    builder: webds.DatasetBuilder[V], world_size: int, workers: int, epoch: int = 0, n: int | None = None
) -> list[list[V]]:
    """Return what all ranks get."""
    return [of_rank(builder, rank, world_size, workers, epoch, n) for rank in range(world_size)]


def steps(ranks: Sequence[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    """Return what is in each global batch, in no order, of the batches of all ranks."""
    return [sorted(itertools.chain(*batches)) for batches in itertools.zip_longest(*ranks, fillvalue=())]
