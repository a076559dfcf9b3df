"""Stages that decide how many values there are: take, repeat."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import ClassVar, final

import attrs
from typing_extensions import override

from webds.stages.base import Fields, Item, Labels, Run, Stage, Upstream

__all__ = ["Repeat", "Take"]


@final
@attrs.frozen(kw_only=True)
class Take(Stage):
    """Lets the first ``n`` values of a rank through: of W workers, each its part of the n.

    Attributes:
        n: how many.
    """

    name: ClassVar[str] = "take"
    recalls: ClassVar[bool] = True
    n: int

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        resumed = run.resumes_here
        before = 0 if resumed is None else resumed.taken.get(self.number, 0)
        by_all = 0 if run.start is None else before  # taken by the workers of the rank together
        share, rest = divmod(max(0, self.n - by_all), run.place.num_workers)
        share += run.place.worker < rest
        taken = run.progress.taken[self.number] = before - by_all
        for item in itertools.islice(upstream(run), max(0, share - taken)):
            run.progress.taken[self.number] += 1
            yield item

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def length(self, n: int) -> int | None:
        return min(n, self.n)

    @override
    def describe(self) -> str:
        return f"{self.n} in all, shared out over the workers of a rank"


@final
@attrs.frozen(kw_only=True)
class Repeat(Stage):
    """Goes through everything before it again and again; shuffles differ from one pass to the next.

    A pass that yields nothing is the last, and one that an error policy ended; so is the first, if stages behind it
    drop all that comes of it. Of several workers, one may get nothing in some passes: its last is one with which as
    many as there are workers have yielded nothing.
    """

    name: ClassVar[str] = "repeat"
    recalls: ClassVar[bool] = True
    n: int | None = None

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        empty = 0
        resumed = run.resumes_here
        depth = len(run.passes)
        first = resumed.passes[depth] if resumed is not None and len(resumed.passes) > depth else 0
        for i in itertools.count(first) if self.n is None else range(first, self.n):
            empty += not (resumed is not None and i == first)
            for item in upstream(attrs.evolve(run, passes=(*run.passes, i))):
                empty = 0
                yield item
            if empty == run.place.num_workers or run.guard.stopped:
                return
            if i == 0:
                run.pass_over()

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def length(self, n: int) -> int | None:
        return None if self.n is None else n * self.n

    @override
    def describe(self) -> str:
        return "without end" if self.n is None else f"{self.n} times"
