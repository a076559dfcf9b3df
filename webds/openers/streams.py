"""Streams over sources of bytes that can fail at their end, and errors that may be shown.

A command, a server or a store may break off after some good bytes. Through a `FeedReader` these bytes are
delivered first, and the error comes in place of the end: ``b""`` always means that everything was delivered.
"""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Final, final

from typing_extensions import Buffer, TypeVar, override

from webds.errors import OpenError
from webds.redaction import redact

__all__ = [
    "BUFFER_SIZE",
    "Drain",
    "DrainWriter",
    "Feed",
    "FeedReader",
    "attempt",
    "check_range",
    "hidden",
    "open_error",
]

BUFFER_SIZE: Final = 1 << 16
"""Bytes that are asked for at once, where nobody says otherwise."""

R = TypeVar("R")
_AT_ONCE: Final = 1 << 24  # bytes that a read takes memory for before they are there
_KINDS: Final = (FileNotFoundError, PermissionError, TimeoutError, ConnectionError, OSError)


def hidden(text: str, secrets: Collection[str]) -> str:
    """Return ``text`` without its secrets and without ``secrets``."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return redact(text)


def _without_secrets(error: BaseException, secrets: Collection[str]) -> Exception:
    """Return what ``error`` says, without secrets, as an exception of a built-in type."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, hidden(error.strerror or os.strerror(error.errno), secrets))
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), RuntimeError)
    text = hidden(str(error), secrets)
    return kind(text if type(error) is kind else f"{type(error).__name__}: {text}")


def open_error(message: str, url: str, error: BaseException, secrets: Collection[str] = ()) -> OpenError:
    """Return an `OpenError` for what another library raised.

    It is chained to a copy of ``error``: the original may carry the whole URL, with its signature, or a header.

    Args:
        message: what could not be done.
        url: the URL, redacted by the error.
        error: what was raised.
        secrets: texts that must not be shown, besides those that `redact` knows.
    """
    cause = _without_secrets(error, secrets)
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    failure = OpenError(f"{message}: {reason}" if reason else message, url=url)
    failure.__cause__ = cause
    return failure


def attempt(action: Callable[[], R], message: str, url: str, secrets: Collection[str] = ()) -> R:
    """Return what ``action`` returns.

    Raises:
        OpenError: see `open_error`; raised where no other exception is being handled, so that the original does
            not come along as its context.
    """
    try:
        return action()
    except OpenError:
        raise
    except Exception as error:
        failure = open_error(message, url, error, secrets)
    raise failure


def check_range(start: int, length: int) -> None:
    """Raise `ValueError` for a range that cannot be one."""
    if start < 0 or length < 0:
        raise ValueError(f"a range starts at 0 or later and has no negative length: start={start}, length={length}")


class Feed(ABC):
    """Where a `FeedReader` gets its bytes from."""

    @abstractmethod
    def fill(self, buffer: memoryview) -> int:
        """Put bytes into ``buffer`` and return their number: 0 at the end only.

        Raises:
            OpenError: there are no more bytes, and some are missing. It is not called again.
        """

    @abstractmethod
    def release(self, *, unread: bool) -> None:
        """Give everything back. Called once, at the end or before it.

        Args:
            unread: whether bytes that were put into buffers have not been read: nobody cares for the end.

        Raises:
            OpenError: only now it shows that bytes are missing from what was delivered as complete.
        """

    def stop(self) -> None:  # noqa: B027  # most cannot
        """End a wait of `fill` in another thread, if that can be done; asked again, less gently.

        Nobody wants the bytes any more: `fill` may raise or return 0. By default it does nothing.
        """

    def seekable(self) -> bool:
        """Return whether `seek` works; False unless a subclass says otherwise."""
        return False

    def seek(self, offset: int, whence: int) -> int:
        """Go to a position, given as for `io.IOBase.seek`, and return it, in bytes from the start."""
        raise io.UnsupportedOperation("this stream cannot seek")


@final
class _Raw(io.RawIOBase):
    """A feed as an unbuffered stream, whose failure is an attribute: `io.BufferedReader` would lose bytes over it."""

    def __init__(self, feed: Feed) -> None:
        self.failure: OpenError | None = None
        self.closing = False
        self.unread = False
        self._feed = feed

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        if self.failure is not None or self.closing:
            return 0
        try:
            return self._feed.fill(memoryview(buffer).cast("B"))
        except OpenError as error:
            self.failure = error
            return 0

    def stop(self) -> None:
        self._feed.stop()

    @override
    def seekable(self) -> bool:
        return self._feed.seekable()

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._feed.seek(offset, whence)

    @override
    def readall(self) -> bytes:
        parts: list[bytes] = []
        while part := self.read(1 << 20):
            parts.append(part)
        return b"".join(parts)

    @override
    def close(self) -> None:
        if not self.closed:
            try:
                self._feed.release(unread=self.unread)
            finally:
                super().close()


