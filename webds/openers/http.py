"""Shards on web servers, and in stores that hand out ``https:`` URLs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, final
from urllib.parse import urlsplit

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.httpclient import Request, basic_credentials, closing, described, send
from webds.openers.streams import BUFFER_SIZE, Feed, FeedReader, attempt, check_range

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["HttpOpener"]

_RANGE: Final = re.compile(
    r"bytes\s+(?:(?P<first>\d{1,18})-(?P<last>\d{1,18})|\*)/(?P<total>\d{1,18}|\*)", re.IGNORECASE
)
_HTML_STARTS: Final = (b"<!doctype html", b"<html")
_LOOKED_AT: Final = 512
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_NO_HEAD: Final = (400, 403, 405, 501)  # the answers of servers, and of signed URLs, that know GET alone
_HINTS: Final = {
    401: ": the server wants credentials (HttpOpener has auth= and headers=)",
    403: ": the credentials, or the signature of the URL, do not suffice or have expired",
    407: ": the proxy wants credentials",
}


@final
class _Body(Feed):
    """The body of an answer."""

    def __init__(self, response: BaseHTTPResponse, url: str, secrets: Collection[str]) -> None:
        self._response = response
        self._url = url
        self._secrets = secrets
        self._delivered = 0
        length = response.headers.get("Content-Length")
        self._expected = f" of {length}" if length else ""

    @override
    def fill(self, buffer: memoryview) -> int:
        message = f"the connection broke off after {self._delivered}{self._expected} bytes"
        data = attempt(lambda: self._response.read(len(buffer)), message, self._url, self._secrets)
        buffer[: len(data)] = data
        self._delivered += len(data)
        return len(data)

    @override
    def release(self, *, unread: bool) -> None:
        self._response.close()
        self._response.release_conn()


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"{name!r} is no name of an HTTP header")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise ValueError(f"the value of the HTTP header {name!r} has line breaks or control characters")
    return dict(headers)


def _lowered(hosts: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if hosts is None else tuple(host.lower() for host in hosts)


@final
@attrs.frozen(kw_only=True)
class HttpOpener(Opener):
    """Opens ``http:`` and ``https:`` URLs for reading.

    A body that is shorter than announced is an error, and so is a web page in place of data (unless the URL asks
    for ``.html``). What the server declares as ``Content-Encoding`` stays encoded: a ``.tar.gz`` arrives as one.
    Proxies and their exceptions are those of the environment (``https_proxy``, ``no_proxy``). A user and password
    in the URL are sent as basic authentication. Nothing is asked for again, but a connection that was kept open
    and turns out to be closed is replaced.

    Attributes:
        headers: sent with every request, such as ``{"X-Api-Key": key}``.
        auth: (user, password), or a token that is sent as ``Authorization: Bearer …``.
        hosts: the hosts that headers and auth are for; None for every host that a URL names. A list of URLs that
            somebody else wrote can name any. Where a server redirects to another one, they are left out anyway.
        timeout: seconds to wait for a connection, and for each further piece of an answer.
        buffer_size: bytes that are read at once, 512 at least; below 1, a default.
    """

    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], converter=_checked_headers, repr=lambda headers: repr(sorted(headers))
    )
    auth: tuple[str, str] | str | None = attrs.field(default=None, repr=lambda auth: "***" if auth else "None")
    hosts: Collection[str] | None = attrs.field(default=None, converter=_lowered)
    timeout: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    buffer_size: int = BUFFER_SIZE

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if mode != "rb":
            raise OpenError("web servers are only read; to write, pipe: a command such as curl -T -", url=url)
        return self._stream(self._send(url), url)

    @override
    def size(self, url: str) -> int | None:
        """Return what the server says of the length; None if it does not say.

        Raises:
            OpenError: the URL is not there, or the server fails.
        """
        response = self._send(url, method="HEAD")
        response.drain_conn()  # there is no body, and the connection is good for the next request
        if response.status not in _NO_HEAD:
            self._check(response, url)
            return _number(response.headers.get("Content-Length"))
        response = self._send(url, {"Range": "bytes=0-0"})
        with closing(response):
            if response.status in (206, 416):
                found = _RANGE.match(response.headers.get("Content-Range", ""))
                return _number(found["total"]) if found else None
            self._check(response, url)
            return _number(response.headers.get("Content-Length"))

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``, by a range request.

        A server that does not know these sends everything, of which the part is taken.
        """
        check_range(start, length)
        parts: list[bytes] = []
        while length > 0 and (part := self._part(url, start, length)):
            parts.append(part)
            start, length = start + len(part), length - len(part)
        return b"".join(parts)

    def _part(self, url: str, start: int, length: int) -> bytes:
        """Return what the server sends of a range, which may be less than all of it; nothing behind the end."""
        response = self._send(url, {"Range": f"bytes={start}-{start + length - 1}"})
        if response.status != 206:
            with closing(response):
                if response.status == 416:
                    return b""
                with self._stream(response, url) as stream:
                    while start > 0 and (passed := stream.read(min(start, 1 << 20))):
                        start -= len(passed)
                    return stream.read(length)
        with FeedReader(_Body(response, url, self._secrets()), self.buffer_size) as stream:
            found = _RANGE.match(response.headers.get("Content-Range", ""))
            if found is None or found["first"] is None or int(found["first"]) != start:
                raise OpenError(f"the server was asked for the bytes from {start} and sent others", url=url)
            expected = int(found["last"]) + 1 - start
            data = stream.read(min(length, expected))
            if len(data) < min(length, expected) or not data:
                raise OpenError(f"the server sent {len(data)} bytes of a range and announced {expected}", url=url)
            return data

    def _secrets(self) -> list[str]:
        """Return the texts that no error may show."""
        values = [*self.headers.values(), *([self.auth] if isinstance(self.auth, str) else self.auth or ())]
        return [secret for value in values for secret in (value, *value.split()) if len(secret) > 3]

    def _send(self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> BaseHTTPResponse:
        credentials: dict[str, str] = {}
        if self.hosts is None or _host(url) in self.hosts:
            credentials = dict(self.headers)
            if isinstance(self.auth, str):
                credentials["Authorization"] = f"Bearer {self.auth}"
            elif self.auth is not None:
                credentials["Authorization"] = basic_credentials(*self.auth)
        return send(Request(url, method, headers or {}, credentials, self.timeout, self._secrets()))

    def _check(self, response: BaseHTTPResponse, url: str) -> None:
        """Raise unless the answer is what was asked for."""
        status = response.status
        if status in (200, 203):
            return
        with closing(response):
            if 200 <= status < 300:
                raise OpenError(f"the server answered {described(status)}, which brings no whole file", url=url)
            raise OpenError(f"{described(status, response.reason)}{_HINTS.get(status, '')}", url=url)

    def _stream(self, response: BaseHTTPResponse, url: str) -> BinaryIO:
        """Return the body of an answer as a stream, once it is known to be data."""
        self._check(response, url)
        # A web page is recognised by what is in the buffer first.
        size = max(self.buffer_size, _LOOKED_AT) if self.buffer_size > 0 else BUFFER_SIZE
        stream = FeedReader(_Body(response, url, self._secrets()), size)
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(stream)
            if not _path(url).endswith((".html", ".htm")):
                kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                start = stream.peek(_LOOKED_AT)[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
                if kind in _HTML_TYPES or start.startswith(_HTML_STARTS):
                    raise OpenError(
                        "the server sent a web page (HTML) in place of data: a login, an error or an index page?",
                        url=url,
                    )
            on_failure.pop_all()
        return stream


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    return url.partition("?")[0].partition("#")[0].lower()
