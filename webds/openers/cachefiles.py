"""The files of a cache: their names, the locks on them, and which of them have to go when there is no more room.

A file gets its name, ``<hash of the URL>.shard``, when it is complete; until then it is ``<hash>.part``. Whoever fills
a ``.part`` holds an exclusive lock on it, and whoever reads a ``.shard`` a shared one. These are locks of open files
(flock), which the kernel takes back with the last descriptor: a process that is killed leaves a ``.part`` that nobody
holds, and the next one that fills anything removes it. A ``.shard`` that somebody holds is not removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final, final

import attrs

from webds.errors import OpenError
from webds.openers.file import open_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["CacheFolder", "NoRoomError", "Part", "has_locks"]

_NAME: Final = re.compile(r"[0-9a-f]{64}\.(?:shard|part)")
_RESERVED: Final = 1 << 24  # bytes, at most, that are reserved at once: it takes a look at every file


def has_locks() -> bool:
    """Return whether this system has the locks that a cache needs."""
    return fcntl is not None


class NoRoomError(OSError):
    """What has to be written exceeds the limit of the cache, even with all gone that is not in use."""


def _locked(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file, and return whether that worked; it always does with ``wait``."""
    assert fcntl is not None  # see has_locks
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _released(descriptor: int) -> None:
    """Close a file, and take back the lock on it before.

    A process that was forked meanwhile, by another thread, has a copy of the descriptor: closing this one alone would
    leave the lock to it for as long as it lives.
    """
    assert fcntl is not None  # see has_locks
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether the file at ``path`` is this one. It may have been removed, or have got another name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Generator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        _released(descriptor)


def _removed(path: str) -> bool:
    """Remove a file unless somebody holds a lock on it, and return whether it was removed."""
    try:
        with _opened(path, os.O_RDONLY) as descriptor:
            if not _locked(descriptor) or not _is_at(descriptor, path):
                return False
            os.unlink(path)
    except OSError:  # it is gone, or another user's
        return False
    return True


@final
@attrs.frozen
class CacheFolder:
    """A directory of complete files, and of those that are being filled.

    Files of other names in it are neither counted nor touched.

    Attributes:
        path: the directory; it is made when something is put into it.
        max_bytes: how many bytes all files together may have, the unfinished ones included; None for no limit.
    """

    path: str
    max_bytes: int | None = None

    def find(self, name: str, url: str) -> BinaryIO | None:
        """Return the complete file for ``name``, open and in use until it is closed; None if there is none.

        Args:
            name: what the file is called after: hashed, since it may carry secrets and any characters.
            url: what errors name.
        """
        try:
            stream = open_file(self._path(name, "shard"), url)
        except OpenError:
            return None
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(stream)
            # Somebody who removes it holds the lock for a moment. What was opened before stays readable.
            with contextlib.suppress(OSError):  # no locks there, or another user's file
                _locked(stream.fileno(), shared=True, wait=True)
                os.utime(stream.fileno())  # the time of the last use: times of access are rarely kept
            on_failure.pop_all()
        return stream

    def forget(self, name: str) -> None:
        """Remove the complete file for ``name``. Who reads it can go on."""
        with contextlib.suppress(OSError):
            os.unlink(self._path(name, "shard"))

    def claim(self, name: str) -> Part | None:
        """Return an empty file that becomes the one for ``name``; None while somebody else fills it.

        Raises:
            OSError: nothing can be written there, or the file system has no locks.
        """
        os.makedirs(self.path, exist_ok=True)
        self._sweep()
        path = self._path(name, "part")
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            with contextlib.ExitStack() as on_failure:
                on_failure.callback(_released, descriptor)
                if not _locked(descriptor):
                    return None
                if _is_at(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    on_failure.pop_all()
                    return Part(self, descriptor, path, self._path(name, "shard"))

    def reserve(self, descriptor: int, size: int, needed: int) -> int:
        """Lengthen an unfinished file, removing what was not used for longest, and return how far it may be written.

        Args:
            descriptor: the file.
            size: how long it is.
            needed: how much longer it has to be at least.

        Raises:
            NoRoomError: there is no room for that.
        """
        limit = self.max_bytes
        if limit is None:
            return size + needed
        with _opened(self.path, os.O_RDONLY) as folder:
            _locked(folder, wait=True)  # so that two do not take the same room
            files = list(self._files())
            room = limit - sum(status.st_size for _, status in files)
            for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
                if room >= needed:
                    break
                if path.endswith(".shard") and _removed(path):
                    room += status.st_size
            if room < needed:
                raise NoRoomError(f"no room for more within its max_bytes={limit}")
            size += min(room, max(needed, min(_RESERVED, limit // 64)))
            os.ftruncate(descriptor, size)  # a hole: it counts from now on
        return size

    def _path(self, name: str, kind: str) -> str:
        hashed = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self.path, f"{hashed}.{kind}")

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the path and status of every file of the cache."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, entry.stat(follow_symlinks=False)

    def _sweep(self) -> None:
        """Remove what processes that were killed have left behind."""
        for path, _ in self._files():
            if path.endswith(".part"):
                _removed(path)


@final
class Part:
    """A file that is being filled, under an exclusive lock. Used by two: who fills it, and who reads meanwhile.

    Args:
        folder: where it belongs.
        descriptor: open for reading and writing, and locked.
        path: where it is.
        final: where it will be.
    """

    def __init__(self, folder: CacheFolder, descriptor: int, path: str, final: str) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._path = path
        self._final = final
        self._reserved = 0
        self._users = 2
        self._lock = threading.Lock()
        self.size: int = 0

    def write(self, data: bytes) -> None:
        """Write ``data`` at the end; `size` says how far that got.

        Raises:
            OSError: the disk is full, or the cache.
        """
        rest = memoryview(data)
        while rest:
            if self.size + len(rest) > self._reserved:
                needed = self.size + len(rest) - self._reserved
                self._reserved = self._folder.reserve(self._descriptor, self._reserved, needed)
            written = os.pwrite(self._descriptor, rest, self.size)
            self.size += written
            rest = rest[written:]

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` of the bytes that have been written."""
        return os.pread(self._descriptor, size, offset)

    def publish(self) -> None:
        """Give the file its name. From then on it is in use, as long as it is open.

        Raises:
            OSError: it could not be brought to the disk.
        """
        os.ftruncate(self._descriptor, self.size)
        # After a power cut, a file that has its name but not all its bytes would be taken for good.
        os.fsync(self._descriptor)
        os.replace(self._path, self._final)
        _locked(self._descriptor, shared=True, wait=True)

    def drop(self) -> None:
        """Remove the file; what was written can still be read. Not after `publish`."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def let_go(self, users: int = 1) -> None:
        """Be left by one of the two users, or by both; the last one closes the file."""
        with self._lock:
            self._users -= users
            if self._users == 0:
                _released(self._descriptor)

    def abandon(self) -> None:
        """In a forked child: close the copy of the descriptor, which would keep the lock alive."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
