from __future__ import annotations

import base64
import contextlib
import gzip
import io
import logging
import multiprocessing
import pickle
import re
import shlex
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from abc import ABC
from collections.abc import Callable, Generator, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from processes import threads_of_ours
from shards import tar_bytes
from typing_extensions import override
from webserver import Exchange, WebServer, serving

import webds
from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import HttpOpener
from webds.openers.retry import Retry
from webds.testing import OpenerSuite
from webds.testing.suite import open_files, settled, shown

DATA = bytes(range(256)) * 300


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        yield server


class HttpSuite(OpenerSuite, ABC):
    web: WebServer

    @pytest.fixture(autouse=True)
    def _web(self, web: WebServer) -> None:
        type(self).web = web

    @override
    def make_opener(self) -> Opener:
        return HttpOpener(headers={"X-Api-Key": "hush-key-1"}, auth=("me", "hush-password-2"), timeout=10)

    @override
    def opener_secrets(self) -> list[str]:
        return ["hush-key-1", "hush-password-2", "bWU6aHVzaC1wYXNzd29yZC0y"]

    @override
    def missing_url(self, folder: Path) -> str:
        return self.web.url("/nothing")


class TestServerThatKnowsNoRanges(HttpSuite):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = f"/{len(self.web.routes)}.bin"
        self.web.routes[path] = content
        return self.web.url(path)


class TestServerThatKnowsRanges(HttpSuite):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = f"/{len(self.web.routes)}.bin"
        self.web.routes[path] = lambda exchange: exchange.reply_range(content)
        return self.web.url(path)


class TestServerThatSendsRangesInSmallParts(HttpSuite):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = f"/{len(self.web.routes)}.bin"
        self.web.routes[path] = lambda exchange: exchange.reply_range(content, most=100)
        return self.web.url(path)


class TestChunkedServer(HttpSuite):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = f"/{len(self.web.routes)}.bin"
        self.web.routes[path] = lambda exchange: chunked(exchange, content)
        return self.web.url(path)


class TestRedirectingServer(TestServerThatKnowsRanges):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        target = super().url_of(folder, content)
        path = f"/from/{len(self.web.routes)}"
        self.web.routes[path] = lambda exchange: exchange.reply(b"moved", 302, Location=f"{target}?sig=hush-signature")
        return self.web.url(path)


def chunked(exchange: Exchange, content: bytes, whole: bool = True) -> None:
    exchange.reply(status=200, Content_Length="", Transfer_Encoding="chunked")
    if exchange.command == "HEAD":
        return
    for start in range(0, len(content), 1000):
        part = content[start : start + 1000]
        exchange.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    if whole:
        exchange.wfile.write(b"0\r\n\r\n")
    else:
        exchange.cut_off()


def eager(timeout: float = 10, buffer_size: int = 1 << 16, attempts: int = 5) -> HttpOpener:
    """Return an opener that hardly pauses before it tries again."""
    return HttpOpener(timeout=timeout, buffer_size=buffer_size, attempts=attempts, backoff=0.001)


def drained(opener: Opener, url: str, size: int = 1000) -> Iterator[bytes]:
    with opener.open(url) as stream:
        while part := stream.read(size):
            yield part


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "404 Not Found"),
        (401, "401 Unauthorized.*credentials"),
        (403, "403 Forbidden.*expired"),
        (501, "501 Not Implemented"),
        (505, "505 HTTP Version Not Supported"),
        (204, "204 No Content.*no whole file"),
        (206, "206 Partial Content.*no whole file"),
        (304, "304 Not Modified"),
        (499, "499"),
    ],
)
def test_a_status_that_lasts_is_named_and_asked_for_once(web: WebServer, status: int, words: str) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply(status=status)
    with pytest.raises(OpenError, match=words):
        HttpOpener().open(web.url("/x.tar"))
    assert len(web.asked) == 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_body_shorter_than_announced_is_an_error_after_its_bytes(web: WebServer, whole: bool) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.reply(DATA[:5000], Content_Length="5000" if whole else "9000")
        exchange.cut_off()

    web.routes["/x.tar"] = answer
    parts: list[bytes] = []
    if whole:
        parts.extend(drained(HttpOpener(), web.url("/x.tar")))
    else:
        with pytest.raises(OpenError, match="broke off after 5000 of 9000 bytes"):
            parts.extend(drained(eager(), web.url("/x.tar")))
    assert b"".join(parts) == DATA[:5000]