@final
class FeedReader(io.BufferedReader):
    """A buffered binary stream that never ends as if all were well when it is not.

    Bytes before a failure are delivered by reads of a given size; the read that would return nothing raises, and
    so does one that asks for everything. A failure that no read has met is raised by `close`.
    """

    def __init__(self, feed: Feed, buffer_size: int = BUFFER_SIZE) -> None:
        self._bytes = _Raw(feed)
        self._raised = False
        super().__init__(self._bytes, buffer_size if buffer_size > 0 else BUFFER_SIZE)

    def _check(self) -> None:
        if self._bytes.failure is not None:
            self._raised = True
            raise self._bytes.failure

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _AT_ONCE:
            return self._read_much(size)
        data = super().read(size)
        if size is None or size < 0 or (size and not data):
            self._check()
        return data

    def _read_much(self, size: int) -> bytes:
        """Read a length that somebody may have made up: `io.BufferedReader` takes the memory for it beforehand."""
        parts: list[bytes] = []
        while size > 0 and (part := super().read(min(size, _AT_ONCE))):
            parts.append(part)
            size -= len(part)
        if not parts:
            self._check()
        return b"".join(parts)

    @override
    def read1(self, size: int = -1, /) -> bytes:
        data = super().read1(size)
        if size and not data:
            self._check()
        return data

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        number = super().readinto(buffer)
        if not number and memoryview(buffer).nbytes:
            self._check()
        return number

    @override
    def readinto1(self, buffer: Buffer, /) -> int:
        number = super().readinto1(buffer)
        if not number and memoryview(buffer).nbytes:
            self._check()
        return number

    @override
    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if size != 0 and not line.endswith(b"\n") and (size is None or len(line) != size):
            self._check()
        return line

    @override
    def peek(self, size: int = 0, /) -> bytes:
        data = super().peek(size)
        if not data:
            self._check()
        return data

    def stop(self) -> None:
        """End a read that waits in another thread, if that can be done. All that is left to do then is `close`."""
        self._bytes.stop()

    @override
    def close(self) -> None:
        if self.closed:
            return
        failure = None if self._raised else self._bytes.failure
        self._bytes.closing = True  # so that this looks at the buffer and waits for nothing
        self._bytes.unread = bool(super().peek(1))
        super().close()
        if failure is not None:
            raise failure


class Drain(ABC):
    """Where a `DrainWriter` puts its bytes."""

    @abstractmethod
    def take(self, data: memoryview) -> int:
        """Take some of ``data``, one byte at least, and return how many were taken.

        Raises:
            OpenError: no more bytes are taken. It is raised again by further calls.
        """

    @abstractmethod
    def finish(self) -> None:
        """Make what was taken a result and give everything back. Called once, unless `abort` is; also after a failure.

        Raises:
            OpenError: there is no result.
        """

    @abstractmethod
    def abort(self) -> None:
        """Give everything back and leave no result, as far as the other end allows. Called once, unless `finish` is."""


@final
class _RawDrain(io.RawIOBase):
    """A drain as an unbuffered stream."""

    def __init__(self, drain: Drain) -> None:
        self.aborted = False
        self._drain = drain

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        return view.nbytes if self.aborted else self._drain.take(view)

    @override
    def close(self) -> None:
        if not self.closed:
            try:
                (self._drain.abort if self.aborted else self._drain.finish)()
            finally:
                super().close()


@final
class DrainWriter(io.BufferedWriter):
    """A buffered binary stream for writing that can be given up.

    `close` makes what was written a result, and raises `OpenError` if that fails. An exception that leaves the
    ``with`` block aborts: the other end would take half a file for a whole one. So does a stream that nobody has
    closed when it is gone.
    """

    def __init__(self, drain: Drain, buffer_size: int = BUFFER_SIZE) -> None:
        self._bytes = _RawDrain(drain)
        super().__init__(self._bytes, buffer_size if buffer_size > 0 else BUFFER_SIZE)

    def abort(self) -> None:
        """Close without a result, as far as the other end allows. After `close` it does nothing."""
        if not self.closed:
            self._bytes.aborted = True
            self.close()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @override
    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the drain may have failed before, or not have been made
            self.abort()
