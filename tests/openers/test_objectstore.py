from __future__ import annotations

import io
import itertools
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from objectstores import Fault, S3Server, proxying
from typing_extensions import override

from webds.abc import Opener
from webds.errors import MissingExtraError, OpenError
from webds.openers import FsspecOpener, ObjectStoreOpener, SchemeOpener, default_opener, scheme_to_command
from webds.openers.retry import Retry
from webds.openers.storeclient import failure_of, secrets_of
from webds.openers.streams import DrainWriter
from webds.testing import OpenerSuite

_numbers = itertools.count()
_PART = 5 << 20


class TestObjectStore(OpenerSuite):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server = s3
        self.bucket = s3.bucket()

    @override
    def make_opener(self) -> Opener:
        return self.server.opener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        return self.server.put(f"s3://{self.bucket}/in/{next(_numbers)}.bin", content)

    @override
    def missing_url(self, folder: Path) -> str:
        return f"s3://{self.bucket}/nothing"

    @override
    def opener_secrets(self) -> Sequence[str]:
        return [str(value) for value in self.server.opener().options.values()]

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"s3://{self.bucket}/written here"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        urls = [f"s3://{self.bucket}/l/{name}.tar" for name in ("b", "a", "sub/c")]
        for url in urls:
            self.server.put(url, b"")
        return f"s3://{self.bucket}/l/**/*.tar", urls


