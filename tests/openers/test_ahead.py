from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, cast

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from typing_extensions import override
from webserver import Exchange, WebServer, serving

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import FileOpener, HttpOpener, PipeOpener
from webds.openers.ahead import Prefetch, ReadAhead
from webds.testing.suite import open_files, settled


class Failing(io.BytesIO):
    """Some bytes, and then perhaps an exception. It counts what was taken of it and not closed."""

    def __init__(self, content: bytes, failure: Exception | None, size: int) -> None:
        super().__init__(content)
        self._failure = failure
        self._size = size
        self.taken = 0

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(min(self._size, self._size if size is None or size < 0 else size))
        if not data and self._failure is not None:
            raise self._failure
        self.taken += len(data)
        return data


@attrs.frozen
class Shards(Opener):
    """Streams of what a table says: bytes, and an exception at their end; an exception alone is of opening."""

    table: dict[str, tuple[bytes | None, Exception | None]]
    size_of_reads: int = 1 << 20
    opened: dict[str, Failing] = attrs.field(factory=dict[str, Failing])

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        content, failure = self.table[url]
        if content is None:
            assert failure is not None
            raise failure
        self.opened[url] = Failing(content, failure, self.size_of_reads)
        return cast("BinaryIO", self.opened[url])


def ahead(opener: Opener, shards: Sequence[str], number: int = 2, max_bytes: int = 1 << 20) -> ReadAhead:
    return Prefetch(number, max_bytes)(opener, shards)


def running() -> int:
    return sum(thread.name == "webds-prefetch" for thread in threading.enumerate())


def events(
    open_: Callable[[str], BinaryIO], shards: Sequence[str], size: int, stop: int | None
) -> list[tuple[bytes, object]]:
    """Return what a reader meets of each shard: its bytes, and then its end (None), an error, or where it stopped."""
    met: list[tuple[bytes, object]] = []
    reads = 0
    for shard in shards:
        data = b""
        try:
            with open_(shard) as stream:
                while part := stream.read(size):
                    data += part
                    reads += 1
                    if reads == stop:
                        return [*met, (data, "stopped")]
        except Exception as error:
            met.append((data, error))
        else:
            met.append((data, None))
    return met


FAILURES = st.sampled_from([None, OpenError("broken", url="x"), LookupError("of my own")])
CONTENTS = st.tuples(st.integers(0, 3000), FAILURES, st.booleans())


@settings(max_examples=120, deadline=None)
@given(
    contents=st.lists(CONTENTS, max_size=7),
    number=st.integers(1, 4),
    limit=st.integers(10, 5000),
    size=st.integers(1, 2000),
    at_once=st.integers(1, 2000),
    stop=st.none() | st.integers(1, 40),
)
def test_what_a_reader_meets_is_what_it_meets_without(
    contents: list[tuple[int, Exception | None, bool]],
    number: int,
    limit: int,
    size: int,
    at_once: int,
    stop: int | None,
) -> None:
    table: dict[str, tuple[bytes | None, Exception | None]] = {}
    for n, (length, failure, opens) in enumerate(contents):
        table[f"s{n}"] = (bytes(i * 7 + n & 255 for i in range(length)) if opens or failure is None else None, failure)
    opener = Shards(table, at_once)
    with ahead(opener, list(table), number, limit) as early:
        found = events(early.open, list(table), size, stop)
    whole = events(Shards(table, at_once).open, list(table), size, None)
    if found and found[-1][1] == "stopped":
        data, _ = found.pop()
        assert whole[len(found)][0].startswith(data)
        whole = whole[: len(found)]
    assert found == whole
    assert running() == 0
    assert all(stream.closed for stream in opener.opened.values())


def test_it_reads_ahead_within_its_bytes_and_no_further(tmp_path: Path) -> None:
    table: dict[str, tuple[bytes | None, Exception | None]] = {f"s{n}": (bytes(10_000), None) for n in range(5)}
    opener = Shards(table)
    with ahead(opener, list(table), 2, 3000) as early:
        with early.open("s0") as stream:
            assert settled(lambda: [s.taken for s in opener.opened.values()] == [1000] * 3, 10)
            assert set(opener.opened) == {"s0", "s1", "s2"}
            assert len(stream.read(500)) == 500
            assert opener.opened["s0"].taken == 1000, "the block that the reader was given counts until it is used up"
            assert len(stream.read(1)) == 1
            assert settled(lambda: opener.opened["s0"].taken == 1500, 10)
        early.open("s1").close()
        assert settled(lambda: set(opener.opened) == {"s0", "s1", "s2", "s3"}, 10)


