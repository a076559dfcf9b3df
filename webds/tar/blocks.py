"""The bytes of an archive in their order, fetched from a stream in large pieces."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, Final, final

from webds.streams.passing import piecewise
from webds.typing import Anywhere, Readable

__all__ = ["Blocks"]

PIECE: Final = 1 << 21
"""Bytes asked of a stream at once: large against the cost of a call, small against the memory of a worker."""

_PIECE_OF_LARGE: Final = 1 << 22
"""The same where members are large, so that there are enough of them to be looked at together."""

_FIRST_PIECE: Final = 1 << 18
"""Bytes asked for first; from there on, twice as many each time."""

_PIECE_BEHIND_A_SEEK: Final = 1 << 16
"""The same behind a stretch that was passed over: another one may follow soon."""

_WORTH_A_SEEK: Final = 1 << 18
"""Bytes that are passed over by a seek rather than read."""

MAX_REQUEST: Final = 1 << 24
"""Bytes asked of a stream at most. Many streams take the memory before they look whether there is that much."""


@final
class Blocks:
    """Exact numbers of bytes out of a stream whose ``read`` may return fewer than asked for.

    The stream is read only when what was read before is used up, so an error of the stream comes after all that
    it delivered.

    Args:
        stream: positioned at the beginning of the archive.

    Attributes:
        offset: position in the archive of the next byte.
        of_large: whether members are large, as far as is known.
        anywhere: the stream as a file that can be read at any position; None where it is none, or where the archive
            does not begin at its beginning.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream: Any = stream
        self._read = piecewise(stream)
        self._buffer = b""
        self._used = 0
        self._seekable, self._base = _position(stream)
        self._length: int | None = None
        self._piece = _FIRST_PIECE
        self.offset: int = 0
        self.of_large: bool = False
        self.anywhere: Anywhere | None = _anywhere(stream) if self._seekable and self._base == 0 else None

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end of the stream, and leave them there."""
        parts = [self._buffer[self._used :]]
        while (missing := size - sum(map(len, parts))) > 0 and (piece := self._fetch(missing)):
            parts.append(piece)
        self._buffer, self._used = b"".join(parts), 0
        return self._buffer[:size]

    def ahead(self) -> tuple[bytes, int]:
        """Return what has been read ahead, and where in it the next byte is."""
        return self._buffer, self._used

    def pass_to(self, offset: int) -> None:
        """Go on at ``offset``, which lies ahead, in what has been read ahead or in a stream that can seek."""
        self._used += offset - self.offset
        self.offset = offset
        if self._used > len(self._buffer):
            self._buffer, self._used, self._piece = b"", 0, _PIECE_BEHIND_A_SEEK
            self._stream.seek(self._base + offset)

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer at the end of the stream.

        Memory is taken as data arrives, whatever ``size`` is.
        """
        end = self._used + size
        if end <= len(self._buffer):
            taken = self._buffer[self._used : end]
            self._used = end
            self.offset += size
            return taken
        parts = [self._buffer[self._used :]]
        missing = size - len(parts[0])
        self._buffer, self._used = b"", 0
        while missing > 0 and (piece := self._fetch(missing)):
            parts.append(piece if len(piece) <= missing else piece[:missing])
            if len(piece) > missing:
                self._buffer, self._used = piece, missing
            missing -= len(parts[-1])
        self.offset += size - missing
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over the next ``size`` bytes, by a seek where that saves reading, and return how many there were."""
        start = self.offset
        if size - (len(self._buffer) - self._used) > _WORTH_A_SEEK and (end := self.end()) is not None:
            self.pass_to(max(start, min(start + size, end)))
        while (missing := start + size - self.offset) > 0 and self.take(min(PIECE, missing)):
            pass
        return self.offset - start

    def _fetch(self, missing: int) -> bytes:
        """Return some more of the stream: what is missing, where that is not too much, and some ahead of it."""
        size = min(max(self._piece, missing), MAX_REQUEST)
        self._piece = min(2 * self._piece, _PIECE_OF_LARGE if self.of_large else PIECE)
        return self._read(size)

    def end(self) -> int | None:
        """Return where the archive ends; None where the stream cannot seek."""
        if self._length is None and self._seekable:
            try:
                here = self._stream.tell()
                self._length = int(self._stream.seek(0, 2)) - self._base
                self._stream.seek(here)
            except (OSError, ValueError):
                self._seekable = False
        return self._length

    def unread(self) -> Readable:
        """Return a stream of all the bytes that are left, for somebody else to read."""
        return _Rest(self._buffer[self._used :], self._read)


@final
class _Rest:
    """What was read ahead, and then the stream itself."""

    def __init__(self, ahead: bytes, read: Callable[[int], bytes]) -> None:
        self._ahead = ahead
        self._read = read

    def read(self, size: int = -1, /) -> bytes:
        if not self._ahead:
            return self._read(size)
        end = len(self._ahead) if size < 0 else size
        ahead, self._ahead = self._ahead[:end], self._ahead[end:]
        return ahead


@final
class _SystemFile:
    """A file of the operating system, as `Anywhere`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read_at(self, size: int, position: int) -> bytes:
        return os.pread(self._descriptor, size, position)

    def expect(self, position: int, size: int) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, position, size, os.POSIX_FADV_WILLNEED)


def _anywhere(stream: object) -> Anywhere | None:
    """Return the stream, or what it buffers, as a file that can be read at any position; None if it is none."""
    raw: object = stream.raw if isinstance(stream, io.BufferedReader) else stream
    if isinstance(raw, Anywhere):
        return raw
    # A subclass may well deliver something else than what is in the file.
    return _SystemFile(raw.fileno()) if type(raw) is io.FileIO and hasattr(os, "pread") else None


def _position(stream: Any) -> tuple[bool, int]:
    """Return whether ``stream`` can seek, and where it stands."""
    try:
        return (True, int(stream.tell())) if stream.seekable() else (False, 0)
    except (AttributeError, OSError, ValueError):
        return False, 0
