"""More samples than fit into memory, in another order: sorted pieces on the disk, which are then read side by side."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import operator
import os
import secrets
import struct
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final, TypeAlias, final

import attrs

from webds.errors import OpenError
from webds.openers.streams import open_error
from webds.typing import Sample

__all__ = ["Order", "Run", "RunWriter", "grouped", "merged"]

Order: TypeAlias = tuple[Any, ...]
"""Where a sample belongs: numbers and texts, that compare; different for any two samples."""

_LENGTH: Final = struct.Struct("<I")
_BUFFER: Final = 1 << 18
_MOST_OPEN: Final = 64
_OF_SAMPLE: Final = 600
_OF_FIELD: Final = 150
"""Bytes of memory that a sample, and each of its fields, take besides their content; generously."""


@final
@attrs.frozen
class Run:
    """A file of samples in their order.

    Attributes:
        path: where it is.
        count: number of samples.
        largest: bytes of memory that the largest of them takes.
    """

    path: str
    count: int
    largest: int


@final
class RunWriter:
    """Sorts samples, as many at a time as memory may hold, and writes each such piece to a file.

    Args:
        folder: a local folder for the files.
        memory: bytes that samples may take.
    """

    def __init__(self, folder: str, memory: int) -> None:
        self._folder = folder
        self._memory = memory
        self._held: list[tuple[Order, Sample]] = []
        self._size = 0
        self._largest = 0
        self.runs: list[Run] = []

    def add(self, order: Order, sample: Sample) -> None:
        """Take a sample; its values are bytes."""
        size = _size(sample)
        if self._held and self._size + size > self._memory:
            self._flush()
        self._held.append((order, sample))
        self._size += size
        self._largest = max(self._largest, size)

    def finish(self) -> list[Run]:
        """Write what is left, and return all files."""
        if self._held:
            self._flush()
        return self.runs

    def _flush(self) -> None:
        self._held.sort(key=operator.itemgetter(0))
        self.runs.append(_write(self._folder, self._held, len(self._held), self._largest))
        self._held = []  # its memory is free before the next is taken
        self._size = self._largest = 0


def merged(runs: Sequence[Run], folder: str, memory: int) -> Iterator[tuple[Order, Sample]]:
    """Yield the samples of all runs in their order.

    So many are read side by side that one sample of each fits into memory; if there are more, some are put together
    first.

    Args:
        runs: the files. They stay.
        folder: for files that put some together; they are removed.
        memory: bytes that may be taken.
    """
    largest = max((run.largest for run in runs), default=0) + _BUFFER
    side_by_side = max(2, min(_MOST_OPEN, memory // largest))
    waiting = list(runs)
    own: list[str] = []
    try:
        while len(waiting) > side_by_side:
            first, waiting = waiting[:side_by_side], waiting[side_by_side:]
            together = _write(folder, _side_by_side(first), sum(run.count for run in first), 0)
            waiting.append(attrs.evolve(together, largest=max(run.largest for run in first)))
            own.append(together.path)
            for run in first:
                if run.path in own:
                    os.unlink(run.path)
        yield from _side_by_side(waiting)
    finally:
        for path in own:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _side_by_side(runs: Iterable[Run]) -> Iterator[tuple[Order, Sample]]:
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(contextlib.closing(_read(run.path))) for run in runs]
        yield from heapq.merge(*readers, key=operator.itemgetter(0))


def _size(sample: Sample) -> int:
    return _OF_SAMPLE + sum(_OF_FIELD + len(value) for value in sample.values())


def _write(folder: str, samples: Iterable[tuple[Order, Sample]], count: int, largest: int) -> Run:
    """Write a run. Its name is new, so that nobody takes one for whole that is not."""
    path = os.path.join(folder, f"run-{secrets.token_hex(8)}")
    try:
        with open(path, "xb", buffering=_BUFFER) as file:
            for order, sample in samples:
                fields = [[name, len(value)] for name, value in sample.items() if name != "__key__"]
                # JSON has escapes for names that are no UTF-8.
                head = json.dumps([order, sample["__key__"], fields]).encode("ascii")
                file.write(_LENGTH.pack(len(head)))
                file.write(head)
                for name, value in sample.items():
                    if name != "__key__":
                        file.write(value)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, OSError) and not isinstance(error, OpenError):
            raise open_error("cannot write samples that do not fit into memory", path, error) from None
        raise
    return Run(path, count, largest)


def _read(path: str) -> Generator[tuple[Order, Sample]]:
    try:
        file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115  # an error of the consumer is none of the file
    except OSError as error:
        raise open_error("cannot read samples that were put aside", path, error) from None
    with file:
        while length := file.read(_LENGTH.size):
            size: int = _LENGTH.unpack(length)[0]
            order, key, fields = json.loads(_exactly(file, size, path))
            sample: Sample = {"__key__": key}
            for name, length_of_field in fields:
                sample[name] = _exactly(file, length_of_field, path)
            yield tuple(order), sample


def _exactly(file: BinaryIO, size: int, path: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise OpenError("a file of samples that were put aside is cut short; remove its folder", url=path)
    return data


def grouped(records: Iterator[tuple[Order, Sample]]) -> Iterator[tuple[str, list[tuple[Order, Sample]]]]:
    """Yield each key with all records that have it, which follow one another."""
    for key, group in itertools.groupby(records, lambda record: str(record[1]["__key__"])):
        yield key, list(group)
