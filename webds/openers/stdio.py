"""Standard input and standard output."""

from __future__ import annotations

import io
import multiprocessing
import sys
from typing import BinaryIO, Literal, cast, final

import attrs
from typing_extensions import Buffer, override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.streams import attempt

__all__ = ["StdioOpener"]


@final
class _Borrowed(io.BufferedIOBase):
    """A stream of the process, which stays open when this one is closed.

    Without a buffer of its own: what one reader left unread, the next one finds.
    """

    def __init__(self, stream: BinaryIO, mode: Literal["rb", "wb"]) -> None:
        self._stream = stream
        self._mode = mode

    def _open(self, mode: Literal["rb", "wb"]) -> BinaryIO:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if mode != self._mode:
            raise io.UnsupportedOperation("not readable" if mode == "rb" else "not writable")
        return self._stream

    @override
    def readable(self) -> bool:
        return self._mode == "rb"

    @override
    def writable(self) -> bool:
        return self._mode == "wb"

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        stream = self._open("rb")
        return attempt(lambda: stream.read(-1 if size is None else size), "cannot read standard input", "-")

    @override
    def read1(self, size: int = -1, /) -> bytes:
        stream = self._open("rb")
        read = getattr(stream, "read1", stream.read)
        return cast("bytes", attempt(lambda: read(size), "cannot read standard input", "-"))

    @override
    def write(self, data: Buffer, /) -> int:
        stream = self._open("wb")
        attempt(lambda: stream.write(data), "cannot write standard output", "-")
        return memoryview(data).nbytes

    @override
    def flush(self) -> None:
        if self._mode == "wb" and not self.closed:
            attempt(self._stream.flush, "cannot write standard output", "-")

    @override
    def fileno(self) -> int:
        return self._stream.fileno()


@final
@attrs.frozen
class StdioOpener(Opener):
    """Opens ``-``: standard input for reading, standard output for writing.

    A stream that is closed leaves the process's own open. There is one standard input: what is read from it is
    gone for the next reader, and a worker process has none.
    """

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if url != "-":
            raise OpenError("standard input and output are called -", url=url)
        name = "standard input" if mode == "rb" else "standard output"
        if mode == "rb" and multiprocessing.parent_process() is not None:
            raise OpenError("standard input belongs to the main process; a worker cannot read it", url=url)
        text = sys.stdin if mode == "rb" else sys.stdout
        stream: BinaryIO | None = getattr(text, "buffer", None)
        if stream is None:
            raise OpenError(f"this process has no {name} for bytes", url=url)
        if mode == "wb":
            attempt(text.flush, "cannot write standard output", url)  # what was printed before comes before
        return cast("BinaryIO", _Borrowed(stream, mode))
