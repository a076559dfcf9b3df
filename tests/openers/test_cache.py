from __future__ import annotations

import errno
import fcntl
import os
import pickle
import threading
import warnings
from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import attrs
import pytest
from processes import forking_when_locked
from typing_extensions import override
from webserver import Exchange, WebServer, serving

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import FileOpener, HttpOpener, PipeOpener, cache, cachefiles, default_opener
from webds.openers.cache import CachingOpener
from webds.testing import OpenerSuite
from webds.testing.suite import open_files, settled

BODY = bytes(range(251)) * 12_000  # of several pieces


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        server.routes["/x.tar"] = BODY
        yield server


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_said", set())


def opener_of(folder: Path, max_bytes: int | None = None, **options: Any) -> CachingOpener:
    return CachingOpener(HttpOpener(timeout=10, backoff=0.001, attempts=2), folder / "cache", max_bytes, **options)


def read(opener: Opener, url: str) -> bytes:
    with opener.open(url) as stream:
        return stream.read()


def kept(folder: Path) -> list[str]:
    """Return the suffixes of the files in the cache: what is under a final name, and what is not."""
    directory = folder / "cache"
    return sorted(path.suffix for path in directory.iterdir()) if directory.exists() else []


class CachingSuite(OpenerSuite, ABC):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        type(self).folder = tmp_path

    folder: Path


class TestOfWebServer(CachingSuite):
    web: WebServer

    @pytest.fixture(autouse=True)
    def _web(self, web: WebServer) -> None:
        type(self).web = web

    @override
    def make_opener(self) -> Opener:
        return CachingOpener(HttpOpener(auth="hush-token-1", timeout=10), self.folder / "cache")

    @override
    def opener_secrets(self) -> list[str]:
        return ["hush-token-1"]

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = f"/{len(self.web.routes)}.bin"
        self.web.routes[path] = content
        return self.web.url(path)

    @override
    def missing_url(self, folder: Path) -> str:
        return self.web.url("/nothing")


class TestOfLimitedAndValidatedWebServer(TestOfWebServer):
    @override
    def make_opener(self) -> Opener:
        return CachingOpener(HttpOpener(auth="hush-token-1"), self.folder / "cache", 1 << 21, validate="size")


class TestOfFiles(CachingSuite):
    @override
    def make_opener(self) -> Opener:
        return CachingOpener(FileOpener(), self.folder / "cache", local=True)

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(list(folder.iterdir()))}.bin"
        path.write_bytes(content)
        return str(path)

    @override
    def missing_url(self, folder: Path) -> str:
        return str(folder / "missing")

    @override
    def writable_url(self, folder: Path) -> str | None:
        return str(folder / "written")

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        return str(folder / "*.bin"), [self.url_of(folder, b"data") for _ in range(3)]


