"""An S3 server in a process of its own, and a proxy that stands before it and fails as it is told."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from typing import Any, Final, cast, final

import attrs
from typing_extensions import override

from webds.openers import ObjectStoreOpener

__all__ = ["SIGNATURE", "Fault", "Proxy", "S3Server", "free_port", "proxying", "serving_s3"]

_numbers = itertools.count()
SIGNATURE: Final = (
    "AWS4-HMAC-SHA256 Credential=other/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
)
_KEYS: Final = {"access_key_id": "tester", "secret_access_key": "hushes-of-the-tester"}


@final
@attrs.frozen
class S3Server:
    """A server that runs; each test has a bucket of its own.

    Attributes:
        port: of this host.
    """

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{next(_numbers)}"
        self.ask("PUT", f"/{name}")
        return name

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Send a request of S3's protocol, as somebody else."""
        headers = {"Content-Type": "application/octet-stream", "Authorization": SIGNATURE}  # which nobody checks
        request = urllib.request.Request(self.endpoint + path, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return bytes(response.read())

    def put(self, url: str, body: bytes) -> str:
        """Store an object and return its URL."""
        self.ask("PUT", "/" + url.removeprefix("s3://"), body)
        return url

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket, sorted."""
        return re.findall(r"<Key>([^<]*)</Key>", self.ask("GET", f"/{bucket}").decode())

    def uploads(self, bucket: str) -> list[str]:
        """Return the keys of uploads that are not finished."""
        return re.findall(r"<Key>([^<]*)</Key>", self.ask("GET", f"/{bucket}?uploads").decode())

    def opener(self, port: int | None = None, **options: Any) -> ObjectStoreOpener:
        """Return an opener for this server, or for a proxy before it, that loses no time."""
        settings: dict[str, Any] = {
            "endpoint": f"http://127.0.0.1:{self.port if port is None else port}",
            "region": "us-east-1",
            "options": _KEYS,
            "backoff": 0.001,
            "max_backoff": 0.01,
            "timeout": 10.0,
        }
        return ObjectStoreOpener(**settings | options)


def free_port() -> int:
    """Return a port of this host that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def serving_s3() -> Generator[S3Server]:
    """Run a server, in a process of its own, until the block is left."""
    server = S3Server(free_port())
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(urllib.error.URLError):
                    server.ask("GET", "/")
                    break
                assert process.poll() is None, "the server has ended"
                time.sleep(0.1)
            yield server
        finally:
            process.kill()


@final
@attrs.frozen
class Fault:
    """What becomes of one exchange.

    Attributes:
        kind: ``drop``: of the body, ``at`` bytes come, and then the connection is closed; ``reset``: and is reset;
            ``stall``: and then nothing comes any more; ``status``: the answer is ``at``, without a body; ``refuse``:
            the connection is closed without an answer; ``call``: something is done first; ``pass``: nothing.
        at: see above.
        call: what is done.
    """

    kind: str
    at: int = 0
    call: Callable[[], object] | None = None


_PASS: Final = Fault("pass")


@final
@attrs.define
class Proxy:
    """A proxy that runs.

    Attributes:
        port: of this host.
        faults: what is to become of the next exchanges; of later ones, nothing.
        asked: the heads of the requests that came, as text.
        method: the requests that faults are for; others pass.
        translate: from the head of a request that came to that of the one that is passed on.
    """

    port: int
    faults: list[Fault] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    method: str = "GET"
    translate: Callable[[bytes], bytes] = bytes
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    ended: threading.Event = attrs.field(factory=threading.Event)

    def next_fault(self, head: str) -> Fault:
        with self.lock:
            self.asked.append(head)
            return self.faults.pop(0) if self.faults and head.startswith(self.method) else _PASS


class _Exchanges(socketserver.StreamRequestHandler):
    """Passes one request on, and its answer back, and closes the connection."""

    @override
    def handle(self) -> None:
        server = cast("_ProxyServer", self.server)
        head = self._head(self.rfile)
        if not head:
            return
        fault = server.proxy.next_fault(head.decode("latin-1"))
        if fault.kind == "refuse":
            return
        if fault.kind == "status":
            self.wfile.write(b"HTTP/1.1 %d Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % fault.at)
            return
        if fault.call is not None:
            fault.call()
        head = server.proxy.translate(head)
        with socket.create_connection(("127.0.0.1", server.upstream), timeout=30) as upstream:
            upstream.sendall(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head[:-2]) + b"Connection: close\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            left = int(length[1]) if length else 0
            while left and (data := self.rfile.read(min(left, 1 << 16))):
                upstream.sendall(data)
                left -= len(data)
            self._answer(upstream, fault)

    @staticmethod
    def _head(stream: Any) -> bytes:
        lines: list[bytes] = []
        while (line := stream.readline()) not in (b"\r\n", b""):
            lines.append(line)
        return b"".join(lines) + b"\r\n" if lines else b""

    def _answer(self, upstream: socket.socket, fault: Fault) -> None:
        proxy = cast("_ProxyServer", self.server).proxy
        with upstream.makefile("rb") as stream:
            self.wfile.write(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", self._head(stream)[:-2]))
            self.wfile.write(b"Connection: close\r\n\r\n")
            left = fault.at if fault.kind in ("drop", "reset", "stall") else 1 << 62
            while left and (data := stream.read1(min(left, 1 << 16))):
                self.wfile.write(data)
                left -= len(data)
        self.wfile.flush()
        if fault.kind == "stall":
            proxy.ended.wait(60)
        elif fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _ProxyServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    proxy: Proxy
    upstream: int

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away are what some tests are about


@contextlib.contextmanager
def proxying(port: int, translate: Callable[[bytes], bytes] = bytes) -> Generator[Proxy]:
    """Run a proxy before the server at a port of this host, in a thread."""
    with _ProxyServer(("127.0.0.1", 0), _Exchanges) as listener:
        proxy = listener.proxy = Proxy(int(listener.server_address[1]), translate=translate)
        listener.upstream = port
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            listener.shutdown()
            thread.join()
