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
_SMALL: Final = 16384
"""Bytes from header to header, on average, up to which it pays to look at every block."""

_MAGIC: Final = np.frombuffer(b"ustar", np.uint8)
_SIZE_WEIGHTS: Final = 8 ** np.arange(10, -1, -1)
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
    found = _leap(buffer, start) or _walk(buffer, start)
    if not found.starts:
        return Plain([], [start], [], [], start)
    good, names = _verify(found)
    return Plain(names, found.begins[: good + 1], found.starts[:good], found.sizes[:good], found.begins[-1])


class _Found(NamedTuple):
    """Headers that follow one another by the sizes they claim, before anything is verified.

    Attributes:
        blocks: the headers, shape (N, 512).
        rows: which of them are those of members; None for all.
        begins: as in `Plain`.
        starts: as in `Plain`.
        sizes: as in `Plain`.
    """

    blocks: NDArray[np.uint8]
    rows: list[int] | None
    begins: list[int]
    starts: list[int]
    sizes: list[int]


def _leap(buffer: bytes, start: int) -> _Found | None:
    """Find the headers of small members by their magic, all at once.

    Returns:
        None where members are large, so that looking at every block would cost more than `_walk`, and where the
        blocks with the magic do not lead from one to the next: there are other headers, or data looks like one.
    """
    count = (len(buffer) - start) // BLOCK
    blocks = np.frombuffer(buffer, np.uint8, count * BLOCK, start).reshape(count, BLOCK)
    at = np.flatnonzero(blocks[:, 257] == _MAGIC[0])
    at = at[(blocks[at, 257:262] == _MAGIC).all(axis=1)]
    if not len(at) or len(at) * _SMALL < count * BLOCK or at[0] != 0 or not (blocks[at, 156] == _FILE).all():
        return None
    heads = blocks[at]
    sizes = (heads[:, 124:135] - np.uint8(48)).astype(np.int64) @ _SIZE_WEIGHTS
    following = at + 1 + (sizes + (BLOCK - 1)) // BLOCK
    if not (following[:-1] == at[1:]).all():
        return None
    whole = len(at) - int(following[-1] > count)
    begins: list[int] = (at[:whole] * BLOCK + start).tolist()
    ends: list[int] = (following[:whole] * BLOCK + start).tolist()
    starts = [begin + BLOCK for begin in begins]
    return _Found(heads[:whole], None, [*begins, ends[-1]] if ends else [start], starts, sizes[:whole].tolist())


def _walk(buffer: bytes, start: int) -> _Found:
    """Go from header to header by the sizes they claim."""
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
    blocks = np.frombuffer(b"".join([buffer[at : at + BLOCK] for at in heads]), np.uint8).reshape(-1, BLOCK)
    if len(heads) == len(starts):
        return _Found(blocks, None, begins, starts, sizes)
    position = {at: i for i, at in enumerate(heads)}
    return _Found(blocks, [position[at - BLOCK] for at in starts], begins, starts, sizes)


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


def _verify(found: _Found) -> tuple[int, list[str]]:
    """Check the headers of members and the pax headers among them.

    Returns:
        How many members, from the first on, have nothing but good and plain headers; and their names.
    """
    blocks = members = found.blocks
    good = _sums_fit(blocks)
    digits = blocks[:, 124:135] - np.uint8(48)
    good &= (digits <= 7).all(axis=1) & ((blocks[:, 135] & 0xDF) == 0)
    if found.rows is not None:
        members = blocks[found.rows]
        # A member is good if its own header is, and those between it and the member before.
        good = np.logical_and.reduceat(good, [0, *(row + 1 for row in found.rows[:-1])])
    # The prefix of ustar makes a longer name; in GNU tar's own headers other things stand there.
    good &= (members[:, 345] == 0) | (members[:, 257:265] == _GNU_MAGIC).all(axis=1)
    return _names(members, len(members) if good.all() else int(good.argmin()))


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
    return count, joined.decode("utf-8", "surrogateescape").split("\n") if count else []
