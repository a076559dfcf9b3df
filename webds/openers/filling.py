"""A stream of what is being put into a cache, while it is being put there."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable
from typing import BinaryIO, Final, final

from typing_extensions import override

from webds.errors import OpenError
from webds.openers.cachefiles import Part
from webds.openers.pieces import PieceFeed, sizes
from webds.streams.interrupting import Interruption
from webds.streams.passing import interrupt, piecewise

__all__ = ["Direct", "Filling", "Waiting", "joined"]

_PIECE: Final = 1 << 20
_PATIENCE: Final = 0.25  # seconds for a thread that was told to end
_PAUSES: Final = (0.001, 0.1)  # seconds between two looks at a file that another process fills: first, and at most


def joined(thread: threading.Thread, seconds: float | None = _PATIENCE) -> bool:
    """Wait for a thread that is about to end, for so long at most, and return whether it has."""
    if thread is threading.current_thread():  # the garbage collector may close a stream from any thread
        return False
    thread.join(seconds)
    return not thread.is_alive()


@final
class Filling(PieceFeed):
    """The bytes of a stream that a thread writes into a file of the cache, read from there.

    The thread waits for nobody: a consumer that pauses keeps no other process waiting for the file. The end comes
    when the file has got its name, and every byte there was. A stream that is closed before drops the file, unless
    everything has arrived. If the file cannot be written, what is left of the stream is read past it.

    Args:
        stream: what is written; it belongs to the feed from now on.
        part: the file.
        url: named by errors.
        expected: how many bytes there must be; None if that is not known.
        complain: called in the reader's thread, with what was wrong with the disk.
    """

    def __init__(
        self, stream: BinaryIO, part: Part, url: str, expected: int | None, complain: Callable[[OSError], None]
    ) -> None:
        self._stream = stream
        self._part = part
        self._url = url
        self._expected = expected
        self._complain = complain
        self._changed = threading.Condition()
        self._position = 0
        self._available = 0
        self._over = False  # the thread has nothing more to do
        self._stopped = False
        self._complete = False  # all bytes have arrived, and are good
        self._failure: Exception | None = None
        self._trouble: OSError | None = None  # of the disk
        self._unwritten: bytes | None = None  # what comes after the file, and then the stream itself
        self._abandoned = False
        self._interruption = Interruption()
        _filling.add(self)
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="webds-cache", daemon=True
        )
        self._thread.start()

    @override
    def piece(self, size: int) -> bytes:
        if self._abandoned:
            raise OpenError("the stream belongs to the process that opened it, and not to this one", url=self._url)
        with self._changed:
            while self._position >= self._available and not self._over and not self._stopped:
                self._changed.wait()
            ready = self._available - self._position
            trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self._complain(trouble)
        if self._stopped:
            raise OpenError("the stream was closed while it was being read", url=self._url)
        if ready > 0:
            return self._stored(min(size, ready, _PIECE))
        if self._failure is not None:
            raise self._failure
        return b"" if self._unwritten is None else self._past_the_file(size)

    def _stored(self, size: int) -> bytes:
        try:
            data = self._part.read(size, self._position)
        except OSError as error:
            raise OpenError(f"cannot read from the cache: {error.strerror}", url=self._url) from error
        self._position += len(data)
        return data

    def _past_the_file(self, size: int) -> bytes:
        if self._unwritten:
            data, self._unwritten = self._unwritten[:size], self._unwritten[size:]
            return data
        return piecewise(self._stream)(min(size, _PIECE))

    @override
    def stop(self) -> None:
        if self._abandoned:
            return
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            done = self._complete or (self._over and self._unwritten is None)
        if not done:
            self._interruption.stop()
            interrupt(self._stream)

    @override
    def release(self) -> None:
        if self._abandoned:
            return
        if self._complete:
            joined(self._thread, None)  # it is about to give the file its name
        elif not joined(self._thread):
            self.stop()
            joined(self._thread)  # or else it ends when the stream lets it
        self._part.let_go()
        if self._over and self._unwritten is not None:
            self._stream.close()

    def _run(self) -> None:
        published = False
        try:
            with self._interruption.applied():
                published = self._fill()
        except Exception as error:
            self._failure = error
        if not published:
            self._part.drop()
        if self._unwritten is None:
            with contextlib.suppress(Exception):  # the first failure counts, and nobody waits for one after `stop`
                self._stream.close()
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._part.let_go()

    def _fill(self) -> bool:
        """Write all of the stream to the file, and return whether that got its name."""
        read, size = piecewise(self._stream), sizes()
        while not self._stopped and (data := read(next(size))):
            before = self._part.size
            try:
                self._part.write(data)
            except OSError as error:
                self._trouble = error
                self._unwritten = data[self._part.size - before :]
            with self._changed:
                self._available = self._part.size
                self._changed.notify_all()
            if self._unwritten is not None:
                return False
        self._stream.close()  # a command's exit status
        if self._expected is not None and self._expected != self._part.size:
            raise OpenError(f"{self._part.size} bytes came, and its size is {self._expected}", url=self._url)
        with self._changed:
            if self._stopped:
                return False
            self._complete = True
        try:
            self._part.publish()
        except OSError as error:
            self._trouble = error
            return False
        return True

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent process."""
        self._abandoned = True
        if not self._over:
            self._part.abandon()


@final
class Direct(PieceFeed):
    """The bytes of a stream, which belongs to the feed from now on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._read = piecewise(stream)

    @override
    def piece(self, size: int) -> bytes:
        return self._read(size)

    @override
    def stop(self) -> None:
        interrupt(self._stream)

    @override
    def release(self) -> None:
        self._stream.close()


@final
class Waiting(PieceFeed):
    """The bytes of a file that another process, or another thread, is putting into the cache, once it is there.

    If that one gives up, it is this one's turn.

    Args:
        take: returns what to read from, or None as long as somebody else fills the file.
        url: named by errors.
    """

    def __init__(self, take: Callable[[], PieceFeed | None], url: str) -> None:
        self._take = take
        self._url = url
        self._feed: PieceFeed | None = None
        self._stopped = threading.Event()

    @override
    def piece(self, size: int) -> bytes:
        if self._feed is None:
            self._feed = self._turn()
            if self._stopped.is_set():  # meanwhile
                self._feed.stop()
        return self._feed.piece(size)

    def _turn(self) -> PieceFeed:
        pause, most = _PAUSES
        while not self._stopped.is_set():
            feed = self._take()
            if feed is not None:
                return feed
            self._stopped.wait(pause)
            pause = min(2 * pause, most)
        raise OpenError("the stream was closed while it waited for the cache to be filled", url=self._url)

    @override
    def stop(self) -> None:
        self._stopped.set()
        if self._feed is not None:
            self._feed.stop()

    @override
    def release(self) -> None:
        if self._feed is not None:
            self._feed.stop()
            self._feed.release()


_filling: weakref.WeakSet[Filling] = weakref.WeakSet()


def _abandon_all() -> None:
    """In a forked child: let go of the files that the parent fills; a lock lives as long as any copy of them."""
    for filling in list(_filling):
        filling.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
