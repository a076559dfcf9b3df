"""Whether what passes through a stream is what a manifest says: its length and its hash, without a second read."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from typing import BinaryIO, Final, Literal, TypeAlias, final

from typing_extensions import override

from webds.errors import OpenError
from webds.streams.passing import PassingReader
from webds.typing import Anywhere

__all__ = ["Verify", "VerifyingReader"]

Verify: TypeAlias = Literal["size", "hash"] | None
"""What of a shard is compared with what its manifest says, as it is read to its end: the number of its bytes, where
the manifest says one; that, and the hash of every shard; or nothing."""

_DIGITS: Final = {"md5": 32, "sha256": 64}


def _checked(name: str, digest: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[name]}}}", digest):
        raise ValueError(f"{name}={digest!r}: expected {_DIGITS[name]} hexadecimal digits")
    return digest.lower()


@final
class VerifyingReader(PassingReader):
    """A binary stream for reading that passes on another one, and raises at its end if it was not what it should be.

    More bytes than expected are an error as soon as they come. A reader that stops before the end is not judged.
    With a hash the stream cannot seek: what is passed over has to be seen, too. Where a size is all that is expected,
    a file that can be read at any position stays one (see `webds.typing.Anywhere`).

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
        super().__init__(stream)
        self._size = size
        self._url = url
        self._at = 0
        self._failure: OpenError | None = None
        raw: object = stream.raw if isinstance(stream, io.BufferedReader) else stream
        if not self._hashes and self._start == 0 and isinstance(raw, Anywhere):
            self.read_at: Callable[[int, int], bytes] = raw.read_at
            self.expect: Callable[[int, int], object] = raw.expect

    @property
    def failure(self) -> OpenError | None:
        """What was found not to be as expected, and has been raised."""
        return self._failure

    @override
    def seekable(self) -> bool:
        return not self._hashes and super().seekable()

    @override
    def tell(self) -> int:
        return (self._start or 0) + self._at

    @override
    def seek(self, offset: int, whence: int = 0, /) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("this stream cannot seek, or is verified by its hash")
        position = super().seek(offset, whence)
        self._at = position - (self._start or 0)
        return position

    @override
    def passed(self, read: Callable[[int], bytes], size: int) -> bytes:
        if self._failure is not None:
            raise self._failure
        data = read(size)
        self._at += len(data)
        for hash_ in self._hashes.values():
            hash_.update(data)
        if self._size is not None and self._at > self._size:
            self._fail(f"{self._at} bytes or more, where {self._size} were expected")
        if size > 0 and not data:
            self._judge()
        return data

    def _judge(self) -> None:
        if self._size is not None and self._at != self._size:
            self._fail(f"{self._at} bytes, where {self._size} were expected")
        for name, expected in self._expected.items():
            if (found := self._hashes[name].hexdigest()) != expected:
                self._fail(f"the {name} of its {self._at} bytes is {found}, and {expected} was expected")

    def _fail(self, message: str) -> None:
        self._failure = OpenError(f"the file is not what it should be: {message}", url=self._url, offset=self._at)
        raise self._failure
