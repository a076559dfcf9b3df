"""All places of a training, one after the other in one process: what each of them gets, as DataLoaders hand it out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from typing_extensions import override

import webds
from webds.datasets.dataset import resolve_decoders
from webds.order.epochs import Turn
from webds.order.progress import Progress
from webds.plans.resuming import Beginning, Mark, parse_state, state_of
from webds.policy import Guard, Ledger
from webds.stages.base import Run
from webds.typing import Place

__all__ = ["Rank", "at_place", "in_turn", "of_rank", "of_ranks", "steps"]

V = TypeVar("V")


def at_place(builder: webds.DatasetBuilder[V], place: Place, epoch: int = 0) -> Iterator[V]:
    """Yield what one worker of one rank gets."""
    plan = builder.plan.bound(lambda spec: resolve_decoders({}, spec))
    run = Run(Guard(plan.policy, Ledger()), place, Turn(epoch), None, checks_empty=False)
    return iter(plan.values(run))


class Rank(Iterator[V]):
    """One rank of a training, with all its workers: iterates as a DataLoader does, and knows its state.

    Args:
        builder: what is iterated over.
        rank: which one.
        world_size: of how many.
        workers: how many; 0 for the process itself.
        state: where to go on.
        epoch: number of the iteration.
    """

    def __init__(
        self,
        builder: webds.DatasetBuilder[V],
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        state: Any = None,
        epoch: int = 0,
    ) -> None:
        self._plan = builder.plan.bound(lambda spec: resolve_decoders({}, spec))
        place = Place(rank, world_size, 0, max(workers, 1))
        resume = None if state is None else parse_state(state, self._plan)
        begins = Beginning(epoch) if resume is None else resume.beginning(place)
        self._epoch, self._place, self._next = begins.epoch, place, begins.following
        self._marks: dict[int, Mark] = {}
        self._begins = begins.marks
        self._alive: list[tuple[Iterator[Any], Run]] = []
        for worker in range(max(workers, 1)):
            there = place._replace(worker=worker)
            run = Run(
                Guard(self._plan.policy, Ledger()), there if resume is None else resume.placed(there),
                Turn(self._epoch), None, checks_empty=False,
            )  # fmt: skip
            run = run if resume is None else resume.run(run)
            values = iter(()) if run.resumed is not None and run.resumed.done else iter(self._plan.values(run))
            self._alive.append((values, run))
        self._resume = resume

    @override
    def __next__(self) -> V:
        while self._alive:
            values, run = self._alive.pop(0)
            try:
                value: V = next(values)
            except StopIteration:
                continue
            self._alive.append((values, run))
            mark = self._marks.setdefault(run.place.worker, Mark(self._epoch, run.place, Progress(), self._resume))
            mark.progress.follow(run.progress.changes())
            self._next = (run.place.worker + 1) % run.place.num_workers
            return value
        raise StopIteration

    def state(self) -> Any:
        """Return the state, as it is after JSON."""
        state = state_of(self._plan, self._epoch, self._place, {**self._begins, **self._marks}, self._next, whole=True)
        return json.loads(json.dumps(state))


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
