"""Manifests: what they say of shards is kept, and what cannot be true is refused."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from webds.errors import UrlError, WebdsError
from webds.index import manifest as module
from webds.index.manifest import KIND, ListedShard, Manifest, parse_manifest, read_manifest

MD5 = "0123456789abcdef" * 2
SHA256 = MD5 * 2


def text(*entries: Any, **more: Any) -> str:
    return json.dumps({"__kind__": KIND, "wids_version": 1, "shardlist": list(entries), **more})


def test_what_is_said_of_a_shard_is_kept() -> None:
    full = {"url": "a.tar", "nsamples": 3, "filesize": 10240, "md5sum": MD5.upper(), "sha256": SHA256, "seen": [1]}
    manifest = read_manifest(io.BytesIO(b"\xef\xbb\xbf" + text(full, {"url": "b.tar"}, name="x").encode()), "x.json")
    a, b = manifest.shards
    assert a == ListedShard("a.tar", 3, 10240, MD5, SHA256, {"seen": [1]})
    assert b == ListedShard("b.tar")
    assert (a.has_hash, b.has_hash) == (True, False)
    assert manifest.more == {"__kind__": KIND, "wids_version": 1, "name": "x"}


def test_null_says_nothing() -> None:
    entry = {"url": "a.tar", "nsamples": None, "filesize": None, "md5sum": None, "sha256": None}
    assert parse_manifest(text(entry), "x.json") == Manifest(
        (ListedShard("a.tar"),), {"__kind__": KIND, "wids_version": 1}
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"nsamples": -1}, "nsamples -1: expected a number"),
        ({"nsamples": True}, "nsamples True"),
        ({"filesize": 1.5}, "filesize 1.5"),
        ({"filesize": "12"}, "filesize '12'"),
        ({"md5sum": MD5[1:]}, "md5sum .* expected 32 hexadecimal digits"),
        ({"md5sum": MD5[1:] + "\n"}, "md5sum"),
        ({"md5sum": 5}, "md5sum 5"),
        ({"sha256": MD5}, "sha256 .* expected 64"),
        ({"sha256": "x" * 1000}, "sha256 'x{99}…: expected"),
    ],
)
def test_what_cannot_be_is_refused_with_its_entry(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(UrlError, match=f"entry 1 of the shardlist of this manifest has {told}") as caught:
        parse_manifest(text({"url": "a.tar"}, {"url": "b.tar", **entry}), "http://h/x.json?sig=hush")
    assert caught.value.url == "http://h/x.json?***"


def test_a_list_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return b" " * size

    monkeypatch.setattr(module, "_MAX_LIST", 5 << 20)
    endless = Endless()
    with pytest.raises(UrlError, match="more than 5 MiB"):
        read_manifest(endless, "x.json")
    assert endless.given == 6 << 20


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_value = _json | st.sampled_from([MD5, SHA256, 0, 10240, "a.tar"])
_entry = _json | st.dictionaries(st.sampled_from(["url", "nsamples", "filesize", "md5sum", "sha256", "x"]), _value)
_top = st.fixed_dictionaries({"__kind__": st.sampled_from([KIND, "x", 1]), "shardlist": st.lists(_entry) | _json})


@given(st.binary() | st.text().map(str.encode) | (_top | _json).map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_manifest_or_an_error_of_ours(data: bytes) -> None:
    try:
        manifest = read_manifest(io.BytesIO(data), "x.json")
    except WebdsError:
        return
    for shard in manifest.shards:
        assert shard.url.strip()
        assert shard.size is None or shard.size >= 0
        assert shard.md5 is None or len(shard.md5) == 32


@pytest.mark.parametrize("data", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '"\\ud800"', "\x00"])
def test_what_upsets_a_parser_is_an_error_of_ours(data: str) -> None:
    with pytest.raises(UrlError):
        parse_manifest(data, "x.json")
