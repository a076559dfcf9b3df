"""Members of a shard read by a table: neighbours at once, and each compared with the header in front of it."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import NDArray

from webds.abc import Opener
from webds.errors import OpenError, TarFormatError, annotate
from webds.index import MemberTable
from webds.sources.tables import stale
from webds.tar.header import BLOCK, decode_header
from webds.tar.plain import SIZE_WEIGHTS, have_plain_numbers

__all__ = ["Ranges", "bounded", "open_ranges"]

_TOGETHER: Final = 256
"""Samples that are looked at together for what lies side by side."""

_TOGETHER_BYTES: Final = 1 << 24
_GAP: Final = 1 << 14
_REMOTE_GAP: Final = 1 << 18
"""Bytes that are read for nothing rather than that a further read is made."""

_RUN: Final = 1 << 26
"""Bytes that are read at once, unless a single member has more."""

_SHORT: Final = 100
_LARGE: Final = 8**11
"""Names and sizes that do not fit into a header may be told elsewhere."""

_FEW: Final = 8
"""Fewer headers are looked at one by one."""

_Reads: TypeAlias = Callable[[Iterable[int], Iterable[int]], Iterator[bytes]]


def bounded(ordinals: Iterator[int], table: MemberTable) -> Iterator[list[int]]:
    """Yield ordinals in their order, as many together as may be read together. Errors come in their place."""
    is_over = False
    while not is_over:
        together: list[int] = []
        failed: IndexError | None = None
        try:
            together.extend(itertools.islice(ordinals, _TOGETHER))  # those before an error stay
            is_over = len(together) < _TOGETHER
        except IndexError as error:
            failed = error
        yield from _in_parts(together, table)
        if failed is not None:
            raise failed


def _in_parts(ordinals: list[int], table: MemberTable) -> Iterator[list[int]]:
    """Yield ordinals in parts whose samples have few enough bytes together."""
    if not ordinals or not len(table):
        yield from [ordinals] if ordinals else []
        return
    known = np.minimum(ordinals, len(table) - 1)
    last = table.firsts[known + 1] - 1
    sizes = np.cumsum(table.offsets[last] + table.sizes[last] - table.offsets[table.firsts[known]])
    start = 0
    while start < len(ordinals):
        before = int(sizes[start - 1]) if start else 0
        end = int(np.searchsorted(sizes, before + _TOGETHER_BYTES)) + 1
        yield ordinals[start:end]
        start = end


@final
@attrs.frozen
class Ranges:
    """A shard that is open for reads from anywhere.

    Attributes:
        shard: its URL.
        reads: from offsets, and numbers of bytes, to what is there, one after the other.
        gap: over so many bytes it is read on, rather than anew.
    """

    shard: str
    reads: _Reads
    gap: int

    def fetch(self, table: MemberTable, members: NDArray[np.int64]) -> list[bytes]:
        """Return the data of members, which are given in their order, each once."""
        begins, sizes = table.offsets[members], table.sizes[members]
        firsts, lengths, counts = _runs(begins, sizes, self.gap)
        within = begins - np.repeat(firsts, counts)
        bounds = zip(within.tolist(), (within + sizes).tolist(), strict=True)
        heads: list[bytes] = []
        contents: list[bytes] = []
        runs = self.reads(firsts.tolist(), lengths.tolist())
        for run, count in zip(runs, counts.tolist(), strict=True):
            for begin, end in itertools.islice(bounds, count):
                heads.append(run[begin - BLOCK : begin])
                contents.append(run[begin:end])
        for i in _unusual(table, members, sizes, heads):
            self._verify(table, int(members[i]), heads[i])
        if sum(map(len, contents)) < sizes.sum():
            short = next(i for i, content in enumerate(contents) if len(content) < sizes[i])
            name = table.name(int(members[short]))
            raise stale(f"it ends inside {name!r}", self.shard, field=name)
        return contents

    def _verify(self, table: MemberTable, member: int, block: bytes) -> None:
        """Compare a member with the header in front of its data. Names that do not fit there whole are not compared."""
        name, size = table.name(member), int(table.sizes[member])
        try:
            header = decode_header(block.ljust(BLOCK, b"\0"))
        except TarFormatError as error:
            raise stale(f"the header of {name!r} is not where it should be", self.shard, field=name) from error
        short = name.isascii() and len(name) <= _SHORT
        if (header.size != size and size < _LARGE) or (short and header.name != name):
            raise stale(
                f"there is {header.name!r} of {header.size} bytes in place of {name!r} of {size}",
                self.shard, field=name,
            )  # fmt: skip


def _runs(
    begins: NDArray[np.int64], sizes: NDArray[np.int64], gap: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return of each read where it begins, how many bytes it has, and how many members, with their headers."""
    ends = begins + sizes
    bounds = np.concatenate([[0], np.flatnonzero(begins[1:] - BLOCK - ends[:-1] > gap) + 1, [len(begins)]])
    if ends[-1] - begins[0] > _RUN:  # else no run can be too long
        short: list[int] = [0]
        for lo, hi in itertools.pairwise(bounds.tolist()):
            while ends[hi - 1] - begins[lo] > _RUN and lo + 1 < hi:
                lo = max(lo + 1, int(np.searchsorted(ends[:hi], begins[lo] + _RUN, "right")))
                short.append(lo)
            short.append(hi)
        bounds = np.array(short)
    firsts = begins[bounds[:-1]] - BLOCK
    return firsts, ends[bounds[1:] - 1] - firsts, np.diff(bounds)


