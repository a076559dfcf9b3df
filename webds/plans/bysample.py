"""Reading by sample: which stages decide how many samples are dealt out, and how each place gets its own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, Protocol, final, runtime_checkable

import attrs
import numpy as np

from webds.abc import IndexedSource
from webds.errors import LengthError, SplitError
from webds.order.dealing import Dealing, Positions, Remainder, SampleOrder, Share, Window
from webds.order.displacement import of_both, of_windows
from webds.plans.picking import LOST, Part, Picker
from webds.stages.base import Fields, Item, Run, Stage
from webds.stages.batch import Batch
from webds.stages.flow import Repeat, Take
from webds.stages.shuffle import Shuffle
from webds.typing import Place

__all__ = ["BySample", "Order", "OrderOfPass", "OrderedSource", "buffered"]

_ENDLESS: Final = 1 << 62


class OrderOfPass(Protocol):
    """The order of the samples in one pass."""

    def located(self, positions: Positions) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the shards' numbers and the ordinals of the samples at ``positions``, some at a time."""
        ...


class Order(Protocol):
    """The order of the samples of a source, or of those of one node, in any pass."""

    @property
    def total(self) -> int | None:
        """Number of samples in a pass; None without end."""
        ...

    @property
    def seen(self) -> int | None:
        """The position by which every sample has come at least once, if that is not just the end of the pass."""
        ...

    def of_pass(self, key: tuple[int, ...]) -> OrderOfPass:
        """Return the order of one pass."""
        ...


@runtime_checkable
class OrderedSource(Protocol):
    """A source that has an order of its own, and of several parts."""

    def order(self, place: Place) -> Order:
        """Return the order of its samples, or of those of the node that ``place`` is on."""
        ...

    def parts(self, run: Run) -> Callable[[int], Part]:
        """Return a function from the number of a shard to how it is read."""
        ...


def buffered(stages: Sequence[Stage]) -> int:
    """Return how many samples a shuffle buffer holds that does what those of ``stages`` do; 1 for none."""
    held, size = 1, 1
    for stage in stages:
        if isinstance(stage, Batch):
            size *= stage.n
        elif isinstance(stage, Shuffle):
            held += (stage.size - 1) * size
    return held


