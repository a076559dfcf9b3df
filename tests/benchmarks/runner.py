"""Runs the contestants of a row in turn, each in a new process, several rounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Final, final

import attrs

from tests.benchmarks.child import Order, Outcome
from tests.benchmarks.contest import Contestant, Facts, Job
from tests.benchmarks.data import read_through
from tests.benchmarks.rows import Row

__all__ = ["Result", "RowResult", "run_row"]

_ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@final
@attrs.define
class Result:
    """What one contestant did.

    Attributes:
        name: whose it is.
        rounds: what was measured, in each round.
        skipped: why it did not take part.
        failed: what went wrong.
        delivered: how many samples it delivered; None where that is not compared.
        digest: a hash of their contents.
    """

    name: str
    rounds: list[Facts] = attrs.field(factory=list)
    skipped: str | None = None
    failed: str | None = None
    delivered: int | None = None
    digest: str | None = None


@final
@attrs.define
class RowResult:
    """What all of them did.

    Attributes:
        row: the work.
        results: in the order of the row's contestants.
        disagreements: sentences; none if all that are compared delivered the same.
    """

    row: Row
    results: list[Result]
    disagreements: list[str]

    @property
    def is_sound(self) -> bool:
        """Whether nobody failed, and all delivered the same."""
        return not self.disagreements and all(result.failed is None for result in self.results)


def _in_new_process(order: Order) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="webds-benchmark-") as folder:
        path = os.path.join(folder, "outcome.json")
        command = [sys.executable, "-m", "tests.benchmarks.child", order.to_json(), path]
        environment = {"HF_HOME": folder, "HF_HUB_OFFLINE": "1", **os.environ}
        ran = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr[-2000:].strip() or f"exit status {ran.returncode}")
        with open(path, encoding="utf-8") as stream:
            return Outcome(**json.load(stream))


def run_row(
    row: Row,
    warm: Job,
    job: Job,
    *,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    by_processor: bool = False,
    carry_out: Callable[[Order], Outcome] = _in_new_process,
) -> RowResult:
    """Measure a row.

    Args:
        row: the work.
        warm: data to warm up with.
        job: data to be measured.
        rounds: how many times each contestant runs.
        seconds: how long each run repeats the work.
        say: takes lines about the progress.
        by_processor: whether the processor's time counts, and not the clock's.
        carry_out: measures one contestant.
    """
    results = [Result(contestant.name) for contestant in row.contestants]
    read_through(job)
    for turn in range(rounds):
        for contestant, result in zip(row.contestants, results, strict=True):
            if result.skipped is not None or result.failed is not None:
                continue
            say(f"{row.name}: round {turn + 1} of {rounds}: {contestant.name}")
            order = Order(row.name, contestant.name, warm, job, seconds, compare=turn == 0)
            try:
                _note(result, carry_out(order), by_processor)
            except RuntimeError as error:
                result.failed = str(error)
    return RowResult(row, results, _disagreements(row.contestants, results))


def _note(result: Result, outcome: Outcome, by_processor: bool) -> None:
    if outcome.skipped is not None:
        result.skipped = outcome.skipped
        return
    facts = outcome.facts
    result.rounds.append({**facts, "seconds": facts["processor"]} if by_processor and "processor" in facts else facts)
    if outcome.delivered is not None:
        result.delivered, result.digest = outcome.delivered, outcome.digest


def _disagreements(contestants: tuple[Contestant, ...], results: list[Result]) -> list[str]:
    counted = [result for result in results if result.rounds]
    found = [
        f"{result.name} had {result.rounds[0]['samples']:.0f} samples, {counted[0].name} "
        f"{counted[0].rounds[0]['samples']:.0f}"
        for result in counted
        if result.rounds[0]["samples"] != counted[0].rounds[0]["samples"]
    ]
    first: dict[str, Result] = {}
    for contestant, result in zip(contestants, results, strict=True):
        if contestant.same is not None and result.digest is not None:
            other = first.setdefault(contestant.same, result)
            if (result.delivered, result.digest) != (other.delivered, other.digest):
                found.append(f"{result.name} delivered other contents than {other.name}")
    return found
