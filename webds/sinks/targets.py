"""Where the bytes of one archive go: a local file that appears when it is whole, a URL, or an open stream."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import BinaryIO, Final, final

from typing_extensions import override

from webds.errors import OpenError, WebdsError, WriteError
from webds.openers.streams import open_error
from webds.sinks.compression import Compressor
from webds.typing import Buffer, Writable

__all__ = [
    "PARTIAL_GLOB",
    "CompressedTarget",
    "FileTarget",
    "HeardTarget",
    "OpenedTarget",
    "StreamTarget",
    "Target",
    "is_device",
    "refuse_existing",
    "remove_abandoned",
    "write_all",
]

try:
    import fcntl
except ImportError:  # Windows does not let anybody remove a file that a writer has open
    fcntl = None  # type: ignore[assignment]

_TOKEN_BYTES: Final = 8
PARTIAL_GLOB: Final = ".{name}." + "[0-9a-f]" * (2 * _TOKEN_BYTES) + ".part"
"""Glob of the temporary files for the file ``name``: hidden, and of no extension that anybody reads."""


class Target(ABC):
    """Where the bytes of one archive go, open from its creation on.

    Attributes:
        gathers: whether nobody looks at what was written before `commit`, so that several samples may be held
            back for one `write`; such a target does not keep what `write` was given.
    """

    gathers: bool = False

    @abstractmethod
    def write(self, data: Buffer) -> None:
        """Write all of ``data``; after a failure, some of it may be written."""

    @abstractmethod
    def commit(self) -> None:
        """Make what was written a result. After a failure, `discard` is still to be called."""

    @abstractmethod
    def discard(self) -> None:
        """Give up what was written, as far as that can be done, without raising. Does nothing after `commit`."""


def write_all(stream: Writable, data: Buffer) -> None:
    """Write all of ``data``, also to a raw stream, which may take a part at a time.

    What other streams return is left alone: compressors return how much came out of them.
    """
    taken = stream.write(data)
    if not isinstance(stream, io.RawIOBase):
        return
    rest = memoryview(data).cast("B")
    while isinstance(taken, int) and 0 < taken < len(rest):
        rest = rest[taken:]
        taken = stream.write(rest)
    if taken != len(rest):
        raise BlockingIOError(f"the stream took none of the last {len(rest)} bytes; it must be one that waits")


@contextlib.contextmanager
def _located(url: str) -> Generator[None]:
    """Make errors of the system say where they happened."""
    failure: OpenError | None = None
    try:
        yield
    except OSError as error:
        if isinstance(error, WebdsError):
            raise
        failure = open_error("cannot write", url, error)
    if failure is not None:
        raise failure


@final
class FileTarget(Target):
    """A local file, written under a temporary name beside it.

    It gets its name when the system has taken all of its content, so that a file under that name is whole
    whatever becomes of this process. It is not waited for the disk, which would take as long as all the rest:
    after a power cut, a file that was finished shortly before may be cut short, which its readers say.

    Args:
        path: the final name.
        overwrite: whether a file that has this name then is replaced.
    """

    gathers: bool = True

    def __init__(self, path: str, *, overwrite: bool = False) -> None:
        self._url = path
        # A link stays a link, and what it points to is written.
        self._path = os.path.realpath(path)
        folder, name = os.path.split(self._path)
        self._temporary = os.path.join(folder, f".{name}.{secrets.token_hex(_TOKEN_BYTES)}.part")
        self._overwrite = overwrite
        self._pid = os.getpid()
        with _located(self._url):
            # Closed by commit or discard.
            self._file = io.FileIO(self._temporary, "x")
        _lock(self._file.fileno())

    @override
    def write(self, data: Buffer) -> None:
        with _located(self._url):
            write_all(self._file, data)

    @override
    def commit(self) -> None:
        with _located(self._url):
            if fcntl is None:
                self._file.close()  # Windows renames no open file
            else:
                # What a network file system could not write, it says when a descriptor is closed. The other one
                # keeps the lock until the file has its name: nobody takes it for abandoned before.
                os.close(os.dup(self._file.fileno()))
            if self._overwrite:
                os.replace(self._temporary, self._path)
            else:
                self._publish()
            self._file.close()

    def _publish(self) -> None:
        """Give the file its name unless there is one already, however late it came."""
        try:
            try:
                os.link(self._temporary, self._path)
            except FileExistsError:
                raise
            except OSError:
                self._replace_reserved()  # a file system without links
            else:
                os.unlink(self._temporary)
        except FileExistsError as error:
            raise WriteError(
                f"{self._url!r} came into being while it was written here; overwrite=True would replace it",
                url=self._url,
                stage="write",
            ) from error

    def _replace_reserved(self) -> None:
        with open(self._path, "xb"):
            pass
        try:
            os.replace(self._temporary, self._path)
        except BaseException:
            os.unlink(self._path)
            raise

    @override
    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if self._pid == os.getpid():  # the file of a forked process is its parent's
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)


@final
class OpenedTarget(Target):
    """A stream that was opened for this archive and is closed after it.

    It is given up with its ``abort``, if it has one. What the other end keeps all the same has no end blocks,
    which tells every reader that it is cut short.

    Args:
        stream: where the bytes go.
        check: called before the stream is closed; raises if that must not be.
    """

    def __init__(self, stream: BinaryIO, check: Callable[[], object] | None = None) -> None:
        self._stream = stream
        self._check = check

    @override
    def write(self, data: Buffer) -> None:
        write_all(self._stream, data)

    @override
    def commit(self) -> None:
        if self._check is not None:
            self._check()
        self._stream.close()

    @override
    def discard(self) -> None:
        give_up: Callable[[], object] = getattr(self._stream, "abort", self._stream.close)
        with contextlib.suppress(Exception):
            give_up()


@final
class StreamTarget(Target):
    """A stream that its owner opened and will close."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream

    @override
    def write(self, data: Buffer) -> None:
        write_all(self._stream, data)

    @override
    def commit(self) -> None:
        flush: Callable[[], object] | None = getattr(self._stream, "flush", None)
        if flush is not None:
            flush()

    @override
    def discard(self) -> None:
        pass


