"""Many headers at once: the plain members of an archive that lie whole in a buffer.

A member is plain if its header is of type "0" with octal numbers and a name that fits, alone or after a pax header
that says nothing but the time of change (as Python's `tarfile` writes one for a time that is no whole second).
Almost every member of a shard is. All else is left to `webds.tar.members`, one by one; a property test holds the two
equal. Nothing of the check is left out: the sum of each header is compared with what it claims.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from webds.tar.header import BLOCK, decode_text, has_valid_checksum

__all__ = ["FEW", "FILE", "SIZE_WEIGHTS", "Found", "Plain", "have_plain_numbers", "plain_members", "verify", "walk"]

FILE: Final = ord("0")
"""The type of a plain member."""

_PAX: Final = ord("x")
_TIME_ONLY: Final = re.compile(rb"(\d\d) mtime=[^\n]*\n\0*")

_LARGE: Final = 8192
"""Bytes from header to header, on average, from which on it pays to go from one to the next."""

_MAGIC: Final = np.frombuffer(b"ustar", np.uint8)
_GNU_MAGIC: Final = np.frombuffer(b"ustar  \0", np.uint8)
_EVEN: Final = np.uint64(0x00FF00FF00FF00FF)
_VARYING: Final = 160 // 8
"""Words of a header in which there is a name, numbers and a kind; behind them are owners, most often the same ones."""

SIZE_WEIGHTS: Final = 8 ** np.arange(10, -1, -1)
"""What the 11 octal digits of a size count."""


# What a header has from 124 on: a size, of 11 octal digits and NUL or space; a time, which may be anything; the sum of
# the header's bytes, of 6 digits and two of these. An octal digit has the upper bits of "0", NUL and space have none
# but 0x20.
_DIGIT_BITS: Final = np.array([0xF8] * 11 + [0xDF] + [0] * 12 + [0xF8] * 6 + [0xDF] * 2, np.uint8)
_DIGITS: Final = np.array([0x30] * 11 + [0] + [0] * 12 + [0x30] * 6 + [0] * 2, np.uint8)

# Where the field that claims the sum is counted as spaces, the header's bytes sum up to
# claim + (sum of the field) - 8 * 32; and the claim is the sum of (digit - 48) * 8 ** place.
_CLAIM_WEIGHTS: Final = np.array([8.0**place + 1 for place in range(5, -1, -1)] + [1.0] * 2)
_CLAIM_SHIFT: Final = float(48 * sum(8**place for place in range(6)) + 8 * 0x20)


_NUMBERS: Final = re.compile(rb"[0-7]{11}[\0 ].{12}[0-7]{6}[\0 ]{2}", re.DOTALL)
"""The same as a pattern."""

FEW: Final = 32
"""Members below which it takes less time to look at each than at all together."""


@final
class Plain(NamedTuple):
    """Plain members that follow one another.

    Attributes:
        names: their paths, as in the headers, padded with NULs; shape (N, 100).
        begins: where in the archive each begins, its headers included; one more for where the last one ends.
        starts: where the data of each begins, for `content`.
        sizes: number of bytes of the data of each.
        end: up to where members were looked for; between the last one and here, something is not plain.
        content: from start and size to what lies there.
        contents: the same for many, one after the other.
    """

    names: NDArray[np.uint8]
    begins: list[int]
    starts: list[int]
    sizes: list[int]
    end: int
    content: Callable[[int, int], bytes]
    contents: Callable[[Iterable[int], Iterable[int]], Iterator[bytes]]

    def since(self, index: int) -> Plain:
        """Return the same without the first ``index`` members."""
        return self._replace(
            names=self.names[index:],
            begins=self.begins[index:],
            starts=self.starts[index:],
            sizes=self.sizes[index:],
        )

    def texts(self) -> list[str]:
        """Return the paths as texts; bytes that are no UTF-8 are kept as surrogates."""
        raw: list[bytes] = np.ascontiguousarray(self.names).view(f"S{self.names.shape[1]}").ravel().tolist()
        return [decode_text(name) for name in raw]

    @property
    def is_spacious(self) -> bool:
        """Whether headers are so far apart that going from one to the next beats reading everything."""
        return self.begins[-1] - self.begins[0] >= len(self.sizes) * _LARGE


def plain_members(buffer: bytes, start: int, offset: int = 0, *, large: bool = False) -> Plain:
    """Return the plain members from ``start`` on that lie whole in ``buffer``.

    Args:
        buffer: part of an archive.
        start: where in it a header is due.
        offset: where in the archive that is.
        large: whether the members are large, as far as is known: a look at every block would be in vain.
    """
    found = (None if large else _leap(buffer, start)) or walk(buffer, start, len(buffer))
    shift = offset - start

    def content(start: int, size: int) -> bytes:
        return buffer[start : start + size]

    def contents(starts: Iterable[int], sizes: Iterable[int]) -> Iterator[bytes]:
        return map(buffer.__getitem__, map(slice, starts, map(operator.add, starts, sizes)))

    good, names = verify(found)
    begins = [begin + shift for begin in found.begins] if shift else found.begins
    return Plain(names, begins[: good + 1], found.starts[:good], found.sizes[:good], begins[-1], content, contents)


@final
class Found(NamedTuple):
    """Headers that follow one another by the sizes they claim, before anything is verified.

    Attributes:
        blocks: the headers, shape (N, 512).
        rows: which of them are those of members; None for all.
        begins: as in `Plain`, but from where the search began to count.
        starts: as in `Plain`.
        sizes: as in `Plain`.
    """

    blocks: NDArray[np.uint8]
    rows: list[int] | None
    begins: list[int]
    starts: list[int]
    sizes: list[int]


def _leap(buffer: bytes, start: int) -> Found | None:
    """Find the headers of small members by their magic, all at once.

    Returns:
        None where members are large, so that looking at every block would cost more than `walk`, and where the
        blocks with the magic do not lead from one to the next: there are other headers, or data looks like one.
    """
    count = (len(buffer) - start) // BLOCK
    blocks = np.frombuffer(buffer, np.uint8, count * BLOCK, start).reshape(count, BLOCK)
    at = np.flatnonzero(blocks[:, 257] == _MAGIC[0])
    at = at[(blocks[at, 257:262] == _MAGIC).all(axis=1)]
    if not len(at) or len(at) * _LARGE < count * BLOCK or at[0] != 0 or not (blocks[at, 156] == FILE).all():
        return None
    heads = blocks[at]
    sizes = (heads[:, 124:135] - np.uint8(48)).astype(np.int64) @ SIZE_WEIGHTS
    following = at + 1 + (sizes + (BLOCK - 1)) // BLOCK
    if not (following[:-1] == at[1:]).all():
        return None
    whole = len(at) - int(following[-1] > count)
    begins: list[int] = (at[:whole] * BLOCK + start).tolist()
    ends: list[int] = (following[:whole] * BLOCK + start).tolist()
    starts = [begin + BLOCK for begin in begins]
    return Found(heads[:whole], None, [*begins, ends[-1]] if ends else [start], starts, sizes[:whole].tolist())


def walk(buffer: bytes, start: int, end: int, look: Callable[[int], bytes] | None = None, most: int = -1) -> Found:
    """Go from header to header by the sizes they claim.

    Args:
        buffer: the archive, or as much of it as there is.
        start: where a header is due.
        end: where the archive ends, or the buffer.
        look: from a position to some blocks that begin there; the buffer is empty then.
        most: how many members; -1 for all.
    """
    heads: list[bytes] = []
    rows: list[int] = []
    begins = [start]
    starts: list[int] = []
    sizes: list[int] = []
    base = 0 if look is None else start
    at = start
    while len(starts) != most:
        here = at - base
        if here + BLOCK > len(buffer):
            if look is None or at + BLOCK > end:
                break
            buffer, base, here = look(at), at, 0
            if len(buffer) < BLOCK:
                break
        kind = buffer[here + 156]
        if kind == _PAX:
            if here + 3 * BLOCK > len(buffer) and look is not None:
                buffer, base, here = look(at), at, 0
            after = _after_time_only(buffer, here)
            if after < 0 or after + BLOCK > len(buffer) or buffer[after + 156] != FILE:
                break
            heads.append(buffer[here : here + BLOCK])
            here = after
        elif kind != FILE:
            break
        head = buffer[here : here + BLOCK]
        try:
            size = int(head[124:135], 8)
        except ValueError:
            break
        data = base + here + BLOCK
        following = data + (size + (BLOCK - 1) & -BLOCK)
        if following > end or size < 0:
            break
        rows.append(len(heads))
        heads.append(head)
        starts.append(data)
        sizes.append(size)
        begins.append(following)
        at = following
    blocks = np.frombuffer(b"".join(heads), np.uint8).reshape(-1, BLOCK)
    return Found(blocks, None if len(heads) == len(rows) else rows, begins, starts, sizes)


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


def verify(found: Found) -> tuple[int, NDArray[np.uint8]]:
    """Check the headers of members and the pax headers among them.

    Returns:
        How many members, from the first on, have nothing but good and plain headers; and their names.
    """
    blocks = members = found.blocks
    if len(found.starts) < FEW:
        return _verify_few(found)
    good = have_plain_numbers(blocks)
    if found.rows is not None:
        members = blocks[found.rows]
        # A member is good if its own header is, and those between it and the member before.
        good = np.logical_and.reduceat(good, [0, *(row + 1 for row in found.rows[:-1])])
    if members[:, 345].any():
        # The prefix of ustar makes a longer name; in GNU tar's own headers other things stand there.
        good &= (members[:, 345] == 0) | (members[:, 257:265] == _GNU_MAGIC).all(axis=1)
    count = len(members) if good.all() else int(good.argmin())
    return count, members[:count, :100]


def have_plain_numbers(blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return of each header whether its numbers are octal ones, and the sum of its bytes is what it claims.

    Args:
        blocks: headers; shape (N, 512).
    """
    numbers = blocks[:, 124:156]
    good: NDArray[np.bool_] = ((numbers & _DIGIT_BITS) == _DIGITS).all(axis=1)
    good &= numbers[:, 24:] @ _CLAIM_WEIGHTS - _CLAIM_SHIFT == _sums(blocks)
    return good


