"""Functions and classes that worker processes import, also those that are spawned: a lambda would not get there."""

from __future__ import annotations

import os
import signal
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import torch.utils.data
from typing_extensions import override

import webds
from webds.order.epochs import EpochClock, Turn

__all__ = [
    "Number",
    "Several",
    "Turns",
    "as_is",
    "drop",
    "fails",
    "fails_on_three",
    "has_even_hash",
    "is_odd",
    "key_of",
    "kill_worker_at_fifty",
    "label",
    "numbers_of",
    "open_files_and",
    "pairs_of",
    "refuse_seven",
    "refuse_url",
    "warns_and_fails",
    "with_place",
]


class Turns(torch.utils.data.IterableDataset[tuple[int, Turn]]):
    """Yields (worker, turn) ``n`` times, with the turn of this iteration."""

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.clock = EpochClock()
        self.n = n

    @override
    def __iter__(self) -> Iterator[tuple[int, Turn]]:
        info = torch.utils.data.get_worker_info()
        worker = -1 if info is None else info.id
        turn = self.clock.begin() if info is None else self.clock.begin(info.id, info.seed - info.id)
        return iter([(worker, turn)] * self.n)


class Several(torch.utils.data.IterableDataset[tuple[int, Any]]):
    """Goes through several datasets one after the other, and says of each value which one it is of."""

    def __init__(self, datasets: Sequence[torch.utils.data.IterableDataset[Any]]) -> None:
        super().__init__()
        self._datasets = datasets

    @override
    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for i, dataset in enumerate(self._datasets):
            for value in dataset:
                yield i, value


class Number(NamedTuple):
    """The number of a sample, for ``into``."""

    number: Annotated[int, webds.field("cls")]


def numbers_of(samples: Iterable[Number]) -> Iterator[int]:
    """Take the numbers out: a stage for ``pipe``."""
    return (sample.number for sample in samples)


def as_is(value: Any) -> Any:
    return value


def label(sample: dict[str, Any]) -> int:
    """Return the number of a sample."""
    return int(sample["cls"])


def key_of(sample: dict[str, Any]) -> str:
    """Return the key of a sample."""
    return str(sample["__key__"])


def with_place(value: Any) -> tuple[int, Any]:
    """Return which worker had the value, and the value."""
    info = torch.utils.data.get_worker_info()
    return (-1 if info is None else info.id), value


def is_odd(value: int) -> bool:
    return value % 2 == 1


def has_even_hash(value: object) -> bool:
    """Be true for about a half of all values, of any kind."""
    return zlib.crc32(repr(value).encode()) % 2 == 0


def drop(value: object) -> bool:
    """Be false for everything."""
    return False


def fails(value: object) -> object:
    """Raise for everything."""
    raise ArithmeticError("no value will do")


def fails_on_three(value: Any) -> Any:
    """Raise for 3, and for samples of that number; all else comes back."""
    if (label(value) if isinstance(value, dict) else value) == 3:
        raise ArithmeticError("three is too much")
    return value


def kill_worker_at_fifty(number: int) -> int:
    """Raise for every number; at 50, the process is killed."""
    if number == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    raise ArithmeticError(f"not {number}")


def warns_and_fails(number: int) -> int:
    """Raise for every number, in a process that shows every warning."""
    warnings.simplefilter("always")
    raise ArithmeticError(f"not {number}")


def open_files_and(value: Any) -> tuple[int, Any]:
    """Return how many files the process has open, and the value."""
    return len(os.listdir("/proc/self/fd")), value


def refuse_seven(value: Any) -> Any:
    """Raise for 7 and lists that contain it, also as bytes; all else comes back."""
    if 7 in value if isinstance(value, list) else value == b"7":
        raise LookupError("seven is taken")
    return value


def refuse_url(url: Any) -> Any:
    """Open nothing."""
    raise PermissionError("closed today")


def pairs_of(values: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Put neighbours together: a stage for ``pipe``."""
    iterator = iter(values)
    return zip(iterator, iterator, strict=False)
