"""HTTP requests: connections, redirects, proxies, and whom credentials are shown to."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Collection, Generator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, final
from urllib.parse import unquote, urljoin, urlsplit

import attrs
from typing_extensions import override

from webds.errors import OpenError
from webds.openers.connections import endable
from webds.openers.httpauth import basic_credentials
from webds.openers.retry import TransientError
from webds.openers.streams import attempt, open_error
from webds.redaction import redact
from webds.streams.interrupting import is_interrupted

if TYPE_CHECKING:  # imported where it is used: most programs read local files
    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.util import Url

__all__ = ["Request", "closing", "described", "discard", "failure_of", "send"]

_REDIRECTS: Final = (301, 302, 303, 307, 308)
_MAX_REDIRECTS: Final = 10
_DRAINED: Final = 1 << 16  # bytes of a redirect's body that are read to keep its connection
_CONNECTIONS: Final = 32  # kept for each host
_IDENTITY: Final = {"Accept-Encoding": "identity", "User-Agent": "webds"}


@final
@attrs.frozen
class Request:
    """What is asked of a server.

    Attributes:
        url: with its query, and perhaps user and password.
        method: ``GET`` or ``HEAD``.
        headers: sent to whomever the URL leads to.
        credentials: headers that are sent to the server of the URL, and to no other that it redirects to.
        timeout: seconds to wait for a connection, and for each further piece of an answer.
        secrets: texts that no error may show.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    credentials: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    timeout: float = 60.0
    secrets: Collection[str] = attrs.field(default=(), repr=False)


