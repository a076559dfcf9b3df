"""Many headers at once: the plain members of an archive that lie whole in a buffer.

A member is plain if its header is of type "0" with octal numbers and a name that fits, alone or after a pax header
that says nothing but the time of change (as Python's `tarfile` writes one for a time that is no whole second).
Almost every member of a shard is. All else is left to `webds.tar.members`, one by one; a property test holds the two
equal. Nothing of the check is left out: the sum of each header is compared with what it claims.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from webds.tar.header import BLOCK

__all__ = ["Plain", "plain_members"]

_FILE: Final = ord("0")
_PAX: Final = ord("x")
_TIME_ONLY: Final = re.compile(rb"(\d\d) mtime=[^\n]*\n\0*")
_GNU_MAGIC: Final = np.frombuffer(b"ustar  \0", np.uint8)
_OCTAL_WEIGHTS: Final = (8 ** np.arange(5, -1, -1)).astype(np.uint32)
_EVEN: Final = np.uint64(0x00FF00FF00FF00FF)


@final
class Plain(NamedTuple):
    """Plain members that follow one another in a buffer.

    Attributes:
        names: their paths, as in the headers.
        begins: where each begins, its headers included; one more for where the last one ends.
        starts: where the data of each begins.
        sizes: number of bytes of the data of each.
        end: up to where members were looked for; between the last one and here, something is not plain.
    """

    names: list[str]
    begins: list[int]
    starts: list[int]
    sizes: list[int]
    end: int

    def since(self, index: int) -> Plain:
        """Return the same without the first ``index`` members."""
        return Plain(self.names[index:], self.begins[index:], self.starts[index:], self.sizes[index:], self.end)


def plain_members(buffer: bytes, start: int) -> Plain:
    """Return the plain members from ``start`` on that lie whole in ``buffer``.

    Args:
        buffer: part of an archive.
        start: where in it a header is due.
    """
    heads, begins, starts, sizes = _walk(buffer, start)
    end = begins[-1]
    good, names = _verify(buffer, heads, [at - BLOCK for at in starts]) if starts else (0, [])
    return Plain(names[:good], begins[: good + 1], starts[:good], sizes[:good], end)


def _walk(buffer: bytes, start: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Go from header to header by the sizes they claim.

    Returns:
        Where all headers are, and as in `Plain`: where members begin, where their data begins, and its sizes.
    """
    heads: list[int] = []
    begins = [start]
    starts: list[int] = []
    sizes: list[int] = []
    end = len(buffer)
    at = start
    while at + BLOCK <= end:
        kind = buffer[at + 156]
        if kind == _PAX:
            head = at
            at = _after_time_only(buffer, at)
            if at < 0 or at + BLOCK > end or buffer[at + 156] != _FILE:
                break
            heads.append(head)
        elif kind != _FILE:
            break
        try:
            size = int(buffer[at + 124 : at + 135], 8)
        except ValueError:
            break
        data = at + BLOCK
        following = data + (size + (BLOCK - 1) & -BLOCK)
        if following > end or size < 0:
            break
        heads.append(at)
        starts.append(data)
        sizes.append(size)
        begins.append(following)
        at = following
    return heads, begins, starts, sizes


def _after_time_only(buffer: bytes, at: int) -> int:
    """Return where the pax header at ``at`` ends if it says nothing but the time of change; -1 otherwise."""
    try:
        size = int(buffer[at + 124 : at + 135], 8)
    except ValueError:
        return -1
    body = at + BLOCK
    # Such a record takes one block at most; what is longer says more.
    if not 0 < size <= BLOCK or body + BLOCK > len(buffer):
        return -1
    match = _TIME_ONLY.fullmatch(buffer, body, body + size)
    return body + BLOCK if match is not None and match[0].find(b"\n") + 1 == int(match[1]) else -1


def _verify(buffer: bytes, heads: list[int], of_members: list[int]) -> tuple[int, list[str]]:
    """Check the headers of members and the pax headers among them.

    Args:
        buffer: part of an archive.
        heads: where all headers are.
        of_members: where those of the members themselves are.

    Returns:
        How many members, from the first on, have nothing but good and plain headers; and their names.
    """
    blocks = np.frombuffer(b"".join([buffer[at : at + BLOCK] for at in heads]), np.uint8).reshape(-1, BLOCK)
    good = _sums_fit(blocks)
    digits = blocks[:, 124:135] - np.uint8(48)
    good &= (digits <= 7).all(axis=1) & ((blocks[:, 135] & 0xDF) == 0)
    if len(heads) == len(of_members):
        members = blocks
    else:
        position = {at: i for i, at in enumerate(heads)}
        rows = [position[at] for at in of_members]
        members = blocks[rows]
        # A member is good if its own header is, and those between it and the member before.
        good = np.logical_and.reduceat(good, [0, *(row + 1 for row in rows[:-1])])
    # The prefix of ustar makes a longer name; in GNU tar's own headers other things stand there.
    good &= (members[:, 345] == 0) | (members[:, 257:265] == _GNU_MAGIC).all(axis=1)
    count = len(of_members) if good.all() else int(good.argmin())
    return _names(members, count)


def _sums_fit(blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return for each header whether it carries the unsigned sum of its bytes, in the form that writers agree on."""
    field = blocks[:, 148:156]
    digits = field[:, :6] - np.uint8(48)
    claimed = digits.astype(np.uint32) @ _OCTAL_WEIGHTS
    sums = _sums(blocks) - field.sum(axis=1, dtype=np.uint32) + np.uint32(8 * 0x20)
    ends: Any = (field[:, 6:] & 0xDF) == 0  # NUL or space
    fits: NDArray[np.bool_] = (claimed == sums) & (digits <= 7).all(axis=1) & ends.all(axis=1)
    return fits


def _sums(blocks: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the sum of the bytes of each block.

    Eight bytes are added at a time, as four numbers of 16 bits in a word: 128 bytes of at most 255 fit into each.
    """
    words = blocks.view(np.uint64)
    lanes = ((words & _EVEN) + ((words >> np.uint64(8)) & _EVEN)).sum(axis=1)
    sums: NDArray[np.uint32] = lanes.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.uint32)
    return sums


def _names(members: NDArray[np.uint8], count: int) -> tuple[int, list[str]]:
    """Return the names of the first ``count`` members, or of those before the first with an odd one."""
    raw: list[bytes] = np.ascontiguousarray(members[:count, :100]).view("S100").ravel().tolist()
    joined = b"\n".join(raw)
    # Something behind the NUL that ends a name, or a line feed in one: seldom, and left to the general way.
    if b"\0" in joined or joined.count(b"\n") != max(0, count - 1):
        count = next(i for i, name in enumerate(raw) if b"\0" in name or b"\n" in name)
        joined = b"\n".join(raw[:count])
    return count, joined.decode("utf-8", "surrogateescape").split("\n")
