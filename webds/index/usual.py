"""The columns of a member table with nothing out of the ordinary, all members at a time, in numpy.

What is not as usual (other characters than ASCII, white space of other kinds, a name that does not fit its field, …) is
not looked at here: it is either an error or rare, and read line by line.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "usual_columns"]

_BLOCK: Final = 512
_DIGITS: Final = 18
_LONG: Final = 8
"""Letters of a field that are compared as one number."""

_NAME: Final = 1024
_SPACE, _NEWLINE, _SLASH, _DOT, _ZERO, _UNDERSCORE = b" \n/.0_"

_Bytes: TypeAlias = NDArray[np.uint8]
_Ints: TypeAlias = NDArray[np.int64]


@final
class Columns(NamedTuple):
    """What `webds.index.table.MemberTable` is made of; see there."""

    firsts: _Ints
    offsets: _Ints
    sizes: _Ints
    kinds: NDArray[np.int32]
    fields: tuple[str, ...]
    names: bytes
    ends: _Ints


def usual_columns(data: bytes, start: int, samples: int) -> Columns | None:
    """Return the columns of the table whose lines begin at ``start`` of ``data``; None if anything is unusual."""
    text = np.frombuffer(data, np.uint8)[start:]
    if not len(text) or text[-1] != _NEWLINE or text.max() > 126:
        return None
    ends = np.flatnonzero(text <= _SPACE)
    begins = np.concatenate([[0], ends[:-1] + 1])
    between = text[ends]
    is_line = between == _NEWLINE
    if len(ends) % 4 or (begins == ends).any() or not (is_line | (between == _SPACE)).all():
        return None
    lines = np.flatnonzero(is_line) + 1
    if len(lines) != samples or (lines % 4).any():
        return None
    firsts = np.concatenate([[0], lines // 4])
    offsets, sizes = (_numbers(text, begins[at::4], ends[at::4]) for at in (1, 2))
    if offsets is None or sizes is None or not _lies_right(offsets, sizes):
        return None
    fields, names = (begins[0::4], ends[0::4]), (begins[3::4], ends[3::4])
    if not _are_named(text, *fields, *names, firsts):
        return None
    kinds = _kinds(text, *fields, firsts)
    if kinds is None:
        return None
    parts = np.empty(2 * len(names[0]), np.int64)
    parts[0::2] = names[0] - np.concatenate([[0], names[1][:-1]])
    parts[1::2] = names[1] - names[0]
    is_name = np.repeat(np.tile([False, True], len(names[0])), parts)
    joined = text[: len(is_name)][is_name].tobytes()
    return Columns(firsts, offsets, sizes, *kinds, joined, np.cumsum(parts[1::2]))


def _numbers(text: _Bytes, begins: _Ints, ends: _Ints) -> _Ints | None:
    """Return the numbers that are written there; None if one is not only digits, or too long."""
    lengths = ends - begins
    longest = int(lengths.max())
    if longest > _DIGITS:
        return None
    found = np.zeros(len(begins), np.int64)
    for place in range(longest):
        is_there = lengths > place
        digits = text[np.maximum(ends - 1 - place, 0)] - np.uint8(_ZERO)  # what is below becomes large
        digits[~is_there] = 0
        if (digits > 9).any():
            return None
        found += digits.astype(np.int64) * 10**place  # NumPy 1 would keep to eight bits
    return found


def _lies_right(offsets: _Ints, sizes: _Ints) -> bool:
    """Return whether each member begins at a block behind the one before, with room for a header."""
    ends = (offsets + sizes + (_BLOCK - 1)) & -_BLOCK
    return bool(
        offsets[0] >= _BLOCK and not (offsets & (_BLOCK - 1)).any() and (offsets[1:] >= ends[:-1] + _BLOCK).all()
    )


def _are_named(text: _Bytes, field: _Ints, field_end: _Ints, name: _Ints, name_end: _Ints, firsts: _Ints) -> bool:
    """Return whether each name is that of its field, and all of a sample have one key, which is no metadata."""
    dot = name_end - (field_end - field) - 1
    if (dot <= name).any() or (text[dot] != _DOT).any() or not _same(text, dot + 1, field, field_end - field):
        return False
    if ((text[name] == _UNDERSCORE) & (text[name + 1] == _UNDERSCORE)).any():
        return False
    slashes = np.concatenate([[-1], np.flatnonzero(text == _SLASH)])
    base = np.maximum(name, slashes[np.searchsorted(slashes, name_end) - 1] + 1)
    dots = np.flatnonzero(text == _DOT)
    if (base >= dot).any() or (dots[np.searchsorted(dots, base)] != dot).any():
        return False
    first = np.repeat(firsts[:-1], np.diff(firsts))
    others = np.flatnonzero(first != np.arange(len(first)))
    lengths = (dot - name)[others]
    of_first = first[others]
    return bool((lengths == (dot - name)[of_first]).all()) and _same(text, name[others], name[of_first], lengths)


def _same(text: _Bytes, these: _Ints, those: _Ints, lengths: _Ints) -> bool:
    """Return whether there is the same text at these places as at those."""
    longest = int(lengths.max(initial=0))
    if longest > _NAME:
        return False
    is_even = bool((lengths == longest).all())
    for at in range(longest):
        if not is_even:
            is_there = lengths > at
            these, those, lengths = these[is_there], those[is_there], lengths[is_there]
            is_even = bool((lengths == longest).all())
        if (text[these + at] != text[those + at]).any():
            return False
    return True


def _kinds(
    text: _Bytes, field: _Ints, field_end: _Ints, firsts: _Ints
) -> tuple[NDArray[np.int32], tuple[str, ...]] | None:
    """Return which field each member is, and the fields in lower case; None if a sample has one twice."""
    lengths = field_end - field
    if lengths.max() > _LONG:
        return None
    codes = np.zeros(len(field), np.uint64)
    for at in range(int(lengths.max())):
        letters = text[np.minimum(field + at, len(text) - 1)]
        letters = np.where((letters >= 65) & (letters <= 90), letters + 32, letters).astype(np.uint64)
        codes |= np.where(lengths > at, letters, 0).astype(np.uint64) << np.uint64(8 * at)
    count = int(firsts[1])
    pattern = codes[:count]
    if len(codes) % count == 0 and (np.diff(firsts) == count).all() and (codes.reshape(-1, count) == pattern).all():
        known, kinds = _in_order(pattern)
        kinds = np.tile(kinds, len(firsts) - 1)
        is_twice = len(known) < count
    else:
        known, kinds = _in_order(codes)
        of_sample = np.repeat(np.arange(len(firsts) - 1), np.diff(firsts)) * len(known) + kinds
        is_twice = len(np.unique(of_sample)) < len(of_sample)
    if is_twice:
        return None
    names = tuple(int(code).to_bytes(_LONG, "little").rstrip(b"\0").decode("ascii") for code in known)
    return kinds.astype(np.int32), names


def _in_order(codes: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Return the codes that there are, in the order of their first appearance, and which of these each is."""
    known, firsts, kinds = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    return known[order], place[kinds.ravel()]
