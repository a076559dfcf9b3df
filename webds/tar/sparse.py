"""Sparse members: files with holes, of which the archive holds the data and a map.

A map is a list of ``(offset in the file, number of bytes)``, one for each piece of data, in their order. Where it
is kept differs: in old GNU headers (type ``S``), in pax records (GNU tar's sparse formats 0.0 and 0.1), or in
front of the data (1.0). Source: "Storing Sparse Files" in the manual of GNU tar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias, final

import attrs

from webds.errors import TarFormatError
from webds.tar.header import BLOCK, MAX_EXTENSION, MAX_SIZE, Header, number, padded, shown

__all__ = ["MAX_HOLES", "Sparse", "expand", "of_old_gnu", "of_pax"]

MAX_HOLES: Final = 1 << 28
"""Bytes of holes in one member. A header of 512 bytes can claim any number, and they would all be taken as memory."""

_ZEROS: Final = bytes(1 << 16)

Map: TypeAlias = Sequence[tuple[int, int]]


@final
@attrs.frozen
class Sparse:
    """How a member with holes is stored.

    Attributes:
        size: bytes of the file, with its holes.
        map: the pieces of data; None where the map stands in front of the data.
        name: the file's own name, where the headers carry a substitute.
    """

    size: int
    map: Map | None
    name: str | None = None


def of_old_gnu(header: Header, take: Callable[[int], bytes]) -> Sparse:
    """Return what a header of type ``S`` says of holes.

    Args:
        header: it has room for four entries.
        take: called with a number of bytes, returns the next ones of the archive, in which the map goes on for
            as many blocks as it needs; fewer at the end.

    Raises:
        TarFormatError: the map is malformed, cut short, or not GNU tar's.
    """
    if header.dialect != "gnu":
        raise TarFormatError(f"{shown(header.name)} is sparse in a way that only star knows, and cannot be expanded")
    block = header.block
    entries = _entries(block, 386, 4)
    size = number(block[483:495])
    goes_on = block[482]
    while goes_on:
        block = take(BLOCK)
        if len(block) < BLOCK:
            raise TarFormatError(f"the archive ends inside the header of {shown(header.name)}: it was cut short")
        entries += _entries(block, 0, 21)
        if len(entries) * 24 > MAX_EXTENSION:
            raise TarFormatError(f"{shown(header.name)} is sparse with too many pieces")
        goes_on = block[504]
    if not 0 <= size <= MAX_SIZE:
        raise TarFormatError(f"{shown(header.name)} claims a size of {size} bytes")
    return Sparse(size, entries)


def _entries(block: bytes, start: int, count: int) -> list[tuple[int, int]]:
    fields = (block[at : at + 24] for at in range(start, start + 24 * count, 24))
    return [(number(field[:12]), number(field[12:])) for field in fields if field[12]]


def of_pax(records: Mapping[str, str], pairs: Sequence[str]) -> Sparse | None:
    """Return what pax records say of holes; None if nothing.

    Args:
        records: the records of a member, each keyword with its last value.
        pairs: the values of ``GNU.sparse.offset`` and ``GNU.sparse.numbytes``, in the order of the records.

    Raises:
        TarFormatError: the records do not fit together, or are of a sparse format that is not known.
    """
    if not any(keyword.startswith("GNU.sparse.") for keyword in records):
        return None
    name = records.get("GNU.sparse.name")
    size = records.get("GNU.sparse.realsize", records.get("GNU.sparse.size"))
    version = records.get("GNU.sparse.major", "0"), records.get("GNU.sparse.minor", "0")
    if size is None or version not in {("0", "0"), ("0", "1"), ("1", "0")}:
        raise TarFormatError(f"a sparse member of an unknown format ({'.'.join(version)})")
    if version == ("1", "0"):
        return Sparse(_decimal(size), None, name)
    listed = records["GNU.sparse.map"].split(",") if records.get("GNU.sparse.map") else pairs
    entries = _paired([_decimal(value) for value in listed])
    if _decimal(records.get("GNU.sparse.numblocks", str(len(entries)))) != len(entries):
        raise TarFormatError("a sparse member whose map is not complete")
    return Sparse(_decimal(size), entries, name)


def _split_map(data: bytes) -> tuple[Map, bytes]:
    """Split the data of a member into the map in front (decimal lines, the first one its length) and the pieces."""
    text = data[:MAX_EXTENSION]
    count = _decimal(text.partition(b"\n")[0].decode("ascii", "replace"))
    *lines, _ = text.split(b"\n", min(2 * count + 1, len(text)))
    if len(lines) != 2 * count + 1:
        raise TarFormatError("a sparse member whose map is not complete")
    numbers = [_decimal(line.decode("ascii", "replace")) for line in lines[1:]]
    return _paired(numbers), data[padded(sum(len(line) + 1 for line in lines)) :]


def expand(data: bytes, sparse: Sparse) -> bytes:
    """Return the file that is stored as ``data``.

    Raises:
        TarFormatError: the map does not fit the data or the size, or there are more than `MAX_HOLES` bytes of holes.
    """
    pieces, data = _split_map(data) if sparse.map is None else (sparse.map, data)
    end = total = 0
    for offset, count in pieces:
        if offset < end or count < 0:
            raise TarFormatError("a sparse member whose map is not in order")
        end = offset + count
        total += count
    if end > sparse.size or total != len(data):
        raise TarFormatError("a sparse member whose map does not fit its data")
    if sparse.size - total > MAX_HOLES:
        raise TarFormatError(f"a sparse member with {sparse.size - total} bytes of holes, which would all take memory")
    parts: list[bytes] = []
    used = 0
    for before, (offset, count) in pairwise([(0, 0), *pieces]):
        parts += _zeros(offset - sum(before))
        parts.append(data[used : used + count])
        used += count
    parts += _zeros(sparse.size - end)
    return b"".join(parts)


def _zeros(count: int) -> list[bytes]:
    """Return ``count`` zeros in pieces that take no memory of their own."""
    return [_ZEROS] * (count // len(_ZEROS)) + [_ZEROS[: count % len(_ZEROS)]]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_SIZE):
        raise TarFormatError(f"a sparse member with {text[:40]!r} in place of a number")
    return int(text)


def _paired(numbers: Sequence[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise TarFormatError("a sparse member with half an entry in its map")
    return list(zip(numbers[::2], numbers[1::2], strict=True))
