"""One 512-byte header of a tar archive, and the bodies of the members that extend it.

Sources: POSIX.1-2017, "pax Interchange Format" and "ustar Interchange Format"; for what GNU tar adds, the section
"Basic Tar Format" of its manual; for the rest, ``tar(5)`` of libarchive.
"""

from __future__ import annotations

import codecs
import zlib
from typing import Final, final

import attrs

from webds.errors import TarFormatError

__all__ = [
    "BLOCK",
    "MAX_EXTENSION",
    "MAX_SIZE",
    "ZERO_BLOCK",
    "Header",
    "decode_header",
    "decode_text",
    "describe",
    "has_valid_checksum",
    "number",
    "padded",
    "parse_pax",
    "shown",
]

BLOCK: Final = 512
"""Bytes of a block: headers take one, data is padded to a multiple."""

ZERO_BLOCK: Final = bytes(BLOCK)
"""What ends an archive."""

MAX_EXTENSION: Final = 1 << 20
"""Bytes that a long name, the records of a pax header, or the map of a sparse member may take.

Names and records are a few hundred bytes in practice; a header that claims more is damaged or hostile.
"""

MAX_SIZE: Final = 1 << 60
"""Bytes that a member may have. More than any file system holds, and safe to add up and to seek to."""

_OCTAL: Final = b"01234567"


@final
@attrs.frozen
class Header:
    """What a header says, as far as reading data needs it.

    Attributes:
        name: path of the member; bytes that are no UTF-8 are kept as surrogates.
        size: bytes of data that the header announces.
        kind: the type flag, one byte.
        dialect: ``"ustar"`` (POSIX), ``"gnu"`` (old GNU as well), ``"star"`` (Schily's, with its own signature
            at the end of the block) or ``"v7"`` (no magic at all).
        block: the header itself.
    """

    name: str
    size: int
    kind: bytes
    dialect: str
    block: bytes


def padded(size: int) -> int:
    """Return ``size`` rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def shown(name: str) -> str:
    """Return ``name`` in quotes, cut where it is too long for a sentence."""
    return repr(name if len(name) <= 200 else name[:200] + "…")


def number(field: bytes) -> int:
    """Return the value of a numeric header field.

    Octal text, padded with spaces and NULs; blank is 0. Where the top bit of the first byte is set, the rest is
    one big-endian two's complement number (the base-256 form of GNU tar and star).

    Raises:
        TarFormatError: it is neither.
    """
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    # GNU tar, too, passes over NULs in front: some old writers let the field before run over.
    digits = field.lstrip(b"\0 ").partition(b"\0")[0].rstrip(b" ")
    if digits.strip(_OCTAL):
        raise TarFormatError(f"a header has {field!r} in place of a number")
    return int(digits or b"0", 8)


def has_valid_checksum(block: bytes) -> bool:
    """Return whether ``block``, of 512 bytes, carries the sum of its own bytes, as every header does.

    The sum counts the checksum field itself as spaces. Some old writers added signed bytes.
    """
    stored = block[148:156].lstrip(b" ").rstrip(b"\0 ")
    if not stored or stored.strip(_OCTAL):
        return False
    total = _sum(block[:256]) + _sum(block[256:]) - _sum(block[148:156]) + 8 * 0x20
    if (claimed := int(stored, 8)) == total:
        return True
    high = sum(byte >= 0x80 for byte in block[:148]) + sum(byte >= 0x80 for byte in block[156:])
    return claimed == total - 0x100 * high


def _sum(data: bytes) -> int:
    """Return the sum of at most 256 bytes, several times as fast as `sum`.

    The lower half of Adler-32 is one more than the sum, modulo 65521 (RFC 1950), and 256 bytes stay below that.
    """
    return (zlib.adler32(data) & 0xFFFF) - 1


def decode_text(field: bytes) -> str:
    """Return the text of a field, up to its first NUL; bytes that are no UTF-8 are kept as surrogates."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def decode_header(block: bytes) -> Header:
    """Return what the header in ``block`` says.

    Args:
        block: 512 bytes that are not all zero.

    Raises:
        TarFormatError: the block is no header, or a damaged one.
    """
    if not has_valid_checksum(block):
        if block[257:262] == b"ustar":
            raise TarFormatError("a header is damaged: its checksum does not fit its bytes")
        raise TarFormatError(f"{describe(block)} where a tar header belongs")
    size = number(block[124:136])
    if not 0 <= size <= MAX_SIZE:
        raise TarFormatError(f"a header claims a size of {size} bytes")
    name, dialect = block[:100], _dialect(block)
    if dialect in ("ustar", "star") and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return Header(decode_text(name), size, block[156:157], dialect, block)


def _dialect(block: bytes) -> str:
    magic = block[257:265]
    if magic == b"ustar  \0":
        return "gnu"
    if not magic.startswith(b"ustar"):
        return "v7"
    return "star" if block[508:] == b"tar\0" else "ustar"


def parse_pax(body: bytes) -> list[tuple[str, str]]:
    """Return the records of a pax header, each a line ``length keyword=value``, in their order.

    A keyword may occur more than once (GNU tar's first sparse format lists its map that way).

    Raises:
        TarFormatError: a record does not have that form, or not the length that it claims.
    """
    records: list[tuple[str, str]] = []
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 20)
        digits = body[at : max(space, at)]
        if not digits.isdigit():
            if not body[at:].strip(b"\0"):
                break  # padding
            raise TarFormatError(f"a pax header has a record without a length: {body[at : at + 20]!r}")
        end = at + int(digits)
        keyword, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not keyword or not equals or end > len(body) or body[end - 1 : end] != b"\n":
            raise TarFormatError(f"a pax header has a malformed record: {body[at : at + 40]!r}")
        records.append((keyword.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))
        at = end
    return records


_KNOWN: Final = (
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull brings the file)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a numpy file"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data, which is not supported,"),
    (b"LZIP", "lzip-compressed data, which is not supported,"),
    (b"\x1f\x9d", "data of the old compress program, which is not supported,"),
    (b"\x1f\x8b", "compressed data inside compressed data"),
)


def describe(block: bytes) -> str:
    """Return a noun for data that is no tar header, such as ``"an HTML page"``."""
    for magic, noun in _KNOWN:
        if block.startswith(magic):
            return noun
    text = block.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in text:
        return "an HTML page"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML document"
    if _is_text(text):
        return "a JSON document" if text.startswith((b"{", b"[")) else "text"
    return "unrecognised data"


def _is_text(data: bytes) -> bool:
    try:
        text, _ = codecs.utf_8_decode(data, "strict", False)  # the last character may be cut in two
    except UnicodeDecodeError:
        return False
    return bool(text) and all(char.isprintable() or char in "\t\n\r" for char in text)