def test_a_chunked_body_that_breaks_off_is_an_error(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: chunked(exchange, DATA, whole=False)
    with pytest.raises(OpenError, match="broke off"):
        list(drained(eager(), web.url("/x.tar")))


def test_a_server_that_stalls_is_an_error_after_the_time_out(web: WebServer) -> None:
    hold = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.reply(DATA[:5000], Content_Length="9000")
        exchange.wfile.flush()
        hold.wait(20)

    web.routes["/x.tar"] = answer
    with pytest.raises(OpenError, match="timed out"):
        list(drained(eager(timeout=0.1, buffer_size=1000, attempts=2), web.url("/x.tar")))
    web.routes["/silent.tar"] = lambda exchange: hold.wait(20)
    with pytest.raises(OpenError, match=r"does not answer.*timed out"):
        eager(timeout=0.1, attempts=2).open(web.url("/silent.tar"))
    hold.set()


def test_a_server_that_is_not_there_is_an_open_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(OpenError, match="refused"):
            eager().open(f"http://127.0.0.1:{taken.getsockname()[1]}/x.tar")


@pytest.mark.parametrize("url", ["http://", "http:///x.tar", "http://[::1/x", "http://host:port/x", "http://h\0st/x"])
def test_what_is_no_url_is_an_open_error(url: str) -> None:
    for call in (HttpOpener().open, HttpOpener().size, HttpOpener(hosts=["a"]).open):
        with pytest.raises(OpenError):
            call(url)


HTML: dict[str, Callable[[Exchange], None]] = {
    "by type": lambda exchange: exchange.reply(b"Please log in", Content_Type="text/html; charset=utf-8"),
    "by content": lambda exchange: exchange.reply(b"\xef\xbb\xbf \n<!DocType HTML><p>Please log in"),
    "by tag": lambda exchange: exchange.reply(b"<html><p>Please log in", Content_Type="application/x-tar"),
}


@pytest.mark.parametrize("answer", HTML.values(), ids=HTML)
def test_a_web_page_in_place_of_data_is_called_that(web: WebServer, answer: Callable[[Exchange], None]) -> None:
    web.routes["/x.tar"] = web.routes["/x.html"] = answer
    with pytest.raises(OpenError, match=r"web page \(HTML\)"):
        HttpOpener().open(web.url("/x.tar"))
    assert b"log in" in b"".join(drained(HttpOpener(), web.url("/x.html?for=me")))


def test_a_content_encoding_is_left_as_it_is(web: WebServer) -> None:
    packed = gzip.compress(DATA)
    web.routes["/x.tar.gz"] = lambda exchange: exchange.reply(packed, Content_Encoding="gzip")
    assert b"".join(drained(HttpOpener(), web.url("/x.tar.gz"))) == packed
    assert web.asked[0].headers["accept-encoding"] == "identity"


def test_a_range_is_asked_for_and_read_alone(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply_range(DATA)
    assert HttpOpener().read_range(web.url("/x.tar"), 1000, 50) == DATA[1000:1050]
    assert [asked.headers["range"] for asked in web.asked] == ["bytes=1000-1049"]


def test_an_absurd_length_takes_no_memory(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply_range(DATA)
    assert HttpOpener().read_range(web.url("/x.tar"), 1000, 1 << 60) == DATA[1000:]
    web.routes["/y.tar"] = DATA
    assert HttpOpener().read_range(web.url("/y.tar"), 1000, 1 << 60) == DATA[1000:]


def test_another_range_than_the_one_asked_for_is_an_error(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply_range(DATA, shift=1)
    web.routes["/y.tar"] = lambda exchange: exchange.reply(DATA[:50], 206)
    web.routes["/z.tar"] = lambda exchange: exchange.reply(DATA[:20], 206, Content_Range="bytes 5-54/1000")
    for path in ("/x.tar", "/y.tar", "/z.tar"):
        with pytest.raises(OpenError, match="sent"):
            HttpOpener().read_range(web.url(path), 5, 50)


def test_a_range_that_breaks_off_is_an_error(web: WebServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.reply(DATA[:20], 206, Content_Range="bytes 0-49/1000", Content_Length="50")
        exchange.cut_off()

    web.routes["/x.tar"] = answer
    with pytest.raises(OpenError, match="broke off after 20 of 50"):
        eager().read_range(web.url("/x.tar"), 0, 50)


def test_a_negative_range_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        HttpOpener().read_range("http://127.0.0.1:1/", -1, 5)


@pytest.mark.parametrize(("answer", "size"), [("range", len(DATA)), ("whole", len(DATA)), ("unknown", None)])
def test_the_size_is_asked_for_by_get_where_head_is_not_known(web: WebServer, answer: str, size: int | None) -> None:
    def reply(exchange: Exchange) -> None:
        if exchange.command == "HEAD":
            exchange.reply(status=405)
        elif answer == "range":
            exchange.reply_range(DATA)
        elif answer == "whole":
            exchange.reply(DATA)
        else:
            exchange.reply(DATA[:1], 206, Content_Range="bytes 0-0/*")

    web.routes["/x.tar"] = reply
    assert HttpOpener().size(web.url("/x.tar")) == size


def test_the_size_of_nothing_is_zero_by_either_way(web: WebServer) -> None:
    web.routes["/x.tar"] = b""
    web.routes["/y.tar"] = lambda exchange: (
        exchange.reply(status=403) if exchange.command == "HEAD" else exchange.reply_range(b"")
    )
    assert HttpOpener().size(web.url("/x.tar")) == 0
    assert HttpOpener().size(web.url("/y.tar")) == 0


def test_a_length_that_is_none_is_unknown(web: WebServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.reply(status=200, Content_Length="")
        exchange.cut_off()

    web.routes["/x.tar"] = answer
    assert HttpOpener().size(web.url("/x.tar")) is None


def test_a_failing_server_has_no_size(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply(status=503)
    with pytest.raises(OpenError, match="503"):
        eager().size(web.url("/x.tar"))


def test_connections_are_kept_and_nothing_leaks(web: WebServer) -> None:
    ports: set[Any] = set()

    def answer(exchange: Exchange) -> None:
        ports.add(exchange.client_address)
        exchange.reply(DATA)

    web.routes["/x.tar"] = answer
    opener = HttpOpener()
    for _ in range(5):
        list(drained(opener, web.url("/x.tar")))
        opener.size(web.url("/x.tar"))
    assert len(ports) == 1
    files = open_files()
    for _ in range(5):
        with opener.open(web.url("/x.tar")) as stream:
            stream.read(10)
    assert settled(lambda: open_files() <= files)


def test_a_kept_connection_that_the_server_closed_is_replaced(web: WebServer) -> None:
    def rude(exchange: Exchange) -> None:
        if len(web.asked) % 2 == 0:
            exchange.cut_off()  # without an answer
        else:
            exchange.reply(DATA)

    web.routes["/x.tar"] = rude
    for _ in range(3):
        assert b"".join(drained(HttpOpener(), web.url("/x.tar"))) == DATA


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web: WebServer, status: int) -> None:
    web.routes["/a/x.tar"] = lambda exchange: exchange.reply(b"moved", status, Location="../b/x.tar?sig=1")
    web.routes["/b/x.tar"] = DATA
    assert b"".join(drained(HttpOpener(), web.url("/a/x.tar"))) == DATA
    assert web.asked[1].path == "/b/x.tar?sig=1"


def test_a_redirect_to_another_server_gets_no_credentials(web: WebServer) -> None:
    web.routes["/x.tar"] = DATA
    with serving() as first:
        first.routes["/x.tar"] = lambda exchange: exchange.reply(status=302, Location="/y.tar")
        first.routes["/y.tar"] = lambda exchange: exchange.reply(status=302, Location=web.url("/x.tar"))
        opener = HttpOpener(headers={"X-Api-Key": "key", "Cookie": "c=1"}, auth="token")
        list(drained(opener, first.url("/x.tar")))
    for asked in first.asked:
        assert asked.headers["authorization"] == "Bearer token"
        assert asked.headers["x-api-key"] == "key"
    assert {"authorization", "x-api-key", "cookie"}.isdisjoint(web.asked[0].headers)


def test_credentials_are_for_the_hosts_that_are_named(web: WebServer) -> None:
    web.routes["/x.tar"] = DATA
    opener = HttpOpener(auth="token", hosts=["LocalHost"])
    list(drained(opener, web.url("/x.tar")))
    list(drained(opener, web.url("/x.tar", host="localhost")))
    assert ["authorization" in asked.headers for asked in web.asked] == [False, True]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("/x.tar", "more than 10 times"),
        ("file:///etc/passwd", "scheme 'file'"),
        ("http://[", "no URL"),
        ("//host:99999999/", "no URL"),
    ],
)
def test_redirects_that_lead_nowhere_are_errors(web: WebServer, location: str, words: str) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply(status=302, Location=location)
    with pytest.raises(OpenError, match=words):
        HttpOpener().open(web.url("/x.tar"))
    assert len(web.asked) <= 11


def test_user_and_password_of_the_url_are_sent_and_never_shown(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply(DATA)
    url = web.url("/x.tar").replace("://", "://us%40er:pa%3Ass@")
    list(drained(HttpOpener(), url))
    assert web.asked[0].headers["authorization"] == "Basic dXNAZXI6cGE6c3M="
    with pytest.raises(OpenError) as caught:
        HttpOpener().open(url.replace("x.tar", "y.tar"))
    assert "pa%3Ass" not in shown(caught.value)


def test_a_fragment_is_not_sent(web: WebServer) -> None:
    web.routes["/x.tar"] = DATA
    list(drained(HttpOpener(), web.url("/x.tar#part")))
    assert web.asked[0].path == "/x.tar"


def test_what_urllib3_logs_shows_no_query(web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    web.routes["/x.tar"] = lambda exchange: exchange.reply(status=302, Location="/y.tar?sig=hush")
    web.routes["/y.tar"] = DATA
    with caplog.at_level(logging.DEBUG):
        list(drained(HttpOpener(), web.url("/x.tar?sig=hush")))
    assert "/y.tar" in caplog.text
    assert "hush" not in caplog.text


def test_a_repr_names_headers_and_hides_their_values() -> None:
    text = repr(HttpOpener(headers={"X-Api-Key": "hush"}, auth=("me", "hush")))
    assert "X-Api-Key" in text
    assert "hush" not in text
    assert "hush" not in repr(HttpOpener(auth="hush"))


@pytest.mark.parametrize(("name", "value"), [("X-Key", "hush\r\nX-Evil: 1"), ("X Key", "hush"), ("", "hush")])
def test_a_header_that_is_none_is_refused_without_its_value(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        HttpOpener(headers={name: value})
    assert "hush" not in str(caught.value)


def test_an_opener_that_was_used_pickles_and_works_in_a_forked_process(web: WebServer) -> None:
    web.routes["/x.tar"] = DATA
    opener = HttpOpener(headers={"X-Key": "key"}, auth=("a", "b"), hosts=["127.0.0.1"], timeout=9, buffer_size=5)
    list(drained(opener, web.url("/x.tar")))
    assert pickle.loads(pickle.dumps(opener)) == opener
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=lambda: sys.exit(b"".join(drained(opener, web.url("/x.tar"))) != DATA))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert b"".join(drained(opener, web.url("/x.tar"))) == DATA


def test_the_buffer_size_is_how_much_is_read_at_once(web: WebServer) -> None:
    web.routes["/x.tar"] = DATA * 6
    for size, taken in ((600, 600), (10, 512), (0, 65536)):
        with HttpOpener(buffer_size=size).open(web.url("/x.tar")) as stream:
            stream.read(300_000)  # what comes first is handed on as it comes
            buffered = cast("io.BufferedReader", stream)
            stream.read(len(buffered.peek(1)))
            assert len(buffered.peek(1)) == taken


HOWS: dict[str, Callable[[webds.DatasetBuilder[Any], Path], webds.DatasetBuilder[Any]]] = {
    "alone": lambda builder, folder: builder,
    "ahead": lambda builder, folder: builder.prefetch(),
    "kept": lambda builder, folder: builder.cache(folder),
    "both": lambda builder, folder: builder.cache(folder).prefetch(),
}


@pytest.mark.parametrize("how", HOWS.values(), ids=HOWS)
def test_a_slow_server_delivers_its_first_samples_early(
    web: WebServer, tmp_path: Path, how: Callable[[webds.DatasetBuilder[Any], Path], webds.DatasetBuilder[Any]]
) -> None:
    """It sends no more until a sample has come out at the other end."""
    shard = tar_bytes((f"{number:02d}.x", bytes(1000)) for number in range(40))
    seen = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.reply(shard[:20_000], Content_Length=str(len(shard)))
        exchange.wfile.flush()
        seen.wait(20)
        exchange.wfile.write(shard[20_000:])

    web.routes["/x.tar"] = answer
    samples = iter(how(webds.DatasetBuilder(web.url("/x.tar")), tmp_path).build())
    assert next(samples)["__key__"] == "00"
    assert not seen.is_set()
    seen.set()
    assert len(list(samples)) == 39


@pytest.mark.parametrize("how", HOWS.values(), ids=HOWS)
def test_closing_waits_for_no_server_that_has_sent_nothing(
    web: WebServer, tmp_path: Path, how: Callable[[webds.DatasetBuilder[Any], Path], webds.DatasetBuilder[Any]]
) -> None:
    good = tar_bytes((f"{number}.x", b"") for number in range(4))
    done = threading.Event()
    web.routes |= {"/a.tar": good, "/b.tar": lambda exchange: done.wait(60)}
    builder = webds.DatasetBuilder([web.url("/a.tar"), web.url("/b.tar")], opener=HttpOpener(timeout=3600))
    samples = iter(how(builder, tmp_path).build())
    before = threads_of_ours()
    next(samples)
    cast("Generator[object]", samples).close()  # and comes back, with an hour to wait for an answer
    assert settled(lambda: threads_of_ours() <= before, 60), "and nobody goes on waiting"
    assert not done.is_set()
    done.set()


@pytest.mark.parametrize("how", ["ahead", "both"])
def test_closing_waits_for_no_server_that_wants_patience(web: WebServer, tmp_path: Path, how: str) -> None:
    waiting = threading.Event()
    web.routes |= {"/a.tar": tar_bytes([("0.x", b""), ("1.x", b"")]), "/b.tar": lambda x: x.reply(status=503)}
    opener = HttpOpener(backoff=1e6, max_backoff=1e6, on_retry=lambda retry: waiting.set())
    builder = webds.DatasetBuilder([web.url("/a.tar"), web.url("/b.tar")], opener=opener)
    before = threads_of_ours()
    samples = iter(HOWS[how](builder, tmp_path).build())
    next(samples)
    assert waiting.wait(60)
    cast("Generator[object]", samples).close()
    assert settled(lambda: threads_of_ours() <= before, 60)


def test_closing_ends_an_attempt_to_go_on(web: WebServer, tmp_path: Path) -> None:
    """The first transfer breaks off, and the second is not answered; the thread that fills the cache waits for it."""
    done = threading.Event()

    def answer(exchange: Exchange) -> None:
        if len(web.asked) > 1:
            done.wait(60)
        else:
            exchange.reply(DATA[:5000], Content_Length=str(len(DATA)))
            exchange.cut_off()

    web.routes["/x.tar"] = answer
    before = threads_of_ours()
    stream = webds.CachingOpener(HttpOpener(timeout=3600, backoff=0.001), tmp_path).open(web.url("/x.tar"))
    assert stream.read(5000) == DATA[:5000]
    assert settled(lambda: len(web.asked) == 2, 60)
    stream.close()
    assert settled(lambda: threads_of_ours() <= before, 60)
    assert not done.is_set()
    done.set()


def test_a_path_with_spaces_and_letters_is_encoded(web: WebServer) -> None:
    web.routes["/a%20%C3%A9%20%20.tar"] = DATA
    assert b"".join(drained(HttpOpener(), web.url("/a \u00e9%20 .tar"))) == DATA


def test_a_proxy_of_the_environment_is_used_and_its_exceptions_too(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as proxy:
        proxy.routes["http://data.example/x.tar"] = DATA
        monkeypatch.setenv("http_proxy", proxy.url("").replace("://", "://me:secret@"))
        assert b"".join(drained(HttpOpener(), "http://data.example/x.tar")) == DATA
        assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        web.routes["/x.tar"] = b"direct"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert b"".join(drained(HttpOpener(), web.url("/x.tar"))) == b"direct"


def test_a_proxy_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    password = "hu"
    password += "sh"  # not as such in the lines of a traceback
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        for proxy in (f"http://me:{password}@127.0.0.1:{taken.getsockname()[1]}", f"ftp://me:{password}@x"):
            monkeypatch.setenv("http_proxy", proxy)
            with pytest.raises(OpenError) as caught:
                eager().open("http://data.example/x.tar")
            assert password not in shown(caught.value)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost``, signed by nobody else, with its key beside it."""
    path = tmp_path_factory.mktemp("certificate") / "cert.pem"
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
        f"-keyout {shlex.quote(str(path))}.key -out {shlex.quote(str(path))}"
    )
    if subprocess.run(command, shell=True, capture_output=True, check=False).returncode:
        pytest.skip("needs openssl to make a certificate")
    return path


@pytest.fixture
def tls_web(web: WebServer, certificate: Path) -> Iterator[WebServer]:
    """A server for ``https:``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    with serving(context) as server:
        server.routes["/x.tar"] = DATA
        yield server


def tls_url(server: WebServer, path: str = "/x.tar") -> str:
    return server.url(path, host="localhost").replace("http:", "https:")


def test_https_is_verified(tls_web: WebServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys\nfrom webds.errors import OpenError\nfrom webds.openers import HttpOpener\n"
        "try:\n    print(len(HttpOpener(timeout=10).open(sys.argv[1]).read()))\n"
        "except OpenError as error:\n    print(error)"
    )
    for trusted, words in (
        (None, "CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        (certificate, str(len(DATA))),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted) if trusted else "")
        command = [sys.executable, "-c", program, tls_url(tls_web)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert re.search(words, ran.stdout), ran


class _Forwarding(socketserver.StreamRequestHandler):
    """A proxy that asks the server itself, for ``http:`` URLs, and lets through what goes by ``CONNECT``."""

    @override
    def handle(self) -> None:
        lines = list(iter(lambda: self.rfile.readline().strip(), b""))
        method, target, _ = lines[0].decode().split()
        proxy = cast("_Proxy", self.server)
        proxy.asked.append((method, target))
        if target == proxy.silent_for:
            proxy.ended.wait(60)
            return
        given = [line for line in lines if line.lower().startswith(b"proxy-authorization:")]
        status = proxy.statuses.pop(0) if proxy.statuses else 200
        if status == 200 and proxy.wants is not None and given != [b"Proxy-Authorization: " + proxy.wants]:
            status = 407
        if status != 200:
            self.wfile.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            return
        host, _, port = (target if method == "CONNECT" else urlsplit(target).netloc).rpartition(":")
        with socket.create_connection((host, int(port)), 10) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = target.partition(f":{port}")[2]
                lines = [f"{method} {path} HTTP/1.1".encode(), *(line for line in lines[1:] if line not in given)]
                there.sendall(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
            back = threading.Thread(target=_pass_on, args=(there, self.connection), daemon=True)
            back.start()
            if method == "CONNECT":
                _pass_on(self.connection, there)
            back.join(10)


def _pass_on(source: socket.socket, goal: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            goal.sendall(data)
        goal.shutdown(socket.SHUT_WR)


class _Proxy(socketserver.ThreadingTCPServer):
    """A proxy in this process.

    Attributes:
        asked: method and target of every request.
        statuses: the answers to the next ones; 200 lets one through.
        wants: the credentials that it wants; None for none.
        silent_for: the target for which it does not answer until it has `ended`; None for none.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.asked: list[tuple[str, str]] = []
        self.statuses: list[int] = []
        self.wants: bytes | None = None
        self.silent_for: str | None = None
        self.ended = threading.Event()

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.server_address[1]}"

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away are what some tests are about


@pytest.fixture
def proxy() -> Iterator[_Proxy]:
    with _Proxy() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_proxy_forwards_what_is_asked_and_what_breaks_off(
    web: WebServer, proxy: _Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def answer(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            exchange.reply(DATA[:5000], Content_Length=str(len(DATA)), ETag='"1"')
            exchange.cut_off()
        else:
            start = int(exchange.headers["Range"][6:].partition("-")[0])
            span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
            exchange.reply(DATA[start:], 206, Content_Range=span, ETag='"1"')

    web.routes["/x.tar"] = answer
    monkeypatch.setenv("http_proxy", proxy.url())
    assert b"".join(drained(eager(), web.url("/x.tar"))) == DATA
    assert proxy.asked == [("GET", web.url("/x.tar"))] * 2
    assert asked == 2


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> None:
    """The certificate is trusted; each test has a proxy of its own, and so connections of its own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


USER, PASSWORD = "me", "hu" + "sh4"  # not as such in the lines of a traceback
PACKED = base64.b64encode(f"{USER}:{PASSWORD}".encode())


@pytest.mark.usefixtures("trusting")
def test_https_goes_through_a_proxy_by_connect(
    tls_web: WebServer, proxy: _Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is meant for the proxy stays there, and what is meant for the server is not shown to the proxy."""

    def answer(exchange: Exchange) -> None:
        if len(tls_web.asked) == 1:
            exchange.reply(DATA[:5000], Content_Length=str(len(DATA)), ETag='"1"')
            exchange.cut_off()
        else:
            span = f"bytes 5000-{len(DATA) - 1}/{len(DATA)}"
            exchange.reply(DATA[5000:], 206, Content_Range=span, ETag='"1"')

    tls_web.routes["/x.tar"] = answer
    proxy.wants = b"Basic " + PACKED
    monkeypatch.setenv("https_proxy", proxy.url(f"{USER}:{PASSWORD}@"))
    opener = HttpOpener(auth="token", backoff=0.001)
    assert b"".join(drained(opener, tls_url(tls_web) + "?sig=1")) == DATA
    assert proxy.asked == [("CONNECT", f"localhost:{tls_web.port}")] * 2
    assert [asked.headers["authorization"] for asked in tls_web.asked] == ["Bearer token"] * 2
    assert tls_web.asked[1].headers["range"].startswith("bytes=5000-")
    assert not any("proxy-authorization" in asked.headers for asked in tls_web.asked)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_is_an_error_at_once_without_its_password(
    web: WebServer,
    tls_web: WebServer,
    proxy: _Proxy,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.wants = b"Basic " + base64.b64encode(b"other:password")
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url(f"{USER}:{PASSWORD}@"))
    url = web.url("/x.tar") if scheme == "http" else tls_url(tls_web)
    with caplog.at_level(logging.DEBUG), pytest.raises(OpenError, match="407") as caught:
        eager().open(url)
    for text in (shown(caught.value), caplog.text):
        assert PASSWORD not in text
        assert PACKED.decode() not in text
    assert len(proxy.asked) == 1
    assert web.asked == tls_web.asked == []


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_fails_for_now_is_asked_again(
    web: WebServer, tls_web: WebServer, proxy: _Proxy, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    web.routes["/x.tar"] = DATA
    proxy.statuses = [502, 503, 200]
    monkeypatch.setenv(f"{scheme}_proxy", proxy.url())
    url = web.url("/x.tar") if scheme == "http" else tls_url(tls_web)
    assert b"".join(drained(eager(), url)) == DATA
    assert len(proxy.asked) == 3


@pytest.mark.usefixtures("trusting")
def test_a_server_behind_a_proxy_is_verified_by_its_certificate(
    tls_web: WebServer, proxy: _Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy.url())
    with pytest.raises(OpenError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        eager().open(tls_url(tls_web).replace("localhost", "127.0.0.1"))
    assert len(proxy.asked) == 1
    assert tls_web.asked == []


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("who", ["server", "proxy"])
def test_closing_ends_waits_of_https_too(
    tls_web: WebServer, proxy: _Proxy, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """The server does not answer the request for the second shard, or the proxy its ``CONNECT``."""
    done = threading.Event()
    tls_web.routes |= {"/a.tar": tar_bytes([("0.x", b""), ("1.x", b"")]), "/b.tar": lambda exchange: done.wait(60)}
    urls = [tls_url(tls_web, f"/{n}.tar") for n in "ab"]
    if who == "proxy":
        monkeypatch.setenv("https_proxy", proxy.url())
        proxy.silent_for = "localhost:1"  # both shards are asked for at once, in either order
        urls[1] = f"https://{proxy.silent_for}/b.tar"
    builder = webds.DatasetBuilder(urls, opener=HttpOpener(timeout=3600))
    before = threads_of_ours()
    samples = iter(builder.prefetch().build())
    next(samples)
    assert settled(lambda: len(proxy.asked if who == "proxy" else tls_web.asked) == 2, 60)
    cast("Generator[object]", samples).close()
    assert settled(lambda: threads_of_ours() <= before, 60)
    assert not done.is_set()
    done.set()
    proxy.ended.set()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_says_when_to_come_back_is_waited_for(web: WebServer, form: str) -> None:
    told: list[Retry] = []
    now = time.time()
    # Somebody else's clock is that of the answer.
    dates = {"Retry_After": formatdate(now + 7203, usegmt=True), "X_Date": formatdate(now + 7200, usegmt=True)}

    def busy(exchange: Exchange) -> None:
        if len(web.asked) > 1:
            exchange.reply(DATA)
        elif form == "seconds":
            exchange.reply(status=429, Retry_After="3")
        else:
            exchange.date_time_string = lambda timestamp=None: dates["X_Date"]  # type: ignore[method-assign]
            exchange.reply(status=503, Retry_After=dates["Retry_After"])

    web.routes["/x.tar"] = busy
    opener = HttpOpener(backoff=0.0, max_backoff=0.05, on_retry=told.append)
    assert b"".join(drained(opener, web.url("/x.tar"))) == DATA
    assert [retry.delay for retry in told] == [0.05], "as long as asked, up to the limit"
    web.asked.clear()

    def give_up(retry: Retry) -> None:
        told.append(retry)
        raise KeyboardInterrupt  # so that nobody waits

    patient = HttpOpener(backoff=0.0, max_backoff=9.0, on_retry=give_up)
    with pytest.raises(KeyboardInterrupt):
        patient.open(web.url("/x.tar"))
    assert told[-1].delay == 3.0
