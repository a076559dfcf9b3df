"""Copies of remote shards on a local disk, shared by any number of processes."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Sequence
from typing import BinaryIO, Final, Literal, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.openers.cachefiles import CacheFolder, has_locks
from webds.openers.filling import Direct, Filling, Waiting
from webds.openers.pieces import PieceFeed, PieceReader
from webds.openers.streams import BUFFER_SIZE, check_range
from webds.redaction import redact
from webds.urls import local_path, scheme_of

__all__ = ["CachingOpener", "Validation"]

Validation: TypeAlias = Literal["never", "size"]
"""Whether a copy is compared with its origin before it is used."""

_said: Final[set[str]] = set()  # the directories about which this process has warned


def _absolute(directory: str | os.PathLike[str]) -> str:
    """Return the directory as worker processes find it, wherever they stand."""
    return os.path.abspath(os.path.expanduser(os.fspath(directory)))


@final
@attrs.frozen
class CachingOpener(Opener):
    """Opens URLs by another opener, keeps what was read to the end in a directory, and reads it from there next time.

    The first reader of a URL streams through: a thread writes what comes into a file, and it is read while it grows.
    Whoever opens the same URL meanwhile, in any process, waits at its first read until the file is complete. The file
    gets its name when everything has arrived and is on the disk; a transfer that fails, or is closed before its end,
    leaves nothing. Any number of processes may share the directory. One that is killed leaves at most an unfinished
    file, which is never read and which the next one that fills the cache removes.

    A file is named by a hash of the whole URL. A URL whose query is signed anew each time is another one each time.

    If the cache cannot be written, because the disk is full or everything in it is in use, the reading goes on without
    it, and a warning says so once. Where the system has no locks of the POSIX kind (Windows), nothing is cached.

    `read_range` and `size` are answered from a copy that is there, and do not make one; `open_local` does. Writing
    forgets the copy.

    Attributes:
        inner: opens the URLs. What verifies lengths and hashes has to be inside: what it refuses is not kept.
        directory: where the copies are; on a local disk, since its locks have to work. Files that are not of the
            cache are left alone.
        max_bytes: how many bytes all files of the cache may have together; None for no limit. The least recently used
            ones are removed, but none that any process is reading.
        validate: ``"never"``: a URL always stands for the same bytes. ``"size"``: the inner opener is asked for the
            size at each opening, and a copy of another size is fetched anew. What changes and keeps its size goes
            unnoticed.
        local: whether files of the local file system are copied, too, such as those on a slow network mount.
    """

    inner: Opener = attrs.field(validator=attrs.validators.instance_of(Opener))  # type: ignore[type-abstract]  # any of them
    directory: str = attrs.field(converter=_absolute)
    max_bytes: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
    validate: Validation = attrs.field(default="never", validator=attrs.validators.in_(("never", "size")), kw_only=True)
    local: bool = attrs.field(default=False, kw_only=True)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if not self._keeps(url):
            return self.inner.open(url, mode)
        if mode != "rb":
            self._folder.forget(_name(url))
            return self.inner.open(url, mode)
        size = self._origin_size(url)
        found = self._take(url, size)
        if isinstance(found, PieceFeed):
            return cast("BinaryIO", PieceReader(found, BUFFER_SIZE))
        if found is not None:
            return found
        return cast("BinaryIO", PieceReader(Waiting(lambda: self._turn(url, size), url), BUFFER_SIZE))

    @override
    def size(self, url: str) -> int | None:
        """Return the number of bytes of the copy, or what the inner opener says."""
        stream = self._copy(url)
        if stream is None:
            return self.inner.size(url)
        with stream:
            return os.fstat(stream.fileno()).st_size

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        check_range(start, length)
        stream = self._copy(url)
        if stream is None:
            return self.inner.read_range(url, start, length)
        with stream:
            stream.seek(start)
            return stream.read(max(0, min(length, os.fstat(stream.fileno()).st_size - start)))

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        """Open the copy, once it is complete; None if the cache cannot hold it."""
        if not self._keeps(url):
            return self.inner.open_local(url)
        stream = self._copy(url)
        if stream is not None:
            return stream
        with self.open(url) as filling:
            while filling.read(BUFFER_SIZE):
                pass
            return self._copy(url)  # while it is in use, so that nobody removes it

    @override
    def list(self, pattern: str) -> Sequence[str]:
        """Return what the inner opener lists: what there is now."""
        return self.inner.list(pattern)

    @property
    def _folder(self) -> CacheFolder:
        return CacheFolder(self.directory, self.max_bytes)

    def _keeps(self, url: str) -> bool:
        scheme = scheme_of(url)
        wanted = self.local if scheme == "file" else scheme != "-"
        if wanted and not has_locks():
            self._complain("this system has no flock")
            return False
        return wanted

    def _copy(self, url: str) -> BinaryIO | None:
        """Return the copy of ``url``, open; None if there is none that may be used."""
        return self._valid(url, self._origin_size(url)) if self._keeps(url) else None

    def _origin_size(self, url: str) -> int | None:
        return self.inner.size(url) if self.validate == "size" else None

    def _valid(self, url: str, size: int | None) -> BinaryIO | None:
        stream = self._folder.find(_name(url), url)
        if stream is not None and size is not None and os.fstat(stream.fileno()).st_size != size:
            stream.close()
            self._folder.forget(_name(url))
            return None
        return stream

    def _take(self, url: str, size: int | None) -> BinaryIO | Filling | None:
        """Return the copy of ``url``, or what makes it; None while somebody else does."""
        stream = self._valid(url, size)
        if stream is not None:
            return stream
        try:
            part = self._folder.claim(_name(url))
        except OSError as error:
            self._give_up(url, error)
            return self.inner.open(url)
        if part is None:
            return None
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(part.let_go, 2)
            on_failure.callback(part.drop)  # the first to be called: while it is locked
            stream = self._valid(url, size)  # somebody may have finished since
            if stream is not None:
                return stream
            stream = self.inner.open(url)
            on_failure.pop_all()
        return Filling(stream, part, url, size, lambda error: self._give_up(url, error))

    def _turn(self, url: str, size: int | None) -> PieceFeed | None:
        """Return what to read ``url`` from; None while somebody else fills the cache with it."""
        found = self._take(url, size)
        return found if found is None or isinstance(found, PieceFeed) else Direct(found)

    def _give_up(self, url: str, error: OSError) -> None:
        self._complain(f"{error.strerror or error} ({redact(url)})")

    def _complain(self, reason: str) -> None:
        if self.directory not in _said:
            _said.add(self.directory)
            warnings.warn(
                f"the cache in {self.directory} cannot be used, and reading goes on without it: {reason}. "
                "Further such cases are not told",
                RuntimeWarning,
                stacklevel=3,
            )


def _name(url: str) -> str:
    """Return what stands for the URL: itself; of a local file, where it really is, whatever its URL looks like."""
    path = local_path(url)
    return url if path is None else f"file:{os.path.realpath(path)}"
