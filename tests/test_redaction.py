"""No secret of a URL, a command or another library's message is shown; what is none stays readable."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st

from webds.redaction import redact

SECRET = "Sw0rdf1sh"

SHOWN = [
    # URLs
    (f"https://user:{SECRET}@host/a.tar", "https://***@host/a.tar"),
    (f"https://{SECRET}@host:8080/a.tar", "https://***@host:8080/a.tar"),
    (f"ftp://user:a@{SECRET}@host/a.tar", "ftp://***@host/a.tar"),
    (f"s3://AKIA:abc/{SECRET}@bucket/a.tar", "s3://***@bucket/a.tar"),
    (f"s3://AKIA:abc?{SECRET}@bucket/a.tar", "s3://***@bucket/a.tar"),
    (f"https://host/a.tar?X-Amz-Signature={SECRET}&X-Amz-Date=1", "https://host/a.tar?***"),
    (f"https://host/a.tar?{SECRET}", "https://host/a.tar?***"),
    (f"/v1/a.tar?sig={SECRET}", "/v1/a.tar?***"),
    (f"could not read 'https://host/a?sig={SECRET}': 403", "could not read 'https://host/a?***': 403"),
    (f"https://host/a?next=https://u:{SECRET}@h/?b=2", "https://host/a?***"),
    (f"https://a/b?c={SECRET} and https://d/e?f={SECRET}", "https://a/b?*** and https://d/e?***"),
    # commands
    (f"pipe:curl -u me:{SECRET} https://host/a.tar", "pipe:curl -u *** https://host/a.tar"),
    (f"curl -ume:{SECRET} https://host", "curl -u*** https://host"),
    (f"curl --user 'me:my {SECRET}' https://host", "curl --user '***' https://host"),
    (f"curl --proxy-user=me:{SECRET} https://host", "curl --proxy-user=*** https://host"),
    (f"curl -H 'Authorization: Bearer {SECRET}' https://host", "curl -H 'Authorization: ***' https://host"),
    (f"curl -H 'Proxy-Authorization: Basic {SECRET}' h", "curl -H 'Proxy-Authorization: ***' h"),
    (f'curl -H "X-Api-Key: {SECRET}" https://host', 'curl -H "X-Api-Key: ***" https://host'),
    (f"curl -H 'PRIVATE-TOKEN: {SECRET}' https://host", "curl -H 'PRIVATE-TOKEN: ***' https://host"),
    (f"curl -H 'Cookie: a=1; session={SECRET}' https://host", "curl -H 'Cookie: ***' https://host"),
    (f"AWS_SECRET_ACCESS_KEY={SECRET} aws s3 cp s3://b/a -", "AWS_SECRET_ACCESS_KEY=*** aws s3 cp s3://b/a -"),
    (f"wget --http-password={SECRET} https://host", "wget --http-password=*** https://host"),
    (f"tool --password {SECRET} a.tar", "tool --password *** a.tar"),
    (f"tool --api-key 'a {SECRET}' a.tar", "tool --api-key '***' a.tar"),
    (f"tool -token {SECRET}", "tool -token ***"),
    # messages of other libraries
    (f"{{'token': '{SECRET}', 'region': 'eu'}}", "{'token': '***', 'region': 'eu'}"),
    (f'{{"secret": "{SECRET} and more", "a": 1}}', '{"secret": "***", "a": 1}'),
    (f"{{'Authorization': 'Bearer {SECRET}'}}", "{'Authorization': '***'}"),
    (f"password = {SECRET}", "password = ***"),
    (f"the token secret={SECRET}", "the token secret=***"),
    (f"token:{SECRET}", "token:***"),
    (f"AccountName=x;AccountKey={SECRET}==;EndpointSuffix=y", "AccountName=x;AccountKey=***;EndpointSuffix=y"),
    (f"SharedAccessSignature={SECRET}", "SharedAccessSignature=***"),
    (f"got Bearer {SECRET}xyz", "got Bearer ***"),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_secrets_are_hidden_and_the_rest_is_shown(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert SECRET not in shown


@pytest.mark.parametrize("text", [shown for _, shown in SHOWN])
def test_what_was_redacted_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data/train-{000000..000146}.tar",
        "data/x-00?.tar",
        "gs://bucket/x-00?.tar",
        "/data/a=b/x-??.tar",
        "C:\\data\\a.tar",
        "https://host:8080/a@b/c.tar",
        "http://[::1]:80/a@b.tar",
        "zip://a.zip::https://host/b@c",
        "simplecache::s3://bucket/a.tar",
        "pipe:cat a.tar | gunzip",
        "the token is wrong",
        "a password was expected here",
        "git@host:repository",
        "what is this? a=b",
        "offset 512: the checksum is 3, expected 4",
    ],
)
def test_what_holds_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(
    st.sampled_from([text for text, _ in SHOWN]),
    st.text(string.ascii_letters + string.digits + "._~+-", min_size=8, max_size=40).map("Q7".__add__),
    st.sampled_from(["", "error: ", "line one\n", "(", "'a' and "]),
    st.sampled_from(["", " and so on", "\nline two", " 'b'"]),
)
def test_no_secret_shows_wherever_it_stands(text: str, secret: str, before: str, after: str) -> None:
    redacted = redact(before + text.replace(SECRET, secret) + after)
    assert secret not in redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "/",
        "-",
        "?",
        ":",
        "=",
        " ",
        "'",
        "@",
        "token",
        "token ",
        "--token ",
        "a://",
        "a://?",
        "a://b:",
        "x-",
        "cookie:",
    ],
)
def test_hostile_texts_end_in_linear_time(part: str) -> None:
    """A quadratic pattern takes many minutes for these, and the time limit of a test ends it."""
    text = part * (200_000 // len(part))
    assert redact(f"https://u:{SECRET}@h/?a={SECRET} " + text + f" secret={SECRET}").count(SECRET) == 0