class TestHits:
    def test_the_second_reading_asks_nobody_and_is_a_local_file(self, tmp_path: Path, web: WebServer) -> None:
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        assert read(opener, url) == BODY
        assert len(web.asked) == 1
        with opener.open(url) as stream, FileOpener().open(__file__) as local:
            assert type(stream) is type(local)
            assert os.fstat(stream.fileno()).st_size == len(BODY)
            assert stream.seekable()
            assert stream.read() == BODY
        assert len(web.asked) == 1
        assert kept(tmp_path) == [".shard"]

    def test_the_first_reader_streams_through(self, tmp_path: Path, web: WebServer) -> None:
        go_on = threading.Event()

        def slowly(exchange: Exchange) -> None:
            exchange.reply(BODY[: 2 << 20], Content_Length=str(len(BODY)))
            go_on.wait(30)
            exchange.wfile.write(BODY[2 << 20 :])

        web.routes["/x.tar"] = slowly
        with opener_of(tmp_path).open(web.url("/x.tar")) as stream:
            assert stream.read(1 << 20) == BODY[: 1 << 20], "before the rest has come"
            assert kept(tmp_path) == [".part"]
            go_on.set()
            assert stream.read() == BODY[1 << 20 :]
            assert kept(tmp_path) == [".shard"], "at its end the file is there"

    def test_the_file_is_filled_whether_or_not_its_reader_reads(self, tmp_path: Path, web: WebServer) -> None:
        """Else two processes that wait for one another, as those of a training do, would wait for ever."""
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        with opener.open(url) as slow:
            assert read(opener, url) == BODY
            assert slow.read() == BODY
        assert len(web.asked) == 1

    def test_the_whole_url_counts(self, tmp_path: Path, web: WebServer) -> None:
        opener = opener_of(tmp_path)
        urls = [web.url("/x.tar"), web.url("/x.tar?part=1"), web.url("/x.tar?part=2"), web.url("/x.tar#a")]
        for url in urls * 2:
            read(opener, url)
        assert len(web.asked) == len(urls)
        assert kept(tmp_path) == [".shard"] * len(urls)

    def test_no_secret_is_in_a_name(self, tmp_path: Path, web: WebServer) -> None:
        read(opener_of(tmp_path), web.url("/x.tar?X-Signature=hush").replace("://", "://me:hush@"))
        (name,) = os.listdir(tmp_path / "cache")
        assert cachefiles._NAME.fullmatch(name)
        assert "hush" not in name

    def test_ranges_and_sizes_come_from_a_copy_and_make_none(self, tmp_path: Path, web: WebServer) -> None:
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        web.routes["/x.tar"] = lambda exchange: exchange.reply_range(BODY)
        assert opener.read_range(url, 1000, 10) == BODY[1000:1010]
        assert opener.size(url) == len(BODY)
        assert kept(tmp_path) == []
        read(opener, url)
        asked = len(web.asked)
        assert opener.read_range(url, 1000, 10) == BODY[1000:1010]
        assert opener.read_range(url, len(BODY) - 3, 1 << 40) == BODY[-3:]
        assert opener.read_range(url, len(BODY) + 3, 5) == b""
        assert opener.size(url) == len(BODY)
        assert len(web.asked) == asked

    def test_a_local_file_is_asked_for_and_made(self, tmp_path: Path, web: WebServer) -> None:
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        for _ in range(2):
            stream = opener.open_local(url)
            assert stream is not None
            with stream:
                assert os.pread(stream.fileno(), 10, 1000) == BODY[1000:1010]
                assert os.fstat(stream.fileno()).st_size == len(BODY)
        assert kept(tmp_path) == [".shard"]
        assert len(web.asked) == 1

    def test_there_is_no_local_file_where_the_cache_cannot_hold_it(self, tmp_path: Path, web: WebServer) -> None:
        small = attrs.evolve(opener_of(tmp_path), max_bytes=1000)
        with pytest.warns(RuntimeWarning, match="no room for more"):
            assert small.open_local(web.url("/x.tar")) is None
        assert kept(tmp_path) == []

    def test_of_local_files_the_file_itself_unless_copies_are_asked_for(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tar"
        path.write_bytes(BODY)
        opener = CachingOpener(default_opener(), tmp_path / "cache")
        for one, copies in ((opener, []), (attrs.evolve(opener, local=True), [".shard"])):
            stream = one.open_local(str(path))
            assert stream is not None
            with stream:
                assert stream.read() == BODY
                assert os.path.samestat(os.fstat(stream.fileno()), path.stat()) == (copies == [])
            assert kept(tmp_path) == copies

    def test_a_command_is_kept_under_its_text(self, tmp_path: Path) -> None:
        opener = CachingOpener(PipeOpener(), tmp_path / "cache")
        url = f"pipe:echo once >> {tmp_path}/count; echo data"
        assert [read(opener, url) for _ in range(3)] == [b"data\n"] * 3
        assert (tmp_path / "count").read_text() == "once\n"

    def test_local_files_are_not_copied_unless_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "x.tar"
        path.write_bytes(BODY)
        opener = CachingOpener(default_opener(), tmp_path / "cache")
        assert read(opener, str(path)) == BODY
        assert kept(tmp_path) == []
        asked = attrs.evolve(opener, local=True)
        monkeypatch.chdir(tmp_path)
        for url in (str(path), path.as_uri(), "x.tar", "./x.tar"):
            assert read(asked, url) == BODY
        assert kept(tmp_path) == [".shard"], "one file, whatever it is called"

    def test_what_is_written_is_not_read_from_an_old_copy(self, tmp_path: Path) -> None:
        opener, path = CachingOpener(FileOpener(), tmp_path / "cache", local=True), tmp_path / "x"
        path.write_bytes(b"old")
        assert read(opener, str(path)) == b"old"
        with opener.open(str(path), "wb") as stream:
            stream.write(b"new")
        assert read(opener, str(path)) == b"new"


class TestValidation:
    def test_a_url_is_immutable_unless_one_says_otherwise(self, tmp_path: Path, web: WebServer) -> None:
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        read(opener, url)
        web.routes["/x.tar"] = b"longer now" + BODY
        assert read(opener, url) == BODY
        assert read(attrs.evolve(opener, validate="size"), url) == b"longer now" + BODY
        assert read(opener, url) == b"longer now" + BODY
        assert kept(tmp_path) == [".shard"]

    def test_a_copy_of_the_right_size_is_not_fetched_again(self, tmp_path: Path, web: WebServer) -> None:
        opener, url = opener_of(tmp_path, validate="size"), web.url("/x.tar")
        for _ in range(3):
            assert read(opener, url) == BODY
        assert [asked.method for asked in web.asked].count("GET") == 1

    def test_other_ways_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="validate"):
            opener_of(tmp_path, validate="etag")
        with pytest.raises(ValueError, match="max_bytes"):
            opener_of(tmp_path, 0)