def described(status: int, reason: str | None = None) -> str:
    """Return an HTTP status as ``404 Not Found``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} {reason or ''}".rstrip()


def send(request: Request) -> BaseHTTPResponse:
    """Send a request, follow redirects, and return the answer, whatever its status; its body is not read yet.

    Raises:
        OpenError: there is no answer, and will be none.
        TransientError: there is no answer, but there may be one later.
    """
    url, credentials = request.url, dict(request.credentials)
    for _ in range(_MAX_REDIRECTS + 1):
        target, own = _target(request, url)
        credentials |= own
        response = _answer(request, target, credentials)
        location = response.headers.get("Location") if response.status in _REDIRECTS else None
        if location is None:
            return response
        with closing(response):
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) <= _DRAINED:
                response.drain_conn()  # so that the connection can be kept
        url, same = _redirected(request, target.url, location)
        if not same:
            credentials = {}
    raise OpenError(f"the server redirects more than {_MAX_REDIRECTS} times", url=request.url)


def _target(request: Request, url: str) -> tuple[Url, dict[str, str]]:
    return attempt(lambda: _parsed(url), "this is no URL of a web server", request.url)


def _parsed(url: str) -> tuple[Url, dict[str, str]]:
    """Return ``url`` without user, password and fragment, and the header that these two make."""
    from urllib3.util import parse_url  # noqa: PLC0415  # see above

    parsed = parse_url(url)
    if not parsed.host:
        raise ValueError("it names no host")
    user, colon, password = (parsed.auth or "").partition(":")
    own = {"Authorization": basic_credentials(unquote(user), unquote(password))} if user or colon else {}
    return parsed._replace(auth=None, fragment=None), own


def _redirected(request: Request, old: str, location: str) -> tuple[str, bool]:
    """Return where a redirect leads, and whether that is the same server."""
    message = "the server redirects to something that is no URL"
    url = attempt(lambda: urljoin(old, location), message, request.url)
    scheme = urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise OpenError(f"the server redirects to the scheme {scheme!r}, which is not followed", url=request.url)
    return url, attempt(lambda: _same_server(old, url), message, request.url)


def _same_server(old: str, new: str) -> bool:
    """Return whether what may be shown to the server of ``old`` may be shown to that of ``new``."""
    default = {"http": 80, "https": 443}
    a, b = urlsplit(old), urlsplit(new)
    ports = [part.port or default[part.scheme] for part in (a, b)]
    upgrade = (a.scheme, b.scheme, *ports) == ("http", "https", 80, 443)
    return a.hostname == b.hostname and (upgrade or (a.scheme == b.scheme and ports[0] == ports[1]))


def _answer(request: Request, target: Url, credentials: Mapping[str, str]) -> BaseHTTPResponse:
    """Send one request. A connection that had been kept and turns out to be closed is replaced by a new one."""
    from urllib3 import Timeout  # noqa: PLC0415  # see above
    from urllib3.exceptions import ProtocolError  # noqa: PLC0415

    _log_filter.install()
    pool = attempt(lambda: _pool(target), "the proxy cannot be used", request.url, request.secrets)

    def answer() -> BaseHTTPResponse:
        return pool.urlopen(
            request.method,
            target.url,
            headers={**_IDENTITY, **request.headers, **credentials},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=request.timeout, read=request.timeout),
        )

    def answer_again() -> BaseHTTPResponse:
        try:
            return answer()
        except ProtocolError:
            if is_interrupted():
                raise
            return answer()

    try:
        with _log_filter:
            return answer_again()
    except Exception as error:
        failure = failure_of(error, "the server does not answer", request.url, request.secrets)
    raise failure  # where no other exception is being handled that would come along


def failure_of(error: Exception, message: str, url: str, secrets: Collection[str]) -> OpenError | TransientError:
    """Return what to raise for what urllib3 raised: whether it may pass, and without secrets; see `open_error`."""
    failure = open_error(message, url, error, secrets)
    return TransientError(failure) if _may_pass(error) else failure


def _may_pass(error: Exception) -> bool:
    import socket  # noqa: PLC0415  # see above
    import ssl  # noqa: PLC0415

    from urllib3 import exceptions  # noqa: PLC0415

    links = list(_links(error))
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in links):
        return False
    no_host = socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)
    if any(isinstance(link, socket.gaierror) and link.errno in no_host for link in links):
        return False  # a name server that does not answer is another matter
    if any("Tunnel connection failed: 4" in str(link) for link in links):
        return False  # the proxy refuses
    passing = exceptions.TimeoutError, exceptions.ProtocolError, exceptions.ProxyError, exceptions.SSLError
    return isinstance(error, passing)


def _links(error: BaseException | None) -> Generator[BaseException]:
    """Yield an exception and those that it carries, in any of the ways in which urllib3 wraps them."""
    seen: set[int] = set()
    rest = [error]
    while rest:
        error = rest.pop()
        if isinstance(error, BaseException) and id(error) not in seen:
            seen.add(id(error))
            yield error
            rest += [error.__cause__, *error.args]


@contextlib.contextmanager
def closing(response: BaseHTTPResponse) -> Generator[None]:
    """Give the connection of an answer back at the end of a block, whatever was read of it."""
    try:
        yield
    finally:
        discard(response)


def discard(response: BaseHTTPResponse) -> None:
    """Give the connection of an answer back: to be used again if the body was read whole, else closed at once."""
    if response.length_remaining == 0:
        response.drain_conn()  # there is nothing to wait for
    response.close()
    response.release_conn()


_pools: dict[tuple[int, str | None], PoolManager] = {}


def _pool(target: Url) -> PoolManager:
    """Return the connections of this process: those of the parent are the parent's."""
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  # slow to import

    import urllib3  # noqa: PLC0415  # see above

    proxy = None if proxy_bypass(target.netloc or "") else getproxies().get(target.scheme or "")
    key = os.getpid(), proxy
    if key not in _pools:
        pool: PoolManager
        if proxy is None:
            pool = urllib3.PoolManager(maxsize=_CONNECTIONS)
        else:
            parsed, own = _parsed(proxy if "://" in proxy else f"http://{proxy}")
            headers = {f"Proxy-{name}": value for name, value in own.items()}
            pool = urllib3.ProxyManager(parsed.url, proxy_headers=headers, maxsize=_CONNECTIONS)
        return _pools.setdefault(key, endable(pool))
    return _pools[key]


@final
class _LogFilter(logging.Filter):
    """Takes the secrets out of what urllib3 logs about our requests: whole URLs, with signatures."""

    def __init__(self) -> None:
        super().__init__()
        self._ours = threading.local()

    def install(self) -> None:
        logging.getLogger("urllib3.connectionpool").addFilter(self)  # a second time does nothing

    def __enter__(self) -> None:
        self._ours.depth = getattr(self._ours, "depth", 0) + 1

    def __exit__(self, *error: object) -> None:
        self._ours.depth -= 1

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(self._ours, "depth", 0):
            record.msg, record.args = redact(record.getMessage()), ()
        return True


_log_filter: Final = _LogFilter()
