"""The member table of one shard, and the text file that holds it.

The format is that of NVIDIA DALI's ``wds2idx``: a first line ``v1.2 N``, then one line a sample, with
``field offset size name`` for each of its members, separated by spaces; ``offset`` is that of the member's data. The
older ``v1.1`` lacks the names. A name with white space cannot be told in it: such a shard has no table.
"""

from __future__ import annotations

import functools
import re
from array import array
from typing import Final, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.errors import StaleIndexError
from webds.index.usual import usual_columns
from webds.tar.naming import base_plus_ext

__all__ = ["MAX_TABLE", "MemberTable", "TableBuilder", "count_in", "parse_table"]

MAX_TABLE: Final = 1 << 30
"""Bytes of the largest table that is read."""

_BLOCK: Final = 512
_MAX_OFFSET: Final = 1 << 60
_HEAD: Final = re.compile(rb"(v1\.[12]) (\d{1,18})\r?")
_SPACE: Final = re.compile(r"\s")


@final
@attrs.frozen(eq=False, slots=False)
class MemberTable:
    """Where the members of a shard lie. S samples, M members, in the order of the archive.

    Attributes:
        firsts: the first member of each sample, and M at the end; int64, shape (S + 1,).
        offsets: where the data of each member begins, in bytes; int64, shape (M,).
        sizes: how many bytes it has; int64, shape (M,).
        kinds: which of ``fields`` each member is; int32, shape (M,).
        fields: the fields that there are, lower-cased.
        names: the paths of all members, in UTF-8 and one after the other.
        ends: where in ``names`` each one ends; int64, shape (M,).
    """

    firsts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    kinds: NDArray[np.int32]
    fields: tuple[str, ...]
    names: bytes
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.firsts) - 1

    def keys(self, members: NDArray[np.int64]) -> list[str]:
        """Return the keys of the samples that members are of, by `webds.tar.naming.base_plus_ext`."""
        starts: list[int] = np.where(members > 0, self.ends[members - 1], 0).tolist()
        ends = self.ends[members]
        if self._text is not None:  # each is a key, a dot, and a field that is as long as it is spelled
            ends = ends - self._lengths[self.kinds[members]] - 1
            return [self._text[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]
        names = (self.names[start:end] for start, end in zip(starts, ends.tolist(), strict=True))
        keys = [name[: name.index(b".", name.rfind(b"/") + 1)] for name in names]
        return [key.decode("utf-8", "surrogateescape") for key in keys]

    @functools.cached_property
    def _text(self) -> str | None:
        """``names``, if they are ASCII."""
        return self.names.decode("ascii") if self.names.isascii() else None

    @functools.cached_property
    def _lengths(self) -> NDArray[np.int64]:
        """How many letters each of ``fields`` has."""
        return np.array([len(field) for field in self.fields], np.int64)

    def name(self, member: int) -> str:
        """Return the path of a member."""
        start = int(self.ends[member - 1]) if member else 0
        return self.names[start : int(self.ends[member])].decode("utf-8", "surrogateescape")

    def members(self, sample: int) -> range:
        """Return the members of a sample."""
        return range(int(self.firsts[sample]), int(self.firsts[sample + 1]))

    def begin(self, sample: int) -> int:
        """Return an offset from which on the archive begins with ``sample``, or with what is part of none."""
        return self._end_of(int(self.firsts[sample]) - 1)

    @property
    def end(self) -> int:
        """Offset behind the last member and its padding; 0 if there is none."""
        return self._end_of(len(self.offsets) - 1)

    def _end_of(self, member: int) -> int:
        if member < 0:
            return 0
        end = int(self.offsets[member]) + int(self.sizes[member])
        return -(-end // _BLOCK) * _BLOCK

    def same(self, other: MemberTable) -> bool:
        """Return whether the other table says the same."""
        return (
            self.names == other.names
            and np.array_equal(self.firsts, other.firsts)
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.sizes, other.sizes)
        )

    def dump(self) -> bytes:
        """Return the table as a file has it."""
        lines = [b"v1.2 %d" % len(self)]
        for sample in range(len(self)):
            members: list[bytes] = []
            for member in self.members(sample):
                name = self.names[int(self.ends[member - 1]) if member else 0 : int(self.ends[member])]
                base = name[name.rfind(b"/") + 1 :]
                field = base[base.index(b".") + 1 :]  # as it is spelled in the archive, as DALI wants it
                members.append(b"%s %d %d %s" % (field, self.offsets[member], self.sizes[member], name))
            lines.append(b" ".join(members))
        return b"\n".join(lines) + b"\n"


@final
class TableBuilder:
    """Puts a table together, member by member.

    Attributes:
        sayable: whether all names so far can be told in the format.
    """

    def __init__(self) -> None:
        self.sayable: bool = True
        self._firsts = array("q", [0])
        self._offsets = array("q")
        self._sizes = array("q")
        self._kinds = array("i")
        self._fields: dict[str, int] = {}
        self._names: list[bytes] = []

    def __len__(self) -> int:
        """Number of whole samples so far."""
        return len(self._firsts) - 1

    def add(self, name: str, field: str, offset: int, size: int) -> None:
        """Add a member to the sample at hand.

        Args:
            name: its path.
            field: the field, in lower case.
            offset: where its data begins.
            size: bytes of data.
        """
        if self.sayable and (_SPACE.search(name) or base_plus_ext(name)[1] != field or not field):
            self.sayable = False
        self._offsets.append(offset)
        self._sizes.append(size)
        self._kinds.append(self._fields.setdefault(field, len(self._fields)))
        self._names.append(name.encode("utf-8", "surrogateescape"))

    def end_sample(self) -> None:
        """Say that the sample at hand is over."""
        self._firsts.append(len(self._offsets))

    def table(self) -> MemberTable:
        """Return the table of the samples so far."""
        lengths = np.fromiter((len(name) for name in self._names), np.int64, len(self._names))
        return MemberTable(
            np.array(self._firsts, np.int64),
            np.array(self._offsets, np.int64),
            np.array(self._sizes, np.int64),
            np.array(self._kinds, np.int32),
            tuple(self._fields),
            b"".join(self._names),
            np.cumsum(lengths, dtype=np.int64),
        )


def count_in(head: bytes, source: str) -> tuple[int, bool]:
    """Return the number of samples that a table states, and whether it has names.

    Args:
        head: the beginning of the file, 64 bytes or more of it.
        source: its URL, for errors.

    Raises:
        StaleIndexError: this is no table.
    """
    match = _HEAD.fullmatch(head[:64].partition(b"\n")[0])
    if match is None:
        raise StaleIndexError(
            "this is no member table: it does not begin with 'v1.2' and a number; webds.build_index makes one",
            url=source, stage="index",
        )  # fmt: skip
    return int(match[2]), match[1] == b"v1.2"


def parse_table(data: bytes, source: str, *, size: int | None = None) -> MemberTable | None:
    """Return the table that a file holds.

    Args:
        data: the file. Memory is taken in proportion to it, whatever the numbers in it.
        source: its URL, for errors.
        size: bytes of the shard, where they are known.

    Returns:
        None for one that does not tell what the samples are: without names (``v1.1``), or with members that are part
        of no sample, such as those of ``__meta__``.

    Raises:
        StaleIndexError: this is no table, or it says what cannot be.
    """
    stated, named = count_in(data, source)
    if named and (columns := usual_columns(data, data.find(b"\n") + 1, stated)) is not None:
        return _within(MemberTable(*columns), size, source)
    lines = data.split(b"\n")
    del lines[0]
    if lines and not lines[-1]:
        del lines[-1]
    if len(lines) != stated:
        raise _damaged(f"it announces {stated} samples and has {len(lines)}", source)
    if not named:
        return None
    builder = TableBuilder()
    end = 0
    try:
        for number, line in enumerate(lines):
            end = _parse_line(builder, line, number, end, source)
    except _NoSampleError:
        return None
    return _within(builder.table(), size, source)


def _within(table: MemberTable, size: int | None, source: str) -> MemberTable:
    """Return the table, if the shard is large enough for it."""
    if size is not None and table.end > size:
        raise _damaged(f"it has members up to byte {table.end} of a shard of {size} bytes", source)
    return table


class _NoSampleError(Exception):
    """A member that is part of no sample."""


def _parse_line(builder: TableBuilder, line: bytes, number: int, end: int, source: str) -> int:
    words = line.decode("utf-8", "surrogateescape").split()
    if not words or len(words) % 4:
        raise _damaged(f"line {number + 2} does not have 'field offset size name' for each member", source)
    key: str | None = None
    fields: set[str] = set()
    for at in range(0, len(words), 4):
        written, offset_text, size_text, name = words[at : at + 4]
        offset, size = _number(offset_text, number, source), _number(size_text, number, source)
        if offset < end + _BLOCK or offset % _BLOCK:
            raise _damaged(f"line {number + 2} has a member at byte {offset}, where none can be", source)
        this, field = base_plus_ext(name)
        if this is None or field is None:
            raise _NoSampleError
        if field != written.lower() or field in fields or this != (key or this):
            raise _damaged(f"line {number + 2} has a member {name[:200]!r} that does not belong there", source)
        key = this
        fields.add(field)
        builder.add(name, field, offset, size)
        end = -(-(offset + size) // _BLOCK) * _BLOCK
    builder.end_sample()
    return end


def _number(text: str, number: int, source: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_OFFSET):
        raise _damaged(f"line {number + 2} has {text[:40]!r} in place of a number", source)
    return int(text)


def _damaged(what: str, source: str) -> StaleIndexError:
    return StaleIndexError(f"{what}: this member table is damaged; webds.build_index makes a new one",
                           url=source, stage="index")  # fmt: skip
