"""Google's and Azure's stores: what holds of S3 holds of them."""

from __future__ import annotations

import itertools
import math
import os
import time
from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from cloudstores import CloudStore, google_head
from objectstores import Fault, proxying
from shards import sample_of, tar_bytes
from typing_extensions import override

import webds
from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.streams import DrainWriter
from webds.testing import OpenerSuite
from webds.testing.suite import shown

_numbers = itertools.count()
_PART = 5 << 20
SAMPLES = [sample_of(number) for number in range(8)]
KEYS = [sample["__key__"] for sample in SAMPLES]
SHARD = tar_bytes((f"{s['__key__']}.{field}", s[field].encode()) for s in SAMPLES for field in ("cls", "txt"))


class CloudSuite(OpenerSuite, ABC):
    store: CloudStore
    bucket: str

    @override
    def make_opener(self) -> Opener:
        return self.store.opener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        return self.store.put(f"{self.bucket}/in/{next(_numbers)}.bin", content)

    @override
    def missing_url(self, folder: Path) -> str:
        return f"{self.bucket}/nothing"

    @override
    def opener_secrets(self) -> Sequence[str]:
        return ["hushes-of-the-tester", str(self.store.opener().options.get("account_key", "hushes"))]

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"{self.bucket}/written here"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        urls = [f"{self.bucket}/l/{name}.tar" for name in ("b", "a", "sub/c")]
        for url in urls:
            self.store.put(url, b"x")
        return f"{self.bucket}/l/**/*.tar", urls


class TestGoogle(CloudSuite):
    @pytest.fixture(autouse=True)
    def _store(self, google: CloudStore) -> None:
        self.store, self.bucket = google, google.bucket()


class TestAzure(CloudSuite):
    @pytest.fixture(autouse=True)
    def _store(self, azure: CloudStore) -> None:
        self.store, self.bucket = azure, azure.bucket()


def noise(size: int) -> bytes:
    return (bytes(range(251)) * math.ceil(size / 251))[:size]


def test_many_parts_become_one_object_when_the_stream_is_closed(cloud: CloudStore) -> None:
    bucket = cloud.bucket()
    url, content = f"{bucket}/x", noise(2 * _PART + 12345)
    opener = cloud.opener(part_size=_PART)
    with opener.open(url, "wb") as stream:
        stream.write(content)
        deadline = time.monotonic() + 60
        while not cloud.unfinished(bucket) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cloud.unfinished(bucket) == ["x"]
        assert cloud.keys(bucket) == []
    assert cloud.keys(bucket) == ["x"]
    assert opener.open(url).read() == content
    assert opener.size(url) == len(content)
    assert opener.read_range(url, _PART - 5, 10) == content[_PART - 5 : _PART + 5]
    assert opener.read_range(url, len(content) - 5, 1 << 60) == content[-5:]
    opener.remove(url)
    opener.remove(url)
    assert cloud.keys(bucket) == []


@pytest.mark.parametrize("size", [10, 2 * _PART + 1], ids=["small", "parts"])
@pytest.mark.parametrize("end", ["exception", "forgotten"])
def test_what_is_not_closed_leaves_nothing_to_be_seen(cloud: CloudStore, size: int, end: str) -> None:
    bucket = cloud.bucket()
    stream = cast("DrainWriter", cloud.opener(part_size=_PART).open(f"{bucket}/x", "wb"))
    stream.write(noise(size))
    if end == "exception":
        with pytest.raises(KeyError), stream:
            raise KeyError
    del stream
    assert cloud.keys(bucket) == []


