"""Streams over sources that hand out their bytes in pieces of their own: what arrives is passed on without a copy."""

from __future__ import annotations

import io
import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

from typing_extensions import override

__all__ = ["PieceFeed", "PieceReader", "sizes"]

_PIECE = 1 << 20
_FIRST_PIECE = 1 << 18


def sizes(most: int = _PIECE) -> Iterator[int]:
    """Yield, without end, how many bytes to ask a stream for: few at first, so that somebody can begin; then many."""
    size = _FIRST_PIECE
    while size < most:
        yield size
        size *= 2
    yield from itertools.repeat(most)


class PieceFeed(ABC):
    """Where a `PieceReader` gets its bytes from."""

    @abstractmethod
    def piece(self, size: int) -> bytes:
        """Return at most ``size`` further bytes; none at the end only.

        Raises:
            OpenError: there are no more bytes, and some are missing. It is not called again; nor after any other
                exception.
        """

    @abstractmethod
    def stop(self) -> None:
        """End a wait of `piece`, also in another thread, with an error: the stream is being closed."""

    @abstractmethod
    def release(self) -> None:
        """Give everything back. Called once, at the end or before it."""

    def size(self) -> int | None:
        """Return how many bytes there are in all, if `go_to` works; None unless a subclass says otherwise."""
        return None

    def go_to(self, position: int) -> None:
        """Let the next `piece` begin there, in bytes from the start; behind the end there is none."""
        raise io.UnsupportedOperation("this stream cannot seek")


@final
class PieceReader(io.BufferedIOBase):
    """A binary stream for reading that never ends as if all were well when it is not.

    Like `webds.openers.streams.FeedReader`: bytes before a failure are delivered by reads of a given size; the read
    that would return nothing raises, and so does one that asks for everything. A failure that no read has met is
    raised by `close`, which may be called by another thread, and ends a read that waits.

    Args:
        feed: where the bytes come from.
        buffer_size: bytes that are asked for at least.
    """

    def __init__(self, feed: PieceFeed, buffer_size: int) -> None:
        self._feed = feed
        self._buffer_size = buffer_size
        self._ahead = b""
        self._used = 0
        self._fetched = 0  # the byte after the last one that was read ahead
        self._failure: Exception | None = None
        self._raised = False
        self._at_end = False
        self._lock = threading.Lock()

    @override
    def readable(self) -> bool:
        return True

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        with self._lock:
            if size is None or size < 0:
                return self._read_all()
            first = self._next(size)
            if not first or len(first) == size:
                return first
            parts, missing = [first], size - len(first)
            while missing > 0:
                try:
                    part = self._next(min(missing, _PIECE))  # somebody may have made up the size
                except Exception:
                    self._raised = False
                    break
                if not part:
                    break
                parts.append(part)
                missing -= len(part)
            return b"".join(parts)

    @override
    def read1(self, size: int = -1, /) -> bytes:
        with self._lock:
            return self._next(self._buffer_size if size < 0 else size)

    def peek(self, size: int = 0, /) -> bytes:
        """Return what has been read ahead, some bytes at least unless the stream is at its end, and leave it there."""
        with self._lock:
            if self._used >= len(self._ahead):
                self._ahead, self._used = self._fetch(self._buffer_size), 0
            return self._ahead[self._used :]

    def stop(self) -> None:
        """End a read that waits in another thread, with an error. All that is left to do then is `close`."""
        self._feed.stop()

    @override
    def seekable(self) -> bool:
        return self._feed.size() is not None

    @override
    def tell(self) -> int:
        return self._fetched - (len(self._ahead) - self._used)

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        with self._lock:
            size = self._feed.size()
            if size is None:
                raise io.UnsupportedOperation("this stream cannot seek")
            position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: size}[whence]
            if position < 0:
                raise ValueError(f"a position is 0 or more: {position}")
            first = self._fetched - len(self._ahead)
            if first <= position <= self._fetched:
                self._used = position - first
            else:
                self._ahead, self._used, self._fetched = b"", 0, position
                self._feed.go_to(position)
            self._at_end = False
            return position

    @override
    def close(self) -> None:
        if self.closed:
            return
        failure = None if self._raised else self._failure
        self._feed.stop()
        with self._lock:
            try:
                if not self.closed:
                    self._feed.release()
            finally:
                self._ahead = b""
                super().close()
        if failure is not None:
            raise failure

    def _read_all(self) -> bytes:
        parts: list[bytes] = []
        while part := self._next(max(_PIECE, self._buffer_size)):
            parts.append(part)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        """Return some bytes: those that were read ahead, or else a new piece."""
        start = self._used
        if start < len(self._ahead):
            self._used = min(start + size, len(self._ahead))
            return self._ahead[start : self._used]
        if size == 0:
            return b""
        piece = self._fetch(max(size, self._buffer_size))
        if len(piece) <= size:
            return piece
        self._ahead, self._used = piece, size
        return piece[:size]

    def _fetch(self, size: int) -> bytes:
        if self.closed:
            raise ValueError("read of a closed stream")
        if self._failure is not None:
            self._raised = True
            raise self._failure
        if self._at_end:
            return b""
        try:
            piece = self._feed.piece(size)
        except Exception as error:  # also one of a user's stream
            self._failure = error
            self._raised = True
            raise
        self._at_end = not piece
        self._fetched += len(piece)
        return piece
