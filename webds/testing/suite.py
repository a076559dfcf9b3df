"""What the suites have in common: hooks that cannot be forgotten, and ways to look at a process from inside."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import random
import time
import traceback
from abc import ABC
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from typing_extensions import TypeVar, override

__all__ = ["Suite", "global_seeds", "logged", "open_files", "pickled", "settled", "shown"]

V = TypeVar("V")


class Suite(ABC):  # noqa: B024  # the hooks are those of its subclasses
    """Base of all suites.

    A subclass that leaves a hook out is an error where it is defined: an abstract test class would be passed
    over by pytest without a word. A subclass that leaves hooks to its own subclasses names ``ABC`` among its
    bases. There is no ``__init__``; what a hook needs (a server, a folder) is set up by fixtures, which are
    methods of the subclass like any other.
    """

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if ABC in cls.__bases__:
            return
        missing = [name for name in dir(cls) if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
        if missing:
            raise TypeError(
                f"{cls.__name__} does not define {', '.join(missing)}, which its suite needs; "
                "a class that leaves this to its subclasses names ABC among its bases"
            )


def pickled(value: V, name: str) -> V:
    """Return ``value`` as another process would get it; ``name`` is what a failure calls it."""
    try:
        copy: V = pickle.loads(pickle.dumps(value))
    except Exception as error:
        raise AssertionError(
            f"every {name} can be pickled, since DataLoader workers are sent one; this one cannot: {error!r}"
        ) from error
    return copy


@contextlib.contextmanager
def global_seeds(seed: int) -> Generator[None]:
    """Seed the generators that everybody shares, and put them back afterwards."""
    state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)


def open_files() -> int:
    """Return the number of open file descriptors of this process, garbage aside; 0 where the system does not tell."""
    gc.collect()
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


def settled(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    """Return whether ``condition`` holds now or soon: the other end of a connection takes a moment to notice."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ if error.__cause__ or error.__suppress_context__ else error.__context__


def shown(error: BaseException) -> str:
    """Return all that a traceback, a log or a debugger shows of ``error`` and of what it is chained to."""
    parts = [part for link in _chain(error) for part in (repr(link), repr(link.args), repr(vars(link)))]
    return "\n".join([*traceback.format_exception(error), *parts])


@contextlib.contextmanager
def logged() -> Generator[list[str]]:
    """Collect what is logged from level INFO on."""
    messages: list[str] = []

    class Collect(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    root, handler = logging.getLogger(), Collect()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