def test_shards_are_written_listed_and_read(cloud: CloudStore) -> None:
    bucket = cloud.bucket()
    post: list[str] = []
    opener = cloud.opener(part_size=_PART)
    with webds.ShardWriter(f"{bucket}/t/x-%02d.tar", maxcount=3, post=post.append, opener=opener) as sink:
        for sample in SAMPLES:
            sink.write({"__key__": sample["__key__"], "txt": sample["txt"], "bin": bytes(200_000)})
            assert cloud.keys(bucket) == [url.removeprefix(f"{bucket}/") for url in post]
    assert cloud.keys(bucket) == [f"t/x-0{n}.tar" for n in range(3)]
    builder = webds.DatasetBuilder(f"{bucket}/t/x-*.tar", opener=opener)
    assert [sample["__key__"] for sample in builder.build()] == KEYS
    assert sorted(sample["txt"].decode() for sample in builder.shuffle(5, seed=1).prefetch().build()) == sorted(
        sample["txt"] for sample in SAMPLES
    )
    with pytest.raises(webds.WriteError, match="3 shards"):
        webds.ShardWriter(f"{bucket}/t/x-%02d.tar", opener=opener)


def test_a_crashed_writer_leaves_finished_shards_only(cloud: CloudStore) -> None:
    bucket = cloud.bucket()

    def run() -> None:
        with webds.ShardWriter(f"{bucket}/x-%02d.tar", maxcount=3, opener=cloud.opener(part_size=_PART)) as sink:
            for sample in SAMPLES:
                sink.write({"__key__": sample["__key__"], "bin": bytes(3_000_000)})
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        run()
    assert cloud.keys(bucket) == ["x-00.tar", "x-01.tar"]


@pytest.mark.parametrize("kind", ["drop", "reset", "stall"])
def test_a_transfer_goes_on_where_it_broke_off_bound_to_the_version(cloud: CloudStore, kind: str) -> None:
    url = cloud.put(f"{cloud.bucket()}/x.tar", SHARD)
    with proxying(cloud.port) as proxy:
        timeout = 0.5 if kind == "stall" else 10.0
        opener = cloud.opener(proxy.port, timeout=timeout)
        proxy.faults = [Fault("status", 503), *[Fault(kind, 3000)] * 2]
        assert [sample["__key__"] for sample in webds.DatasetBuilder([url], opener=opener).build()] == KEYS
        assert not proxy.faults
        assert "if-match: " in proxy.asked[-1].lower()
        if kind != "reset":  # of which the last bytes may be lost
            assert "range: bytes=6000-" in proxy.asked[-1].lower()


def test_an_object_that_changed_is_never_spliced(cloud: CloudStore) -> None:
    url = cloud.put(f"{cloud.bucket()}/x.tar", SHARD)
    other = tar_bytes([("other.txt", bytes(len(SHARD)))])
    with proxying(cloud.port) as proxy:
        proxy.faults = [*[Fault("drop", 3000)] * 2, Fault("pass", call=lambda: cloud.put(url, other))]
        builder = webds.DatasetBuilder([url], opener=cloud.opener(proxy.port))
        got: list[str] = []
        with pytest.raises(OpenError, match="the object changed while it was read"):
            got.extend(sample["__key__"] for sample in builder.build())
        assert got == KEYS[: len(got)]


def test_the_environment_has_what_no_argument_says(cloud: CloudStore, monkeypatch: pytest.MonkeyPatch) -> None:
    url = cloud.put(f"{cloud.bucket()}/x", b"data")
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    known = cloud.settings(cloud.port)
    if cloud.scheme == "gs":
        monkeypatch.setenv("GOOGLE_BASE_URL", known["endpoint"])
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", known["options"]["service_account_key"])
    else:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", known["endpoint"])
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", known["options"]["account_name"])
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", known["options"]["account_key"])
    assert webds.gopen(url).read() == b"data"
    with pytest.raises(OpenError, match="404") as caught:
        webds.gopen(f"{url}y")
    assert "hush" not in shown(caught.value)


def test_a_request_is_translated() -> None:
    """What stands before the S3 server in place of Google's does no more than it says."""
    head = b"GET /a%2Db/c%2Fd%2Etar?list-type=2 HTTP/1.1\r\nAuthorization: Bearer x\r\nrange: bytes=1-2\r\n\r\n"
    first, authorization, rest = google_head(head).split(b"\r\n", 2)
    assert first == b"GET /a-b/c/d.tar?list-type=2 HTTP/1.1"
    assert authorization.startswith(b"Authorization: AWS4-HMAC-SHA256")
    assert rest == b"range: bytes=1-2\r\n\r\n"