def _broken(exchange: Exchange) -> None:
    exchange.reply(BODY[:2_000_000], Content_Length=str(len(BODY)))
    exchange.cut_off()


@attrs.frozen
class Odd(Opener):
    """Says another size than what it delivers."""

    said: int

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return FileOpener().open(url.removeprefix("odd://"), mode)

    @override
    def size(self, url: str) -> int | None:
        return self.said


class TestFailures:
    def test_a_broken_transfer_delivers_what_came_then_raises_and_leaves_nothing(
        self, tmp_path: Path, web: WebServer
    ) -> None:
        web.routes["/x.tar"] = _broken
        opener = opener_of(tmp_path)
        with opener.open(web.url("/x.tar")) as stream:
            assert stream.read(5_000_000) == BODY[:2_000_000]
            with pytest.raises(OpenError, match="broke off") as caught:
                stream.read(1)
        assert caught.value.url == web.url("/x.tar")
        assert kept(tmp_path) == []
        web.routes["/x.tar"] = BODY
        assert read(opener, web.url("/x.tar")) == BODY

    def test_a_wrong_size_is_not_kept(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(BODY)
        url = f"odd://{tmp_path}/x"
        right = CachingOpener(Odd(len(BODY)), tmp_path / "cache", validate="size")
        with pytest.raises(OpenError, match=f"{len(BODY)} bytes came, and its size is 7"):
            read(CachingOpener(Odd(7), tmp_path / "cache", validate="size"), url)
        assert kept(tmp_path) == []
        assert read(right, url) == BODY
        assert kept(tmp_path) == [".shard"]

    def test_a_command_that_fails_after_all_data_is_not_kept(self, tmp_path: Path) -> None:
        opener = CachingOpener(PipeOpener(), tmp_path / "cache")
        with pytest.raises(OpenError, match=r"status 5(.|\n)*on fire"):
            read(opener, "pipe:echo data; echo the disk is on fire >&2; exit 5")
        assert kept(tmp_path) == []

    def test_a_missing_file_is_an_error_at_once(self, tmp_path: Path, web: WebServer) -> None:
        with pytest.raises(OpenError, match="404"):
            opener_of(tmp_path).open(web.url("/nothing"))
        assert kept(tmp_path) == []

    def test_a_function_s_own_exception_keeps_its_type(self, tmp_path: Path, web: WebServer) -> None:
        class Stream:
            def read(self, size: int, /) -> bytes:
                raise ZeroDivisionError("of my own")

            def close(self) -> None:
                pass

        opener = default_opener().with_opener("mine", lambda url: Stream())
        with CachingOpener(opener, tmp_path / "cache").open("mine://x") as stream, pytest.raises(ZeroDivisionError):
            stream.read()
        assert kept(tmp_path) == []

    @pytest.mark.parametrize("size", [0, 1, 100_000])
    def test_closing_early_drops_the_file(self, tmp_path: Path, web: WebServer, size: int) -> None:
        web.routes["/x.tar"] = stalls
        opener, before = opener_of(tmp_path), open_files()
        stream = opener.open(web.url("/x.tar"))
        assert stream.read(size) == BODY[:size]
        stream.close()
        assert kept(tmp_path) == []
        assert settled(lambda: open_files() <= before + 1), "the server's end aside"
        assert not [thread for thread in threading.enumerate() if thread.name == "webds-cache"]

    def test_closing_when_everything_has_come_keeps_it(self, tmp_path: Path, web: WebServer) -> None:
        with opener_of(tmp_path).open(web.url("/x.tar")) as stream:
            stream.read(10)
            assert settled(lambda: kept(tmp_path) == [".shard"], 10)
        assert kept(tmp_path) == [".shard"]


def stalls(exchange: Exchange) -> None:
    exchange.reply(BODY[: 2 << 20], Content_Length=str(len(BODY)))
    exchange.wfile.flush()
    exchange.rfile.read(1)  # until the client goes


class TestWaiting:
    def test_closing_ends_a_wait_for_somebody_else(self, tmp_path: Path, web: WebServer) -> None:
        web.routes["/x.tar"] = stalls
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        failures: list[BaseException] = []
        with opener.open(url) as first:
            assert first.read(1)
            second = opener.open(url)

            def wait() -> None:
                try:
                    second.read(1)
                except OpenError as error:
                    failures.append(error)

            thread = threading.Thread(target=wait)
            thread.start()
            second.close()
            thread.join(10)
            assert not thread.is_alive()
        assert "closed" in str(failures[0])
        assert len(web.asked) == 1

    def test_who_waits_asks_for_the_size_once(
        self, tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on, looks = threading.Event(), threading.Semaphore(0)
        real = cachefiles.CacheFolder.claim

        def claim(folder: cachefiles.CacheFolder, name: str) -> cachefiles.Part | None:
            looks.release()
            return real(folder, name)

        def slowly(exchange: Exchange) -> None:
            exchange.reply(BODY[:1000], Content_Length=str(len(BODY)))
            if exchange.command == "GET":
                exchange.wfile.flush()
                go_on.wait(60)
                exchange.wfile.write(BODY[1000:])

        web.routes["/x.tar"] = slowly
        opener, url = opener_of(tmp_path, validate="size"), web.url("/x.tar")
        monkeypatch.setattr(cachefiles.CacheFolder, "claim", claim)
        found: list[bytes] = []
        with opener.open(url) as first, opener.open(url) as second:
            thread = threading.Thread(target=lambda: found.append(second.read()))
            thread.start()
            assert all(looks.acquire(timeout=60) for _ in range(6)), "it looks again and again"
            go_on.set()
            assert first.read() == BODY
            thread.join(60)
        assert found == [BODY]
        assert [asked.method for asked in web.asked] == ["HEAD", "GET", "HEAD"]

    def test_who_waits_takes_over_from_who_gives_up(self, tmp_path: Path, web: WebServer) -> None:
        web.routes["/x.tar"] = stalls
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        first, second = opener.open(url), opener.open(url)
        web.routes["/x.tar"] = BODY
        threading.Timer(0.05, first.close).start()
        with second:
            assert second.read() == BODY
        assert len(web.asked) == 2
        assert kept(tmp_path) == [".shard"]


class TestRoom:
    def test_the_least_recently_used_goes(self, tmp_path: Path, web: WebServer) -> None:
        opener = opener_of(tmp_path, 3 * len(BODY))
        urls = [web.url(f"/x.tar?{n}") for n in range(4)]
        for url in urls[:3]:
            read(opener, url)
        read(opener, urls[0])
        read(opener, urls[3])
        web.asked.clear()
        for n in (0, 2, 3):
            read(opener, urls[n])
        assert web.asked == []
        read(opener, urls[1])
        assert len(web.asked) == 1

    def test_the_limit_holds_at_any_moment(self, tmp_path: Path, web: WebServer) -> None:
        limit = 2 * len(BODY) + 1000
        opener = opener_of(tmp_path, limit)
        most = 0
        for n in range(4):
            with opener.open(web.url(f"/x.tar?{n}")) as stream:
                while stream.read(100_000):
                    most = max(most, sum(os.stat(entry).st_size for entry in os.scandir(tmp_path / "cache")))
        assert len(BODY) < most <= limit

    def test_nothing_goes_that_is_in_use(self, tmp_path: Path, web: WebServer) -> None:
        opener = opener_of(tmp_path, len(BODY) + 1000)
        first, second = web.url("/x.tar?1"), web.url("/x.tar?2")
        read(opener, first)
        with opener.open(first) as stream:
            assert stream.read(10) == BODY[:10]
            with pytest.warns(RuntimeWarning, match=r"max_bytes=\d+ \(http.*\*\*\*\)"):
                assert read(opener, second) == BODY
            assert kept(tmp_path) == [".shard"]
            assert read(opener, first) == BODY
            assert len(web.asked) == 2
        assert read(opener, second) == BODY
        web.asked.clear()
        read(opener, second)
        assert web.asked == []

    def test_a_file_beyond_the_limit_is_read_without_it(self, tmp_path: Path, web: WebServer) -> None:
        opener = opener_of(tmp_path, 1_500_000)
        with pytest.warns(RuntimeWarning, match="goes on without it"):
            assert read(opener, web.url("/x.tar")) == BODY
        assert kept(tmp_path) == []

    def test_other_files_are_neither_counted_nor_removed(self, tmp_path: Path, web: WebServer) -> None:
        (tmp_path / "cache").mkdir()
        other = tmp_path / "cache" / "thesis.shard"
        other.write_bytes(b"x" * (1 << 20))
        opener = opener_of(tmp_path, len(BODY))
        for n in range(3):
            assert read(opener, web.url(f"/x.tar?{n}")) == BODY
        assert other.stat().st_size == 1 << 20
        assert kept(tmp_path) == [".shard", ".shard"]


class TestDisk:
    def test_a_directory_that_cannot_be_written_is_said_once(self, tmp_path: Path, web: WebServer) -> None:
        (tmp_path / "cache").write_text("a file")
        opener = opener_of(tmp_path)
        url = web.url("/x.tar?sig=hush")
        with pytest.warns(RuntimeWarning, match="goes on without it") as caught:
            assert [read(opener, url) for _ in range(3)] == [BODY] * 3
        assert len(caught) == 1
        assert "hush" not in str(caught[0].message)

    @pytest.mark.parametrize("call", ["pwrite", "fsync", "replace"])
    def test_no_failure_of_the_disk_costs_a_byte(
        self, tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        calls = 0
        real: Callable[..., Any] = getattr(os, call)

        def fails(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2 and call == "pwrite":
                return real(args[0], args[1][:1000], args[2])  # as much as there was room for
            if calls > 2 or call != "pwrite":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args)

        monkeypatch.setattr(os, call, fails)
        with pytest.warns(RuntimeWarning, match="No space left on device"):
            assert read(opener_of(tmp_path), web.url("/x.tar")) == BODY
        assert kept(tmp_path) == []
        assert len(web.asked) == 1, "what is left is read from the same transfer"

    def test_a_directory_without_locks_is_not_used(
        self, tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuses(*args: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", refuses)
        with pytest.warns(RuntimeWarning, match="No locks available"):
            assert read(opener_of(tmp_path), web.url("/x.tar")) == BODY
        assert ".shard" not in kept(tmp_path)

    def test_a_system_without_locks_caches_nothing(
        self, tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cachefiles, "fcntl", None)
        opener = opener_of(tmp_path)
        with pytest.warns(RuntimeWarning, match="no flock") as caught:
            assert [read(opener, web.url("/x.tar")) for _ in range(2)] == [BODY, BODY]
        assert opener.size(web.url("/x.tar")) == len(BODY)
        assert len(caught) == 1
        assert kept(tmp_path) == []


class TestProcesses:
    def test_what_a_killed_process_left_is_removed_by_the_next_one(self, tmp_path: Path, web: WebServer) -> None:
        opener = opener_of(tmp_path)
        read(opener, web.url("/x.tar"))
        (shard,) = (tmp_path / "cache").iterdir()
        own, foreign = shard.with_suffix(".part"), shard.with_name("0" * 64 + ".part")
        shard.unlink()
        for part in (own, foreign):
            part.write_bytes(BODY[:1000] + b"half")
        assert read(opener, web.url("/x.tar")) == BODY
        assert kept(tmp_path) == [".shard"]

    def test_it_pickles_with_an_absolute_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        opener = CachingOpener(HttpOpener(), "cache", 1000, validate="size", local=True)
        assert opener.directory == str(tmp_path / "cache")
        assert pickle.loads(pickle.dumps(opener)) == opener

    def test_only_an_opener_will_do(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="inner"):
            CachingOpener("aws s3 cp {url} -", tmp_path)  # type: ignore[arg-type]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_a_forked_child_holds_no_lock_and_disturbs_nobody(self, tmp_path: Path, web: WebServer) -> None:
        go_on = threading.Event()

        def slowly(exchange: Exchange) -> None:
            exchange.reply(BODY[: 2 << 20], Content_Length=str(len(BODY)))
            go_on.wait(30)
            exchange.wfile.write(BODY[2 << 20 :])

        web.routes["/x.tar"] = slowly
        opener, url = opener_of(tmp_path), web.url("/x.tar")
        stream = opener.open(url)
        assert stream.read(10) == BODY[:10]
        go_on_child, tell = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                while stream.read(1 << 20):
                    pass
            except OpenError:
                stream.close()
                status = 0
            finally:
                os.read(go_on_child, 1)
                os._exit(status)
        stream.close()
        go_on.set()
        web.routes["/x.tar"] = BODY
        assert read(opener, url) == BODY, "the child does not keep the file locked that nobody fills any more"
        os.write(tell, b"x")
        assert os.waitpid(pid, 0)[1] == 0
        os.close(tell)
        os.close(go_on_child)
        assert kept(tmp_path) == [".shard"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    def test_a_fork_while_a_lock_is_held_keeps_nobody_waiting(self, tmp_path: Path, web: WebServer) -> None:
        opener, found = opener_of(tmp_path, 2 * len(BODY) + 1000), list[bool]()

        def read_all() -> None:
            found.extend(read(opener, web.url(f"/x.tar?{n}")) == BODY for n in (1, 2, 3, 2, 4, 1))

        with forking_when_locked(12) as pids:
            thread = threading.Thread(target=read_all, daemon=True)
            thread.start()
            thread.join(60)
            assert not thread.is_alive(), "it waits for a lock that a child has a copy of"
            assert len(pids) == 12
        assert found == [True] * 6
        assert len(web.asked) == 5, "what had to go went"

    def test_many_threads_share_one_transfer(self, tmp_path: Path, web: WebServer) -> None:
        opener, found = opener_of(tmp_path), list[bool]()
        waiting = threading.Semaphore(0)

        def answer(exchange: Exchange) -> None:
            for _ in range(7):  # all but the one that asks
                waiting.acquire(timeout=10)
            exchange.reply(BODY)

        web.routes["/x.tar"] = answer

        def read_with_others() -> None:
            with opener.open(web.url("/x.tar")) as stream:
                waiting.release()
                found.append(stream.read() == BODY)

        threads = [threading.Thread(target=read_with_others) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [True] * 8
        assert len(web.asked) == 1
