"""`OpenerSuite` passes a right opener, and each of its checks catches a wrong one."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, Literal, cast

import pytest
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.testing import OpenerSuite, Suite

Mode = Literal["rb", "wb"]


class PathOpener(Opener):
    """``path:/a/file?query``: a right opener."""

    def path(self, url: str) -> str:
        return url.removeprefix("path:").partition("?token=")[0]

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        try:
            return open(self.path(url), mode)
        except OSError as error:
            raise OpenError(f"cannot open: {error.strerror}", url=url) from None

    @override
    def size(self, url: str) -> int | None:
        path = Path(self.path(url))
        return path.stat().st_size if path.exists() else None

    @override
    def list(self, pattern: str) -> Sequence[str]:
        folder, _, glob = self.path(pattern).rpartition("/")
        return sorted(f"path:{path}" for path in Path(folder).glob(glob))


class TestPathOpener(OpenerSuite):
    opener: ClassVar[type[Opener]] = PathOpener

    @override
    def make_opener(self) -> Opener:
        return self.opener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))}.bin"
        path.write_bytes(content)
        return f"path:{path}"

    @override
    def missing_url(self, folder: Path) -> str:
        return f"path:{folder}/nothing"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"path:{folder}/written"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        return f"path:{folder}/?.bin", [self.url_of(folder, b"a"), self.url_of(folder, b"b"), self.url_of(folder, b"c")]

    @override
    def opener_secrets(self) -> Sequence[str]:
        return ["open-sesame"]


class ReadingOpener(PathOpener):
    """One that only reads, without a size and without a list: the defaults of the contract."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if mode == "wb":
            raise OpenError("only reads", url=url)
        return super().open(url, mode)

    @override
    def size(self, url: str) -> int | None:
        return Opener.size(self, url)

    @override
    def list(self, pattern: str) -> Sequence[str]:
        return Opener.list(self, pattern)


class TestReadingOpener(TestPathOpener):
    opener = ReadingOpener

    @override
    def writable_url(self, folder: Path) -> str | None:
        return None

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        return None


class NoOpener:
    open = PathOpener.open


class Translating(PathOpener):
    """Opens as a text file would be opened."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        stream = super().open(url, mode)
        return stream if mode == "wb" else io.BytesIO(stream.read().replace(b"\r\n", b"\n"))


class Stream(io.BytesIO):
    """A stream that remembers nothing of its file."""

    def __init__(self, opener: PathOpener, url: str) -> None:
        with PathOpener.open(opener, url) as file:
            super().__init__(file.read())


class Greedy(PathOpener):
    """Its streams read more than they are asked for."""

    class Stream(Stream):
        @override
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(-1 if size is None or size < 0 else size * 2)

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return self.Stream(self, url)


class Endless(PathOpener):
    """Its streams complain at the end."""

    class Stream(Stream):
        ended = False

        @override
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data and self.ended:
                return b"?"
            self.ended = not data
            return data

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return self.Stream(self, url)


class Sharing(PathOpener):
    """Hands out the same stream again."""

    def __init__(self) -> None:
        self.streams: dict[str, BinaryIO] = {}

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if url not in self.streams:
            self.streams[url] = super().open(url, mode)
        return self.streams[url]


class SharingPosition(PathOpener):
    """New objects on one descriptor, whose position they share."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if url not in self.files:
            self.files[url] = os.open(self.path(url), os.O_RDONLY)
        return cast("BinaryIO", os.fdopen(self.files[url], "rb", buffering=0, closefd=False))

    def __del__(self) -> None:
        for descriptor in self.files.values():
            os.close(descriptor)


class Insisting(PathOpener):
    """Closing before the end is an error."""

    class Stream(Stream):
        @override
        def close(self) -> None:
            if not self.closed and self.read(1):
                super().close()
                raise OpenError("broken pipe")
            super().close()

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return self.Stream(self, url)


class ClosingOnce(PathOpener):
    """Closing again is an error."""

    class Stream(Stream):
        @override
        def close(self) -> None:
            if self.closed:
                raise ValueError("is closed")
            super().close()

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return self.Stream(self, url)


class NeverClosed(PathOpener):
    """Its streams do not say that they were closed."""

    class Stream(Stream):
        @property
        @override
        def closed(self) -> bool:
            return False

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return self.Stream(self, url)


class Leaking(PathOpener):
    """Opens twice and closes once."""

    def __init__(self) -> None:
        self.leaked: list[BinaryIO] = []

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        self.leaked.append(super().open(url, mode))
        return super().open(url, mode)


class LeakingFailures(PathOpener):
    """Has opened something when it fails."""

    def __init__(self) -> None:
        self.leaked: list[BinaryIO] = []

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        self.leaked.append(open(os.devnull, "rb"))  # noqa: SIM115  # that is the mistake
        return super().open(url, mode)


