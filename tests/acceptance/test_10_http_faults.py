"""10: a server that fails is asked again, within bounds; each sample comes exactly once, or an error names the loss."""

from __future__ import annotations

import gzip
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from shards import sample_of, tar_bytes
from webserver import Exchange, WebServer, serving

import webds
from webds.errors import OpenError, WebdsError
from webds.openers import HttpOpener
from webds.openers.retry import Retry

SAMPLES = [sample_of(number) for number in range(8)]
SHARD = tar_bytes((f"{s['__key__']}.{field}", s[field].encode()) for s in SAMPLES for field in ("cls", "txt"))
OLD = {"Last_Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
ETAG = {"ETag": '"v1"'}
NOTHING: Mapping[str, str] = {}
Answer = Callable[[Exchange], object]
VALIDATORS: dict[str, dict[str, str]] = {
    "etag": ETAG,
    "date": OLD,
    "weak etag": {"ETag": 'W/"v1"'},
    "new date": {"Last_Modified": formatdate(usegmt=True)},
    "none": {},
}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def opener(**options: Any) -> HttpOpener:
    settings: dict[str, Any] = {"backoff": 0.001, "max_backoff": 0.01, "timeout": 5.0, **options}
    return HttpOpener(**settings)


def send(
    exchange: Exchange,
    body: bytes = SHARD,
    upto: int | None = None,
    reset: bool = False,
    ranges: bool = True,
    headers: Mapping[str, str] = NOTHING,
) -> None:
    """Answer like a server that knows ranges and If-Range, and break off before byte ``upto`` of the file."""
    wanted = exchange.headers.get("Range") if ranges else None
    bound = exchange.headers.get("If-Range")
    if wanted is None or (bound is not None and bound not in headers.values()):
        first, status = 0, 200
    else:
        first, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
        if first >= len(body):
            exchange.reply(status=416, Content_Range=f"bytes */{len(body)}")
            return
        headers = {**headers, "Content_Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
    named = {"Content_Length": str(len(body) - first), **headers}
    exchange.reply(body[first:upto], status, **named)
    if upto is not None:
        if reset:
            exchange.wfile.flush()
            exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            exchange.connection.close()
        exchange.close_connection = True


def in_turn(web: WebServer, *answers: Answer, path: str = "/x.tar") -> str:
    """Let the server answer in this way, the last one for ever."""
    rest = list(answers)

    def answer(exchange: Exchange) -> None:
        (rest.pop(0) if len(rest) > 1 else rest[0])(exchange)

    web.routes[path] = answer
    return web.url(path)


def read(url: str, **options: Any) -> bytes:
    with opener(**options).open(url) as stream:
        return stream.read()


def keys(url: str, **options: Any) -> list[str]:
    return [sample["__key__"] for sample in webds.DatasetBuilder([url], opener=opener(**options)).build()]


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("headers", VALIDATORS.values(), ids=VALIDATORS)
def test_10_a_drop_at_any_byte_costs_nothing(web: WebServer, headers: dict[str, str], reset: bool) -> None:
    for k in (0, 1, 511, 512, 513, 1024, 5000, len(SHARD) - 1):
        url = in_turn(web, partial(send, upto=k, reset=reset, headers=headers), lambda x: send(x, headers=headers))
        assert keys(url) == [sample["__key__"] for sample in SAMPLES], k
        if not reset and k > 0 and headers in (ETAG, OLD):
            assert web.asked[-1].headers["range"] == f"bytes={k}-"
            assert web.asked[-1].headers["if-range"] in headers.values()


@pytest.mark.parametrize("headers", VALIDATORS.values(), ids=VALIDATORS)
def test_10_a_server_that_ignores_ranges_is_read_from_the_start(web: WebServer, headers: dict[str, str]) -> None:
    url = in_turn(web, lambda x: send(x, upto=3000, headers=headers), lambda x: send(x, ranges=False, headers=headers))
    assert read(url) == SHARD


CHANGES: dict[str, tuple[dict[str, str], dict[str, str], bytes]] = {
    "etag": (ETAG, {"ETag": '"v2"'}, SHARD),
    "etag gone": (ETAG, {}, SHARD),
    "date": (OLD, {"Last_Modified": "Thu, 22 Oct 2015 07:28:00 GMT"}, SHARD),
    "length": ({}, {}, SHARD + bytes(512)),
    "shorter": ({}, {}, SHARD[:1000]),
    "length, same etag": (ETAG, ETAG, SHARD + bytes(512)),
    "prefix": ({}, {}, b"X" + SHARD[1:]),
    "encoding": (ETAG, {**ETAG, "Content_Encoding": "gzip"}, SHARD),
}


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize(("before", "after", "body"), CHANGES.values(), ids=CHANGES)
def test_10_a_file_that_changed_is_never_spliced(
    web: WebServer, before: dict[str, str], after: dict[str, str], body: bytes, ranges: bool
) -> None:
    url = in_turn(
        web, lambda x: send(x, upto=3000, headers=before), lambda x: send(x, body, ranges=ranges, headers=after)
    )
    with pytest.raises(OpenError, match="the file changed while it was read"):
        read(url)
    assert len(web.asked) == 2


def test_10_a_stall_is_a_drop(web: WebServer) -> None:
    import threading

    hold = threading.Event()

    def stall(exchange: Exchange) -> None:
        exchange.reply(SHARD[:3000], 200, Content_Length=str(len(SHARD)), **ETAG)
        exchange.wfile.flush()
        hold.wait(5)

    url = in_turn(web, stall, lambda x: send(x, headers=ETAG))
    assert read(url, timeout=0.1) == SHARD
    hold.set()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_10_a_busy_server_is_asked_again_within_bounds(web: WebServer, status: int) -> None:
    url = in_turn(web, *[lambda x: x.reply(status=status, Retry_After="0")] * 2, send)
    told: list[Retry] = []
    assert read(url, on_retry=told.append) == SHARD
    assert [(retry.attempt, retry.offset) for retry in told] == [(2, 0), (3, 0)]
    assert str(status) in told[0].reason
    url = in_turn(web, lambda x: x.reply(status=status))
    web.asked.clear()
    with pytest.raises(OpenError, match=f"{status}.*given up after 3 attempts"):
        read(url, attempts=3)
    assert len(web.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_10_a_client_error_is_not_retried_neither_at_first_nor_later(web: WebServer, status: int) -> None:
    with pytest.raises(OpenError, match=str(status)):
        keys(in_turn(web, lambda x: x.reply(status=status)))
    assert len(web.asked) == 1
    with pytest.raises(OpenError, match=str(status)):
        keys(in_turn(web, lambda x: send(x, upto=3000, headers=ETAG), lambda x: x.reply(status=status)))
    assert len(web.asked) == 3


def cut(exchange: Exchange, length: str, headers: Mapping[str, str] = NOTHING, body: bytes = SHARD) -> None:
    exchange.reply(body, 200, Content_Length=length, **headers)
    exchange.cut_off()


LIES: dict[str, Answer] = {
    "too long": partial(cut, length=str(len(SHARD) + 512), headers=ETAG),
    "no number": lambda x: x.reply(SHARD, Content_Length="many"),
    "two": lambda x: x.reply(SHARD, Content_Length=f"{len(SHARD)}, 5"),
    "too short": partial(cut, length="3000"),
    "packed": lambda x: x.reply(SHARD, Transfer_Encoding="gzip, chunked", Content_Length=""),
}


@pytest.mark.parametrize("answer", LIES.values(), ids=LIES)
def test_10_a_length_that_is_not_true_is_an_error(web: WebServer, answer: Answer) -> None:
    with pytest.raises(WebdsError):
        keys(in_turn(web, answer))


SPANS = ["bytes 2999-10239/10240", "bytes 3001-10239/10240", "bytes 3000-10240/10240", "bytes */10240", "items 1", ""]


@pytest.mark.parametrize("span", SPANS)
def test_10_a_wrong_range_is_an_error(web: WebServer, span: str) -> None:
    wrong: Answer = lambda x: x.reply(SHARD[3000:], 206, Content_Range=span, **ETAG)  # noqa: E731  # one of the answers
    with pytest.raises(OpenError, match="sent"):
        read(in_turn(web, lambda x: send(x, upto=3000, headers=ETAG), wrong))


def test_10_a_signed_url_that_has_expired_is_asked_for_again_from_its_origin(web: WebServer) -> None:
    in_turn(web, lambda x: send(x, upto=3000, headers=ETAG), lambda x: x.reply(status=403), path="/signed1")
    in_turn(web, lambda x: send(x, headers=ETAG), path="/signed2")
    hops = [lambda x, n=n: x.reply(status=302, Location=f"/signed{n}?sig=hush") for n in (1, 2)]
    assert read(in_turn(web, *hops)) == SHARD


def test_10_a_page_in_place_of_a_tar_is_named_also_after_a_drop(web: WebServer) -> None:
    page: Answer = lambda x: x.reply(b"<html>log in", Content_Type="text/html")  # noqa: E731  # one of the answers
    for answers in ([page], [lambda x: send(x, upto=3000, headers=ETAG), page]):
        with pytest.raises(OpenError, match=r"web page \(HTML\)"):
            keys(in_turn(web, *answers))


def test_10_a_server_that_answers_too_late_is_asked_again(web: WebServer) -> None:
    import threading

    hold = threading.Event()
    url = in_turn(web, lambda x: hold.wait(5), lambda x: send(x, upto=3000, headers=ETAG), lambda x: hold.wait(5), send)
    with pytest.raises(OpenError, match="no longer says which version"):  # the last answer has no ETag
        read(url, timeout=0.2)
    url = in_turn(web, lambda x: hold.wait(5), lambda x: send(x, upto=3000), lambda x: hold.wait(5), send)
    told: list[Retry] = []
    assert read(url, timeout=0.2, on_retry=told.append) == SHARD
    assert [retry.offset for retry in told] == [0, 3000, 3000]
    assert "timed out" in told[0].reason
    hold.set()


PACKED = gzip.compress(SHARD, mtime=0)
KINDS = ["drop", "status", "later", "other", "closed", "moved", "page", "short", "long", "gone"]
FAULTS = st.tuples(st.sampled_from(KINDS), st.integers(0, len(SHARD) - 1), st.booleans())
PASSING = {"drop", "status", "later", "closed", "moved"}


def faulty(fault: tuple[str, int, bool], body: bytes, ranges: bool, headers: Mapping[str, str]) -> Answer:
    """Return an answer that has a fault."""
    kind, number, flag = fault
    number %= len(body)
    match kind:
        case "drop":
            return lambda x: send(x, body, upto=number, reset=flag, ranges=ranges, headers=headers)
        case "status":
            return lambda x: x.reply(b"?" * number, status=500 if flag else 503)
        case "later":
            after = "0" if flag else formatdate(usegmt=True)
            return lambda x: x.reply(status=429, Retry_After=after)
        case "closed":
            return lambda x: x.cut_off()
        case "moved":
            return lambda x: x.reply(status=302, Location=x.path)
        case "page":
            return lambda x: x.reply(b"<html>", Content_Type="text/html" if flag else "application/x-tar")
        case "gone":
            return lambda x: x.reply(status=404 if flag else 403)
        case "short" | "long":
            length = number if kind == "short" else len(body) + 1 + number
            return partial(cut, body=body, length=str(length), headers=headers)
        case _:
            other = {"ETag": '"v2"'} if "ETag" in headers else headers
            changed = body[:number] + b"?" + body[number:]
            return lambda x: send(x, changed, ranges=ranges, upto=number, headers=other)


@hypothesis_settings(max_examples=100)
@given(st.lists(FAULTS, max_size=6), st.sampled_from(sorted(VALIDATORS)), st.booleans(), st.booleans())
def test_10_any_sequence_of_faults_gives_the_shard_or_an_error(
    faults: list[tuple[str, int, bool]], validator: str, ranges: bool, packed: bool
) -> None:
    headers, body = VALIDATORS[validator], PACKED if packed else SHARD
    with serving() as server:
        answers = [faulty(fault, body, ranges, headers) for fault in faults]
        url = in_turn(server, *answers, lambda x: send(x, body, ranges=ranges, headers=headers))
        found: list[str] = []
        failure: WebdsError | None = None
        try:
            for sample in webds.DatasetBuilder([url], opener=opener()).build():
                assert sample == {**SAMPLES[len(found)], **{k: SAMPLES[len(found)][k].encode() for k in ("cls", "txt")}}
                found.append(sample["__key__"])
        except WebdsError as error:
            failure = error
    if failure is None:
        assert len(found) == len(SAMPLES)
    else:
        assert failure.url == url
        assert any(kind not in PASSING for kind, _, _ in faults) or len(faults) >= 5