def _unusual(
    table: MemberTable, members: NDArray[np.int64], sizes: NDArray[np.int64], heads: Sequence[bytes]
) -> Iterable[int]:
    """Return which of the headers are not, to the letter, as nearly all writers write what the table says."""
    joined = b"".join(heads)
    if len(heads) < _FEW or len(joined) < len(heads) * BLOCK:
        return range(len(heads))
    blocks = np.frombuffer(joined, np.uint8).reshape(-1, BLOCK)
    good = have_plain_numbers(blocks) & (blocks[:, 345] == 0)
    good &= (blocks[:, 124:135] - np.uint8(ord("0"))).astype(np.int64) @ SIZE_WEIGHTS == sizes
    starts = np.where(members > 0, table.ends[members - 1], 0)
    lengths = table.ends[members] - starts
    letters = np.frombuffer(table.names, np.uint8)
    for length in set(lengths.tolist()):
        rows = np.flatnonzero(lengths == length)
        if length < _SHORT:
            expected = letters[starts[rows, None] + np.arange(length)]
            good[rows] &= (blocks[rows, :length] == expected).all(1) & (blocks[rows, length] == 0)
        else:
            good[rows] = False
    unusual: list[int] = np.flatnonzero(~good).tolist()
    return unusual


@contextlib.contextmanager
def open_ranges(opener: Opener, url: str) -> Generator[Ranges]:
    """Open a shard for reads from anywhere."""
    try:
        stream = opener.open_local(url)
    except Exception as error:
        annotate(error, url=url, stage="open")
        raise
    if stream is None:
        yield Ranges(url, functools.partial(_read_ranges, opener, url), _REMOTE_GAP)
        return
    with stream:
        if hasattr(os, "pread"):
            size = os.fstat(stream.fileno()).st_size
            yield Ranges(url, functools.partial(_preads, stream.fileno(), url, size), _GAP)
            return
    yield Ranges(url, functools.partial(_read_ranges, opener, url), _GAP)


def _read_ranges(opener: Opener, url: str, starts: Iterable[int], lengths: Iterable[int]) -> Generator[bytes]:
    try:
        yield from map(opener.read_range, itertools.repeat(url), starts, lengths)
    except Exception as error:
        annotate(error, url=url, stage="read")
        raise


def _preads(descriptor: int, url: str, size: int, starts: Iterable[int], lengths: Iterable[int]) -> Generator[bytes]:
    try:
        for start, length in zip(starts, lengths, strict=True):
            if start + length > size:  # before memory is taken for it
                length = max(0, size - start)
            data = os.pread(descriptor, length, start)
            while len(data) < length and (more := os.pread(descriptor, length - len(data), start + len(data))):
                data += more
            yield data
    except OSError as error:
        raise OpenError(f"cannot read: {error}", url=url, stage="read") from error
