"""What a contestant is: one way to do the work of a row, measured in a process of its own."""

from __future__ import annotations

import importlib
import inspect
import os
import statistics
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, final

import attrs
from typing_extensions import override

__all__ = [
    "Contents",
    "Contestant",
    "Facts",
    "Job",
    "MemoryOfReader",
    "Reader",
    "Skip",
    "Task",
    "only_if_accepted",
    "peak_memory",
    "peer",
    "processor_time",
    "settle_allocator",
]

Contents: TypeAlias = Sequence[bytes | bytearray | memoryview]
"""What one sample holds, in an order that all contestants of a row agree on."""

Facts: TypeAlias = dict[str, float]
"""What was measured: ``seconds`` of one pass, by the clock, those that the ``processor`` worked for it, and
``samples`` in it; or ``peak`` and ``growth`` of memory; …"""


class Skip(Exception):  # noqa: N818  # no error: a contestant that cannot take part, and why
    """The contestant cannot take part: a package is missing, or does not have what the row is about."""


def _tuple(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@final
@attrs.frozen
class Job:
    """The data that a contestant works on.

    Attributes:
        shards: paths of tars.
        indexes: for each of them, the path of its member table; in another directory, where only those look
            who are told.
        fields: the fields of each sample, sorted.
        samples: how many samples the shards have.
        folder: an empty directory to write to.
    """

    shards: tuple[str, ...] = attrs.field(converter=_tuple)
    indexes: tuple[str, ...] = attrs.field(converter=_tuple)
    fields: tuple[str, ...] = attrs.field(converter=_tuple)
    samples: int
    folder: str


@attrs.frozen
class Contestant(ABC):
    """One way to do the work.

    Attributes:
        name: what the report calls it.
        needs: modules without which it is skipped.
        hides: modules that it must do without: to import them is an ImportError.
        uses: modules that it must have imported by itself when it has warmed up; it is skipped if it has not.
        same: contestants of a row with the same word here must deliver the same contents; None: are not compared.
    """

    name: str
    needs: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    hides: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    uses: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    same: str | None = attrs.field(default="same", kw_only=True)

    @abstractmethod
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        """Do the work on a little data first, and then measured, for at least that long."""

    @abstractmethod
    def contents(self, job: Job) -> Iterator[Contents]:
        """Do the work once more, and yield what came of it."""

    def check_uses(self) -> None:
        """Raise `Skip` unless all of ``uses`` were imported."""
        missing = [module for module in self.uses if module not in sys.modules]
        if missing:
            raise Skip(f"it makes no use of {' and '.join(missing)} here")


@attrs.frozen
class Task(Contestant):
    """Work that is prepared unmeasured, and then done by a function that returns how many samples it did.

    Attributes:
        prepare: is called before each pass.
        found: yields what a pass delivered, in one pass of its own; None if there is nothing to compare.
    """

    prepare: Callable[[Job], Callable[[], int]]
    found: Callable[[Job], Iterable[Contents]] | None = None

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        settle_allocator()
        self.prepare(warm)()
        self.check_uses()
        passes: list[float] = []
        worked: list[float] = []
        samples = 0
        while not passes or sum(passes) < seconds:
            run = self.prepare(job)
            before, start = processor_time(), time.perf_counter()
            samples = run()
            passes.append(time.perf_counter() - start)
            worked.append(processor_time() - before)
        return {
            "seconds": statistics.median(passes),
            "processor": statistics.median(worked),
            "samples": samples,
            "passes": len(passes),
        }

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        return iter(() if self.found is None else self.found(job))


@attrs.frozen
class Reader(Contestant):
    """An iterable over samples.

    Attributes:
        open: makes it; not measured.
        unpack: value → what is in it, for the comparison.
    """

    open: Callable[[Job], Iterable[Any]]
    unpack: Callable[[Any], Contents]

    def _prepare(self, job: Job) -> Callable[[], int]:
        values = self.open(job)

        def run() -> int:
            n = 0
            for _ in values:
                n += 1
            return n

        return run

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        return Task(self.name, self._prepare, uses=self.uses).measure(warm, job, seconds)

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        return map(self.unpack, self.open(job))


@attrs.frozen
class MemoryOfReader(Contestant):
    """The peak memory of reading, when it is done; and how much it has grown since a tenth of it was done.

    Attributes:
        reader: what reads.
    """

    reader: Reader

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        for _ in self.reader.open(warm):
            pass
        early = 0.0
        n = 0
        for _ in self.reader.open(job):
            n += 1
            if n == job.samples // 10:
                early = peak_memory()
        late = peak_memory()
        return {"peak": late, "growth": late - early, "samples": n}

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        return self.reader.contents(job)


def peak_memory() -> float:
    """Return the largest resident size that this process ever had, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource  # not everywhere

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def settle_allocator() -> None:
    """Bring the C library's allocator to the state that it has in a process that has run for a while.

    glibc returns large blocks to the system, at the price of page faults when they are wanted again, until a block
    of some size was freed; then it keeps blocks up to that size. Whether that happened early would otherwise be
    chance, and decide more than what is measured: it can double the time that a decoder takes for a picture.
    """
    block = bytearray(31 << 20)
    del block


def processor_time() -> float:
    """Return the seconds that processors have worked for this process, all its threads, and children that ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def peer(module: str) -> Any:
    """Return a module of another package.

    Raises:
        Skip: it is not installed, or cannot be imported here.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise Skip(f"{module} cannot be imported: {error}") from error


def only_if_accepted(method: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Return the options.

    Raises:
        Skip: ``method`` has no such parameters.
    """
    missing = set(options) - set(inspect.signature(method).parameters)
    if missing:
        raise Skip(f"{method.__qualname__} has no parameter {' or '.join(sorted(missing))}")
    return options
