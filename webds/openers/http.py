"""Shards on web servers, and in stores that hand out ``https:`` URLs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, cast, final
from urllib.parse import urlsplit

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.httpauth import basic_credentials, netrc_login
from webds.openers.httpclient import Request, closing, described, discard, send
from webds.openers.pieces import PieceReader
from webds.openers.retry import Attempts, Patience, Retry, TransientError, seconds_to_wait
from webds.openers.streams import BUFFER_SIZE, check_range, hidden
from webds.openers.transfer import Transfer, announced_length, content_range

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["HttpOpener"]

_HTML_STARTS: Final = (b"<!doctype html", b"<html")
_LOOKED_AT: Final = 512
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_PASSING: Final = (408, 425, 429)  # and those from 500 on, but for
_LASTING: Final = (501, 505)
_NO_HEAD: Final = (400, 403, 405, 501)  # the answers of servers, and of signed URLs, that know GET alone
_HINTS: Final = {
    401: ": the server wants credentials (HttpOpener has auth= and headers=)",
    403: ": the credentials, or the signature of the URL, do not suffice or have expired",
    407: ": the proxy wants credentials",
}


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

    What may pass (a connection that cannot be made, breaks off or stalls; the answers 408, 425, 429 and 5xx) is tried
    again, `attempts` times in a row, after random pauses that grow from `backoff` to `max_backoff` seconds;
    ``Retry-After`` is honoured up to there. Any other refusal is an error at once. A transfer goes on at the byte
    where it broke off, if the server says by an ETag or an old enough Last-Modified which version of the file it
    sends; else it begins again, and what was delivered must come again. A file that changed in between is an error,
    and so are a body whose length is not the announced one, and a web page in place of data (unless the URL asks for
    ``.html``). Retries are logged at level INFO by the logger ``webds``.

    What the server declares as ``Content-Encoding`` stays encoded: a ``.tar.gz`` arrives as one. Proxies and their
    exceptions are those of the environment (``https_proxy``, ``no_proxy``). A user and password in the URL are sent
    as basic authentication; without these, and without ``auth``, those that the netrc file (``NETRC``, or
    ``~/.netrc``) has for the host.

    Attributes:
        headers: sent with every request, such as ``{"X-Api-Key": key}``.
        auth: (user, password), or a token that is sent as ``Authorization: Bearer …``.
        hosts: the hosts that headers and auth are for; None for every host that a URL names. A list of URLs that
            somebody else wrote can name any. Where a server redirects to another one, they are left out anyway.
        timeout: seconds to wait for a connection, and for each further piece of an answer.
        buffer_size: bytes that are read at once, 512 at least; below 1, a default.
        attempts: how often something is tried before it is an error; 1 for no retries. Counted anew whenever
            another MiB has arrived.
        backoff: seconds; the most that the first pause takes. Each further pause takes up to twice as long.
        max_backoff: seconds; the most that any pause takes.
        on_retry: called before each pause, with a `webds.openers.retry.Retry`. It must be picklable where the opener
            is to be, and raise nothing.
    """

    headers: Mapping[str, str] = attrs.field(
        factory=dict[str, str], converter=_checked_headers, repr=lambda headers: repr(sorted(headers))
    )
    auth: tuple[str, str] | str | None = attrs.field(default=None, repr=lambda auth: "***" if auth else "None")
    hosts: Collection[str] | None = attrs.field(default=None, converter=_lowered)
    timeout: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    buffer_size: int = BUFFER_SIZE
    attempts: int = attrs.field(default=5, validator=attrs.validators.ge(1))
    backoff: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    max_backoff: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    on_retry: Callable[[Retry], object] | None = attrs.field(default=None, repr=False)

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if mode != "rb":
            raise OpenError("web servers are only read; to write, pipe: a command such as curl -T -", url=url)
        # A web page is recognised by what is in the buffer first.
        size = max(self.buffer_size, _LOOKED_AT) if self.buffer_size > 0 else BUFFER_SIZE
        transfer = self._transfer(url)
        transfer.begin()
        stream = PieceReader(transfer, size)
        with contextlib.ExitStack() as on_failure:
            on_failure.enter_context(stream)
            if not _may_be_page(url):
                start = stream.peek(_LOOKED_AT)[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
                if start.startswith(_HTML_STARTS):
                    raise _page(url)
            on_failure.pop_all()
        return cast("BinaryIO", stream)

    @override
    def size(self, url: str) -> int | None:
        """Return what the server says of the length; None if it does not say.

        Raises:
            OpenError: the URL is not there, or the server fails.
        """
        return self._attempts(url).persist(lambda: self._size(url))

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``, by a range request.

        A server that does not know these sends everything, of which the part is taken.
        """
        check_range(start, length)
        if length == 0:
            return b""
        transfer = self._transfer(url, start, start + length)
        with PieceReader(transfer, min(length, BUFFER_SIZE)) as stream:
            transfer.begin()
            return stream.read(length)

    def _transfer(self, url: str, start: int = 0, stop: int | None = None) -> Transfer:
        secrets = self._secrets(url)
        return Transfer(lambda headers: self._ask(url, headers), self._attempts(url), url, secrets, start, stop)

    def _attempts(self, url: str) -> Attempts:
        return Attempts(Patience(self.attempts, self.backoff, self.max_backoff, self.on_retry), url)

    def _size(self, url: str) -> int | None:
        response = self._send(url, method="HEAD")
        response.drain_conn()  # there is no body, and the connection is good for the next request
        if response.status not in _NO_HEAD:
            self._check(response, url)
            return announced_length(response, url)
        response = self._ask(url, {"Range": "bytes=0-0"})
        with closing(response):
            return content_range(response)[2] if response.status in (206, 416) else announced_length(response, url)

    def _credentials(self, url: str) -> dict[str, str]:
        """Return the headers that prove who asks."""
        host = _host(url)
        given: dict[str, str] = {}
        if self.hosts is None or host in self.hosts:
            given = dict(self.headers)
            if isinstance(self.auth, str):
                given["Authorization"] = f"Bearer {self.auth}"
            elif self.auth is not None:
                given["Authorization"] = basic_credentials(*self.auth)
        if not _has_user(url) and "authorization" not in map(str.lower, given) and (login := netrc_login(host)):
            given["Authorization"] = basic_credentials(*login)
        return given

    def _secrets(self, url: str) -> list[str]:
        """Return the texts that no error may show."""
        values = [*self.headers.values(), *([self.auth] if isinstance(self.auth, str) else self.auth or ())]
        values += [*(netrc_login(_host(url)) or ()), *self._credentials(url).values()]
        return [secret for value in values for secret in (value, *value.split()) if len(secret) > 3]

    def _send(self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> BaseHTTPResponse:
        return send(Request(url, method, headers or {}, self._credentials(url), self.timeout, self._secrets(url)))

    def _ask(self, url: str, headers: Mapping[str, str]) -> BaseHTTPResponse:
        """Return an answer that brings the file, or the range of it that was asked for.

        Raises:
            TransientError: there is none now.
            OpenError: there is none.
        """
        response = self._send(url, headers)
        if "Range" not in headers or response.status not in (206, 416):
            self._check(response, url)
        if response.status != 416:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in _HTML_TYPES and not _may_be_page(url):
                discard(response)
                raise _page(url)
        return response

    def _check(self, response: BaseHTTPResponse, url: str) -> None:
        """Raise unless the answer is a whole file."""
        status = response.status
        if status in (200, 203):
            return
        discard(response)
        if 200 <= status < 300:
            raise OpenError(f"the server answered {described(status)}, which brings no whole file", url=url)
        reason = hidden(described(status, response.reason), self._secrets(url))
        error = OpenError(f"{reason}{_HINTS.get(status, '')}", url=url)
        if status in _PASSING or (status >= 500 and status not in _LASTING):
            wait = seconds_to_wait(response.headers.get("Retry-After"), response.headers.get("Date"))
            raise TransientError(error, wait)
        raise error


def _page(url: str) -> OpenError:
    return OpenError("the server sent a web page (HTML) in place of data: a login, an error or an index page?", url=url)


def _may_be_page(url: str) -> bool:
    return url.partition("?")[0].partition("#")[0].lower().endswith((".html", ".htm"))


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _has_user(url: str) -> bool:
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False
