"""Compressed shards: gz, bz2, xz and zst, recognised by their first bytes, decompressed as they are read."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, Protocol, TypeAlias, final

from webds.errors import MissingExtraError, TarFormatError
from webds.typing import Readable

__all__ = ["Compression", "decompressed", "recognise"]

Compression: TypeAlias = Literal["gz", "bz2", "xz", "zst"]

_INPUT: Final = 1 << 18
_OUTPUT: Final = 1 << 18
"""Bytes decompressed at once. What a decompressor made in the call that meets damage is lost, so not too many."""

_ZSTD_INPUT: Final = 1 << 11
"""Compressed bytes given to zstd at once. It has no limit for its output; this many make 64 MiB at the worst."""

_XZ_MEMORY: Final = 1 << 29
"""Bytes that an xz stream may make its decompressor take; ``xz -9`` needs 65 MiB."""

_MAGIC_BYTES: Final = 10


def recognise(head: bytes) -> Compression | None:
    """Return how data that begins with ``head`` (10 bytes or more) is compressed; None where it is not."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gz"
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head[4:10] in {b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"}:
        return "bz2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    # The second is a frame to be skipped, which parallel compressors put in front.
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return "zst"
    return None


def decompressed(stream: Readable, compression: Compression) -> Readable:
    """Return a stream of what ``stream`` holds compressed.

    Several compressed streams one after the other are read as one, and zeros after the last are padding.

    Args:
        stream: positioned at the beginning of the compressed data.
        compression: what `recognise` said.

    Returns:
        A stream whose ``read`` raises `TarFormatError` where the data is damaged, ends too soon, or is followed
        by something else. All that could be decompressed comes before the error.

    Raises:
        MissingExtraError: zst, and the package zstandard is not installed; or a Python without bz2 or lzma.
    """
    return _Decompressed(_pieces(_Source(stream), compression, _codec(compression)))


class _Decompressor(Protocol):
    """What the decompressors of `bz2` and `lzma` have."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


@final
class _Inflate:
    """One member of a gzip file."""

    def __init__(self) -> None:
        self._inflate: Any = _inflate().decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._inflate.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inflate.unused_data)

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        piece: bytes = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # A full piece may have more behind it that needs no input.
        self.needs_input = not self._inflate.unconsumed_tail and len(piece) < max_length
        return piece


@final
class _Unzstd:
    """One frame of a zstd file."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._rest = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return not self._rest

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data) + self._rest

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        data = self._rest + data
        self._rest = data[_ZSTD_INPUT:]
        return bytes(self._frame.decompress(data[:_ZSTD_INPUT]))


def _inflate() -> Any:
    """Return the quickest module there is of zlib's interface."""
    try:
        from isal import isal_zlib  # noqa: PLC0415 - an optional package
    except ImportError:
        return zlib
    return isal_zlib


_Codec: TypeAlias = tuple[Callable[[], _Decompressor], type[Exception]]


def _codec(compression: Compression) -> _Codec:
    """Return how to make a decompressor, and what it raises at damaged data."""
    if compression == "gz":
        return _Inflate, _inflate().error
    try:
        if compression == "bz2":
            import bz2  # noqa: PLC0415 - some Pythons are built without

            return bz2.BZ2Decompressor, OSError
        if compression == "xz":
            import lzma  # noqa: PLC0415 - some Pythons are built without

            return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), lzma.LZMAError
    except ImportError as error:
        raise MissingExtraError(
            f"reading a shard compressed with {compression} needs a module that this Python was built without: {error}"
        ) from error
    try:
        import zstandard  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise MissingExtraError.of("zstandard", "zstd", "reading a shard compressed with zstd") from error
    return lambda: _Unzstd(zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError


@final
class _Source:
    """Compressed bytes, and how many of them there were."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.offset = 0

    def read(self) -> bytes:
        data = self._stream.read(_INPUT)
        self.offset += len(data)
        return data


def _pieces(source: _Source, compression: Compression, codec: _Codec) -> Iterator[bytes]:
    """Yield the decompressed data, piece by piece."""
    new, failure = codec
    data = source.read()
    while data:
        decompressor = new()
        while not decompressor.eof:
            if decompressor.needs_input:
                data = data or source.read()
                if not data:
                    raise TarFormatError(
                        f"the {compression} data ends too soon, after {source.offset} bytes: it was cut short"
                    )
            given, data = (data, b"") if decompressor.needs_input else (b"", data)
            try:
                piece = decompressor.decompress(given, _OUTPUT)
            except failure as error:
                raise TarFormatError(
                    f"the {compression} data is damaged before its byte {source.offset}: {error}"
                ) from error
            if piece:
                yield piece
        data = _next_stream(decompressor.unused_data + data, source, compression)


def _next_stream(data: bytes, source: _Source, compression: Compression) -> bytes:
    """Return the beginning of the stream that follows one, without the padding before it; empty if there is none."""
    while not (data := data.lstrip(b"\0")):
        if not (data := source.read()):
            return b""
    while len(data) < _MAGIC_BYTES and (more := source.read()):
        data += more
    if recognise(data) != compression:
        raise TarFormatError(
            f"something that is not {compression} follows the {compression} data, before its byte {source.offset}"
        )
    return data


@final
class _Decompressed:
    """Pieces as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._used = 0
        self._offset = 0
        self._failure: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(functools.partial(self.read, _OUTPUT), b""))
        parts: list[bytes] = []
        while size > 0 and (part := self._some(size, last=bool(parts))):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, size: int, *, last: bool) -> bytes:
        """Return what is left of a piece; the next one's error comes only when nothing is waiting to be delivered."""
        if self._used == len(self._piece):
            if self._failure is None:
                try:
                    self._piece, self._used = next(self._pieces, b""), 0
                except Exception as error:
                    if isinstance(error, TarFormatError):
                        error.locate(offset=self._offset)
                    self._failure = error
            if self._failure is not None:
                if last:
                    return b""
                raise self._failure
        end = self._used + size
        data = self._piece if end >= len(self._piece) and not self._used else self._piece[self._used : end]
        self._used += len(data)
        self._offset += len(data)
        return data
