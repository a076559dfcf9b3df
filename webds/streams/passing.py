"""Streams that pass on another one, and see what passes."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Callable
from typing import BinaryIO, Final

from typing_extensions import Buffer, override

from webds.typing import Readable

__all__ = ["PassingReader", "interrupt", "piecewise"]

_PIECE: Final = 1 << 20


def piecewise(stream: Readable) -> Callable[[int], bytes]:
    """Return the method of ``stream`` that returns up to n bytes, as they come, and none at the end only.

    `read` of a buffered stream waits for all that it is asked for; if its source fails meanwhile, what came may be
    lost. A class that has a `read` of its own and no `read1` to go with it is taken at its `read`.
    """
    if isinstance(stream, io.BufferedIOBase):
        for kind in type(stream).__mro__:
            if kind is io.BufferedIOBase:  # which has it to say that there is none
                break
            if "read1" in vars(kind):
                return stream.read1
            if "read" in vars(kind):
                break
    return stream.read


def interrupt(stream: object) -> None:
    """End a read of ``stream`` that waits in another thread, where the stream can: those of this package can.

    Asked again, it is less gentle. All that is left to do with the stream then is to close it.
    """
    stop = getattr(stream, "stop", None)
    if callable(stop):
        stop()


class PassingReader(io.BufferedIOBase):
    """A binary stream for reading that passes on another one, from where that stands, and closes it with itself.

    A read of a given size may return fewer bytes than asked for, as one of a raw stream may; none at the end only.

    Args:
        stream: what is passed on.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._read = piecewise(stream)
        try:
            self._start = stream.tell() if stream.seekable() else None
        except (AttributeError, OSError, ValueError):  # somebody's stream that has `read` and no more
            self._start = None

    @abstractmethod
    def passed(self, read: Callable[[int], bytes], size: int) -> bytes:
        """Call ``read`` with ``size``, once, and return what it returned."""

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return self._start is not None

    @override
    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    @override
    def tell(self) -> int:
        return self._stream.tell()

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            parts: list[bytes] = []
            while part := self.read(_PIECE):
                parts.append(part)
            return b"".join(parts)
        self._check_open()
        return self.passed(self._read, size)

    @override
    def read1(self, size: int = -1, /) -> bytes:
        self._check_open()
        return self.passed(self._read, _PIECE if size < 0 else size)

    def stop(self) -> None:
        """End a read that waits in another thread, if the stream can. All that is left to do then is `close`."""
        interrupt(self._stream)

    @override
    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    @override
    def readinto1(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read1(len(view))
        view[: len(data)] = data
        return len(data)

    @override
    def close(self) -> None:
        if not self.closed:
            try:
                self._stream.close()
            finally:
                super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("read of a closed stream")
