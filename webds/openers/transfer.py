"""The body of a web server's answers as one sequence of bytes, over connections that break off.

After a failure the transfer goes on at the byte where it stood, by a range request that is bound to the version of
the file (RFC 9110, 13.1.5 and 14). Where that cannot be, it begins again and passes over what was delivered, once
that is known to be the same. Parts of two versions never make one stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, final

import attrs
from typing_extensions import override

from webds.errors import OpenError
from webds.openers.httpclient import discard, failure_of
from webds.openers.pieces import PieceFeed
from webds.openers.retry import Attempts, TransientError

if TYPE_CHECKING:  # imported where it is used: most programs read local files
    from urllib3 import BaseHTTPResponse

__all__ = ["Transfer", "announced_length", "content_range"]

_RANGE: Final = re.compile(
    r"bytes\s+(?:(?P<first>\d{1,18})-(?P<last>\d{1,18})|\*)/(?P<total>\d{1,18}|\*)", re.IGNORECASE
)
_SETTLED: Final = 60.0  # seconds after which a file's modification time names one version of it, whatever the clocks
_PIECE: Final = 1 << 22  # bytes that are asked of a connection at once
_HEAD: Final = 512  # bytes that come first, and alone: enough to recognise what this is
_BEGINNING: Final = 1 << 18  # bytes that are handed on as they come, so that somebody can begin


def content_range(response: BaseHTTPResponse) -> tuple[int | None, int | None, int | None]:
    """Return (first byte, byte after the last one, length of the whole) of an answer; None for what it leaves open."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None:
        return None, None, None
    total = None if found["total"] == "*" else int(found["total"])
    if found["first"] is None:
        return None, None, total
    return int(found["first"]), int(found["last"]) + 1, total


