"""Stages between samples and batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, final

import attrs
from typing_extensions import override

from webds.stages.base import Item, Labels, Run, Stage, Upstream
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
    n: int
    partial: bool = True
    collate: Callable[[list[Any]], Any] = collate
    known_labels: Labels = None

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        guard = run.guard.using(self.policy)
        is_ours = self.collate is collate
        due: list[None] = []
        items = upstream(run.watched_by(lambda: due.append(None)))
        while chunk := list(islice(items, self.n)):
            if len(chunk) < self.n and not self.partial:
                return
            origins = tuple(origin for origin, _ in chunk)
            values = [value for _, value in chunk]
            del chunk  # the batch is handed on without the samples it was made of
            try:
                batch = collate_labelled(values, self.known_labels) if is_ours else self.collate(values)
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

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        guard = run.guard.using(self.policy)
        for origin, batch in upstream(run):
            try:
                samples = split_batch(batch)
            except Exception as error:
                if not guard.handle(error, self.name, origin):
                    return
                continue
            yield from zip(_origins(origin, samples), samples, strict=True)

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def describe(self) -> str:
        return "along the first dimension"


def _origins(origin: Origin, samples: Sequence[Any]) -> Sequence[Origin]:
    if len(origin) == len(samples) and isinstance(origin[0], tuple):
        return origin
    return [origin] * len(samples)
