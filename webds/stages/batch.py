"""Stages between samples and batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, final

import attrs
from typing_extensions import override

from webds.order.origins import PartOrigin
from webds.order.progress import Held
from webds.policy import Guard
from webds.stages.base import DROP, Item, Labels, Recall, Run, Stage, Upstream
from webds.stages.collate import collate, collate_labelled, split_batch
from webds.stages.functions import name_of
from webds.typing import Origin

__all__ = ["Batch", "Unbatch"]


@final
@attrs.frozen(kw_only=True)
class Batch(Stage):
    """Puts ``n`` values at a time into one batch.

    Attributes:
        n: how many.
        partial: whether the last batch may be smaller; else what is left over is dropped.
        collate: the function that makes a batch of a list of values.
    """

    name: ClassVar[str] = "batch"
    recalls: ClassVar[bool] = True
    n: int
    partial: bool = True
    collate: Callable[[list[Any]], Any] = collate
    known_labels: Labels = None

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        guard = run.guard.using(self.policy)
        due: list[None] = []
        items = upstream(run.watched_by(lambda: due.append(None)))
        while chunk := list(itertools.islice(items, self.n)):
            if len(chunk) < self.n and not self.partial:
                return
            origins = tuple(origin for origin, _ in chunk)
            values = [value for _, value in chunk]
            del chunk  # the batch is handed on without the samples it was made of
            try:
                batch = self._together(values)
            except Exception as error:
                if not guard.handle(error, self.name, _blamed_first(origins, error)):
                    return
                continue
            del values
            yield origins, batch
            del batch
            if due:
                due.clear()
                run.pass_over()

    def _together(self, values: list[Any]) -> Any:
        return collate_labelled(values, self.known_labels) if self.collate is collate else self.collate(values)

    @override
    def recalling(self, before: Recall, guard: Guard) -> Recall:
        guard = guard.using(self.policy)

        def recall(origin: Origin) -> Any:
            values = [value for one in origin if (value := before(one)) is not DROP]
            if not values:
                return DROP
            try:
                return self._together(values)
            except Exception as error:
                guard.handle(error, self.name, _blamed_first(origin, error))
                return DROP

        return recall

    @override
    def labelled(self, labels: Labels) -> Batch:
        return attrs.evolve(self, known_labels=labels)

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels if self.collate is collate else None

    @override
    def length(self, n: int) -> int | None:
        # Each worker makes batches of its own share, so how many are partial depends on the number of workers.
        return None

    @override
    def describe(self) -> str:
        last = "the last one may be smaller" if self.partial else "a last one that is smaller is dropped"
        how = "" if self.collate is collate else f" by {name_of(self.collate)}"
        return f"{self.n}{how}; {last}"


def _blamed_first(origins: tuple[Origin, ...], error: Exception) -> Origin:
    """Return the origins with that of the sample to blame first, so that it is the one that is named."""
    position = getattr(error, "sample", None)
    if not isinstance(position, int) or not 0 <= position < len(origins):
        return origins
    return (origins[position], *origins[:position], *origins[position + 1 :])


@final
@attrs.frozen(kw_only=True)
class Unbatch(Stage):
    """Takes batches apart again; each sample keeps the origin it came into the batch with."""

    name: ClassVar[str] = "unbatch"
    holds: ClassVar[bool] = True
    recalls: ClassVar[bool] = True

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        guard = run.guard.using(self.policy)
        begun = run.held_by(self.number)
        before = begun.left if begun.items else 0
        for origin, batch in itertools.chain(list(begun.items), upstream(run)):
            try:
                samples = split_batch(batch)
            except Exception as error:
                if not guard.handle(error, self.name, origin):
                    return
                continue
            held = run.progress.held[self.number] = Held([(origin, None)])
            for part, sample in enumerate(samples):
                held.left = part + 1
                if held.left == len(samples):
                    run.progress.held[self.number] = Held()
                if part >= before:
                    yield _part(origin, samples, part), sample
            before = 0

    @override
    def recalling(self, before: Recall, guard: Guard) -> Recall:
        guard = guard.using(self.policy)

        def recall(origin: Origin) -> Any:
            assert isinstance(origin, PartOrigin)  # made below
            batch = before(origin.whole)
            try:
                return DROP if batch is DROP else split_batch(batch)[origin.part]
            except Exception as error:
                guard.handle(error, self.name, origin)
                return DROP

        return recall

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def describe(self) -> str:
        return "along the first dimension"


def _part(origin: Origin, samples: Sequence[Any], part: int) -> PartOrigin:
    is_of_samples = len(origin) == len(samples) and isinstance(origin[0], tuple)
    return PartOrigin.of(origin[part] if is_of_samples else origin, origin, part)