def _verify_few(found: Found) -> tuple[int, NDArray[np.uint8]]:
    """Do the same header by header, which takes less time where there are only a few."""
    blocks = found.blocks
    rows = range(len(found.starts)) if found.rows is None else found.rows
    count, checked = 0, 0
    for row in rows:
        heads = [blocks[i].tobytes() for i in range(checked, row + 1)]  # of the member, and those before it
        prefixed = heads[-1][345] and heads[-1][257:265] != b"ustar  \0"
        if prefixed or not all(_NUMBERS.match(head, 124) and has_valid_checksum(head) for head in heads):
            break
        count, checked = count + 1, row + 1
    return count, blocks[list(rows[:count]), :100]


def _sums(blocks: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the sum of the bytes of each block."""
    words = blocks.view(np.uint64)
    varying, rest = words[:, :_VARYING], words[:, _VARYING:]
    if (rest == rest[0]).all():  # as one writer makes them: then there is less to add up
        return _sums_of_words(varying) + _sums_of_words(rest[:1])
    return _sums_of_words(words)


def _sums_of_words(words: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return the sum of the bytes of each row of at most 64 words.

    Eight bytes are added at a time, as four numbers of 16 bits in a word: 128 bytes of at most 255 fit into each.
    """
    lanes = ((words & _EVEN) + ((words >> np.uint64(8)) & _EVEN)).sum(axis=1)
    sums: NDArray[np.uint32] = lanes.view(np.uint16).reshape(-1, 4).sum(axis=1, dtype=np.uint32)
    return sums
