"""Whether what passes through a stream is what a manifest says: its length and its hash, without a second read."""

from __future__ import annotations

import hashlib
import io
import re
from typing import BinaryIO, Final, final

from typing_extensions import Buffer, override

from webds.errors import OpenError

__all__ = ["VerifyingReader"]

_DIGITS: Final = {"md5": 32, "sha256": 64}
_PIECE: Final = 1 << 20


def _checked(name: str, digest: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[name]}}}", digest):
        raise ValueError(f"{name}={digest!r}: expected {_DIGITS[name]} hexadecimal digits")
    return digest.lower()


@final
class VerifyingReader(io.BufferedIOBase):
    """A binary stream for reading that passes on another one, and raises at its end if it was not what it should be.

    More bytes than expected are an error as soon as they come. A reader that stops before the end is not judged.
    The stream cannot seek: what is passed over has to be seen, too. It closes the other stream when it is closed.

    Args:
        stream: what is passed on, from where it stands.
        size: expected number of bytes.
        md5: expected MD5 of the bytes, in hexadecimal digits.
        sha256: expected SHA-256 of the bytes, in hexadecimal digits.
        url: named by errors.

    Raises:
        ValueError: a negative size, or a hash that cannot be one.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        size: int | None = None,
        md5: str | None = None,
        sha256: str | None = None,
        url: str | None = None,
    ) -> None:
        if size is not None and size < 0:
            raise ValueError(f"size={size}: expected a number of bytes, 0 at least")
        expected = {"md5": md5, "sha256": sha256}
        self._expected = {name: _checked(name, digest) for name, digest in expected.items() if digest is not None}
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in self._expected}
        self._stream = stream
        self._size = size
        self._url = url
        self._passed = 0
        self._failure: OpenError | None = None

    @override
    def readable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._passed

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            parts: list[bytes] = []
            while part := self.read(_PIECE):
                parts.append(part)
            return b"".join(parts)
        self._check_usable()
        return self._seen(self._stream.read(size), asked=size > 0)

    @override
    def read1(self, size: int = -1, /) -> bytes:
        self._check_usable()
        size = _PIECE if size < 0 else size
        read1 = getattr(self._stream, "read1", self._stream.read)
        return self._seen(read1(size), asked=size > 0)

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

    def _check_usable(self) -> None:
        if self.closed:
            raise ValueError("read of a closed stream")
        if self._failure is not None:
            raise self._failure

    def _seen(self, data: bytes, *, asked: bool) -> bytes:
        """Take note of what passes, and judge it at the end."""
        self._passed += len(data)
        for hash_ in self._hashes.values():
            hash_.update(data)
        if self._size is not None and self._passed > self._size:
            self._fail(f"{self._passed} bytes or more, where {self._size} were expected")
        if asked and not data:
            self._judge()
        return data

    def _judge(self) -> None:
        if self._size is not None and self._passed != self._size:
            self._fail(f"{self._passed} bytes, where {self._size} were expected")
        for name, expected in self._expected.items():
            if (found := self._hashes[name].hexdigest()) != expected:
                self._fail(f"the {name} of its {self._passed} bytes is {found}, and {expected} was expected")

    def _fail(self, message: str) -> None:
        self._failure = OpenError(f"the file is not what it should be: {message}", url=self._url, offset=self._passed)
        raise self._failure
