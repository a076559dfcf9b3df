"""Compressed shards: gz, bz2, xz and zst, recognised by their first bytes, decompressed as they are read."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Generator
from concurrent import futures
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, final

from webds.errors import MissingExtraError, TarFormatError
from webds.typing import Readable

__all__ = ["Compression", "Decompressed", "decompressed", "recognise"]

Compression: TypeAlias = Literal["gz", "bz2", "xz", "zst"]

_INPUT: Final = 1 << 18
_OUTPUT: Final = 1 << 14
"""Bytes decompressed at once. What a decompressor made in the call that meets damage is lost, so not too many."""

_STEP: Final = 1 << 18
"""Bytes decompressed, at least, in one part of the work of a thread."""

_ALONE: Final = 3
"""Parts decompressed before a thread is started: less is not worth one."""

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


def decompressed(stream: Readable, compression: Compression) -> Decompressed:
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
    return Decompressed(stream, _Decompression(compression, _codec(compression)))


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


_Steps: TypeAlias = Generator[bytes | None, bytes, None]
"""Yields what it decompressed, and None where it needs more to decompress: that is sent to it, empty at the end."""


@final
class _Decompression:
    """Decompresses what it is given; the work of a thread that does nothing else."""

    def __init__(self, compression: Compression, codec: _Codec) -> None:
        self._compression = compression
        self._new, self._failure = codec
        self._given = 0
        self._steps = self._run()
        next(self._steps)
        self._needs_input = True

    def advance(self, read: Callable[[], bytes]) -> Callable[[], _Progress]:
        """Return what does the next part of the work. It reads nothing: all that is needed is read by this call."""
        data = read() if self._needs_input else b""
        self._given += len(data)
        return functools.partial(self._advance, data)

    def _advance(self, data: bytes) -> _Progress:
        pieces: list[bytes] = []
        length = 0
        error: Exception | None = None
        try:
            piece = self._steps.send(data) if self._needs_input else next(self._steps)
            while piece is not None:
                pieces.append(piece)
                length += len(piece)
                if length >= _STEP:
                    break
                piece = next(self._steps)
            self._needs_input = piece is None
        except StopIteration:
            return _Progress(b"".join(pieces), None, over=True)
        except Exception as caught:  # what came before it is delivered first
            error = caught
        return _Progress(b"".join(pieces), error, over=error is not None)

    def _run(self) -> _Steps:
        data = yield None
        while data:
            decompressor = self._new()
            while not decompressor.eof:
                if decompressor.needs_input:
                    data = data or (yield None)
                    if not data:
                        raise TarFormatError(
                            f"the {self._compression} data ends too soon, after {self._given} bytes: it was cut short"
                        )
                given, data = (data, b"") if decompressor.needs_input else (b"", data)
                try:
                    piece = decompressor.decompress(given, _OUTPUT)
                except self._failure as error:
                    raise TarFormatError(
                        f"the {self._compression} data is damaged before its byte {self._given}: {error}"
                    ) from error
                if piece:
                    yield piece
            data = yield from self._next_stream(decompressor.unused_data + data)

    def _next_stream(self, data: bytes) -> Generator[bytes | None, bytes, bytes]:
        """Return the beginning of the stream that follows one, without padding; empty if there is none."""
        while not (data := data.lstrip(b"\0")):
            if not (data := (yield None)):
                return b""
        while len(data) < _MAGIC_BYTES and (more := (yield None)):
            data += more
        if recognise(data) != self._compression:
            raise TarFormatError(
                f"something that is not {self._compression} follows the {self._compression} data, "
                f"before its byte {self._given}"
            )
        return data


class _Progress(NamedTuple):
    """What one part of the work came to."""

    data: bytes
    error: Exception | None
    over: bool


@final
class Decompressed:
    """A stream of what another holds compressed.

    From some data on, a thread decompresses ahead while the caller works on what came before. It never reads: the
    stream is the caller's alone, who may close it once this is closed.
    """

    def __init__(self, stream: Readable, work: _Decompression) -> None:
        self._stream = stream
        self._work = work
        self._thread: futures.ThreadPoolExecutor | None = None
        self._pending: futures.Future[_Progress] | None = None
        self._progress = _Progress(b"", None, over=False)
        self._part = b""
        self._used = 0
        self._parts = 0
        self._offset = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, all that is left for -1, and ``b""`` at the end only."""
        if size < 0:
            return b"".join(iter(functools.partial(self.read, _STEP), b""))
        while self._used == len(self._part) and size:
            if self._progress.over:
                self.close()
                if self._progress.error is None:
                    return b""
                raise self._located(self._progress.error)
            self._part, self._used = self._next(), 0
        data = self._part[self._used : self._used + size]
        self._used += len(data)
        self._offset += len(data)
        return data

    def close(self) -> None:
        """End the thread. The stream stays open."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = self._pending = None

    def _next(self) -> bytes:
        """Return the next part, and have the one after it begun."""
        pending, self._pending = self._pending, None
        self._progress = self._work.advance(self._read)() if pending is None else pending.result()
        self._parts += 1
        if self._parts >= _ALONE and not self._progress.over:
            try:
                task = self._work.advance(self._read)
            except Exception as error:  # of the stream; what came before it is delivered first
                self._progress = self._progress._replace(error=error, over=True)
            else:
                if self._thread is None:
                    self._thread = futures.ThreadPoolExecutor(1, "webds-decompress")
                self._pending = self._thread.submit(task)
        return self._progress.data

    def _read(self) -> bytes:
        return self._stream.read(_INPUT)

    def _located(self, error: Exception) -> Exception:
        return error.locate(offset=self._offset) if isinstance(error, TarFormatError) else error
