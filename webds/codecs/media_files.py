"""Which kind of file audio and video are in, and whether it is whole: their libraries are silent about a lost end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from webds.errors import DecodeError

__all__ = ["audio_kind", "check_whole", "video_kind"]

_QUICKTIME_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STREAMED = 0x7FFFF000  # writers that cannot seek back put sizes from here on in place of one they do not know
_OGG_LAST_PAGE = 4
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def audio_kind(data: bytes) -> str:
    """Return ``"flac"``, ``"ogg"``, ``"wav"`` or ``"mp3"``, by the first bytes.

    Raises:
        DecodeError: it is none of these.
    """
    if data.startswith(b"fLaC"):
        return "flac"
    if data.startswith(b"OggS"):
        return "ogg"
    if data.startswith((b"RIFF", b"RIFX")) and data[8:12] == b"WAVE":
        return "wav"
    # The start of a frame: eleven set bits, and a layer, which an AAC stream does not have.
    frame = len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0
    if frame or data.startswith(b"ID3"):
        return "mp3"
    raise DecodeError(f"the data is no flac, wav, mp3 or ogg file: {_start(data)}")


def video_kind(data: bytes) -> str:
    """Return ``"mov"`` (mp4, too), ``"matroska"`` (webm) or ``"avi"``, by the first bytes.

    Raises:
        DecodeError: it is none of these.
    """
    if data[4:8] in _QUICKTIME_ATOMS:
        return "mov"
    if data.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if data.startswith(b"RIFF") and data[8:12] == b"AVI ":
        return "avi"
    raise DecodeError(f"the data is no mp4, webm, avi or mov file: {_start(data)}")


def _start(data: bytes) -> str:
    return f"it starts with {data[:12]!r}" if data else "it is empty"


def check_whole(data: bytes, kind: str) -> None:
    """Check what a file of that kind says of its own length.

    An mp3 says nothing, and a flac is checked by its decoder.

    Raises:
        DecodeError: the file is cut short, or (ogg) damaged.
    """
    match kind:
        case "ogg":
            _check_ogg(data)
        case "wav":
            _check_wav(data)
        case "avi":
            _check_avi(data)
        case "mov":
            _check_quicktime(data)
        case "matroska":
            _check_matroska(data)
        case _:
            pass


def _cut_short(what: str, size: int, start: int, data: bytes) -> DecodeError:
    return DecodeError(f"the file is cut short: {what} has {size} bytes, and {len(data) - start} are there")


def _ogg_checksum(page: bytes) -> int:
    """Return the CRC-32 of RFC 3533: zlib's polynomial with the bits the other way round, from 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _check_ogg(data: bytes) -> None:
    """Walk the pages (RFC 3533): whole, undamaged, numbered without a gap, and one that says it is the last."""
    offset, last = 0, False
    following: dict[int, int] = {}  # of each stream in the file
    while data[offset : offset + 4] == b"OggS":
        table = offset + 27
        content = table + (data[offset + 26] if table <= len(data) else 0)
        end = content + sum(data[table:content])
        if content > len(data) or end > len(data):
            raise _cut_short("a page", end - offset, offset, data)
        page = data[offset : offset + 22] + bytes(4) + data[offset + 26 : end]
        if _ogg_checksum(page) != int.from_bytes(data[offset + 22 : offset + 26], "little"):
            raise DecodeError(f"the file is damaged: the checksum of the ogg page at byte {offset} is wrong")
        stream, number = struct.unpack_from("<II", data, offset + 14)
        if number != following.get(stream, number):
            raise DecodeError(f"the file is damaged: ogg page {following[stream]} is missing at byte {offset}")
        following[stream] = number + 1
        last = data[offset + 5] & _OGG_LAST_PAGE != 0
        offset = end
    if not last:
        raise DecodeError(
            f"the file is cut short or damaged: no ogg page follows at byte {offset}, and it is not the end"
        )


def _chunks(data: bytes, offset: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, size and start of the content of each RIFF chunk from ``offset`` on."""
    while offset + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, offset)
        yield name, size, offset + 8
        offset += 8 + size + size % 2


def _check_wav(data: bytes) -> None:
    for name, size, start in _chunks(data, 12, ">" if data.startswith(b"RIFX") else "<"):
        if name == b"data":
            if size < _STREAMED and start + size > len(data):
                raise _cut_short("the data chunk", size, start, data)
            return


def _check_avi(data: bytes) -> None:
    for name, size, start in _chunks(data, 0, "<"):
        if name != b"RIFF":
            return
        if size < _STREAMED and start + size > len(data):
            raise _cut_short("a RIFF chunk", size, start, data)


def _check_quicktime(data: bytes) -> None:
    offset, described = 0, False
    while offset + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, offset)
        if size == 1 and offset + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, offset + 8)
        if offset + size > len(data) and name in (*_QUICKTIME_ATOMS, b"moof"):
            raise _cut_short(f"atom {name.decode()}", size, offset, data)
        described |= name == b"moov"
        offset = len(data) if size == 0 else offset + max(size, 8)  # 0: up to the end of the file
    if not described:
        raise DecodeError("the file is cut short or damaged: it has no moov atom, which describes its streams")


def _ebml_number(data: bytes, offset: int) -> tuple[int | None, int]:
    """Return a number of variable length (RFC 8794), None for the reserved "unknown", and where it ends."""
    first = data[offset] if offset < len(data) else 0
    length = 9 - first.bit_length()
    if length > 8:
        return None, offset + 1
    value = int.from_bytes(data[offset : offset + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), offset + length


def _check_matroska(data: bytes) -> None:
    header, offset = _ebml_number(data, 4)
    offset += header or 0
    while data[offset : offset + 4] != b"\x18\x53\x80\x67":  # the segment, which holds all that matters
        if data[offset : offset + 1] != b"\xec":  # padding may come before it
            raise DecodeError(f"the file is cut short or damaged: no segment at byte {offset}")
        size, offset = _ebml_number(data, offset + 1)
        offset += size or 0
    size, offset = _ebml_number(data, offset + 4)
    if size is not None and offset + size > len(data):
        raise _cut_short("the segment", size, offset, data)
