"""Whole members put into a buffer: the bytes that `HeaderTemplate` describes, in a fraction of its time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, final
from zlib import adler32

from typing_extensions import TypeVar

from webds.tar.writer import BLOCK, NAME_SIZE, HeaderTemplate, size_field

__all__ = ["ROOM", "Content", "MemberPacker"]

Content: TypeAlias = bytes | bytearray | memoryview
"""What a member holds: something bytes-like whose length is its number of bytes."""

ROOM: Final = 2 * BLOCK
"""What a member takes at most besides its data."""

K = TypeVar("K")
V = TypeVar("V")

# A header is the name, what does not depend on the name up to the checksum, the checksum, and the rest.
_HEADER: Final = f"{NAME_SIZE}s48s8s356s"
_UNUSUAL: Final = bytes(NAME_SIZE + 1)
"""Stands for what comes after the key where that needs a closer look: no name of which it is a part fits."""


@final
class MemberPacker:
    """Puts members into a buffer, for names that fit into a header as they are.

    What it writes are ``template.header(f"{key}.{field}", size)``, the data, and the zeros that fill its last
    block. It is fast because the members of an archive are alike: of a header, the part for each size and the
    end of each name are kept, and only what differs is put together.

    Args:
        template: what the headers of all members have in common.
    """

    def __init__(self, template: HeaderTemplate) -> None:
        header = template.header("any", 0)
        before, time, self._rest = header[100:124], header[136:148], header[156:]
        # A checksum counts its own eight bytes as spaces.
        constant = sum(before) + sum(time) + sum(self._rest) + 8 * ord(" ")

        def middle(size: int) -> tuple[bytes, int]:
            field = size_field(size)
            return before + field + time, constant + sum(field)

        self._middles = _Memo[int, tuple[bytes, int]](middle)
        self._checksums = _Memo[int, bytes](lambda total: b"%06o\0 " % total)
        self._suffixes = _Memo[str, bytes](_suffix)
        self._layouts = _Memo[int, struct.Struct](lambda blocks: struct.Struct(f"{_HEADER}{blocks * BLOCK}s"))

    def pack(self, buffer: bytearray, start: int, key: str, members: Iterable[tuple[str, Content]]) -> int | None:
        """Put members one after the other into ``buffer``.

        Args:
            buffer: where they are put; it must have `ROOM` for each, and for the data, after ``start``.
            start: offset of the first one.
            key: what the names of all of them begin with.
            members: (field, data) of each; its name is ``key``, a dot, and the field.

        Returns:
            The offset after the last one. None if a name does not fit into a header as it is, or into none at
            all; what is in the buffer from ``start`` on has no meaning then.
        """
        if not key.isascii() or "\0" in key:
            return None
        prefix = key.encode("ascii")
        middles, checksums, suffixes, layouts = self._middles, self._checksums, self._suffixes, self._layouts
        rest = self._rest
        for field, data in members:
            if type(data) is memoryview:
                data = data.tobytes()
            size = len(data)
            name = prefix + suffixes[field]
            if len(name) > NAME_SIZE:
                return None
            middle, total = middles[size]
            blocks = (size + BLOCK - 1) // BLOCK
            # The lower half of an Adler-32 that starts at 0 is the sum of so few bytes.
            checksum = checksums[total + (adler32(name, 0) & 0xFFFF)]
            # Fields and data are filled up with zeros.
            layouts[blocks].pack_into(buffer, start, name, middle, checksum, rest, data)
            start += BLOCK + blocks * BLOCK
        return start


def _suffix(field: str) -> bytes:
    usual = field.isascii() and "\0" not in field and not field.endswith("/")
    return b".%b" % field.encode("ascii") if usual else _UNUSUAL


@final
class _Memo(dict[K, V]):
    """What a function returned for each argument. It forgets everything when that has become too much."""

    def __init__(self, function: Callable[[K], V], limit: int = 1 << 12) -> None:
        super().__init__()
        self._function = function
        self._limit = limit

    def __missing__(self, argument: K) -> V:
        if len(self) >= self._limit:
            self.clear()
        value = self[argument] = self._function(argument)
        return value