@final
@attrs.frozen(kw_only=True, slots=False)
class BySample:
    """How a plan's samples are dealt out one by one, rather than by shards.

    Some stages have a say in it, and are then passed over where the plan runs: with `Take` and `Repeat` in front of
    the first `Batch`, it is known from the counts which samples there are, so that batches are made of one row of
    samples, whoever makes them. That holds until the first stage that makes another number of values of those it gets.

    Attributes:
        source: where the samples are.
        stages: all stages of the plan.
        remainder: what becomes of samples that do not fill a step.
        shard_seed: seed of the order of the shards; None for the source's.
        window: how samples are shuffled.
        nodes: how many nodes keep to a share of the samples each; 1 for all in one.
    """

    source: IndexedSource[Any]
    stages: tuple[Stage, ...]
    remainder: Remainder
    shard_seed: int | None = None
    window: Window | None = None
    nodes: int = 1

    def check(self) -> None:
        """Raise if the ranks are to have equal numbers of batches, and a stage may take some away; or out of step."""
        for stage in self.stages:
            if self.window is not None and stage.in_step:
                raise SplitError(
                    f"shuffle(window_shards={self.window.shards}): {stage.name}({stage.describe()}) has to get samples "
                    "in the order of their shards; call indexed() on the companions",
                    stage="split",
                )
        if self.remainder == "uneven":
            return
        for stage in self.stages:
            if stage.drops:
                raise SplitError(
                    f"{stage.name}({stage.describe()}) drops values, so that no equal numbers for all ranks can be "
                    f'promised, as split(remainder="{self.remainder}") does: leave samples out by select_samples, '
                    'or split(remainder="uneven")',
                    stage="split",
                )

    @functools.cached_property
    def counts(self) -> Positions:
        """The number of samples of each shard."""
        return np.asarray(self.source.counts(), np.int64)

    @functools.cached_property
    def _order(self) -> SampleOrder:
        return SampleOrder(self.counts, self.shard_seed, self.window)

    def order_at(self, place: Place) -> Order:
        """Return the order of the samples of the node that a place is on.

        That of a mix may also depend on how many a `take` lets each rank have.
        """
        if isinstance(self.source, OrderedSource):
            return self.source.order(place)
        return self.plain_order_at(place)

    def plain_order_at(self, place: Place) -> SampleOrder:
        """Return the same of a source that has no order of its own."""
        return attrs.evolve(self._order, share=Share(place.rank * self.nodes // place.world_size, self.nodes))

    @functools.cached_property
    def samples(self) -> int:
        """The number of samples of the source."""
        return int(self.counts.sum())

    def on_node(self, place: Place) -> Place:
        """Return which place it is among those of its node.

        Raises:
            SplitError: the nodes cannot have equal numbers of ranks.
        """
        ranks, rest = divmod(place.world_size, self.nodes)
        if rest:
            raise SplitError(
                f"split(nodes={self.nodes}): a world size of {place.world_size} cannot be divided into {self.nodes} "
                "nodes of equal numbers of ranks",
                stage="split",
            )
        return place._replace(rank=place.rank % ranks, world_size=ranks)

    @functools.cached_property
    def known(self) -> int:
        """How many stages from the first there are before one that makes an unknown number of values, or a batch."""
        for i, stage in enumerate(self.stages):
            if isinstance(stage, Batch) or not (isinstance(stage, (Take, Repeat)) or stage.length(1) == 1):
                return i
        return len(self.stages)

    @functools.cached_property
    def passed_over(self) -> frozenset[int]:
        """The numbers of the stages that have a say in what is dealt out, and nothing to do besides."""
        found: list[int] = []
        repeats = is_cut = False
        for i, stage in enumerate(self.stages[: self.known]):
            # A buffer is emptied in each pass, and what is cut off from a row of passes makes no pass.
            if isinstance(stage, Shuffle) or (isinstance(stage, Repeat) and is_cut):
                break
            if isinstance(stage, (Repeat, Take)):
                found.append(i)
                repeats = repeats or isinstance(stage, Repeat)
                is_cut = repeats and isinstance(stage, Take)
        return frozenset(found)

    @property
    def repeats(self) -> bool:
        """Whether several passes stand in one row."""
        return any(isinstance(self.stages[i], Repeat) for i in self.passed_over)

    @functools.cached_property
    def block(self) -> int:
        """How many samples a rank gets in each step."""
        return next((stage.n for stage in self.stages if isinstance(stage, Batch)), 1)

    def dealing(self, place: Place, start: int = 0) -> tuple[int | None, Dealing]:
        """Return how many samples a pass has, None without end, and how all passes are dealt out, on a place's node.

        Args:
            place: any of the node.
            start: the first position that is dealt out.

        Raises:
            SplitError: the nodes cannot have equal numbers of ranks; or there are fewer samples than nodes, so that
                one would have nothing to fill up a step with.
        """
        one_pass, total = self._row(place)
        dealing = Dealing(total=total, block=self.block, remainder=self.remainder, start=start)
        if self.nodes == 1 or total is None:
            return one_pass, dealing
        if self.remainder == "pad" and 0 < self.samples < self.nodes:
            raise SplitError(f"{self.samples} samples cannot be divided over {self.nodes} nodes", stage="split")
        # The first node has a share of the most, and the last one of the least samples.
        _, longest = self._row(Place(0, place.world_size))
        _, shortest = self._row(Place(place.world_size - 1, place.world_size))
        return one_pass, attrs.evolve(dealing, among=(shortest or 0, longest or 0))

    def _row(self, place: Place) -> tuple[int | None, int | None]:
        """Return how many samples a pass has on a place's node, and all passes together; None without end."""
        ranks = self.on_node(place).world_size
        total = one_pass = self.order_at(place).total
        for i in sorted(self.passed_over):
            stage = self.stages[i]
            if isinstance(stage, Take):
                limit = stage.n * ranks
                total = limit if total is None else min(total, limit)
                one_pass = one_pass if self._is_behind_repeat(i) else total
            elif isinstance(stage, Repeat):
                total = None if total is None or (stage.n is None and one_pass != 0) else total * (stage.n or 1)
        return one_pass, total

    def _turned(self, run: Run) -> Place:
        """Return the place with the worker that it is in this pass of a repetition of batches.

        Each pass begins with the worker behind the one that ended the last, as a DataLoader asks them.
        """
        place = run.place
        batch = self.stages[self.known] if self.known < len(self.stages) else None
        if len(run.passes) != 1 or not isinstance(batch, Batch):
            return place
        between = itertools.takewhile(lambda stage: not isinstance(stage, Repeat), self.stages[self.known + 1 :])
        if any(stage.length(1) != 1 or isinstance(stage, Take) for stage in between):
            return place
        first, start = 0, 0
        if run.start is not None and run.resumed is not None and run.resumed.passes:
            first, start = run.resumed.passes[0], run.start
        before = run.passes[0] - first
        if before == 0:
            return place
        batches = self._batches(batch, place, start) + (before - 1) * self._batches(batch, place, 0)
        return place._replace(worker=(place.worker - batches) % place.num_workers)

    def _batches(self, batch: Batch, place: Place, start: int) -> int:
        """Return how many batches a rank makes in a pass, from a position on."""
        here = self.on_node(place)
        n = self.dealing(place, start)[1].samples(here.rank, here.world_size) or 0
        return -(-n // batch.n) if batch.partial else n // batch.n

    def describe(self, order: str) -> list[tuple[str, str]]:
        """Return lines for `webds.plans.explaining.explained`.

        Args:
            order: the order of the shards, in words.
        """
        ends = {
            "drop": "what does not fill a step of all ranks is dropped",
            "pad": "a last step that is not full is filled up from the beginning",
            "uneven": "each sample once, so that ranks may differ by one batch",
        }[self.remainder]
        lines = [("order", f"{order}; samples dealt out {self.block} at a time over rank and worker; {ends}")]
        if self.nodes > 1:
            text = (
                f"each of {self.nodes} keeps to {self.samples / self.nodes:.0f} samples that follow one another in the "
                "source, in all epochs; a shard on a border is of two nodes"
            )
            lines.append(("nodes", text))
        if self.window is not None:
            lines += self._describe_window(self.window)
        if any(isinstance(stage, Shuffle) for stage in self.stages[: self.known + 1]):
            text = (
                "the buffer of each worker shuffles what it gets, so that the values of a step depend on the number of "
                "ranks and workers; those of shuffle(window_shards=…) do not"
            )
            lines.append(("topology", text))
        return lines

    def _describe_window(self, window: Window) -> list[tuple[str, str]]:
        if isinstance(self.source, OrderedSource):
            return [("window", f"those of each source are permuted within each {window.shards} of its shards")]
        sizes = np.diff(self.plain_order_at(Place(0, self.nodes)).of_pass((0,)).bounds)
        largest = max(0, int(np.sort(self.counts)[-window.shards :].sum()) - 1)
        text = (
            f"samples are permuted within each {window.shards} shards, by seed {window.seed}: one moves "
            f"{of_windows(sizes).mean:.0f} places on average, and never more than {largest}"
        )
        held = buffered(self.stages)
        if held == 1 or not len(sizes):
            return [("window", text)]
        both = of_both(sizes, held, int(sizes.sum()), 1)
        also = (
            f"with the buffer, of one process, {both.mean:.0f} places on average; of several, the buffer of each moves "
            "its own values, and so as many times as far in the order of all"
        )
        return [("window", text), ("", also)]

    def _is_behind_repeat(self, number: int) -> bool:
        return any(isinstance(self.stages[i], Repeat) for i in self.passed_over if i < number)

    def length(self, place: Place) -> int:
        """Return how many values an iteration of one rank yields.

        Raises:
            LengthError: that is not known before everything has been read.
        """
        here = self.on_node(place)
        _, dealing = self.dealing(place)
        n = dealing.samples(here.rank, here.world_size)
        for i, stage in enumerate(self.stages):
            if i in self.passed_over:
                continue
            if isinstance(stage, Batch) and i == self.known and n is not None:
                n = dealing.steps(here.rank, here.world_size) if stage.partial else n // stage.n
            else:
                n = None if n is None else stage.length(n)
            if n is None:
                raise LengthError(
                    f"the number of values after {stage.name}({stage.describe()}) is not known beforehand"
                )
        if n is None:
            raise LengthError("no end is known: repeat() was given no number of passes")
        return n

    def parts(self, run: Run, fields: Fields, *, names_url: bool) -> Callable[[int], Part]:
        """Return a function from the number of a shard to how it is read.

        Args:
            run: the iteration, or the pass of one.
            fields: the fields that somebody will look at; None for all.
            names_url: whether the samples are to have their shard's URL as a field.
        """
        if isinstance(self.source, OrderedSource):
            return self.source.parts(run)
        source, shards, observer = self.source, self.source.shards(), run.observer
        return lambda number: Part(source, shards[number], fields, run.guard, observer, names_url)

    def read(self, run: Run, fields: Fields, *, names_url: bool) -> Generator[Item]:
        """Yield the samples of one place, with their origins.

        Args:
            run: the iteration, or the pass of one.
            fields: the fields that somebody will look at; None for all.
            names_url: whether the samples are to have their shard's URL as a field.
        """
        resumed, progress = run.resumes_here, run.progress
        start = 0 if run.start is None or resumed is None else run.start
        skipped = 0 if run.start is not None or resumed is None else resumed.read
        one_pass, dealing = self.dealing(run.place, start)
        whole = self.order_at(run.place)
        number, order, seen = -1, whole.of_pass(run.key), whole.seen
        progress.passes, progress.shard, progress.read = run.passes, 0, skipped
        place = self.on_node(self._turned(run))
        is_alone = place.world_size == place.num_workers == 1
        parts, counts = self.parts(run, fields, names_url=names_url), self.counts.tolist()
        by_shard = self.window is None and not isinstance(self.source, OrderedSource)
        picker = Picker(parts, counts, goes_on=is_alone and by_shard)
        pick = picker.in_order if by_shard else picker.mixed

        def count() -> int:
            return progress.read - skipped

        if run.guard.stopped:  # by an error of what was held back: that is all that comes
            return
        run.guard.begin_reading(count)
        try:
            for positions in dealing.positions(place, skipped):
                for i, inside in _passes(positions, one_pass, dealing.total):
                    if self.repeats and i != number:
                        if number == 0:
                            run.pass_over()
                        number, order = i, whole.of_pass((*run.key, i))
                    if seen is not None and inside[0] >= seen:
                        seen = None
                        run.pass_over()
                    for located in order.located(inside):
                        for item in pick(*located):
                            progress.read += 1
                            if item[1] is LOST:
                                if run.guard.stopped:
                                    return
                                continue
                            yield item
        finally:
            picker.close()
            run.guard.end_reading(count)


def _passes(positions: Positions, one_pass: int | None, total: int | None) -> Iterator[tuple[int, Positions]]:
    """Yield the numbers of the passes, and the positions within each.

    What is behind the end fills up the last step: it is the beginning of the last pass again.
    """
    if one_pass == 0:
        return
    if one_pass is None:
        one_pass = _ENDLESS
    if total is not None:
        last = (total - 1) // one_pass * one_pass
        positions = np.where(positions < total, positions, last + (positions - total) % min(one_pass, total - last))
    passes = positions // one_pass
    cuts = (np.flatnonzero(np.diff(passes)) + 1).tolist()
    for lo, hi in itertools.pairwise([0, *cuts, len(positions)]):
        yield int(passes[lo]), positions[lo:hi] % one_pass
