"""11: tokens, passwords and signed queries never appear in an exception, a log or what ``explain`` says."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from webserver import Exchange, WebServer, serving

import webds
from webds.openers import HttpOpener
from webds.testing.suite import shown

TOKEN, PASSWORD, SIGNATURE, NETRC = (f"hush{name}" for name in ("0token", "1word", "2sig", "3netrc"))
PACKED = [base64.b64encode(f"me:{password}".encode()).decode() for password in (PASSWORD, NETRC)]
SECRETS = [TOKEN, PASSWORD, SIGNATURE, NETRC, *PACKED]


def broken(exchange: Exchange) -> None:
    exchange.reply(b"abc" * 400, Content_Length="9000")
    exchange.cut_off()


FAULTS: dict[str, Callable[[Exchange], object]] = {
    "missing": lambda x: x.reply(status=404),
    "busy": lambda x: x.reply(status=503),
    "refused, by an odd status that quotes": lambda x: x.send_error(499, f"{x.headers['Authorization']} is wrong"),
    "elsewhere": lambda x: x.reply(status=302, Location=f"/y.tar?X-Signature={SIGNATURE}"),
    "nowhere": lambda x: x.reply(status=302, Location=f"ftp://u:{PASSWORD}@h/?s={SIGNATURE}"),
    "broken": broken,
    "no tar": lambda x: x.reply(b"abc" * 400),
    "page": lambda x: x.reply(b"<html>"),
    "no answer": lambda x: x.cut_off(),
}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {NETRC}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving() as server:
        yield server


@pytest.mark.parametrize("how", ["token", "password", "netrc", "url"])
@pytest.mark.parametrize("answer", FAULTS.values(), ids=FAULTS)
def test_11_no_secret_shows_anywhere_on_the_way_through(
    web: WebServer, answer: Callable[[Exchange], object], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    web.routes["/x.tar"] = answer
    given: dict[str, str | tuple[str, str]] = {"token": TOKEN, "password": ("me", PASSWORD)}
    opener = HttpOpener(
        headers={"X-Key": PASSWORD} if how == "password" else {},
        auth=given.get(how),
        backoff=0.001,
        attempts=2,
        timeout=5,
    )
    url = f"{web.url('/x.tar')}?X-Signature={SIGNATURE}"
    if how == "url":
        url = url.replace("://", f"://me:{PASSWORD}@")
    builder = webds.DatasetBuilder([url], opener=opener)
    with caplog.at_level(logging.DEBUG), pytest.raises(webds.WebdsError) as caught:
        list(builder.build())
    texts = {"error": shown(caught.value), "log": caplog.text, "explain": builder.explain(), "repr": repr(opener)}
    texts["builder"] = repr(builder)
    for place, text in texts.items():
        assert not [secret for secret in SECRETS if secret in text], place
    assert web.asked[0].headers.get("authorization") is not None
    assert caplog.text


def test_11_netrc_is_for_the_host_itself(web: WebServer) -> None:
    web.routes["/x.tar"] = lambda x: x.reply(b"data")
    with serving() as other:
        other.routes["/x.tar"] = lambda x: x.reply(status=302, Location=web.url("/x.tar", host="localhost"))
        assert HttpOpener().open(other.url("/x.tar")).read() == b"data"
        expected = f"Basic {base64.b64encode(f'me:{NETRC}'.encode()).decode()}"
        assert other.asked[0].headers["authorization"] == expected
    assert "authorization" not in web.asked[0].headers
    assert HttpOpener(auth=TOKEN).open(web.url("/x.tar")).read() == b"data"
    assert web.asked[1].headers["authorization"] == f"Bearer {TOKEN}"


def test_11_a_netrc_that_cannot_be_parsed_is_told_without_its_words(
    web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    web.routes["/x.tar"] = b"data"
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me passwort {NETRC}\n")
    with caplog.at_level(logging.DEBUG):
        assert HttpOpener().open(web.url("/x.tar")).read() == b"data"
    assert "cannot be parsed" in caplog.text
    assert NETRC not in caplog.text
