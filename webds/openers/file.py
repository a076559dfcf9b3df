"""Files of the local file system."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from typing import BinaryIO, Literal, final

import attrs
from typing_extensions import Buffer, override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.streams import BUFFER_SIZE, attempt, check_range, open_error
from webds.urls import local_glob, local_path

__all__ = ["FileOpener", "open_file"]


@final
class _File(io.FileIO):
    """A file whose errors name its URL."""

    def __init__(self, url: str, path: str, mode: Literal["rb", "wb"]) -> None:
        self._url = url
        super().__init__(path, mode)
        self._descriptor = self.fileno()

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        return attempt(lambda: super(_File, self).readinto(buffer), "cannot read", self._url)

    @override
    def readall(self) -> bytes:
        return attempt(super().readall, "cannot read", self._url)

    def read_at(self, size: int, position: int) -> bytes:
        """Return up to ``size`` bytes from ``position`` on; what is read next elsewhere stays the same."""
        try:
            return os.pread(self._descriptor, size, position)
        except OSError as error:
            failure = open_error("cannot read", self._url, error)
        raise failure

    def expect(self, position: int, size: int) -> None:
        """Have the system fetch what will soon be read, if it takes such hints."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, position, size, os.POSIX_FADV_WILLNEED)

    @override
    def write(self, data: Buffer, /) -> int:
        return attempt(lambda: super(_File, self).write(data), "cannot write", self._url)

    @override
    def close(self) -> None:
        attempt(super().close, "cannot close", self._url)


def open_file(path: str, url: str, mode: Literal["rb", "wb"] = "rb", buffer_size: int = BUFFER_SIZE) -> BinaryIO:
    """Open the file at ``path``; all errors name ``url``.

    Raises:
        OpenError: it cannot be opened.
    """
    file = attempt(lambda: _File(url, path, mode), "cannot open", url)
    size = buffer_size if buffer_size > 0 else BUFFER_SIZE
    return io.BufferedWriter(file, size) if mode == "wb" else io.BufferedReader(file, size)


@final
@attrs.frozen
class FileOpener(Opener):
    """Opens paths, and ``file:`` URLs of this host (``file:///data/x.tar``, percent-decoded).

    Attributes:
        buffer_size: bytes that are read or written at once; below 1, a default.
    """

    buffer_size: int = BUFFER_SIZE

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        path = self._path(url)
        if os.path.isdir(path):
            raise _directory(url)
        return open_file(path, url, mode, self.buffer_size)

    @override
    def size(self, url: str) -> int | None:
        """Return the number of bytes of the file; None of what is no regular file, such as a named pipe."""
        path = self._path(url)
        status = attempt(lambda: os.stat(path), "cannot open", url)
        if stat.S_ISDIR(status.st_mode):
            raise _directory(url)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        check_range(start, length)
        size = self.size(url)
        if size is None:
            return super().read_range(url, start, length)
        length = min(length, size - start)  # before memory is taken for a length that somebody made up
        if length <= 0:
            return b""
        with self.open(url) as stream:
            stream.seek(start)
            return stream.read(length)

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        """Open the file; None of what is no regular file, such as a named pipe."""
        return None if self.size(url) is None else self.open(url)

    @override
    def list(self, pattern: str) -> Sequence[str]:
        """Return the paths of the files (not directories) that match, sorted; ``**`` stands for any directories."""
        path = self._path(pattern)
        return attempt(lambda: local_glob(path), "cannot list", pattern)

    def _path(self, url: str) -> str:
        path = local_path(url)
        if path is None:
            raise OpenError("this is no path of the local file system", url=url)
        return path


def _directory(url: str) -> OpenError:
    return OpenError(f"this is a directory; name its shards, such as {url.rstrip('/')}/*.tar", url=url)