def noise(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def test_many_parts_become_one_object_when_the_stream_is_closed(s3: S3Server) -> None:
    bucket = s3.bucket()
    url, content = f"s3://{bucket}/x", noise(3 * _PART + 12345)
    opener = s3.opener(part_size=_PART)
    with opener.open(url, "wb") as stream:
        for start in range(0, len(content), 700_001):
            stream.write(content[start : start + 700_001])
        assert s3.uploads(bucket) == ["x"]
        assert s3.keys(bucket) == []
    assert opener.open(url).read() == content
    assert opener.size(url) == len(content)
    assert s3.uploads(bucket) == []


@pytest.mark.parametrize("size", [10, 2 * _PART + 1], ids=["small", "parts"])
@pytest.mark.parametrize("end", ["exception", "abort", "forgotten"])
def test_what_is_not_closed_leaves_nothing(s3: S3Server, size: int, end: str) -> None:
    bucket = s3.bucket()
    stream = cast("DrainWriter", s3.opener(part_size=_PART).open(f"s3://{bucket}/x", "wb"))
    stream.write(noise(size))
    if end == "exception":
        with pytest.raises(KeyError), stream:
            raise KeyError
    elif end == "abort":
        stream.abort()
    del stream
    assert s3.keys(bucket) == []
    assert s3.uploads(bucket) == []


def _write(stream: BinaryIO, content: bytes) -> None:
    stream.write(content)
    stream.close()


def test_an_upload_that_fails_is_an_error_and_no_object(s3: S3Server) -> None:
    bucket = s3.bucket()
    for size, attempts in ((10, 1), (3 * _PART, 2)):
        with proxying(s3.port) as proxy:
            proxy.method = "P"
            proxy.faults = [Fault("pass"), *[Fault("status", 500)] * 40] if size > _PART else [Fault("status", 500)] * 9
            stream = s3.opener(proxy.port, part_size=_PART, attempts=attempts).open(f"s3://{bucket}/x", "wb")

            # The last of the answers, or, where the proxy hung up before it was read, that there was none.
            with pytest.raises(OpenError, match=r"cannot write: (500 Internal Server Error|Generic S3)") as caught:
                _write(stream, noise(size))
            assert caught.value.url == f"s3://{bucket}/x"
            proxy.faults = []
            stream.close()
    assert s3.keys(bucket) == []


def test_a_part_that_fails_is_tried_again(s3: S3Server) -> None:
    bucket, content = s3.bucket(), noise(2 * _PART + 9)
    with proxying(s3.port) as proxy:
        proxy.method = "P"
        proxy.faults = [
            Fault("status", 503),
            Fault("pass"),
            Fault("status", 500),
            Fault("refuse"),
            Fault("status", 503),
        ]
        with s3.opener(proxy.port, part_size=_PART).open(f"s3://{bucket}/x", "wb") as stream:
            stream.write(content)
        assert not proxy.faults
    assert s3.opener().open(f"s3://{bucket}/x").read() == content


def test_writers_that_wait_do_not_keep_readers_waiting(s3: S3Server) -> None:
    bucket = s3.bucket()
    opener = s3.opener(part_size=_PART)
    s3.put(f"s3://{bucket}/in", b"data")
    writers = [opener.open(f"s3://{bucket}/{number}", "wb") for number in range(2 * (os.cpu_count() or 1) + 2)]
    for writer in writers:
        writer.write(noise(_PART))
    assert opener.open(f"s3://{bucket}/in").read() == b"data"
    for writer in writers:
        writer.close()
    assert len(s3.keys(bucket)) == len(writers) + 1


def test_streams_seek_by_ranges_where_that_saves_reading(s3: S3Server) -> None:
    content = noise(12 << 20)
    url = s3.put(f"s3://{s3.bucket()}/x", content)
    with proxying(s3.port) as proxy, s3.opener(proxy.port).open(url) as stream:
        assert stream.seekable()
        assert stream.read(3) == content[:3]
        assert stream.tell() == 3
        assert stream.seek(1 << 20) == 1 << 20
        assert stream.read(5) == content[1 << 20 :][:5]
        assert len(proxy.asked) == 1, "a small step is read"
        assert stream.seek(-5, io.SEEK_END) == len(content) - 5
        assert stream.read(9) == content[-5:]
        assert stream.read(9) == b""
        assert f"range: bytes={len(content) - 5}-" in proxy.asked[1]
        assert "if-match: " in proxy.asked[1]
        assert stream.seek(-(11 << 20), io.SEEK_CUR) == 1 << 20
        assert stream.read(70_000) == content[1 << 20 :][:70_000]
        assert stream.seek(len(content) + 9) == len(content) + 9
        assert stream.read(9) == b""
        with pytest.raises(ValueError, match="position"):
            stream.seek(-1)
        assert stream.seek(0) == 0
        assert stream.read() == content


def test_a_range_asks_for_no_more(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", noise(1000))
    with proxying(s3.port) as proxy:
        assert s3.opener(proxy.port).read_range(url, 10, 20) == noise(1000)[10:30]
        assert "range: bytes=10-29\r\n" in proxy.asked[0]
        assert len(proxy.asked) == 1
    assert s3.opener().read_range(url, 990, 1 << 60) == noise(1000)[990:]
    with pytest.raises(ValueError, match="range"):
        s3.opener().read_range(url, -1, 1)


def test_a_listing_keeps_to_the_rules_of_local_globs(s3: S3Server) -> None:
    bucket = s3.bucket()
    for key in ("d/x-1.tar", "d/x-2.tar", "d/.x-3.tar", "d/e/x-4.tar", "d/x[1].tar", "y.tar"):
        s3.put(f"s3://{bucket}/{key}", b"")

    def found(pattern: str) -> list[str]:
        return [url.removeprefix(f"s3://{bucket}/") for url in s3.opener().list(f"s3://{bucket}/{pattern}")]

    assert found("d/x-*.tar") == ["d/x-1.tar", "d/x-2.tar"]
    assert found("*.tar") == ["y.tar"]
    assert found("**") == ["d/e/x-4.tar", "d/x-1.tar", "d/x-2.tar", "d/x[1].tar", "y.tar"]
    assert found("**/x-[14].tar") == ["d/e/x-4.tar", "d/x-1.tar"]
    assert found("*/*/*") == ["d/e/x-4.tar"]
    assert found("d/.x*") == ["d/.x-3.tar"]
    assert found("d/x[1].tar") == ["d/x[1].tar"], "an object of this very name wins"
    assert found("none/*") == []
    with pytest.raises(OpenError, match="name the bucket"):
        s3.opener().list("s3://buck*/x")


def test_removing_is_done_once(s3: S3Server) -> None:
    bucket = s3.bucket()
    s3.put(f"s3://{bucket}/x", b"")
    for _ in range(2):
        s3.opener().remove(f"s3://{bucket}/x")
        assert s3.keys(bucket) == []


REFUSED: dict[str, str] = {
    "s3://bucket": "names no object",
    "s3://bucket/": "names no object",
    "gs://bucket/folder/": "names no object",
    "az:///key": "az://bucket/key",
    "s3://key:hush@bucket/x": "credentials elsewhere",
    "s3://bucket/a//b": "empty path segment",
    "http://host/x": "not the scheme 'http'",
}


@pytest.mark.parametrize(("url", "match"), REFUSED.items())
def test_what_names_no_object_is_refused(s3: S3Server, url: str, match: str) -> None:
    for call in (s3.opener().open, s3.opener().size):
        with pytest.raises(OpenError, match=match) as caught:
            call(url)
        assert "hush" not in str(caught.value)


def settings_of(opener: ObjectStoreOpener, url: str) -> dict[str, Any]:
    bucket, _ = opener._place(url)
    store = bucket.store()
    return {**store.config, **(store.client_options or {}), "kind": type(store).__name__}


def test_arguments_become_the_options_of_each_kind_of_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    made = settings_of(
        ObjectStoreOpener(endpoint="http://host:9", region="eu-1", anonymous=True, timeout=3), "s3://bucket/a/b.tar"
    )
    assert made["kind"] == "S3Store"
    assert (made["bucket"], made["endpoint"], made["region"]) == ("bucket", "http://host:9", "eu-1")
    assert made["skip_signature"] in (True, "true")
    assert made["allow_http"] in (True, "true")
    assert made["connect_timeout"] == made["read_timeout"]
    made = settings_of(ObjectStoreOpener(endpoint="https://host", region="not for it", anonymous=True), "gs://b/x")
    assert (made["kind"], made["bucket"], made["base_url"]) == ("GCSStore", "b", "https://host")
    assert made["allow_http"] in (False, "false")
    opener = ObjectStoreOpener(options={"account_name": "me", "account_key": "aHVzaA=="}, endpoint="http://host/me")
    made = settings_of(opener, "az://container/x")
    assert (made["kind"], made["container_name"]) == ("AzureStore", "container")
    assert (made["account_name"], made["endpoint"]) == ("me", "http://host/me")
    with pytest.raises(OpenError, match=r"'account_(name|key)' is not valid for store 'S3'"):
        opener.open("s3://bucket/x")


def test_what_no_argument_says_comes_from_the_environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "else")
    url = s3.put(f"s3://{s3.bucket()}/x", b"data")
    assert default_opener().open(url).read() == b"data"


def test_without_credentials_the_error_names_the_way_out() -> None:
    said = (
        "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1ms - HTTP error: no route"
    )
    failure = failure_of(RuntimeError(said), "cannot read", "s3://b/x", ())
    assert isinstance(failure, OpenError), "that does not pass"
    assert "no credentials" in str(failure)
    assert "anonymous=True" in str(failure)


def test_no_secret_of_the_environment_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "hush-of-the-environment")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "hush-of-azure")
    said = RuntimeError("Generic S3 error: HTTP error: hush-of-the-environment, hush-of-azure and hush-of-options")
    failure = failure_of(said, "cannot read", "s3://b/x", secrets_of({"session_token": "hush-of-options"}))
    shown = str(failure) + "".join(traceback.format_exception(failure))
    assert "***, *** and ***" in shown
    assert "hush" not in shown


