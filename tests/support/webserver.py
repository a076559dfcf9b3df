"""A web server under the test's control: what it answers, byte by byte, and what it was asked."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

import attrs
from typing_extensions import override

__all__ = ["Asked", "Exchange", "WebServer", "serving"]


@attrs.frozen
class Asked:
    """One request: method, path with query, and headers by lower-cased name."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request being answered."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        web, path = cast("_Server", self.server).web, self.path.partition("?")[0]
        web.asked.append(Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        route = web.routes.get(path)
        if route is None:
            self.reply(b"nothing here", status=404)
        elif isinstance(route, bytes):
            self.reply(route)
        else:
            route(self)

    do_HEAD = do_GET  # noqa: N815  # the base class's name for it

    def reply(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """Answer with ``body``; a header ``Content_Length`` is taken as given, and one of "" is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))} | named
        self.send_response(status)
        for name, value in named.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def reply_range(self, body: bytes, shift: int = 0, most: int | None = None) -> None:
        """Answer a request for a range as a server does that knows ranges.

        Args:
            body: the whole.
            shift: how far the answer is off.
            most: how many bytes it sends at most.
        """
        wanted = self.headers.get("Range")
        if wanted is None:
            self.reply(body)
            return
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        if first >= len(body):
            self.reply(status=416, Content_Range=f"bytes */{len(body)}")
            return
        part = body[first + shift : last + 1 + shift][:most]
        span = f"bytes {first + shift}-{first + shift + len(part) - 1}/{len(body)}"
        self.reply(part, 206, Content_Range=span)

    def cut_off(self) -> None:
        """Close the connection after what was sent."""
        self.wfile.flush()
        self.close_connection = True

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    """The server; it knows its connections, so that none is kept when it is gone."""

    web: WebServer
    connections: set[socket.socket]

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.discard(request)

    def end_connections(self) -> None:
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # it has just been closed
                connection.shutdown(socket.SHUT_RDWR)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away are what some tests are about


class WebServer:
    """A running server: ``routes`` from path to body, or to a function that answers."""

    def __init__(self, port: int) -> None:
        self.routes: dict[str, bytes | Callable[[Exchange], object]] = {}
        self.asked: list[Asked] = []
        self.port = port

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Generator[WebServer]:
    """Run a server in a thread; with ``tls``, one for ``https:``."""
    with _Server(("127.0.0.1", 0), Exchange) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.daemon_threads = True
        server.block_on_close = False
        server.connections = set()
        web = server.web = WebServer(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
            server.end_connections()
