"""Who hears of what openers do: a variable of the context in which a shard is opened.

Whoever opens shards for a dataset does it inside of `observing`. What is opened there takes up the observer once, at
its beginning, and keeps it: streams may be read later, elsewhere, and in other threads. An opener that opens in a
thread of its own hands the context on (`contextvars.copy_context`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from typing import BinaryIO, Final, final

import attrs

from webds.policy.ledger import Retry
from webds.typing import U

__all__ = ["Observer", "next_observed", "observed_open", "observer", "observing"]


@final
@attrs.frozen
class Observer:
    """What somebody wants to hear.

    Attributes:
        retried: called before each pause after which something is tried again, by any thread.
        opening: called with what opens a stream; returns that stream, or one that passes it on. None for the stream
            itself.
    """

    retried: Callable[[Retry], object]
    opening: Callable[[Callable[[], BinaryIO]], BinaryIO] | None = None


_current: Final[ContextVar[Observer | None]] = ContextVar("webds.observer", default=None)


def observer() -> Observer | None:
    """Return who observes what is opened here; None if nobody does."""
    return _current.get()


@contextlib.contextmanager
def observing(observer: Observer) -> Generator[None]:
    """Let ``observer`` hear of what is opened in the block."""
    token = _current.set(observer)
    try:
        yield
    finally:
        _current.reset(token)


def next_observed(values: Iterator[U], observer: Observer) -> U:
    """Return the next of ``values``; ``observer`` hears of what is opened for it."""
    token = _current.set(observer)
    try:
        return next(values)
    finally:
        _current.reset(token)


def observed_open(opening: Callable[[], BinaryIO]) -> BinaryIO:
    """Return the stream that ``opening`` returns, seen by the observer, if there is one that wants to see it."""
    current = _current.get()
    return opening() if current is None or current.opening is None else current.opening(opening)
