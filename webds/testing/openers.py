"""The suite of `webds.abc.Opener`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from webds.abc import Opener
from webds.errors import OpenError, WebdsError
from webds.redaction import redact
from webds.testing.suite import Suite, logged, open_files, pickled, settled, shown

__all__ = ["OpenerSuite"]

_CONTENT: Final = b"\x00\r\n\n\x1a\xff" + bytes(range(256)) * 5
_LARGE: Final = bytes(range(251)) * 4000
_SECRET: Final = "Hush0451xyzzy"
_ROUNDS: Final = 8


def _drain(opener: Opener, url: str) -> bytes:
    """Open, read to the end and close: a failure may show at any of these."""
    with opener.open(url) as stream:
        parts: list[bytes] = []
        while part := stream.read(1 << 16):
            parts.append(part)
    return b"".join(parts)


def _failure(call: Callable[[], object], what: str) -> OpenError:
    """Return the `OpenError` that ``call`` raises."""
    try:
        call()
    except OpenError as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} raises OpenError, not {error!r}") from error
    raise AssertionError(f"{what} raises OpenError; nothing was raised")


class OpenerSuite(Suite, ABC):
    """What every `Opener` must keep to.

    A subclass has, besides the three hooks that it must define, four that it may.
    """

    @abstractmethod
    def make_opener(self) -> Opener:
        """Return a new opener."""

    @abstractmethod
    def url_of(self, folder: Path, content: bytes) -> str:
        """Store ``content`` where the opener finds it, and return its URL: another one at each call.

        Args:
            folder: an empty folder, the test's own, to be used or not.
            content: any bytes, none included.
        """

    @abstractmethod
    def missing_url(self, folder: Path) -> str:
        """Return a URL where there is nothing, in the form that this opener understands."""

    def secret_url(self, folder: Path, secret: str) -> str:
        """Return a URL that cannot be opened and carries ``secret`` where URLs of this opener carry secrets.

        By default, the `missing_url` with ``?token=secret``.
        """
        return f"{self.missing_url(folder)}?token={secret}"

    def opener_secrets(self) -> Sequence[str]:
        """Return the secrets (passwords, header values) that the opener of `make_opener` was given; none by default."""
        return ()

    def writable_url(self, folder: Path) -> str | None:
        """Return a URL that can be written; None, the default, if the opener only reads."""
        return None

    def written(self, folder: Path, url: str) -> bytes:
        """Return what was written to ``url``; by default, what the opener reads there."""
        return _drain(self.make_opener(), url)

    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        """Store something, and return a pattern and the URLs that match it; None, the default, if it cannot list."""
        return None

    def test_make_opener_returns_an_opener(self) -> None:
        assert isinstance(self.make_opener(), Opener), "make_opener returns an instance of webds.abc.Opener"

    def test_open_reads_what_is_there(self, tmp_path: Path) -> None:
        opener = self.make_opener()
        for content in (_CONTENT, _LARGE, b""):
            url = self.url_of(tmp_path, content)
            assert _drain(opener, url) == content, "a stream delivers the bytes of its URL, unchanged and to the end"

    def test_reading_in_pieces_ends_with_empty_bytes(self, tmp_path: Path) -> None:
        with self.make_opener().open(self.url_of(tmp_path, _CONTENT)) as stream:
            parts: list[bytes] = []
            while part := stream.read(97):
                assert len(part) <= 97, "read(n) returns at most n bytes"
                parts.append(part)
            assert b"".join(parts) == _CONTENT, "reading in pieces delivers the same bytes as reading at once"
            assert stream.read(1) == b"", "at its end a stream goes on to return empty bytes"

    def test_each_open_returns_a_new_stream(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _CONTENT)
        first = opener.open(url)
        head = first.read(10)
        second = opener.open(url)
        message = "each open returns a new stream that belongs to the caller"
        assert first is not second, message
        assert second.read() == _CONTENT, f"{message}: one begins at the start, wherever another one is"
        second.close()
        assert head + first.read() == _CONTENT, f"{message}: closing one does not disturb another one"
        first.close()

    def test_a_stream_may_be_closed_early(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _LARGE)
        for read in (0, 1, 600):
            stream = opener.open(url)
            stream.read(read)
            try:
                stream.close()
            except Exception as error:
                raise AssertionError(f"closing a stream early is no error; it raised {error!r}") from error
        assert _drain(opener, url) == _LARGE, "a stream that was closed early does not disturb the next one"

    def test_a_stream_may_be_closed_twice(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _CONTENT)
        for read in (3, -1):
            stream = opener.open(url)
            stream.read(read)
            stream.close()
            assert stream.closed, "a stream that was closed says so"
            try:
                stream.close()
            except Exception as error:
                raise AssertionError(f"closing a stream twice is no error; it raised {error!r}") from error

    def test_streams_leave_nothing_open(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _LARGE)
        held = [opener.open(url) for _ in range(2)]  # keeps alive what an opener hands out twice
        for stream in held:
            stream.close()
        before = open_files()
        for round_ in range(_ROUNDS):
            held.append(opener.open(url))
            held[-1].read(round_)
            held[-1].close()
        assert settled(lambda: open_files() < before + _ROUNDS), "a stream that is closed leaves no file open"

    def test_a_failed_open_leaves_nothing_open(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.missing_url(tmp_path)
        errors = [_failure(lambda: _drain(opener, url), "opening a missing URL")]
        before = open_files()
        errors += [_failure(lambda: _drain(opener, url), "opening a missing URL") for _ in range(_ROUNDS)]
        assert settled(lambda: open_files() < before + _ROUNDS), "if open fails, nothing stays open"

    def test_a_missing_url_raises_open_error_with_its_url(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.missing_url(tmp_path)
        for what, call in {
            "reading a missing URL": lambda: _drain(opener, url),
            "read_range of a missing URL": lambda: opener.read_range(url, 0, 10),
        }.items():
            error = _failure(call, what)
            assert error.url == redact(url), f"an error names the URL: {what} raised one with url={error.url!r}"

    def test_no_secret_of_the_url_shows(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.secret_url(tmp_path, _SECRET)
        assert _SECRET in url, "secret_url returns a URL that carries the secret"
        with logged() as messages:
            errors: list[WebdsError] = [
                _failure(lambda: _drain(opener, url), "reading a missing URL"),
                _failure(lambda: opener.read_range(url, 0, 10), "read_range of a missing URL"),
            ]
            for call in (lambda: opener.size(url), lambda: opener.list(url)):
                try:
                    call()
                except WebdsError as error:
                    errors.append(error)
        assert not [1 for error in errors if _SECRET in shown(error)], (
            "no secret of the URL shows in an error or its cause"
        )
        assert not [text for text in messages if _SECRET in text], "no secret of the URL shows in a log"

    def test_no_secret_of_the_opener_shows(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.missing_url(tmp_path)
        with logged() as messages:
            error = _failure(lambda: _drain(opener, url), "reading a missing URL")
        for secret in self.opener_secrets():
            assert secret not in shown(error), "no secret of the opener shows in an error"
            assert secret not in repr(opener), "no secret of the opener shows in its repr, which errors and logs quote"
            assert not [text for text in messages if secret in text], "no secret of the opener shows in a log"

    def test_size_is_exact_or_unknown(self, tmp_path: Path) -> None:
        opener = self.make_opener()
        for content in (_CONTENT, b""):
            size = opener.size(self.url_of(tmp_path, content))
            assert size in (None, len(content)), f"size is the number of bytes or None: {size} for {len(content)} bytes"
        try:
            size = opener.size(self.missing_url(tmp_path))
        except OpenError:
            return
        except Exception as error:
            raise AssertionError(f"size of a missing URL is None or raises OpenError, not {error!r}") from error
        assert size is None, f"size of a missing URL is None or raises OpenError; it returned {size}"

    def test_read_range_is_right_at_the_edges(self, tmp_path: Path) -> None:
        opener, size = self.make_opener(), len(_CONTENT)
        url = self.url_of(tmp_path, _CONTENT)
        ranges = [(0, 0), (0, 1), (0, size), (0, size + 9), (1, size), (7, 0), (7, 300)]
        ranges += [(size - 1, 1), (size - 1, 9), (size, 0), (size, 9), (size + 5, 1)]
        message = "read_range returns length bytes from start, fewer only where the data ends before"
        for start, length in ranges:
            try:
                data = opener.read_range(url, start, length)
            except Exception as error:
                raise AssertionError(f"{message}: ({start}, {length}) of {size} bytes raised {error!r}") from error
            expected = _CONTENT[start : start + length]
            assert isinstance(data, bytes), f"read_range returns bytes, not {type(data).__name__}"
            assert data == expected, f"{message}: ({start}, {length}) of {size} bytes gave {len(data)} bytes"
        empty = self.url_of(tmp_path, b"")
        assert opener.read_range(empty, 0, 4) == b"", f"{message}: of an empty file, none"

    def test_a_local_file_holds_what_is_at_the_url(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _CONTENT)
        message = "open_local returns an open file of this machine with what is at the URL, or None"
        for _ in range(2):
            stream = opener.open_local(url)
            if stream is None:
                continue
            with stream:
                assert os.fstat(stream.fileno()).st_size == len(_CONTENT), message
                assert stream.read() == _CONTENT, message
                stream.seek(300)
                assert stream.read(9) == _CONTENT[300:309], message
        missing = self.missing_url(tmp_path)
        try:
            stream = opener.open_local(missing)
        except OpenError as error:
            assert error.url == redact(missing), f"an error names the URL: open_local raised one with {error.url!r}"
        except Exception as error:
            raise AssertionError(f"open_local of a missing URL raises OpenError, not {error!r}") from error
        else:
            assert stream is None, "open_local of a missing URL is None or raises OpenError"

    def test_it_pickles_also_after_use(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.url_of(tmp_path, _CONTENT)
        fresh = pickled(opener, "opener")
        stream = opener.open(url)
        stream.read(5)
        used = pickled(opener, "opener")
        stream.close()
        message = "an opener that was pickled opens the same URLs"
        for copy in (fresh, used):
            try:
                content = _drain(copy, url)
            except Exception as error:
                raise AssertionError(f"{message}; this one raised {error!r}") from error
            assert content == _CONTENT, message

    def test_what_is_written_can_be_read(self, tmp_path: Path) -> None:
        opener, url = self.make_opener(), self.writable_url(tmp_path)
        mode: Literal["wb"] = "wb"
        if url is None:
            there = self.url_of(tmp_path, _CONTENT)
            error = _failure(lambda: opener.open(there, mode).close(), "writing through an opener that only reads")
            assert error.url == redact(there), f"an error names the URL: writing raised one with url={error.url!r}"
            assert _drain(opener, there) == _CONTENT, "a write that is refused changes nothing"
            return
        stream = opener.open(url, mode)
        for offset in range(0, len(_LARGE), 100_003):
            stream.write(_LARGE[offset : offset + 100_003])
        stream.close()
        stream.close()
        assert self.written(tmp_path, url) == _LARGE, "what was written is there when the stream has been closed"

    def test_list_returns_the_matches_sorted_or_refuses(self, tmp_path: Path) -> None:
        opener, listing = self.make_opener(), self.listing(tmp_path)
        if listing is None:
            pattern = f"{self.missing_url(tmp_path)}*"
            error = _failure(lambda: opener.list(pattern), "list, of an opener that cannot list,")
            assert error.url == redact(pattern), f"an error names the URL: list raised one with url={error.url!r}"
            return
        pattern, urls = listing
        found = opener.list(pattern)
        assert list(found) == sorted(urls), f"list returns the URLs that match, sorted; it returned {found}"
        for url in found:
            try:
                opener.open(url).close()
            except OpenError as error:
                raise AssertionError(f"what is listed can be opened; {url!r} raised {error!r}") from error
