"""Line 21: a shard of 100,000 members takes no more memory at its end; a shuffle buffer is bounded in bytes."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from typing import Any, Final

import pytest
from typing_extensions import override

import webds

MEMBERS: Final = 100_000
SIZE: Final = 1024  # bytes of a member: 100 MB in all
MB: Final = 1 << 20

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="measures by /proc")


def _resident() -> int:
    """Return the memory that this process occupies, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Endless(io.RawIOBase):
    """A shard of two-member samples that is made while it is read: neither a disk nor memory holds it."""

    def __init__(self) -> None:
        self._blocks = self._make()
        self._rest = b""

    def _make(self) -> Iterator[bytes]:
        info = tarfile.TarInfo("00000000.a")
        info.size = SIZE
        template = info.tobuf(tarfile.USTAR_FORMAT)
        total = sum(template) - sum(template[148:156]) - sum(b"00000000.a") + 8 * 32
        data = bytes(SIZE)
        for number in range(MEMBERS // 2):
            for field in b"ab":
                name = b"%08d.%c" % (number, field)
                header = name + template[10:148] + b"%06o\0 " % (total + sum(name)) + template[156:]
                yield header + data
        yield bytes(1024)

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        data = self._rest or next(self._blocks, b"")
        count = min(len(view), len(data))
        view[:count] = data[:count]
        self._rest = data[count:]
        return count


def _open(url: str) -> io.BufferedReader:
    return io.BufferedReader(_Endless(), 1 << 16)


def _growth(builder: webds.DatasetBuilder[Any], expected: int) -> int:
    """Return by how much the memory grew from a tenth of the way to its end."""
    start = most = count = 0
    for _ in builder.build():
        count += 1
        if count == expected // 10:
            start = _resident()
        elif count % 1000 == 0 and start:
            most = max(most, _resident())
    assert count == expected
    assert start
    return max(most, _resident()) - start


CHAINS: dict[str, Any] = {
    "whole samples": lambda b: b,
    "one field": lambda b: b.to_tuple("b"),
    "stages": lambda b: b.shuffle(100).map_dict(a=len).to_tuple("a", "b"),
}


@needs_proc
@pytest.mark.parametrize("chain", CHAINS)
def test_21_memory_stays_flat(chain: str) -> None:
    builder = CHAINS[chain](webds.DatasetBuilder(["one"], opener=_open))
    # What grows is the list of the keys that were seen, which finds those that come back: 100 bytes each.
    assert _growth(builder, MEMBERS // 2) < 16 * MB


@needs_proc
def test_21_a_shuffle_buffer_is_bounded_in_bytes() -> None:
    builder = webds.DatasetBuilder(["one"], opener=_open)
    bounded = builder.shuffle(MEMBERS, max_bytes=8 * MB, initial=10)
    assert _growth(bounded, MEMBERS // 2) < (16 + 8 + 4) * MB


def test_21_the_bound_counts_what_is_held() -> None:
    held = most = 0

    def come(n: int) -> bytearray:
        nonlocal held, most
        held += 1000 * (n % 7)
        most = max(most, held)
        return bytearray(1000 * (n % 7))

    for value in (
        webds.DatasetBuilder(webds.MemorySource(range(2000))).map(come).shuffle(10**6, max_bytes=50_000).build()
    ):
        held -= len(value)
    assert 30_000 < most <= 50_000 + 6000
