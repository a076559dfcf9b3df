"""A small file without a name that a dataset and its worker processes share."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Generator
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any

from typing_extensions import override

__all__ = ["SharedFile", "is_spawning"]

try:
    import fcntl
except ImportError:  # Windows: every process keeps a copy of its own
    fcntl = None  # type: ignore[assignment]


def is_spawning() -> bool:
    """Return whether a child process is being started, which unpickles what is pickled now."""
    return get_spawning_popen() is not None


class SharedFile:
    """Bytes that this process and its children see alike.

    A forked process inherits the descriptor, a spawned one is handed it while it is started. A plain pickle
    holds a copy of the content, from which an independent file is made. The kernel drops the file with its
    last descriptor and a lock with its process, so a process that is killed leaves nothing behind.
    """

    def __init__(self, content: bytes = b"") -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self._adopt(os.dup(file.fileno()))
        self.replace(content)

    def _adopt(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pid = os.getpid()
        self._threads = threading.RLock()

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keep every other process and thread out of a ``locked`` block meanwhile."""
        if self._pid != os.getpid():  # forked: another thread of the parent may have held the lock
            self._pid, self._threads = os.getpid(), threading.RLock()
        with self._threads:
            if fcntl is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if fcntl is not None:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def read(self, start: int = 0) -> bytes:
        """Return the content from byte ``start`` on."""
        return os.pread(self._descriptor, max(0, os.fstat(self._descriptor).st_size - start), start)

    def replace(self, content: bytes) -> None:
        """Put ``content`` in place of all that is there."""
        os.ftruncate(self._descriptor, 0)
        self._write(content, 0)

    def append(self, content: bytes) -> None:
        """Add ``content`` at the end; what several processes append is never mixed."""
        with self.locked():
            self._write(content, os.fstat(self._descriptor).st_size)

    def _write(self, content: bytes, offset: int) -> None:
        rest = memoryview(content)
        while rest:
            written = os.pwrite(self._descriptor, rest, offset)
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

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # never adopted, or the interpreter is going down
            os.close(self._descriptor)
