from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.tar.blocks import MAX_REQUEST, PIECE, Blocks


class Dribble:
    """A stream with nothing but ``read``, which returns fewer bytes than asked for."""

    def __init__(self, data: bytes, seed: int = 0, most: int = 1000) -> None:
        self._data = io.BytesIO(data)
        self._random = random.Random(seed)
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(self._random.randint(1, min(self._most, size)))


class Counting(io.BytesIO):
    """A seekable stream that counts the bytes it was made to deliver."""

    delivered = 0
    largest = 0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.delivered += len(data)
        self.largest = max(self.largest, size or 0)
        return data

    read1 = read


STEPS = st.lists(st.tuples(st.sampled_from(["take", "skip", "peek"]), st.integers(0, 3000)), max_size=20)


@given(STEPS, st.integers(0, 10_000), st.integers(0, 100), st.booleans())
def test_steps_walk_through_the_stream_whatever_its_reads_return(
    steps: list[tuple[str, int]], length: int, start: int, seekable: bool
) -> None:
    data = random.Random(length).randbytes(length)
    stream = io.BytesIO(bytes(start) + data)
    stream.seek(start)
    blocks = Blocks(stream if seekable else Dribble(data, length))
    at = 0
    for step, size in steps:
        expected = data[at : at + size]
        if step == "skip":
            assert blocks.skip(size) == len(expected)
        elif step == "peek":
            assert blocks.peek(size) == expected
            expected = b""
        else:
            assert blocks.take(size) == expected
        at += len(expected)
        assert blocks.offset == at
    rest = blocks.unread()
    parts: list[bytes] = []
    while part := rest.read(700):
        assert len(part) <= 700
        parts.append(part)
    assert b"".join(parts) == data[at:]


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, 3 * PIECE, MAX_REQUEST + 5])
def test_large_pieces_arrive_whole(size: int) -> None:
    data = os.urandom(size)
    blocks = Blocks(Dribble(b"head" + data + b"tail", most=1 << 30))
    assert blocks.take(4) == b"head"
    assert blocks.take(size) == data
    assert blocks.take(10) == b"tail"


def test_long_stretches_are_skipped_by_seeking() -> None:
    stream = Counting(bytes(50 * PIECE) + b"end")
    blocks = Blocks(stream)
    assert blocks.skip(50 * PIECE) == 50 * PIECE
    assert blocks.take(3) == b"end"
    assert stream.delivered < PIECE


@pytest.mark.parametrize("beyond", [1, 512, 10 * PIECE, 1 << 60])
def test_skipping_beyond_the_end_of_a_file_tells_how_much_there_was(tmp_path: Path, beyond: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5 * PIECE))
    with path.open("rb") as stream:
        blocks = Blocks(stream)
        assert blocks.take(100) == bytes(100)
        assert blocks.skip(5 * PIECE - 100 + beyond) == 5 * PIECE - 100
        assert blocks.offset == 5 * PIECE
        assert blocks.take(1) == b""


def test_no_memory_is_taken_for_bytes_that_are_not_there() -> None:
    stream = Counting(b"abc")
    assert Blocks(stream).take(1 << 50) == b"abc"
    assert stream.largest <= MAX_REQUEST


def test_an_error_of_the_source_of_a_buffered_stream_comes_after_all_it_delivered() -> None:
    parts = [b"a" * 600, b"b" * 600]

    class Failing(io.RawIOBase):
        @override
        def readable(self) -> bool:
            return True

        @override
        def readinto(self, buffer: object, /) -> int:
            if not parts:
                raise ConnectionResetError("gone")
            assert isinstance(buffer, memoryview)
            part = parts.pop(0)
            buffer[: len(part)] = part
            return len(part)

    with io.BufferedReader(Failing()) as stream:
        blocks = Blocks(stream)
        assert blocks.take(1200) == b"a" * 600 + b"b" * 600
        with pytest.raises(ConnectionResetError):
            blocks.take(1)


def test_a_stream_that_says_it_can_seek_and_cannot_is_read_through() -> None:
    class Pretender(Dribble):
        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            raise io.UnsupportedOperation("tell")

    assert Blocks(Pretender(bytes(2 * PIECE) + b"end", most=PIECE)).skip(2 * PIECE) == 2 * PIECE


def test_a_stream_that_cannot_find_its_end_is_read_through() -> None:
    class Endless(Dribble):
        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return 0

        def seek(self, offset: int, whence: int = 0) -> int:
            raise io.UnsupportedOperation("seek from the end")

    blocks = Blocks(Endless(bytes(2 * PIECE) + b"end", most=PIECE))
    assert blocks.skip(2 * PIECE) == 2 * PIECE
    assert blocks.take(3) == b"end"
