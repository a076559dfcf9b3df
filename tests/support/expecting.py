"""Exceptions that a test expects out of worker processes."""

from __future__ import annotations

import re
import traceback
from types import TracebackType
from typing import Generic, Self, final

import pytest
from typing_extensions import TypeVar

__all__ = ["raises"]

ErrorT = TypeVar("ErrorT", bound=BaseException)


@final
class raises(Generic[ErrorT]):  # noqa: N801  # used like pytest's
    """Like `pytest.raises`, and the loader's iterator that raised is gone afterwards, with its workers.

    Torch's exception refers, by its traceback, to itself and to the iterator. That would live until some later
    garbage collection, which waits seconds for each worker, or happens in a forked worker of another loader.

    Attributes:
        value: the exception, without its traceback.
    """

    value: ErrorT

    def __init__(self, kind: type[ErrorT], match: str = "") -> None:
        self._kind = kind
        self._match = match

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            pytest.fail(f"did not raise {self._kind.__name__}")
        if not isinstance(error, self._kind):
            return False
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        assert re.search(self._match, text), f"{self._match!r} is not in {text}"
        traceback.clear_frames(trace)
        self.value = error.with_traceback(None)
        return True
