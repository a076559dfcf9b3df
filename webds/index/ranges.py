"""A remote file as a stream that seeks: each read is a request for a range."""

from __future__ import annotations

import io
from typing import final

from webds.abc import Opener

__all__ = ["RangeStream"]


@final
class RangeStream:
    """A stream of which only what is asked for is fetched. It holds nothing open.

    Args:
        opener: reads the ranges.
        url: the file.
        size: its number of bytes.
        start: where the stream begins to read.
    """

    def __init__(self, opener: Opener, url: str, size: int, start: int = 0) -> None:
        self._opener = opener
        self._url = url
        self._size = size
        self._at = start

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the file."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go somewhere else, and return where that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, all that is left for -1."""
        left = max(0, self._size - self._at)
        size = left if size < 0 else min(size, left)
        data = self._opener.read_range(self._url, self._at, size) if size else b""
        self._at += len(data)
        return data
