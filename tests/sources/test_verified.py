"""A shard that is not what its manifest says is an error at its end, that names what was expected and found."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from shards import numbered_shards, sample_of, write_members, write_shard
from webserver import Exchange, WebServer, serving

import webds
from webds.errors import OpenError, UrlError
from webds.tar.blocks import PIECE
from webds.tar.spacious import Spacious
from webds.testing.suite import settled

BIG = 3 * PIECE


def facts(path: str) -> dict[str, Any]:
    data = Path(path).read_bytes()
    return {"filesize": len(data), "md5sum": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}


def listing(folder: Path, *entries: dict[str, Any]) -> str:
    path = folder / "index.json"
    path.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}))
    return str(path)


@pytest.fixture
def shard(tmp_path: Path) -> str:
    return write_shard(tmp_path / "a.tar", map(sample_of, range(4)))


def change(path: str) -> None:
    """Change one byte of the content of the last sample."""
    data = Path(path).read_bytes()
    assert data.count(b"text 3") == 1
    Path(path).write_bytes(data.replace(b"text 3", b"text 9"))


@pytest.mark.parametrize("verify", ["size", "hash", None])
def test_what_is_as_its_manifest_says_is_read(tmp_path: Path, shard: str, verify: Any) -> None:
    manifest = listing(tmp_path, {"url": "a.tar", **facts(shard)})
    assert len(list(webds.DatasetBuilder(manifest, verify=verify).build())) == 4


@pytest.mark.parametrize("name", ["md5sum", "sha256"])
def test_another_hash_is_an_error_after_all_samples(tmp_path: Path, shard: str, name: str) -> None:
    said = facts(shard)
    manifest = listing(tmp_path, {"url": "a.tar", name: said[name]})
    change(shard)
    found = facts(shard)[name]
    delivered: list[str] = []
    with pytest.raises(OpenError, match=f"{found}, and {said[name]} was expected") as caught:
        delivered.extend(sample["__key__"] for sample in webds.DatasetBuilder(manifest, verify="hash").build())
    assert caught.value.url == shard
    assert caught.value.stage == "read"
    assert "after 4 samples" in "".join(caught.value.__notes__)
    for verify in ("size", None):
        assert len(list(webds.DatasetBuilder(manifest, verify=verify).build())) == 4


def test_a_wrong_size_is_an_error_unless_nobody_asks(tmp_path: Path, shard: str) -> None:
    size = Path(shard).stat().st_size
    for said in (size - 512, size + 512):
        manifest = listing(tmp_path, {"url": "a.tar", "filesize": said})
        with pytest.raises(OpenError, match=f"{size} bytes( or more)?, where {said} were expected"):
            list(webds.DatasetBuilder(manifest).build())
        assert len(list(webds.DatasetBuilder(manifest, verify=None).build())) == 4


def test_what_was_lost_is_counted_and_the_rest_comes(tmp_path: Path, shard: str) -> None:
    other = write_shard(tmp_path / "b.tar", [sample_of(9)])
    manifest = listing(tmp_path, *({"url": url, **facts(url)} for url in (shard, other)))
    change(shard)
    dataset = webds.DatasetBuilder(manifest, on_error="skip", verify="hash").build()
    assert [sample["__key__"] for sample in dataset][-1] == "key00009"
    (loss,) = dataset.stats().cut_short
    assert (loss.url, loss.stage, loss.ordinal) == (shard, "read", 4)
    assert "was expected" in loss.error


def test_the_hash_of_a_compressed_shard_is_that_of_the_file_as_stored(tmp_path: Path, shard: str) -> None:
    packed = tmp_path / "a.tar.gz"
    packed.write_bytes(gzip.compress(Path(shard).read_bytes(), mtime=0))
    manifest = listing(tmp_path, {"url": packed.name, **facts(str(packed))})
    assert len(list(webds.DatasetBuilder(manifest, verify="hash").build())) == 4
    manifest = listing(tmp_path, {"url": packed.name, **facts(shard)})
    with pytest.raises(OpenError, match="not what it should be"):
        list(webds.DatasetBuilder(manifest).build())


def test_a_shard_without_a_hash_is_named_when_the_dataset_is_built(tmp_path: Path, shard: str) -> None:
    manifest = listing(tmp_path, {"url": "a.tar", **facts(shard)}, {"url": "b.tar", "filesize": 10240})
    for urls in (manifest, shard):
        builder = webds.DatasetBuilder(urls, verify="hash", on_error="skip")
        with pytest.raises(UrlError, match="wants the hash of every shard") as caught:
            builder.build()
        assert caught.value.url == (shard if urls == shard else str(tmp_path / "b.tar"))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


@pytest.mark.parametrize("verify", ["size", "hash"])
def test_over_http_it_is_the_same(web: WebServer, shard: str, verify: Any) -> None:
    said = facts(shard)
    data = Path(shard).read_bytes()
    entries = [{"url": "a.tar", **said}]
    text = json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries})
    web.routes |= {"/x/index.json": text.encode(), "/x/a.tar": data}
    builder = webds.DatasetBuilder(web.url("/x/index.json"), verify=verify)
    assert len(list(builder.build())) == 4
    web.routes["/x/a.tar"] = data[:-512]
    delivered: list[Any] = []
    with pytest.raises(OpenError, match="not what it should be"):
        delivered.extend(builder.build())
    assert len(delivered) == 4, "the shard's samples were whole"


def test_the_size_keeps_what_is_passed_over_unread_and_a_hash_reads_it(tmp_path: Path) -> None:
    url = write_members(
        tmp_path / "a.tar", [(f"{i}.{f}", bytes(BIG if f == "x" else 1)) for i in range(3) for f in "xy"]
    )
    manifest = listing(tmp_path, {"url": "a.tar", **facts(url)})
    read: dict[str, int] = {}
    for verify in ("size", "hash"):
        builder = webds.DatasetBuilder(manifest, verify=verify).to_tuple("y").measure()
        dataset = builder.build()
        assert list(dataset) == [(b"\0",)] * 3
        read[verify] = dataset.stats().bytes_read
    assert read["size"] < BIG
    assert read["hash"] == Path(url).stat().st_size


def listed_on(web: WebServer, **said: Any) -> str:
    text = json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": [{"url": "a.tar", **said}]})
    web.routes["/x/index.json"] = text.encode()
    return web.url("/x/index.json")


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("verify", ["size", "hash"])
def test_what_is_not_as_it_should_be_is_not_kept(
    web: WebServer, tmp_path: Path, shard: str, verify: Any, ahead: bool
) -> None:
    said, data = facts(shard), Path(shard).read_bytes()
    cache = tmp_path / "cache"
    builder = webds.DatasetBuilder(listed_on(web, **said), verify=verify).cache(cache)
    builder = builder.prefetch() if ahead else builder
    web.routes["/x/a.tar"] = data.replace(b"text 3", b"text 9") if verify == "hash" else data + bytes(512)
    delivered: list[Any] = []
    with pytest.raises(OpenError, match="not what it should be"):
        delivered.extend(builder.build())
    assert list(cache.iterdir()) == []
    assert len(delivered) <= 4
    web.routes["/x/a.tar"] = data
    assert len(list(builder.build())) == 4
    assert [path.read_bytes() for path in cache.iterdir()] == [data]
    web.routes["/x/a.tar"] = b""
    assert len(list(builder.build())) == 4, "the copy is good"


@pytest.mark.parametrize("verify", ["size", "hash"])
def test_what_is_read_ahead_is_verified_too(web: WebServer, shard: str, verify: Any) -> None:
    said, data = facts(shard), Path(shard).read_bytes()
    builder = webds.DatasetBuilder(listed_on(web, **said), verify=verify).prefetch()
    web.routes["/x/a.tar"] = data
    assert len(list(builder.build())) == 4
    web.routes["/x/a.tar"] = data.replace(b"text 3", b"text 9") if verify == "hash" else data + bytes(512)
    with pytest.raises(OpenError, match="not what it should be"):
        list(builder.build())


def test_a_copy_that_somebody_made_without_a_look_is_verified_as_it_is_read(
    web: WebServer, tmp_path: Path, shard: str
) -> None:
    said = facts(shard)
    change(shard)
    web.routes["/x/a.tar"] = Path(shard).read_bytes()
    builders = [
        webds.DatasetBuilder(listed_on(web, **said), verify=verify).cache(tmp_path / "cache")
        for verify in (None, "hash")
    ]
    assert len(list(builders[0].build())) == 4
    with pytest.raises(OpenError, match="not what it should be"):
        list(builders[1].build())


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_every_byte_is_hashed_once_in_each_reading(
    web: WebServer, tmp_path: Path, shard: str, kept: bool, ahead: bool
) -> None:
    """Also in that which fills a cache; and a copy again, as it is read."""
    data = Path(shard).read_bytes()
    web.routes["/x/a.tar"] = data
    builder = webds.DatasetBuilder(listed_on(web, **facts(shard)), verify="hash")
    builder = builder.cache(tmp_path / "cache") if kept else builder
    dataset = (builder.prefetch() if ahead else builder).build()
    real, hashed = hashlib.new, list[int]()

    class Counting:
        def __init__(self, name: str, **options: Any) -> None:
            self._hash = real(name, **options)

        def update(self, part: bytes) -> None:
            hashed.append(len(part))
            self._hash.update(part)

        def hexdigest(self) -> str:
            return self._hash.hexdigest()

    with mock.patch("webds.streams.verify.hashlib.new", Counting):
        for _ in range(3):
            assert len(list(dataset)) == 4
            assert sum(hashed) == 2 * len(data), "by each of the two hashes of its manifest"
            hashed.clear()
    assert len(web.asked) == (2 if kept else 4)


def test_a_stalled_transfer_that_is_verified_and_kept_holds_up_no_close(
    web: WebServer, tmp_path: Path, shard: str
) -> None:
    done = threading.Event()
    data = Path(shard).read_bytes()

    def stalls(exchange: Exchange) -> None:
        exchange.reply(data[:-512], Content_Length=str(len(data)))
        exchange.wfile.flush()
        done.wait(60)

    web.routes["/x/a.tar"] = stalls
    opener = webds.HttpOpener(timeout=3600)
    builder = webds.DatasetBuilder(listed_on(web, **facts(shard)), opener=opener, verify="hash")
    samples = iter(builder.cache(tmp_path / "cache").build())
    next(samples)
    cast("Generator[object]", samples).close()
    assert settled(lambda: not any(thread.name == "webds-cache" for thread in threading.enumerate()))
    assert not done.is_set()
    done.set()


def test_a_file_of_which_the_size_is_known_is_read_as_any_file(tmp_path: Path) -> None:
    """Large members are read at their places, without a second copy; the size is compared all the same."""
    url = write_members(
        tmp_path / "a.tar", [(f"{i:03d}.{f}", bytes(50_000 if f == "x" else 1)) for i in range(200) for f in "xy"]
    )
    size = Path(url).stat().st_size
    for said, good in ((size, True), (size + 512, False), (size - 512, False)):
        source = webds.DatasetBuilder(listing(tmp_path, {"url": "a.tar", "filesize": said})).build()
        with mock.patch("webds.tar.members.Spacious", wraps=Spacious) as spacious:
            if good:
                assert len(list(source)) == 200
            else:
                with pytest.raises(OpenError, match=f"where {said} were expected"):
                    list(source)
        assert spacious.called


def test_who_stops_early_hears_nothing(tmp_path: Path, shard: str) -> None:
    manifest = listing(tmp_path, {"url": "a.tar", **facts(shard)})
    change(shard)
    assert len(list(webds.DatasetBuilder(manifest, verify="hash").take(2).build())) == 2


def test_explain_says_what_is_verified(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2)
    manifest = listing(tmp_path, {"url": urls[0], **facts(urls[0])}, {"url": urls[1], "md5sum": "0" * 32})
    assert "verify     the size, which a manifest says of 1 of the 2 shards" in webds.DatasetBuilder(manifest).explain()
    assert "all bytes are read" in webds.DatasetBuilder(manifest, verify="hash").explain()
    assert "verify" not in webds.DatasetBuilder(manifest, verify=None).explain()
    assert "verify" not in webds.DatasetBuilder(urls).explain()


def test_the_older_front_doors_verify_sizes_too(tmp_path: Path, shard: str) -> None:
    manifest = listing(tmp_path, {"url": "a.tar", "filesize": 1})
    for dataset in (webds.Dataset(manifest), webds.WebDataset(manifest, decoder=None, verbose=True)):
        with pytest.raises(OpenError, match="where 1 were expected"):
            list(dataset)


def test_a_value_that_is_none_is_refused(shard: str) -> None:
    verify: Any = "md5"
    with pytest.raises(ValueError, match="verify"):
        webds.DatasetBuilder(shard, verify=verify)
