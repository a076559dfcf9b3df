"""Archives of large members in files that can be read anywhere: headers found without a touch to what is between."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Callable
from typing import Final, final

import numpy as np

from webds.errors import TarFormatError
from webds.tar.header import BLOCK
from webds.tar.plain import FILE, SIZE_WEIGHTS, Found, Plain, verify, walk

__all__ = ["Spacious"]

_GLANCE: Final = 5 * BLOCK
"""Bytes read at a header: room for two small members before the header of the next large one."""

_LEARN: Final = 24
"""Members after which it is known whether they keep to a pattern."""

_MOST: Final = 1 << 10
_SPAN: Final = 1 << 25
"""Glances, and bytes, at most in which members are looked for at once: the first is waited for meanwhile."""

_FEW: Final = 32
"""Repetitions of a pattern below which it does not pay to build on it."""


_AHEAD: Final = 1 << 24
_AHEAD_STEP: Final = 1 << 20
"""Bytes that the operating system is told of before they are due, and of how many at once: it heeds no more."""

_FAR: Final = 1 << 18
"""Bytes between headers from which on it is quicker to fetch just these, from a disk as well."""


@final
class Spacious:
    """Finds the plain members of one archive.

    Samples of a shard are often stored alike: a large member, then the same small ones, which take equally many
    blocks each. Where that is so, one read and one number for each large member lead through the archive. What was
    assumed on the way is verified before anything is delivered.

    Args:
        read_at: from a number of bytes and a position in the archive to what lies there.
        end: where the archive ends.
        expect: called with positions and numbers of bytes that are worth having in memory: an operating system
            that sees no more than a few blocks read here and there would fetch each when it is asked for.
    """

    def __init__(
        self, read_at: Callable[[int, int], bytes], end: int, expect: Callable[[int, int], object] | None = None
    ) -> None:
        self._read_at = read_at
        self._end = end
        self._expect = expect
        self._expected = 0
        self._expect_at = 0
        self._pattern: list[int] | None = None
        self._repeats = True

    def members(self, start: int) -> Plain:
        """Return plain members from ``start``, where a header is due."""
        sight = _Sight(self._read_at)
        found = None if self._pattern is None else self._repeat(sight, start, self._pattern)
        if found is None:
            sight = _Sight(self._read_at)
            self._expect_from(start)
            found = walk(b"", start, self._end, sight.look, _LEARN if self._repeats else _MOST)
            found = self._learn(found)
        good, names = verify(found)
        begins = found.begins[: good + 1]
        contents = functools.partial(map, sight.content)
        return Plain(names, begins, found.starts[:good], found.sizes[:good], found.begins[-1], sight.content, contents)

    def _expect_from(self, at: int) -> None:
        """Have the operating system fetch all that lies ahead; just a part of it would not come sooner."""
        if self._expect is None:
            self._expect_at = self._end
            return
        self._expected = max(self._expected, at)
        while self._expected < at + _AHEAD:
            self._expect(self._expected, _AHEAD_STEP)
            self._expected += _AHEAD_STEP
        self._expect_at = self._expected - _AHEAD + _AHEAD_STEP

    def _learn(self, found: Found) -> Found:
        """Look for a pattern, and return the members up to where it begins anew; all, if there is none."""
        self._pattern = None
        if not self._repeats or found.rows is not None or len(found.sizes) < _LEARN:
            return found
        large = [i + 1 for i, size in enumerate(found.sizes) if size > _GLANCE]
        patterns = [[at - found.begins[a] for at in found.begins[a:b]] for a, b in itertools.pairwise(large)]
        if len(patterns) < 2 or any(pattern != patterns[0] for pattern in patterns) or patterns[0][-1] > _GLANCE:
            return found
        self._pattern = patterns[0]
        if found.begins[large[1]] - found.begins[large[0]] > _FAR:
            self._expect = None
        end = large[-1]
        return Found(found.blocks[:end], None, found.begins[: end + 1], found.starts[:end], found.sizes[:end])

    def _repeat(self, sight: _Sight, start: int, pattern: list[int]) -> Found | None:
        """Find members that go on with the pattern: where headers are, counted from the end of a large member.

        Returns:
            None where they do not.
        """
        read_at, last = self._read_at, pattern[-1]
        digits, width = slice(last + 124, last + 135), last + BLOCK
        bases, buffers = sight.bases, sight.buffers
        at, end = start, min(self._end, start + _SPAN)
        while at < end and len(bases) < _MOST:
            if at >= self._expect_at:
                self._expect_from(at)
            try:
                buffer = read_at(width, at)
                at_next = at + width + (int(buffer[digits], 8) + (BLOCK - 1) & -BLOCK)
            except ValueError:
                break
            except OSError:  # it comes again when all before it has been delivered
                if bases:
                    break
                raise
            bases.append(at)
            buffers.append(buffer)
            if at_next <= at:
                break
            at = at_next
        if bases and (at > self._end or len(buffers[-1]) < width):
            at = bases.pop()
            buffers.pop()
        blocks = np.frombuffer(b"".join(buffers), np.uint8).reshape(-1, width // BLOCK, BLOCK)
        heads = blocks[:, [offset // BLOCK for offset in pattern]].reshape(-1, BLOCK)
        sizes = (heads[:, 124:135] - np.uint8(48)).astype(np.int64) @ SIZE_WEIGHTS
        begins = (np.array(bases, np.int64)[:, None] + pattern).ravel()
        fits = (heads[:, 156] == FILE) & (begins + BLOCK + (sizes + (BLOCK - 1) & -BLOCK) == [*begins[1:], at])
        count = (len(fits) if fits.all() else int(fits.argmin())) // len(pattern) * len(pattern)
        if count < _FEW * len(pattern):
            self._pattern = None
            self._repeats = at >= self._end  # at the end there is nothing to be learned from
            return None
        if count < len(fits):
            self._pattern = None  # to be learned anew
        starts: list[int] = (begins[:count] + BLOCK).tolist()
        ends: list[int] = [*begins.tolist(), at][: count + 1]
        return Found(heads[:count], None, ends, starts, sizes[:count].tolist())


@final
class _Sight:
    """What has been seen of an archive.

    Attributes:
        bases: where something was read, in ascending order.
        buffers: what was read there.
    """

    def __init__(self, read_at: Callable[[int, int], bytes]) -> None:
        self.bases: list[int] = []
        self.buffers: list[bytes] = []
        self._read_at = read_at

    def look(self, at: int) -> bytes:
        """Return a header, what is behind it, and the header behind that, if it is near."""
        try:
            buffer = self._read_at(_GLANCE, at)
        except OSError:  # it comes again when all before it has been delivered
            if self.bases:
                return b""
            raise
        self.bases.append(at)
        self.buffers.append(buffer)
        return buffer

    def content(self, start: int, size: int) -> bytes:
        """Return the ``size`` bytes from ``start`` on."""
        index = bisect.bisect_right(self.bases, start) - 1
        buffer, here = self.buffers[index], start - self.bases[index]
        if here + size <= len(buffer):
            return buffer[here : here + size]
        data = self._read_at(size, start)
        return data if len(data) == size else self._read_on(data, start, size)

    def _read_on(self, data: bytes, start: int, size: int) -> bytes:
        """Return all of it: an operating system may return less than asked for."""
        parts = [data]
        while (missing := size - sum(map(len, parts))) > 0:
            if not (data := self._read_at(missing, start + size - missing)):
                raise TarFormatError(
                    f"the archive ends inside a member, after {size - missing} of {size} bytes: it was cut short",
                    offset=start + size - missing,
                )
            parts.append(data)
        return b"".join(parts)