def test_anonymous_sends_no_credentials(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", b"data")
    with proxying(s3.port) as proxy:
        s3.opener(proxy.port).open(url).close()
        with pytest.raises(OpenError, match=r"403 Forbidden.*: the credentials do not suffice"):
            s3.opener(proxy.port, anonymous=True).open(url)
        with_them, without_them = proxy.asked  # and the refusal was not asked for again
    assert "authorization:" in with_them.lower()
    assert "authorization:" not in without_them.lower()


def test_attempts_pauses_and_retries_are_the_caller_s(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", b"data")
    told: list[Retry] = []
    with proxying(s3.port) as proxy:
        opener = s3.opener(proxy.port, attempts=3, on_retry=told.append)
        proxy.faults = [Fault("status", 503)] * 2
        assert opener.open(url).read() == b"data"
        assert [(retry.url, retry.attempt) for retry in told] == [(url, 2), (url, 3)]
        assert all(retry.delay <= 0.01 for retry in told)
        for call in (opener.open, opener.list):
            proxy.faults = [Fault("status", 503)] * 3
            with pytest.raises(OpenError, match=r"503 Service Unavailable .*given up after 3 attempts"):
                call(url)
            assert not proxy.faults


def test_a_server_that_stalls_is_given_up_after_the_timeout(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", noise(1000))
    with proxying(s3.port) as proxy:
        proxy.faults = [Fault("stall", 500)] * 2
        with s3.opener(proxy.port, attempts=2, timeout=0.2).open(url) as stream:
            assert stream.read(1000) == noise(500), "what came before the failure is delivered first"
            with pytest.raises(OpenError, match="timed out"):
                stream.read()


def test_closing_ends_a_pause_of_another_thread(s3: S3Server) -> None:
    url = s3.put(f"s3://{s3.bucket()}/x", noise(1000))
    with proxying(s3.port) as proxy:
        waiting = threading.Event()
        proxy.faults = [Fault("drop", 10)]
        opener = s3.opener(proxy.port, backoff=3600.0, max_backoff=3600.0, on_retry=lambda retry: waiting.set())
        stream = opener.open(url)
        failures: list[Exception] = []

        def read() -> None:
            try:
                stream.read()
            except OpenError as error:
                failures.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        waiting.wait()
        stream.close()
        thread.join()
        assert "closed while it was being read" in str(failures[0])


def test_it_is_the_default_for_its_schemes_and_gives_way_to_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("s3", "gs", "az"):
        assert isinstance(default_opener().opener_of(f"{scheme}://b/x"), ObjectStoreOpener)
    mine = ObjectStoreOpener(region="x")
    assert SchemeOpener().with_opener("s3", mine).opener_of("s3://b/x") is mine
    monkeypatch.setitem(scheme_to_command, "gs", "gsutil cat {url}")
    assert not isinstance(default_opener().opener_of("gs://b/x"), ObjectStoreOpener)
    assert isinstance(default_opener().opener_of("memory://b/x"), FsspecOpener)


def without(modules: str, scheme: str) -> str:
    """Return the class that opens a scheme where modules are missing, and what it raises."""
    program = (
        f"import sys\nfor name in {modules.split()!r}: sys.modules[name] = None\n"
        "from webds.openers import default_opener\nfrom webds.errors import *\n"
        f"opener = default_opener().opener_of('{scheme}://b/k')\nprint(type(opener).__name__)\n"
        "try:\n    opener.open('{0}://b/k')\nexcept MissingExtraError as error:\n    print(error)\n".format(scheme)
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_without_obstore_the_error_names_the_extra(scheme: str) -> None:
    said = without("obstore s3fs gcsfs adlfs", scheme)
    assert "ObjectStoreOpener" in said
    assert "webds[cloud]" in said
    assert issubclass(MissingExtraError, ImportError)


def test_without_obstore_fsspec_opens_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectStoreOpener, "knows", staticmethod(lambda scheme: False))
    monkeypatch.setattr(FsspecOpener, "has_package", staticmethod(lambda scheme: True))
    assert isinstance(default_opener().opener_of("s3://b/x"), FsspecOpener)


def test_has_package_tells_whether_fsspec_can_open_it() -> None:
    assert FsspecOpener.has_package("memory")
    assert not FsspecOpener.has_package("unheard-of")


def test_a_pickled_one_is_equal() -> None:
    opener = ObjectStoreOpener(region="x", options={"access_key_id": "k"})
    assert pickle.loads(pickle.dumps(opener)) == opener
    assert "'access_key_id'" in repr(opener)
    assert "http://***@host'" in repr(ObjectStoreOpener(endpoint="http://me:hush@host"))


@pytest.mark.parametrize(
    "arguments", [{"timeout": 0}, {"part_size": 1}, {"attempts": 0}, {"backoff": -1}, {"max_backoff": -1}]
)
def test_arguments_without_a_meaning_are_refused(arguments: dict[str, Any]) -> None:
    make: Callable[..., object] = ObjectStoreOpener
    with pytest.raises(ValueError, match="must be"):
        make(**arguments)
