"""One contestant, once: the program that each measurement runs in a new process."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import sys
import warnings
from collections.abc import Generator
from typing import Any

import attrs

from tests.benchmarks.contest import Contestant, Facts, Job, Skip
from tests.benchmarks.rows import row_named

__all__ = ["Order", "Outcome", "carry_out"]


@attrs.frozen
class Order:
    """What to measure.

    Attributes:
        row: name of the row.
        contestant: name of the contestant.
        warm: the data to warm up with.
        job: the data to be measured.
        seconds: repeat passes for that long.
        compare: whether to say what was delivered.
    """

    row: str
    contestant: str
    warm: Job
    job: Job
    seconds: float
    compare: bool

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """Return the order that `to_json` made a text of."""
        values: dict[str, Any] = json.loads(text)
        for name in ("warm", "job"):
            values[name] = Job(**values[name])
        return cls(**values)


@attrs.frozen
class Outcome:
    """What came of it.

    Attributes:
        facts: what was measured.
        skipped: why nothing was; None if it was.
        delivered: how many samples came in the pass that is compared; None if none is.
        digest: a hash of their contents, in the order in which they came.
    """

    facts: Facts = attrs.field(factory=dict)
    skipped: str | None = None
    delivered: int | None = None
    digest: str | None = None


@contextlib.contextmanager
def _hidden(modules: tuple[str, ...]) -> Generator[None]:
    """Make the import of some modules an ImportError."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in modules}
    for name in before:
        del sys.modules[name]
    blocked: dict[str, Any] = dict.fromkeys(modules)
    sys.modules.update(blocked)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def _compare(contestant: Contestant, job: Job) -> tuple[int | None, str | None]:
    digest = hashlib.blake2b(digest_size=16)
    n = 0
    for contents in contestant.contents(job):
        n += 1
        for data in contents:
            view = memoryview(data).cast("B")
            digest.update(b"%d " % view.nbytes)
            digest.update(view)
    return (n, digest.hexdigest()) if n else (None, None)


def carry_out(order: Order) -> Outcome:
    """Measure one contestant in this process."""
    contestant = next(c for c in row_named(order.row).contestants if c.name == order.contestant)
    for module in contestant.needs:
        if not _is_installed(module):
            return Outcome(skipped=f"{module} is not installed")
    with _hidden(contestant.hides):
        try:
            facts = contestant.measure(order.warm, order.job, order.seconds)
        except Skip as reason:
            return Outcome(skipped=str(reason))
        delivered, digest = _compare(contestant, order.job) if order.compare else (None, None)
    return Outcome(facts, None, delivered, digest)


def _main(text: str, path: str) -> None:
    warnings.simplefilter("ignore")  # what peers warn of is not what is measured
    outcome = carry_out(Order.from_json(text))
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(attrs.asdict(outcome), stream)


if __name__ == "__main__":
    _main(*sys.argv[1:])