def test_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(3)

    @attrs.frozen
    class Slow(Opener):
        @override
        def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
            together.wait(10)  # until all are being opened
            return cast("BinaryIO", io.BytesIO(url.encode()))

    with ahead(Slow(), ["a", "b", "c"], 2) as early:
        assert early.open("a").read() == b"a"


def test_shards_that_are_not_opened_are_passed_over() -> None:
    opener = Shards({name: (name.encode(), None) for name in "abcdefg"})
    with ahead(opener, "abcdefg", 1) as early:
        assert [early.open(name).read() for name in "aeg"] == [b"a", b"e", b"g"]
        with pytest.raises(OpenError, match="none of those to come"):
            early.open("a")
    assert running() == 0


def test_a_shard_may_come_more_than_once() -> None:
    with ahead(Shards({"a": (b"data", None)}), ["a", "a", "a"]) as early:
        assert [early.open("a").read() for _ in range(3)] == [b"data"] * 3


def test_a_plain_local_file_is_handed_on(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in "abc"]
    for path in paths:
        Path(path).write_bytes(path.encode())
    before = open_files()
    with ahead(FileOpener(), paths) as early:
        with early.open(paths[0]) as stream:
            assert type(stream) is io.BufferedReader
            assert stream.seekable()
            assert stream.read() == paths[0].encode()
        assert settled(lambda: open_files() == before + 2, 10), "the next ones are open"
    assert open_files() == before
    with ahead(FileOpener(), [str(tmp_path / "none")]) as early, pytest.raises(OpenError, match="cannot open"):
        early.open(str(tmp_path / "none"))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def stalls(exchange: Exchange) -> None:
    exchange.reply(bytes(300_000), Content_Length="9000000")
    exchange.wfile.flush()
    exchange.rfile.read(1)  # until the client goes


def test_a_server_that_stalls_holds_up_no_close(web: WebServer) -> None:
    """The time-out of the opener is far beyond that of this test."""
    web.routes["/x"] = stalls
    before = open_files()
    for _ in range(20):
        with ahead(HttpOpener(timeout=3600), [web.url("/x")] * 3) as early:
            stream = early.open(web.url("/x"))
            assert settled(lambda: len(web.asked) >= 3, 10)
            stream.close()
        web.asked.clear()
        assert running() == 0
    assert settled(lambda: open_files() <= before + 3, 10)


@pytest.mark.parametrize("ignores", ["", "trap '' TERM; "])
def test_a_command_that_stalls_holds_up_no_close_and_is_ended(tmp_path: Path, ignores: str) -> None:
    command = f"pipe:{ignores}echo $$ >> {tmp_path}/pids; echo data; sleep 3600"
    with ahead(PipeOpener(), [command] * 3) as early:
        assert early.open(command).read(5) == b"data\n"
        assert settled(lambda: len((tmp_path / "pids").read_text().split()) == 3, 10)
    assert settled(lambda: running() == 0, 10)
    for pid in (tmp_path / "pids").read_text().split():
        assert not os.path.exists(f"/proc/{pid}")


def test_closing_a_stream_ends_a_read_of_another_thread(web: WebServer) -> None:
    web.routes["/x"] = stalls
    ended = threading.Event()
    with ahead(HttpOpener(timeout=3600), [web.url("/x")], max_bytes=1 << 24) as early:
        stream = early.open(web.url("/x"))
        assert len(stream.read(200_000)) == 200_000, "the first bytes do not wait for many"

        def wait() -> None:
            with contextlib.suppress(OpenError):
                stream.read(1)
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        stream.close()
        assert ended.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_can_close_and_disturbs_nobody(web: WebServer) -> None:
    content = bytes(range(256)) * 30_000
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        exchange.reply(content[:3_000_000], Content_Length=str(len(content)))
        go_on.wait(30)
        exchange.wfile.write(content[3_000_000:])

    web.routes["/x"] = slowly
    with ahead(HttpOpener(timeout=10), [web.url("/x")] * 2) as early:
        stream = early.open(web.url("/x"))
        first = stream.read(100)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                while stream.read(1 << 20):
                    pass
            except OpenError:
                stream.close()
                early.__exit__(None, None, None)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        go_on.set()
        assert first + stream.read() == content


def test_what_is_to_be_read_ahead_pickles_and_is_checked() -> None:
    prefetch = Prefetch(2, 1000)
    assert pickle.loads(pickle.dumps(prefetch)) == prefetch
    with pytest.raises(ValueError, match=r"shards=0.*from 1"):
        Prefetch(0, 1000)
    with pytest.raises(ValueError, match=r"max_bytes=5.*6 at least"):
        Prefetch(2, 5)
