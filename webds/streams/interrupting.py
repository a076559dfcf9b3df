"""Waits that another thread can end: a variable of the context in which something is opened and read.

Whoever opens in a thread of its own, and may be told that nobody wants the stream any more, does so inside of
`Interruption.applied`. What can wait there for long says by `ended_by` how its wait is ended.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Final, final

__all__ = ["Interruption", "ended_by", "is_interrupted"]


@final
class Interruption:
    """The end of all that a thread waits for, called by another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], object]] = []
        self.has_come: bool = False

    @contextlib.contextmanager
    def applied(self) -> Generator[None]:
        """Let this be what ends the waits in the block."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def stop(self) -> None:
        """End what is waited for now, and whatever will be."""
        with self._lock:
            self.has_come = True
            ends = list(self._ends)
        for end in ends:
            end()

    @contextlib.contextmanager
    def calling(self, end: Callable[[], object]) -> Generator[None]:
        """Call ``end`` when this comes while the block runs; at once, if it has come."""
        with self._lock:
            self._ends.append(end)
            at_once = self.has_come
        try:
            if at_once:
                end()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


_current: Final[ContextVar[Interruption | None]] = ContextVar("webds.interruption", default=None)


def ended_by(end: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
    """Return a block that waits for something, and that an interruption ends by calling ``end``.

    Args:
        end: ends the wait, from another thread. It raises nothing, and may be called when nothing waits.
    """
    current = _current.get()
    return contextlib.nullcontext() if current is None else current.calling(end)


def is_interrupted() -> bool:
    """Return whether nobody wants any more what is opened or read here."""
    current = _current.get()
    return current is not None and current.has_come
