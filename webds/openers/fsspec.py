"""Every store that fsspec knows: S3, GCS, Azure, HDFS, SFTP, memory, archives inside of others, …."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Literal, final

import attrs
from typing_extensions import TypeVar, override

from webds.abc import Opener
from webds.errors import MissingExtraError, OpenError
from webds.openers.streams import BUFFER_SIZE, Drain, DrainWriter, Feed, FeedReader, attempt, check_range
from webds.urls import scheme_of

__all__ = ["FsspecOpener"]

R = TypeVar("R")


@final
class _Stored(Feed):
    """An open file of a store."""

    def __init__(self, system: Any, file: Any, url: str, secrets: Sequence[str]) -> None:
        self._system: Any = system  # one that nobody holds may close what it has opened
        self._file: Any = file
        self._url = url
        self._secrets = secrets

    @override
    def fill(self, buffer: memoryview) -> int:
        data = attempt(lambda: self._file.read(len(buffer)), "cannot read", self._url, self._secrets)
        buffer[: len(data)] = data
        return len(data)

    @override
    def seekable(self) -> bool:
        return bool(self._file.seekable())

    @override
    def seek(self, offset: int, whence: int) -> int:
        return int(attempt(lambda: self._file.seek(offset, whence), "cannot seek", self._url, self._secrets))

    @override
    def release(self, *, unread: bool) -> None:
        file, self._file, self._system = self._file, None, None
        attempt(file.close, "cannot close", self._url, self._secrets)


@final
class _Upload(Drain):
    """A file of a store that is being written."""

    def __init__(self, system: Any, file: Any, url: str, secrets: Sequence[str]) -> None:
        self._system = system
        self._file = file
        self._url = url
        self._secrets = secrets
        self._failure: str | None = None

    @override
    def take(self, data: memoryview) -> int:
        self._check()
        try:
            attempt(lambda: self._file.write(bytes(data)), "cannot write", self._url, self._secrets)
        except OpenError as error:
            self._failure = error.message
            raise
        return data.nbytes

    @override
    def finish(self) -> None:
        if self._failure is not None:
            self.abort()
            self._check()
        attempt(self._file.close, "cannot finish writing", self._url, self._secrets)

    def _check(self) -> None:
        """Raise what an earlier write has raised: some of the data is missing for good."""
        if self._failure is not None:
            raise OpenError(self._failure, url=self._url)

    @override
    def abort(self) -> None:
        from fsspec.spec import AbstractBufferedFile  # noqa: PLC0415  # optional

        with contextlib.suppress(Exception):  # not every store can take back what it has got
            self._file.discard()
        if isinstance(self._file, AbstractBufferedFile):
            self._file.closed = True  # its close would commit
        else:
            attempt(self._file.close, "cannot close", self._url, self._secrets)


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    return dict(options)


def _texts(options: object) -> list[str]:
    """Return the texts within ``options`` that could be secrets."""
    if isinstance(options, str):
        return [options] if len(options) > 3 else []
    if isinstance(options, Mapping):
        return [text for value in options.values() for text in _texts(value)]
    if isinstance(options, list | tuple | set | frozenset):
        return [text for value in options for text in _texts(value)]
    return []


@final
@attrs.frozen
class FsspecOpener(Opener):
    """Opens every scheme that fsspec knows, chained URLs (``simplecache::s3://…``) included.

    Attributes:
        options: what the file system of fsspec is made with, such as ``{"key": …, "secret": …}``.
        buffer_size: bytes that are read or written at once; below 1, a default. Many stores of fsspec have a
            larger buffer of their own.
    """

    options: Mapping[str, Any] = attrs.field(
        factory=dict[str, Any], converter=_copied, repr=lambda options: repr(sorted(options))
    )
    buffer_size: int = BUFFER_SIZE

    @staticmethod
    def knows(scheme: str) -> bool:
        """Return whether fsspec knows ``scheme``; False where fsspec is not installed."""
        try:
            from fsspec.registry import known_implementations, registry  # noqa: PLC0415  # optional
        except ImportError:
            return False
        return scheme in registry or scheme in known_implementations

    @staticmethod
    def has_package(scheme: str) -> bool:
        """Return whether the package that fsspec opens ``scheme`` with is installed; it is imported."""
        try:
            from fsspec.registry import get_filesystem_class  # noqa: PLC0415  # optional

            get_filesystem_class(scheme)
        except (ImportError, ValueError):
            return False
        return True

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        system, path = self._system(url)
        file = self._attempt(lambda: system.open(path, mode), "cannot open", url)
        if mode == "wb":
            return DrainWriter(_Upload(system, file, url, _texts(self.options)), self.buffer_size)
        if isinstance(file, io.BytesIO):  # of the memory file system: one object, and one position, for all
            file = io.BytesIO(file.getvalue())
        return FeedReader(_Stored(system, file, url, _texts(self.options)), self.buffer_size)

    @override
    def size(self, url: str) -> int | None:
        """Return the size that the store says; None if it does not say."""
        system, path = self._system(url)
        size = self._attempt(lambda: system.info(path), "cannot look up the size", url).get("size")
        return size if isinstance(size, int) else None

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        check_range(start, length)
        size = self.size(url)
        if size is None:
            return super().read_range(url, start, length)
        end = min(start + length, size)
        if start >= end:
            return b""
        system, path = self._system(url)
        return bytes(self._attempt(lambda: system.cat_file(path, start=start, end=end), "cannot read", url))

    @override
    def list(self, pattern: str) -> Sequence[str]:
        """Return the URLs of the files (not directories) that match, sorted."""
        first, chain, rest = pattern.partition("::")
        if chain and "://" not in first:  # simplecache::s3://bucket/*.tar
            return [f"{first}::{url}" for url in self.list(rest)]
        system, path = self._system(pattern)
        found = self._attempt(lambda: system.glob(path, detail=True), "cannot list", pattern)
        names = sorted(name for name, info in found.items() if info.get("type") != "directory")
        if path and first.endswith(path):
            return [f"{first[: -len(path)]}{name}{chain}{rest}" for name in names]
        return [f"{system.unstrip_protocol(name)}{chain}{rest}" for name in names]

    def _system(self, url: str) -> tuple[Any, str]:
        """Return the file system of ``url``, and what it calls the file."""
        try:
            from fsspec import url_to_fs  # noqa: PLC0415  # optional
        except ImportError as error:
            raise MissingExtraError("URLs of this scheme need the package fsspec: pip install fsspec") from error
        if not self.knows(scheme_of(url)):
            raise OpenError(f"fsspec does not know the scheme {scheme_of(url)!r}", url=url)
        found: tuple[Any, str] = self._attempt(lambda: url_to_fs(url, **self.options), "cannot reach the store", url)
        return found

    def _attempt(self, action: Callable[[], R], message: str, url: str) -> R:
        return attempt(action, message, url, _texts(self.options))
