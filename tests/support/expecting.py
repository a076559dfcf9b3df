"""Exceptions that a test expects out of worker processes."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Generator

import pytest
from typing_extensions import TypeVar

__all__ = ["raises"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


@contextlib.contextmanager
def raises(kind: type[ErrorT], match: str | None = None) -> Generator[pytest.ExceptionInfo[ErrorT]]:
    """Like `pytest.raises`, and the loader's iterator that raised is gone afterwards, with its workers.

    Torch's exception refers, by its traceback, to itself and to the iterator. That would live until some later
    garbage collection, which waits seconds for each worker, or happens in a forked worker of another loader.
    """
    with pytest.raises(kind, match=match) as caught:
        yield caught
    traceback.clear_frames(caught.value.__traceback__)