class Plain(PathOpener):
    """Errors as they come."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return open(self.path(url), mode)


class Anonymous(PathOpener):
    """Errors that name no URL."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        try:
            return open(self.path(url), mode)
        except OSError:
            raise OpenError("cannot open a file") from None


class EmptyHanded(PathOpener):
    """What is missing is empty."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        return open(self.path(url), mode) if mode == "wb" or Path(self.path(url)).exists() else io.BytesIO()


class Chaining(PathOpener):
    """The cause of its error holds the whole URL."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        try:
            return open(url, mode)
        except OSError as error:
            raise OpenError("cannot open", url=url) from error


class Talking(PathOpener):
    """Logs whole URLs."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        logging.getLogger("talking").warning("opening %s", url)
        return super().open(url, mode)


class Boasting(PathOpener):
    """Has a secret of its own, and shows it."""

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        try:
            return open(self.path(url), mode)
        except OSError:
            raise OpenError("the word open-sesame did not help", url=url) from None


class BoastingRepr(PathOpener):
    @override
    def __repr__(self) -> str:
        return "BoastingRepr('open-sesame')"


class WrongSize(PathOpener):
    @override
    def size(self, url: str) -> int | None:
        size = super().size(url)
        return None if size is None else size + 512


class SizeOfNothing(PathOpener):
    @override
    def size(self, url: str) -> int | None:
        return super().size(url) or 0


class SizeRaises(PathOpener):
    @override
    def size(self, url: str) -> int | None:
        return os.stat(self.path(url)).st_size


class RangeWithEnd(PathOpener):
    """Takes the length for the end."""

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        return super().read_range(url, start, length - start)


class RangeInclusive(PathOpener):
    """Forgets that an HTTP range includes its end."""

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        return super().read_range(url, start, length + 1)


class RangeWithinSize(PathOpener):
    """Refuses what begins at the end."""

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        if start >= (self.size(url) or 0):
            raise OpenError("416 range not satisfiable", url=url)
        return super().read_range(url, start, length)


class RangeOfArray(PathOpener):
    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        return cast("bytes", bytearray(super().read_range(url, start, length)))


class LocalEmpty(PathOpener):
    """Makes a file, and forgets to fill it."""

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        return cast("BinaryIO", tempfile.TemporaryFile())


class LocalOfAnything(PathOpener):
    """Has something also for what is not there."""

    @override
    def open_local(self, url: str) -> BinaryIO | None:
        return self.open(url if os.path.exists(self.path(url)) else __file__)


class LocalError(PathOpener):
    @override
    def open_local(self, url: str) -> BinaryIO | None:
        return open(self.path(url), "rb")


class Unpicklable(PathOpener):
    def __init__(self) -> None:
        self.key = lambda url: url


class UnpicklableInUse(PathOpener):
    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        self.last = super().open(url, mode)
        return self.last


class Forgetful(PathOpener):
    """What is pickled has lost what it needs."""

    prefix = ""

    def __init__(self) -> None:
        self.prefix = "path:"

    @override
    def __getstate__(self) -> object:
        return {}

    def __setstate__(self, state: object) -> None:
        pass

    @override
    def path(self, url: str) -> str:
        return url.removeprefix(self.prefix).partition("?token=")[0]


class LosingTheTail(PathOpener):
    """The last write never reaches the file."""

    class Stream(io.FileIO):
        pending = b""

        @override
        def write(self, data: object, /) -> int:
            done, self.pending = self.pending, bytes(cast("bytes", data))
            super().write(done)
            return len(self.pending)

    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if mode == "rb":
            return super().open(url, mode)
        return cast("BinaryIO", self.Stream(self.path(url), "w"))


class RefusingPlainly(ReadingOpener):
    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if mode == "wb":
            raise ValueError("only reads")
        return super().open(url, mode)


class RefusingTooLate(ReadingOpener):
    @override
    def open(self, url: str, mode: Mode = "rb") -> BinaryIO:
        if mode == "wb":
            PathOpener.open(self, url, mode).close()
        return super().open(url, mode)


class Unsorted(PathOpener):
    @override
    def list(self, pattern: str) -> Sequence[str]:
        return super().list(pattern)[::-1]


class NotListing(ReadingOpener):
    @override
    def list(self, pattern: str) -> Sequence[str]:
        raise NotImplementedError


class ListingNothing(ReadingOpener):
    @override
    def list(self, pattern: str) -> Sequence[str]:
        return []


class ListingWhatIsNot(PathOpener):
    @override
    def list(self, pattern: str) -> Sequence[str]:
        return [url.replace("bin", "tar") for url in super().list(pattern)]


class ListingSuite(TestPathOpener):
    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        pattern, urls = cast("tuple[str, Sequence[str]]", super().listing(folder))
        return pattern, [url.replace("bin", "tar") for url in urls]


WRONG: list[tuple[type[object], str, str]] = [
    (NoOpener, "test_make_opener_returns_an_opener", "webds.abc.Opener"),
    (Translating, "test_open_reads_what_is_there", "the bytes of its URL, unchanged"),
    (Greedy, "test_reading_in_pieces_ends_with_empty_bytes", "at most n bytes"),
    (Endless, "test_reading_in_pieces_ends_with_empty_bytes", "goes on to return empty bytes"),
    (Sharing, "test_each_open_returns_a_new_stream", "each open returns a new stream"),
    (SharingPosition, "test_each_open_returns_a_new_stream", "begins at the start"),
    (Insisting, "test_a_stream_may_be_closed_early", "closing a stream early is no error"),
    (ClosingOnce, "test_a_stream_may_be_closed_twice", "closing a stream twice is no error"),
    (NeverClosed, "test_a_stream_may_be_closed_twice", "says so"),
    (Leaking, "test_streams_leave_nothing_open", "leaves no file open"),
    (LeakingFailures, "test_a_failed_open_leaves_nothing_open", "if open fails, nothing stays open"),
    (Plain, "test_a_missing_url_raises_open_error_with_its_url", "raises OpenError, not FileNotFoundError"),
    (Anonymous, "test_a_missing_url_raises_open_error_with_its_url", "an error names the URL"),
    (EmptyHanded, "test_a_missing_url_raises_open_error_with_its_url", "nothing was raised"),
    (Chaining, "test_no_secret_of_the_url_shows", "no secret of the URL shows in an error"),
    (Talking, "test_no_secret_of_the_url_shows", "no secret of the URL shows in a log"),
    (Boasting, "test_no_secret_of_the_opener_shows", "no secret of the opener shows in an error"),
    (BoastingRepr, "test_no_secret_of_the_opener_shows", "no secret of the opener shows in its repr"),
    (WrongSize, "test_size_is_exact_or_unknown", "size is the number of bytes or None"),
    (SizeOfNothing, "test_size_is_exact_or_unknown", "size of a missing URL"),
    (SizeRaises, "test_size_is_exact_or_unknown", "size of a missing URL"),
    (LocalEmpty, "test_a_local_file_holds_what_is_at_the_url", "with what is at the URL"),
    (LocalOfAnything, "test_a_local_file_holds_what_is_at_the_url", "None or raises OpenError"),
    (LocalError, "test_a_local_file_holds_what_is_at_the_url", "raises OpenError, not"),
    (RangeWithEnd, "test_read_range_is_right_at_the_edges", "(7, 300) of 1286 bytes"),
    (RangeInclusive, "test_read_range_is_right_at_the_edges", "(0, 0) of 1286 bytes gave 1 bytes"),
    (RangeWithinSize, "test_read_range_is_right_at_the_edges", "fewer only where the data ends before"),
    (RangeOfArray, "test_read_range_is_right_at_the_edges", "returns bytes, not bytearray"),
    (Unpicklable, "test_it_pickles_also_after_use", "every opener can be pickled"),
    (UnpicklableInUse, "test_it_pickles_also_after_use", "every opener can be pickled"),
    (Forgetful, "test_it_pickles_also_after_use", "opens the same URLs"),
    (LosingTheTail, "test_what_is_written_can_be_read", "is there when the stream has been closed"),
    (Unsorted, "test_list_returns_the_matches_sorted_or_refuses", "the URLs that match, sorted"),
    (ListingWhatIsNot, "test_list_returns_the_matches_sorted_or_refuses", "the URLs that match, sorted"),
]
WRONG_READERS: list[tuple[type[object], str, str]] = [
    (RefusingPlainly, "test_what_is_written_can_be_read", "raises OpenError, not ValueError"),
    (RefusingTooLate, "test_what_is_written_can_be_read", "a write that is refused changes nothing"),
    (PathOpener, "test_what_is_written_can_be_read", "nothing was raised"),
    (NotListing, "test_list_returns_the_matches_sorted_or_refuses", "raises OpenError, not NotImplementedError"),
    (ListingNothing, "test_list_returns_the_matches_sorted_or_refuses", "nothing was raised"),
]
Failures = Callable[[type[Suite], Collection[str]], dict[str, str]]


def cases() -> Iterator[tuple[type[OpenerSuite], type[object], str, str]]:
    yield from ((TestPathOpener, *case) for case in WRONG)
    yield from ((TestReadingOpener, *case) for case in WRONG_READERS)
    yield ListingSuite, ListingWhatIsNot, "test_list_returns_the_matches_sorted_or_refuses", "listed can be opened"


@pytest.mark.parametrize(("base", "opener", "check", "sentence"), [*cases()])
def test_a_wrong_opener_is_caught(
    base: type[OpenerSuite], opener: type[object], check: str, sentence: str, failures: Failures
) -> None:
    suite = type("Wrong", (base,), {"opener": opener})
    failed = failures(suite, [check])
    assert sentence in failed[check]


def test_every_check_is_proven(every_check_fails: Callable[[type[Suite], Collection[str]], None]) -> None:
    every_check_fails(OpenerSuite, {check for _, _, check, _ in cases()})
