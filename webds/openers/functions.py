"""Bare functions as openers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, cast, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError, annotate
from webds.openers.streams import Feed, FeedReader
from webds.typing import ReadableStream

__all__ = ["FunctionOpener"]


@final
class _Foreign(Feed):
    """Anything with ``read`` and ``close``."""

    def __init__(self, stream: Any, url: str) -> None:
        self._stream = stream
        self._url = url

    @override
    def fill(self, buffer: memoryview) -> int:
        data = self._stream.read(len(buffer))
        if isinstance(data, str) or data is None or len(data) > len(buffer):
            raise OpenError(f"read of {type(self._stream).__name__} does not return up to n bytes", url=self._url)
        buffer[: len(data)] = data
        return len(data)

    @override
    def release(self, *, unread: bool) -> None:
        self._stream.close()


@final
@attrs.frozen
class FunctionOpener(Opener):
    """Opens URLs for reading by calling a function.

    An exception of the function keeps its type and gets the URL as a note.

    Attributes:
        function: URL → binary stream, an object with ``read`` and ``close``. To be pickled, it has to be one
            that can be, such as a function of a module.
    """

    function: Callable[[str], ReadableStream]

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if mode != "rb":
            raise OpenError("an opener that is a function only reads; subclass webds.Opener to write", url=url)
        try:
            stream: object = self.function(url)
        except Exception as error:
            annotate(error, url=url, stage="open")
            raise
        name = getattr(self.function, "__qualname__", repr(type(self.function).__name__))
        problem = _problem(stream)
        if problem is not None:
            if callable(close := getattr(stream, "close", None)):
                close()
            raise OpenError(f"the opener function {name} has to return a binary stream; it returned {problem}", url=url)
        if isinstance(stream, io.BufferedIOBase):
            return cast("BinaryIO", stream)
        return FeedReader(_Foreign(stream, url))


def _problem(stream: object) -> str | None:
    """Return what is wrong with what an opener function returned."""
    kind = type(stream).__name__
    if isinstance(stream, bytes | bytearray | memoryview):
        return f"{kind}, the data themselves: io.BytesIO makes a stream of them"
    if isinstance(stream, io.TextIOBase):
        return f"a text stream ({kind}): open it with mode 'rb'"
    if not callable(getattr(stream, "read", None)):
        return f"{kind}, which has no read"
    if not callable(getattr(stream, "close", None)):
        return f"{kind}, which has no close"
    if callable(readable := getattr(stream, "readable", None)) and not readable():
        return f"a stream that is not open for reading ({kind})"
    return None
