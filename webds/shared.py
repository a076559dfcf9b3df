"""A small file without a name that a dataset and its worker processes share."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import threading
import weakref
from collections.abc import Generator
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any, Final, final

from typing_extensions import override

__all__ = ["SharedFile", "is_spawning"]

try:
    import fcntl
except ImportError:  # Windows: every process keeps a copy of its own
    fcntl = None  # type: ignore[assignment]


def is_spawning() -> bool:
    """Return whether a child process is being started, which unpickles what is pickled now."""
    return get_spawning_popen() is not None


_LENGTH: Final = struct.Struct("<q")


@final
class SharedFile:
    """Bytes that this process and its children see alike.

    A forked process inherits the descriptor, a spawned one is handed it while it is started. A plain pickle
    holds a copy of the content, from which an independent file is made. The kernel drops the file with its
    last descriptor and a lock with its process, so a process that is killed leaves nothing behind. Nor does it
    leave half a change: what the file holds is as long as its first bytes say, and these are written last, or
    at once with content of up to a page.

    Reading and then writing what depends on it belongs into one `locked` block.
    """

    def __init__(self, content: bytes = b"") -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self._adopt(os.dup(file.fileno()))
        self.replace(content)

    def _adopt(self, descriptor: int) -> None:
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._pid = os.getpid()
        self._threads = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keep every other process and thread out of a ``locked`` block meanwhile; blocks may be nested."""
        if self._pid != os.getpid():  # forked: another thread of the parent may have held the lock
            self._pid, self._threads, self._depth = os.getpid(), threading.RLock(), 0
        with self._threads:
            if fcntl is not None and self._depth == 0:  # a process has such a lock or not, however often it asked
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if fcntl is not None and self._depth == 0:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def read(self, start: int = 0) -> bytes:
        """Return the content from byte ``start`` on."""
        with self.locked():
            (length,) = _LENGTH.unpack(self._pread(0, _LENGTH.size))
            return self._pread(_LENGTH.size + start, length - start)

    def replace(self, content: bytes) -> None:
        """Put ``content`` in place of all that is there."""
        with self.locked():
            self._pwrite(_LENGTH.pack(len(content)) + content, 0)

    def append(self, content: bytes) -> None:
        """Add ``content`` at the end; what several processes append is never mixed."""
        with self.locked():
            (length,) = _LENGTH.unpack(self._pread(0, _LENGTH.size))
            self._pwrite(content, _LENGTH.size + length)
            self._pwrite(_LENGTH.pack(length + len(content)), 0)

    def _pread(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length > 0:  # the kernel gives at most 2 GiB at once
            if hasattr(os, "pread"):
                part = os.pread(self._descriptor, length, offset)
            else:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                part = os.read(self._descriptor, length)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def _pwrite(self, content: bytes, offset: int) -> None:
        rest = memoryview(content)
        while rest:
            if hasattr(os, "pwrite"):
                written = os.pwrite(self._descriptor, rest, offset)
            else:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                written = os.write(self._descriptor, rest)
            offset += written
            rest = rest[written:]

    @override
    def __getstate__(self) -> Any:
        if fcntl is not None and is_spawning():
            return reduction.DupFd(self._descriptor)
        return self.read()

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, bytes):
            SharedFile.__init__(self, state)
        else:
            self._adopt(state.detach())
