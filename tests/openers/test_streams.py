from __future__ import annotations

import io
import itertools
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.errors import OpenError
from webds.openers.streams import Drain, DrainWriter, Feed, FeedReader, attempt, open_error
from webds.testing.suite import shown


class Chunks(Feed):
    """Delivers chunks, then ends or fails."""

    def __init__(self, *chunks: bytes, failure: str | None = None, at_release: str | None = None) -> None:
        self.chunks = list(chunks)
        self.failure = failure
        self.at_release = at_release
        self.released = 0
        self.unread: bool | None = None

    @override
    def fill(self, buffer: memoryview) -> int:
        if not self.chunks:
            if self.failure is not None:
                raise OpenError(self.failure)
            return 0
        part = self.chunks.pop(0)
        number = min(len(part), len(buffer))
        buffer[:number] = part[:number]
        if number < len(part):
            self.chunks.insert(0, part[number:])
        return number

    @override
    def release(self, *, unread: bool) -> None:
        self.released += 1
        self.unread = unread
        if self.at_release is not None:
            raise OpenError(self.at_release)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40)), sizes=st.lists(st.integers(1, 50)), buffer=st.integers(1, 64)
)
def test_any_reads_of_any_chunks_give_the_bytes_and_then_the_failure(
    chunks: list[bytes], sizes: list[int], buffer: int
) -> None:
    whole = b"".join(chunks)
    for failure in (None, "broke off"):
        stream = FeedReader(Chunks(*chunks, failure=failure), buffer)
        parts: list[bytes] = []
        raised = False
        for size in itertools.chain(sizes, itertools.repeat(7)):
            try:
                part = stream.read(size)
            except OpenError:
                raised = True
                break
            if not part:
                break
            parts.append(part)
        stream.close()
        assert b"".join(parts) == whole
        assert raised == (failure is not None)


READ_ALL: list[Callable[[FeedReader], object]] = [
    lambda stream: stream.read(),
    lambda stream: stream.read(None),
    lambda stream: stream.readlines(),
    list,
    lambda stream: stream.readline(),
    lambda stream: [stream.peek(), stream.read(3), stream.peek()],
    lambda stream: [stream.read1(), stream.read1()],
    lambda stream: [stream.readinto(bytearray(8)), stream.readinto(bytearray(8))],
    lambda stream: [stream.readinto1(bytearray(8)), stream.readinto1(bytearray(8))],
    lambda stream: io.TextIOWrapper(stream).read(),
]


@pytest.mark.parametrize("read", READ_ALL)
def test_no_way_of_reading_takes_a_failure_for_the_end(read: Callable[[FeedReader], object]) -> None:
    with pytest.raises(OpenError, match="broke off"):
        read(FeedReader(Chunks(b"abc", failure="broke off")))
    read(FeedReader(Chunks(b"abc")))


def test_reads_of_nothing_do_not_raise() -> None:
    stream = FeedReader(Chunks(b"a\nbc", failure="broke off"))
    assert stream.readline() == b"a\n"
    assert stream.read(2) == b"bc"
    assert stream.read(0) == b""
    assert stream.readline(0) == b""
    assert stream.readinto(bytearray()) == 0
    with pytest.raises(OpenError):
        stream.read(1)
    with pytest.raises(OpenError):
        stream.read(1)
    stream.close()


def test_a_failure_that_no_read_has_met_is_raised_by_close() -> None:
    feed = Chunks(b"abc", failure="broke off")
    stream = FeedReader(feed)
    assert stream.read(10) == b"abc"
    with pytest.raises(OpenError, match="broke off"):
        stream.close()
    assert stream.closed
    stream.close()
    assert feed.released == 1


def test_close_tells_the_feed_whether_bytes_are_left_unread_and_asks_for_none() -> None:
    for size, unread in ((2, True), (3, False), (0, False)):
        feed = Chunks(b"abc", b"def")
        stream = FeedReader(feed)
        stream.read(size)
        stream.close()
        assert feed.unread is unread
        assert feed.chunks == ([b"def"] if size else [b"abc", b"def"])


def test_a_failure_of_the_release_is_raised_by_close_and_the_stream_is_closed() -> None:
    stream = FeedReader(Chunks(b"abc", at_release="status 3"))
    assert stream.read(3) == b"abc"
    with pytest.raises(OpenError, match="status 3"):
        stream.close()
    assert stream.closed
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_a_length_that_somebody_made_up_takes_no_memory() -> None:
    stream = FeedReader(Chunks(b"abc", b"def", failure="broke off"))
    assert stream.read(1 << 62) == b"abcdef"
    with pytest.raises(OpenError):
        stream.read(1 << 62)


def test_without_a_seek_of_the_feed_a_stream_says_that_it_cannot() -> None:
    stream = FeedReader(Chunks(b"abc"))
    assert not stream.seekable()
    with pytest.raises(io.UnsupportedOperation):
        stream.seek(1)


def test_the_buffer_size_is_how_much_is_asked_for() -> None:
    feed = Chunks(b"x" * 100)
    FeedReader(feed, 30).read(1)
    assert feed.chunks == [b"x" * 70]
    whole = Chunks(b"x" * 100)
    FeedReader(whole, 0).read(1)
    assert whole.chunks == []


def test_an_open_stream_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(FeedReader(Chunks()))


class Bucket(Drain):
    def __init__(self, fails: bool = False) -> None:
        self.taken = b""
        self.ends: list[str] = []
        self.fails = fails

    @override
    def take(self, data: memoryview) -> int:
        if self.fails:
            raise OpenError("full")
        self.taken += data[:5]
        return len(data[:5])

    @override
    def finish(self) -> None:
        self.ends.append("finish")

    @override
    def abort(self) -> None:
        self.ends.append("abort")


def test_a_writer_hands_on_everything_and_finishes_once() -> None:
    bucket = Bucket()
    with DrainWriter(bucket, 8) as stream:
        for _ in range(10):
            stream.write(b"0123456789abc")
        assert 100 < len(bucket.taken) < 130
    stream.close()
    assert bucket.taken == b"0123456789abc" * 10
    assert bucket.ends == ["finish"]


def test_an_exception_that_leaves_the_block_aborts() -> None:
    bucket = Bucket()
    stream = DrainWriter(bucket)

    def write_half() -> None:
        with stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    stream.abort()
    assert (bucket.taken, bucket.ends) == (b"", ["abort"])


def test_a_writer_that_cannot_write_says_so_and_gives_everything_back() -> None:
    bucket = Bucket(fails=True)
    stream = DrainWriter(bucket)
    stream.write(b"data")
    with pytest.raises(OpenError, match="full"):
        stream.close()
    assert stream.closed
    assert bucket.ends == ["finish"]


def test_what_another_library_raised_is_shown_without_its_secrets() -> None:
    signature, password = "hu", "hunter"
    signature, password = signature + "sh", password + "2"  # not as such in the lines of a traceback
    url = f"https://host/x.tar?sig={signature}"

    def fail() -> None:
        raise RuntimeError(f"GET {url} with {password} failed")

    with pytest.raises(OpenError) as caught:
        attempt(fail, "cannot open", url, [password])
    assert signature not in shown(caught.value)
    assert password not in shown(caught.value)
    assert caught.value.__context__ is None
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_error_of_the_system_keeps_its_kind_and_loses_its_file_name() -> None:
    error = open_error("cannot open", "x", FileNotFoundError(2, "No such file or directory", "x?token=hush"))
    assert isinstance(error.__cause__, FileNotFoundError)
    assert "hush" not in shown(error)
    assert isinstance(open_error("late", "x", TimeoutError("slow")).__cause__, TimeoutError)
