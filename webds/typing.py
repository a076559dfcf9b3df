"""The types that every layer shares: samples, origins, places, and what users may bring."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, final, runtime_checkable

from typing_extensions import Buffer, TypeVar, override

__all__ = [
    "UNREAD",
    "Anywhere",
    "Buffer",
    "KeyFunction",
    "Origin",
    "Place",
    "Readable",
    "ReadableStream",
    "Sample",
    "T",
    "T_co",
    "T_contra",
    "U",
    "Unread",
    "ValueT_co",
    "Writable",
]

Sample: TypeAlias = dict[str, Any]
"""One sample: ``__key__`` and its fields, each the bytes of the shard or what a decoder made of them."""

KeyFunction: TypeAlias = Callable[[str], tuple[str | None, str | None]]
"""Member path → (key, field), or (None, None) for a member that belongs to no sample."""

Origin: TypeAlias = tuple[Any, ...]
"""Where a value came from: ``(shard URL, ordinal in the shard, key)``; of a batch, a tuple of such tuples.

A plain tuple, since one is made for every sample.
"""

T = TypeVar("T", default=Sample)
ValueT_co = TypeVar("ValueT_co", covariant=True, default=Sample)
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


@final
class Place(NamedTuple):
    """Who is reading: one worker of one rank.

    Attributes:
        rank: index of this process among the training processes, from 0.
        world_size: number of training processes.
        worker: index of this DataLoader worker within its rank, from 0.
        num_workers: number of DataLoader workers of a rank; 1 where the training process reads by itself.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    num_workers: int = 1


class Unread(enum.Enum):
    """What a source may put in a sample in place of a field that nobody will look at."""

    UNREAD = "unread"

    @override
    def __repr__(self) -> str:
        return "UNREAD"


UNREAD = Unread.UNREAD


class Readable(Protocol):
    """Any object with ``read``: an open file, a socket file, a response body, a decompressor."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, all that is left for -1, and ``b""`` at the end only."""
        ...


class ReadableStream(Protocol):
    """What a function that opens URLs has to return: an object with ``read`` and ``close``."""

    def read(self, size: int, /) -> Buffer:
        """Return at most ``size`` bytes, and none at the end only."""
        ...

    def close(self) -> object:
        """Let go of everything that was opened."""
        ...


@runtime_checkable
class Anywhere(Protocol):
    """A file that can be read at any position, whatever its own is."""

    def read_at(self, size: int, position: int, /) -> bytes:
        """Return up to ``size`` bytes from ``position`` on, none at the end only."""
        ...

    def expect(self, position: int, size: int, /) -> object:
        """Have fetched what will soon be read, if that is possible."""
        ...


class Writable(Protocol):
    """Any object with ``write``."""

    def write(self, data: Buffer, /) -> object:
        """Take all of ``data``."""
        ...