def announced_length(response: BaseHTTPResponse, url: str) -> int | None:
    """Return the length of a body by its headers; None if they leave it open.

    Raises:
        OpenError: the length is no number, or the body is encoded in a way that was not asked for.
    """
    encoding = response.headers.get("Transfer-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "chunked"):
        raise OpenError(f"the server applied the transfer encoding {encoding!r}, which was not asked for", url=url)
    length = response.headers.get("Content-Length")
    if length is None or encoding == "chunked":
        return None
    values = {value.strip() for value in length.split(",")}
    value = values.pop()
    if values or not re.fullmatch(r"[0-9]{1,18}", value):
        raise OpenError(f"the server announces a length that is none: {length!r}", url=url)
    return int(value)


@final
@attrs.frozen
class _Version:
    """What an answer says of the version of a file.

    Attributes:
        etag: entity tag, perhaps a weak one.
        modified: date of the last modification.
        encoding: of the content.
        size: of the whole, in bytes.
        validator: what names this version and no other: a strong ETag, or a date that is old enough.
    """

    etag: str | None = None
    modified: str | None = None
    encoding: str | None = None
    size: int | None = None
    validator: str | None = None

    @classmethod
    def of(cls, response: BaseHTTPResponse, size: int | None) -> _Version:
        etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        strong = etag if etag and re.fullmatch(r'"[^"]*"', etag) else None
        dated = modified if modified and _is_settled(modified, response.headers.get("Date")) else None
        # A weak tag says that the server makes versions that differ in bytes and not in their tag, nor their date.
        validator = strong if etag else dated
        return cls(etag, modified, response.headers.get("Content-Encoding"), size, validator)

    def difference(self, other: _Version, *, partial: bool) -> str | None:
        """Return in what ``other``, of a later answer, differs; None if it can be of the same version."""
        if self.etag and other.etag and self.etag != other.etag:
            return "its ETag differs"
        if self.modified and other.modified and self.modified != other.modified:
            return "its Last-Modified differs"
        if self.size is not None and other.size is not None and self.size != other.size:
            return f"its length was {self.size} and is {other.size}"
        if self.encoding != other.encoding:
            return "its Content-Encoding differs"
        # The answer to a range request need not repeat the date, since If-Range has compared it.
        named = {other.etag, other.modified, self.modified if partial else None}
        if self.validator is not None and self.validator not in named:
            return "the server no longer says which version it is"
        return None


def _is_settled(modified: str, date: str | None) -> bool:
    """Return whether a file was last changed well before the server looked at it."""
    try:
        return (parsedate_to_datetime(date or "") - parsedate_to_datetime(modified)).total_seconds() >= _SETTLED
    except (TypeError, ValueError, IndexError, OverflowError):
        return False


@final
class Transfer(PieceFeed):
    """The bytes of a URL, or a range of them.

    Args:
        ask: sends a request with these further headers; returns an answer of status 200 or 203, or 206 or 416 to a
            request for a range, and raises for any other.
        attempts: those at this URL.
        url: named by errors.
        secrets: texts that no error may show.
        start: the first byte that is wanted.
        stop: the byte after the last one that is wanted; None for all.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, str]], BaseHTTPResponse],
        attempts: Attempts,
        url: str,
        secrets: Collection[str],
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._ask = ask
        self._attempts = attempts
        self._url = url
        self._secrets = secrets
        self._start = self._position = start
        self._stop = stop
        self._size: int | None = None
        self._version = _Version()
        self._digest = hashlib.sha256()  # of what was delivered, kept up where no validator names the version
        self._goes_on = False  # the server sent less of a range than asked for, in good order
        self._response: BaseHTTPResponse | None = None
        self._until: int | None = None  # the byte after the last one of this answer, where that is known

    def begin(self) -> None:
        """Send the first request.

        Raises:
            OpenError: there is no such file, or it cannot be had.
        """
        self._attempts.persist(self._connect)

    @override
    def piece(self, size: int) -> bytes:
        return self._attempts.persist(lambda: self._take(size), lambda: self._position - self._start)

    @override
    def stop(self) -> None:
        self._attempts.stop()
        response = self._response
        if response is not None:
            with contextlib.suppress(Exception):  # there may be no connection any more
                response.shutdown()  # ends a read of another thread

    @override
    def release(self) -> None:
        self._drop()

    @property
    def _end(self) -> int | None:
        """The byte after the last one to deliver, where that is known."""
        if self._stop is None or self._size is None:
            return self._stop if self._size is None else self._size
        return min(self._stop, self._size)

    @property
    def _is_done(self) -> bool:
        end = self._end
        return end is not None and self._position >= end

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            discard(response)

    def _take(self, size: int) -> bytes:
        """Return the next bytes; none at the end only."""
        try:
            while not self._is_done:
                if self._response is None:
                    self._connect()
                    continue
                ends = [end - self._position for end in (self._until, self._end) if end is not None]
                if data := self._read(self._response, min(size, _PIECE, *ends)):
                    if self._version.validator is None:
                        self._digest.update(data)
                    self._position += len(data)
                    return data
                self._end_of_answer()
        except TransientError:
            self._drop()
            self._goes_on = False
            raise
        self._drop()
        return b""

    def _read(self, response: BaseHTTPResponse, size: int) -> bytes:
        # Whole pieces are faster. A failure loses what has come of one: after it, what has arrived is taken at once,
        # so that each attempt advances.
        read = response.read1 if self._attempts.failures else response.read
        if self._stop is None and self._position < _BEGINNING:
            read, size = (response.read1, size) if self._position else (response.read, min(size, _HEAD))
        try:
            return read(size) if size else b""
        except Exception as error:
            failure = failure_of(error, self._broken(), self._url, self._secrets)
        raise failure  # where no other exception is being handled that would come along

    def _broken(self) -> str:
        end = self._end
        of = "" if end is None else f" of {end - self._start}"
        return f"the connection broke off after {self._position - self._start}{of} bytes"

    def _changed(self, difference: str) -> OpenError:
        delivered = self._position - self._start
        return OpenError(
            f"the file changed while it was read: {difference}, after {delivered} bytes were delivered; "
            "what follows does not belong to them",
            url=self._url,
        )

    def _end_of_answer(self) -> None:
        self._drop()
        if self._until is not None and self._position >= self._until:
            self._goes_on = True  # and there are bytes left to deliver
        elif self._until is not None or self._size is not None:
            raise TransientError(OpenError(self._broken(), url=self._url))
        else:
            self._size = self._position

    def _connect(self) -> None:
        """Ask for what is left, and go to where it begins in the answer."""
        again = self._position > self._start
        validator = self._version.validator if again else None
        begin = self._position if validator or self._goes_on else self._start
        headers: dict[str, str] = {}
        if begin or self._stop is not None:
            headers["Range"] = f"bytes={begin}-{'' if self._stop is None else self._stop - 1}"
            if validator is not None:
                headers["If-Range"] = validator
        response = self._ask(headers)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(discard, response)
            if response.status == 416:
                self._nothing_there(response, begin)
                return
            first, until, size = self._span(response, begin)
            version = _Version.of(response, size)
            if again:
                self._check_version(version, until, partial=response.status == 206)
            else:
                self._version = version
            self._size = self._size if size is None else size
            self._until = until
            if not self._is_done:
                self._pass_over(response, first, again=again)
            on_failure.pop_all()
        self._response = response

    def _check_version(self, version: _Version, until: int | None, *, partial: bool) -> None:
        """Raise unless what was delivered can belong to this answer."""
        difference = self._version.difference(version, partial=partial)
        if difference is None and version.size is not None and version.size < self._position:
            difference = f"its length is {version.size}"
        if difference is not None:
            raise self._changed(difference)
        if until is not None and until < self._position:
            raise OpenError(
                f"{self._broken()}, and the server sends ranges in parts of which it does not say the version: "
                "nothing shows that they belong together",
                url=self._url,
            )

    def _span(self, response: BaseHTTPResponse, begin: int) -> tuple[int, int | None, int | None]:
        """Return the first byte of an answer, the one after its last, and the size of the file, where known."""
        length = announced_length(response, self._url)
        if response.status != 206:
            return 0, length, length
        first, until, size = content_range(response)
        if first is None or first != begin or until is None or until <= first or (size is not None and until > size):
            raise OpenError(f"the server was asked for the bytes from {begin} and sent others", url=self._url)
        if length is not None and length != until - first:
            raise OpenError(f"the server sent {length} bytes as a range of {until - first}", url=self._url)
        return first, until, size

    def _nothing_there(self, response: BaseHTTPResponse, begin: int) -> None:
        """See what it means that the server has nothing from ``begin`` on."""
        _, _, size = content_range(response)
        if size is not None and self._size not in (None, size):
            raise self._changed(f"its length was {self._size} and is {size}")
        if self._position > begin:
            raise self._changed("it is shorter")
        size = self._size if size is None else size
        if size is not None and size > begin:
            raise OpenError(f"the server has {size} bytes and says that there are none from {begin} on", url=self._url)
        self._size = begin

    def _pass_over(self, response: BaseHTTPResponse, first: int, *, again: bool) -> None:
        """Read up to the byte that is wanted; where nothing else names the version, compare what was delivered."""
        compared = again and self._version.validator is None and first < self._position
        digest = hashlib.sha256()
        while first < self._position:
            goal = self._start if first < self._start else self._position
            data = self._read(response, min(_PIECE, goal - first))
            if not data and again:
                raise self._changed(f"it ends after {first} bytes")
            if not data:
                self._size = first  # the range that is wanted is behind the end
                return
            if compared and first >= self._start:
                digest.update(data)
            first += len(data)
        if compared and digest.digest() != self._digest.digest():
            raise self._changed("its bytes up to there are others")