@final
class CompressedTarget(Target):
    """A target whose bytes are compressed on the way. What is discarded has no end of the compressed stream."""

    def __init__(self, target: Target, compressor: Compressor) -> None:
        self._target = target
        self._compressor = compressor

    @override
    def write(self, data: Buffer) -> None:
        compressed = self._compressor.compress(data)
        if compressed:
            self._target.write(compressed)

    @override
    def commit(self) -> None:
        self._target.write(self._compressor.flush())
        self._target.commit()

    @override
    def discard(self) -> None:
        self._target.discard()


@final
class HeardTarget(Target):
    """A target whose bytes a function is shown, in their order, before they are written."""

    def __init__(self, target: Target, hear: Callable[[Buffer], object]) -> None:
        self._target = target
        self._hear = hear
        self.gathers: bool = target.gathers

    @override
    def write(self, data: Buffer) -> None:
        self._hear(data)
        self._target.write(data)

    @override
    def commit(self) -> None:
        self._target.commit()

    @override
    def discard(self) -> None:
        self._target.discard()


def is_device(path: str) -> bool:
    """Return whether ``path`` is something to write into, not to replace: a device, a FIFO."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def refuse_existing(path: str, *, overwrite: bool) -> None:
    """Raise an error if a file could not get the name ``path``.

    Raises:
        WriteError: there is a directory of that name, or a file and it is not to be overwritten.
        OpenError: there is no directory to hold it.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise WriteError(f"{path!r} is a directory, not the name of a shard", url=path, stage="write")
    if os.path.lexists(target) and not overwrite:
        raise WriteError(f"{path!r} exists; overwrite=True replaces it", url=path, stage="write")
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise OpenError(f"cannot write {path!r}: there is no directory {folder!r}", url=path, stage="write")


def remove_abandoned(path: str) -> bool:
    """Remove a temporary file whose writer is gone.

    Returns:
        False if its writer is still at work, and the file stays. It stays too, with True, where the file system
        cannot tell; an unfinished file does no harm but take space.
    """
    try:
        if fcntl is None:
            os.unlink(path)
            return True
        with open(path, "rb+") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    except BlockingIOError:
        return False
    except PermissionError:
        return fcntl is not None  # Windows refuses to remove what is open; elsewhere it is another user's
    except OSError:
        return True
    return True


def _lock(descriptor: int) -> None:
    """Mark a file as being written until its descriptor is closed, by a crash at the latest."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
