"""What a dataset has to tell of its iterations: what was lost, what was tried again, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
from typing_extensions import override

from webds.metrics import CONSUMER, FIRST_STAGE, IO, SOURCE, Metrics
from webds.policy.ledger import Ledger, Loss, Retry

__all__ = ["StageTime", "Stats"]


@final
@attrs.frozen
class StageTime:
    """What one stage did, summed over workers.

    Attributes:
        name: the stage, with its number where there are several of its kind; ``io``: opening and reading streams;
            ``read``: making samples of their bytes.
        values: how many left it; of ``io``, bytes. A batch is one.
        seconds: its own time, without that of the stages before it, by the clock on the wall: of W workers that work
            side by side, up to W seconds a second. Of ``decode(threads=…)``, the time it was waited for.
    """

    name: str
    values: int
    seconds: float


@final
@attrs.frozen
class Stats:
    """What a dataset has to tell of its iterations so far, in all workers. As a `str`, a table for people.

    The numbers of stages are there only where they were asked for, by `DatasetBuilder.measure`; workers hand theirs
    on every 1024 samples and at the end of an iteration.

    Attributes:
        losses: every error that the policy let pass.
        counts: stage → URL → number of these; the URL is ``""`` where none is known.
        retries: every retry of a transfer.
        stages: in the order of the chain, ``io`` and ``read`` first; empty unless measured.
        consumed: how many values were handed out; 0 unless measured.
        consumer_seconds: how long whoever iterates took until it asked for the next value, summed over workers:
            waiting for room in the DataLoader's queue, or training; 0.0 unless measured.
    """

    losses: list[Loss]
    counts: dict[str, dict[str, int]]
    retries: list[Retry] = attrs.field(factory=list[Retry])
    stages: list[StageTime] = attrs.field(factory=list[StageTime])
    consumed: int = 0
    consumer_seconds: float = 0.0

    @classmethod
    def of(cls, ledger: Ledger, metrics: Metrics | None, names: Sequence[str]) -> Stats:
        """Return what a ledger and, where there are any, metrics say; ``names`` are those of the stages."""
        lost = ledger.losses(), ledger.counts(), ledger.retries()
        if metrics is None:
            return cls(*lost)
        rows = metrics.rows()
        named = [(IO, "io"), (SOURCE, "read"), *enumerate(_numbered(names), FIRST_STAGE)]
        stages = [StageTime(name, *rows[row]) for row, name in named]
        return cls(*lost, stages, stages[-1].values, rows[CONSUMER][1])

    @property
    def cut_short(self) -> list[Loss]:
        """The losses of which each is the rest of a shard; `Loss.ordinal` is the number of samples that had come."""
        return [loss for loss in self.losses if loss.action == "cut short"]

    @property
    def samples(self) -> int:
        """How many samples were read; 0 unless measured."""
        return sum(stage.values for stage in self.stages if stage.name == "read")

    @property
    def bytes_read(self) -> int:
        """How many bytes were read out of streams, as they are stored; 0 unless measured."""
        return sum(stage.values for stage in self.stages if stage.name == "io")

    @property
    def slowest(self) -> StageTime | None:
        """The stage that took the most time of its own; None unless measured."""
        return max(self.stages, key=lambda stage: stage.seconds, default=None)

    @override
    def __str__(self) -> str:
        retried = f"{len(self.retries)} retries"
        lost = f"{len(self.losses)} errors were let pass, {len(self.cut_short)} of them cut a shard short; {retried}"
        lines = [lost, *(f"  {stage}: {sum(urls.values())}" for stage, urls in self.counts.items())]
        if self.slowest is None:
            return "\n".join([*lines, "not measured: .measure() on the builder says which stage is slow"])
        total = sum(stage.seconds for stage in self.stages) + self.consumer_seconds
        rows = [(stage.name, stage.values, stage.seconds) for stage in self.stages]
        rows.append(("consumer", self.consumed, self.consumer_seconds))
        width = max(len(name) for name, _, _ in rows)
        lines.append(f"{'stage':<{width}} {'values':>20} {'seconds':>10} {'share':>6}")
        for name, values, seconds in rows:
            share = seconds / total if total else 0.0
            count = f"{values:,} bytes" if name == "io" else f"{values:,}"
            lines.append(f"{name:<{width}} {count:>20} {seconds:>10.3f} {share:>6.1%}")
        if self.consumer_seconds > self.slowest.seconds:
            return "\n".join(
                [*lines, f"the consumer is slower than any stage; the slowest of these: {self.slowest.name}"]
            )
        return "\n".join([*lines, f"the slowest stage: {self.slowest.name}"])


def _numbered(names: Sequence[str]) -> list[str]:
    """Return ``names``; those that come several times with their numbers: ``map 1``, ``map 2``."""
    taken = [*names, "io", "read", "consumer"]
    return [f"{name} {names[: i + 1].count(name)}" if taken.count(name) > 1 else name for i, name in enumerate(names)]
