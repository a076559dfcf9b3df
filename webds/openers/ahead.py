"""Shards that are opened and read in threads before their turn comes."""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import stat
import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import BinaryIO, Final, Literal, Self, cast, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.filling import joined
from webds.openers.pieces import PieceFeed, PieceReader, sizes
from webds.streams.interrupting import Interruption
from webds.streams.passing import interrupt, piecewise

__all__ = ["Prefetch", "ReadAhead"]

_BLOCK: Final = 1 << 20


@final
@attrs.frozen
class Prefetch:
    """How much is read ahead.

    Attributes:
        shards: how many shards besides the one that is being read.
        max_bytes: how many bytes all of them together may hold.
    """

    shards: int
    max_bytes: int

    def __attrs_post_init__(self) -> None:
        if self.shards < 1:
            raise ValueError(f"prefetch(shards={self.shards}): expected a number from 1")
        if self.max_bytes < 2 * (self.shards + 1):
            raise ValueError(
                f"prefetch(max_bytes={self.max_bytes}): expected {2 * (self.shards + 1)} at least, two for each shard"
            )

    def __call__(self, opener: Opener, shards: Sequence[str]) -> ReadAhead:
        """Return an opener of ``shards``, to be opened in this order, by ``opener``; no thread runs yet."""
        return ReadAhead(opener, shards, self)


@final
class ReadAhead(Opener):
    """Opens shards that are read ahead; a context manager, at whose end no shard is read any more.

    Each shard has a thread, which opens it and reads it to its end, and its share of the bytes: they add up to no more
    than the limit, whoever is quick or slow. An error comes where it would have come without.
    """

    def __init__(self, opener: Opener, shards: Sequence[str], prefetch: Prefetch) -> None:
        self._opener = opener
        self._to_come = deque(shards)
        self._started: deque[_Shard] = deque()
        self._current: _Shard | None = None
        self._number = prefetch.shards
        self._share = prefetch.max_bytes // (prefetch.shards + 1)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        """Return the stream of the next shard, ``url``; those of the list before it are passed over."""
        self._let_go(self._current)
        self._current = None
        self._advance(self._number + 1)
        while self._started and self._current is None:
            shard = self._started.popleft()
            if shard.url == url:
                self._current = shard
            else:
                self._let_go(shard)
                self._advance(self._number + 1)
        if self._current is None:
            raise OpenError("this shard is none of those to come", url=url)
        self._advance(self._number)
        return self._current.stream()

    def _advance(self, number: int) -> None:
        """See to it that so many shards are on their way."""
        while self._to_come and len(self._started) < number:
            self._started.append(_Shard(self._opener, self._to_come.popleft(), self._share))

    @staticmethod
    def _let_go(*shards: _Shard | None) -> None:
        """Stop all shards before waiting for any."""
        there = [shard for shard in shards if shard is not None]
        for shard in there:
            shard.stop()
        for shard in there:
            shard.release()

    def __enter__(self) -> Self:
        """Return the opener itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._to_come.clear()
        self._let_go(self._current, *self._started)
        self._current = None
        self._started.clear()


def _is_local(stream: BinaryIO) -> bool:
    """Return whether a stream is a plain file of this host, of which the system reads ahead by itself."""
    raw = stream.raw if isinstance(stream, io.BufferedReader) else stream
    return isinstance(raw, io.FileIO) and stat.S_ISREG(os.fstat(raw.fileno()).st_mode)


@final
class _Shard(PieceFeed):
    """One shard that a thread opens and reads.

    A plain local file is handed on as it is, once its beginning is on its way into the page cache: to read it in a
    thread would only copy it once more, and could not seek.
    """

    def __init__(self, opener: Opener, url: str, share: int) -> None:
        self.url = url
        self._opener = opener
        self._share = share
        self._block = min(_BLOCK, share // 2)  # one with the reader, one on its way
        self._changed = threading.Condition()
        self._blocks: deque[bytes] = deque()
        self._held = 0  # bytes that were read and are not used up
        self._lent = 0  # of these, bytes that the reader has
        self._stream: BinaryIO | None = None
        self._plain: BinaryIO | None = None
        self._opened = False
        self._over = False
        self._stopped = False
        self._failure: Exception | None = None
        self._interruption = Interruption()
        self._process = os.getpid()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="webds-prefetch", daemon=True
        )
        self._thread.start()

    def stream(self) -> BinaryIO:
        """Return the stream, once it is open.

        Raises:
            Exception: what opening it raised.
        """
        with self._changed:
            while not self._opened and not self._over:
                self._changed.wait()
            plain, self._plain = self._plain, None
        if plain is not None:
            return plain
        if not self._opened and self._failure is not None:
            raise self._failure
        return cast("BinaryIO", PieceReader(self, self._block))

    @override
    def piece(self, size: int) -> bytes:
        if self._process != os.getpid():
            raise OpenError("the stream belongs to the process that opened it, and not to this one", url=self.url)
        with self._changed:
            self._held -= self._lent
            self._lent = 0
            self._changed.notify_all()
            while not self._blocks and not self._over and not self._stopped:
                self._changed.wait()
            if self._stopped:
                raise OpenError("the stream was closed while it was being read", url=self.url)
            if self._blocks:
                block = self._blocks.popleft()
                self._lent = len(block)
                return block
        if self._failure is not None:
            raise self._failure
        return b""

    @override
    def stop(self) -> None:
        if self._process != os.getpid():  # the thread is the parent's, and the lock may be held for ever
            return
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            plain, self._plain = self._plain, None
            stream = None if self._over else self._stream
        if plain is not None:
            plain.close()
        self._interruption.stop()
        if stream is not None:
            interrupt(stream)

    @override
    def release(self) -> None:
        if self._process == os.getpid() and not joined(self._thread):
            self.stop()
            joined(self._thread)  # or else it ends when the opener or the stream lets it

    def _run(self) -> None:
        try:
            with self._interruption.applied():
                self._read()
        except Exception as error:
            self._failure = error
        with self._changed:
            self._over = True
            self._stream = None
            self._changed.notify_all()

    def _read(self) -> None:
        """Open the shard, and read it until its end, or until it is not wanted any more."""
        stream = self._opener.open(self.url)
        with contextlib.ExitStack() as at_end:
            at_end.enter_context(stream)
            if _is_local(stream):
                with contextlib.suppress(AttributeError, OSError):  # not every system has it, nor every file system
                    os.posix_fadvise(stream.fileno(), 0, self._share, os.POSIX_FADV_WILLNEED)
                self._hand_on(stream, at_end)
                return
            with self._changed:
                self._stream = stream
                self._opened = True
                self._changed.notify_all()
            read, size = piecewise(stream), sizes(self._block)
            while self._has_room() and (block := read(next(size))):
                with self._changed:
                    self._blocks.append(block)
                    self._held += len(block)
                    self._changed.notify_all()

    def _hand_on(self, stream: BinaryIO, at_end: contextlib.ExitStack) -> None:
        with self._changed:
            self._opened = True
            if not self._stopped:
                self._plain = stream
                at_end.pop_all()

    def _has_room(self) -> bool:
        """Wait until there is room for a block, and return whether it is still wanted."""
        with self._changed:
            while self._held + self._block > self._share and not self._stopped:
                self._changed.wait()
            return not self._stopped
