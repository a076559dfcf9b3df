"""Fields compressed one by one: ``txt.gz``, ``json.gz``."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import Codec, Decoder, Encoder
from webds.codecs.buffers import flat
from webds.errors import DecodeError, EncodeError, WebdsError
from webds.tar.naming import by_extension
from webds.typing import Buffer

__all__ = ["GzipCodec"]

_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS
_FIRST_READ: Final = 1 << 10
_LARGEST_READ: Final = 1 << 18

# Magic, deflate, no flags, no time, no hint at the level, unknown system: nothing that differs between machines.
_HEADER: Final = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x00\xff"


def _no_tables() -> dict[str, Decoder[Any] | Encoder[Any]]:
    return {}


@final
@attrs.frozen
class GzipCodec(Codec[Any]):
    """The value of another extension, in gzip's format.

    A field ``txt.gz`` holds what ``inner`` makes of ``txt``. A field ``gz``, and one of which ``inner`` knows
    nothing, such as ``blob.gz``, holds the bytes themselves.

    Decoding takes several members, one after the other, and zeros behind the last one; checksums and lengths are
    checked. Encoding writes no time and no name.

    Attributes:
        inner: codecs by extension, and decoders without encoders, whose extensions can be read only.
        max_bytes: data that would inflate to more is refused, both ways.
        level: effort of the compression, 0 to 9.
    """

    inner: Mapping[str, Decoder[Any] | Encoder[Any]] = attrs.field(factory=_no_tables, hash=False)
    max_bytes: int = attrs.field(default=1 << 30, kw_only=True)
    level: int = attrs.field(default=6, kw_only=True, validator=attrs.validators.in_(range(10)))
    lossless: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        lossless = all(getattr(codec, "lossless", True) for codec in self.inner.values())
        object.__setattr__(self, "lossless", lossless)

    def _inner(self, field: str) -> tuple[str, Decoder[Any] | Encoder[Any] | None]:
        name = field.rpartition(".")[0]
        return name, by_extension(self.inner, name) if name else None

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        name, decoder = self._inner(field)
        try:
            content = _inflate(flat(data), self.max_bytes)
        except Exception as error:
            raise DecodeError(f"no gzip data: {error}", field=field) from error
        if not isinstance(decoder, Decoder):
            return content
        try:
            return decoder.decode(content, name)
        except WebdsError as error:
            raise _renamed(error, field) from error.__cause__

    @override
    def encode(self, value: Any, field: str) -> bytes:
        name, encoder = self._inner(field)
        if encoder is None:
            if type(value) is not bytes:
                raise EncodeError(f"no encoder for {name!r}: the value must be bytes", field=field)
            content = value
        elif not isinstance(encoder, Encoder) or not isinstance(encoder, Decoder):
            raise EncodeError(f"{type(encoder).__name__}, for {name!r}, works one way only", field=field)
        else:
            try:
                content = encoder.encode(value, name)
            except WebdsError as error:
                raise _renamed(error, field) from error.__cause__
        if len(content) > self.max_bytes:
            raise EncodeError(f"{len(content)} bytes, of which max_bytes allows {self.max_bytes}", field=field)
        return _deflate(content, self.level)


def _renamed(error: WebdsError, field: str) -> WebdsError:
    """Return the error of the inner codec, with the name that the sample has for the field."""
    error.field = None
    return error.locate(field=field)


def _deflate(content: bytes, level: int) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, _RAW)
    body = compressor.compress(content)
    trailer = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
    return b"".join((_HEADER, body, compressor.flush(), trailer))


def _inflate(view: memoryview, max_bytes: int) -> bytes:
    """Return what a sequence of gzip members holds.

    Raises:
        ValueError: it is cut short, too long, or no such sequence.
        zlib.error: it is damaged.
    """
    parts: list[bytes] = []
    left = max_bytes
    position, read = 0, _FIRST_READ
    member = zlib.decompressobj(_GZIP)
    while True:
        chunk = view[position : position + read]
        if not chunk:
            raise ValueError("it is cut short" if position else "it is empty")
        part = member.decompress(chunk, left + 1)
        if len(part) > left:
            raise ValueError(f"it inflates to more than max_bytes={max_bytes}")
        if part:
            parts.append(part)
            left -= len(part)
        position += len(chunk) - len(member.unused_data)
        # Short reads at first, so that of many small members the rest is not copied again and again.
        read = min(2 * read, _LARGEST_READ)
        if member.eof:
            if view[position : position + 1].tobytes() in {b"", b"\0"}:
                break
            member, read = zlib.decompressobj(_GZIP), _FIRST_READ
    if bytes(view[position:]).strip(b"\0"):
        raise ValueError(f"something else follows at byte {position}")
    return parts[0] if len(parts) == 1 else b"".join(parts)
