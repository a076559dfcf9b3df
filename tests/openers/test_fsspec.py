from __future__ import annotations

import io
import itertools
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from stores import put
from typing_extensions import override

from webds.abc import Opener
from webds.errors import MissingExtraError, OpenError
from webds.openers import FsspecOpener
from webds.openers.streams import DrainWriter
from webds.testing import OpenerSuite
from webds.testing.suite import shown

_numbers = itertools.count()


class TestMemory(OpenerSuite):
    @pytest.fixture(autouse=True)
    def _empty(self) -> Iterator[None]:
        MemoryFileSystem.store.clear()
        yield
        MemoryFileSystem.store.clear()

    @override
    def make_opener(self) -> Opener:
        return FsspecOpener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        return put(f"memory://data/{next(_numbers)}.bin", content)

    @override
    def missing_url(self, folder: Path) -> str:
        return "memory://data/nothing"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return "memory://written/here"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        urls = [f"memory://l/{name}.tar" for name in ("b", "a", "sub/c")]
        for url in urls:
            put(url, b"")
        return "memory://l/**/*.tar", urls


class TestLocal(TestMemory):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{next(_numbers)}.bin"
        path.write_bytes(content)
        return f"local://{path}"

    @override
    def missing_url(self, folder: Path) -> str:
        return f"local://{folder}/nothing"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"local://{folder}/written"

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        (folder / "x.tar").mkdir()
        for name in "ba":
            (folder / f"{name}.tar").write_bytes(b"")
        return f"local://{folder}/*.tar", [f"local://{folder}/a.tar", f"local://{folder}/b.tar"]


class TestInsideOfAnArchive(TestMemory):
    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{next(_numbers)}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in/x.bin", content)
        return f"zip://in/x.bin::file://{path}"

    @override
    def missing_url(self, folder: Path) -> str:
        return f"zip://in/nothing::file://{folder}/nothing.zip"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return None

    @override
    def listing(self, folder: Path) -> tuple[str, Sequence[str]] | None:
        url = self.url_of(folder, b"x")
        return url.replace("/x.bin", "/*.bin"), [url]


class Bucket(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """A store that uploads, commits when a file is closed, and quotes its secret in errors."""

    protocol = "bucket"
    objects: ClassVar[dict[str, bytes]] = {}

    def __init__(self, secret: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.secret = secret

    @override
    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = str(self._strip_protocol(path))
        if path not in self.objects:
            raise FileNotFoundError(f"GET https://store/{path}?sig={self.secret} as {self.secret}: 404")
        return {"name": path, "size": len(self.objects[path]), "type": "file"}

    @override
    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Any = None,
        autocommit: bool = True,
        cache_options: Any = None,
        **kwargs: Any,
    ) -> BucketFile:
        return BucketFile(self, path, mode, size=self.info(path)["size"] if mode == "rb" else None)


class BucketFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec ships no types
    @override
    def _fetch_range(self, start: int, end: int) -> bytes:
        if self.path.endswith("broken") and end > 10:
            raise OSError(f"connection reset with {self.fs.secret}")
        return bytes(Bucket.objects[self.path][start:end])

    @override
    def _initiate_upload(self) -> None:
        self.parts = b""

    @override
    def _upload_chunk(self, final: bool = False) -> Any:
        if self.path.endswith("full"):
            raise OSError(28, "No space left on device")
        self.parts += self.buffer.getvalue()
        if final:
            Bucket.objects[self.path] = self.parts
        return True

    @override
    def discard(self) -> None:
        self.parts = b""


@pytest.fixture
def bucket() -> Iterator[dict[str, bytes]]:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    Bucket.objects.clear()
    yield Bucket.objects
    Bucket.clear_instance_cache()


def test_what_is_written_is_committed_by_close(bucket: dict[str, bytes]) -> None:
    with FsspecOpener().open("bucket://x/y", "wb") as stream:
        stream.write(b"data")
    assert bucket == {"x/y": b"data"}


def test_an_exception_in_the_block_commits_nothing(bucket: dict[str, bytes]) -> None:
    def write_half() -> None:
        with FsspecOpener().open("bucket://x/y", "wb") as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    aborted = cast("DrainWriter", FsspecOpener().open("bucket://x/z", "wb"))
    aborted.write(b"half")
    aborted.abort()
    assert bucket == {}


def test_a_write_that_fails_is_an_open_error_with_the_url(bucket: dict[str, bytes]) -> None:
    stream = FsspecOpener(buffer_size=10).open("bucket://x/full", "wb")
    stream.write(b"some data")
    with pytest.raises(OpenError, match="No space left") as caught:
        stream.close()
    assert caught.value.url == "bucket://x/full"
    assert stream.closed
    assert bucket == {}


def test_after_a_write_that_failed_there_is_no_result(bucket: dict[str, bytes]) -> None:
    stream = FsspecOpener().open("bucket://x/full", "wb")
    for _ in range(2):
        with pytest.raises(OpenError, match="No space left"):
            stream.write(bytes(6 << 20))
    with pytest.raises(OpenError, match="No space left"):
        stream.close()
    assert stream.closed
    assert bucket == {}


def test_what_is_no_buffered_file_of_a_store_is_closed_by_abort(tmp_path: Path) -> None:
    stream = cast("DrainWriter", FsspecOpener().open(f"local://{tmp_path}/x", "wb"))
    stream.write(b"half")
    stream.abort()
    assert stream.closed
    assert (tmp_path / "x").read_bytes() == b""


def test_a_read_that_breaks_off_is_an_open_error_and_shows_no_option(bucket: dict[str, bytes]) -> None:
    bucket["x/broken"] = bytes(100_000_000)
    secret = "hush"
    secret += "-option"  # not as such in the lines of a traceback
    opener = FsspecOpener({"secret": secret, "nested": [{"a": "other"}]})
    for call in (
        lambda: opener.open("bucket://x/broken").read(5),
        lambda: opener.read_range("bucket://x/broken", 0, 100),
        lambda: opener.open("bucket://x/nothing"),
        lambda: opener.size("bucket://x/nothing"),
    ):
        with pytest.raises(OpenError) as caught:
            call()
        assert secret not in shown(caught.value)
        assert caught.value.url is not None
    assert secret not in repr(opener)
    assert "secret" in repr(opener)


def test_the_options_reach_the_store(bucket: dict[str, bytes]) -> None:
    bucket["x/y"] = b"data"
    FsspecOpener({"secret": "one"}).open("bucket://x/y").close()
    assert fsspec.filesystem("bucket", secret="one").secret == "one"


def test_streams_seek() -> None:
    put("memory://seek/x", b"0123456789")
    with FsspecOpener().open("memory://seek/x") as stream:
        assert stream.seekable()
        assert stream.seek(4) == 4
        assert stream.read(2) == b"45"
        assert stream.seek(-1, io.SEEK_END) == 9
        assert stream.read() == b"9"
        with pytest.raises(OpenError, match="cannot seek"):
            stream.seek(-1)


def test_a_chained_url_is_listed_with_its_chain() -> None:
    for name in "ba":
        put(f"memory://chain/{name}.tar", name)
    found = FsspecOpener().list("simplecache::memory://chain/*.tar")
    assert found == ["simplecache::memory://chain/a.tar", "simplecache::memory://chain/b.tar"]
    with FsspecOpener().open(found[0]) as stream:
        assert stream.read() == b"a"


def test_an_absurd_length_takes_no_memory() -> None:
    put("memory://absurd", b"0123456789")
    assert FsspecOpener().read_range("memory://absurd", 5, 1 << 60) == b"56789"
    with pytest.raises(ValueError, match="range"):
        FsspecOpener().read_range("memory://absurd", -1, 1)


def test_an_unknown_scheme_is_named() -> None:
    assert FsspecOpener.knows("s3")
    assert not FsspecOpener.knows("nonesuch")
    for call in (FsspecOpener().open, FsspecOpener().size, FsspecOpener().list):
        with pytest.raises(OpenError, match="'nonesuch'"):
            call("nonesuch://x")


def test_a_store_whose_package_is_missing_says_which() -> None:
    fsspec.register_implementation(
        "unpackaged", "nonesuch.Store", errtxt="Install nonesuchfs to reach it", clobber=True
    )
    with pytest.raises(OpenError, match="nonesuchfs"):
        FsspecOpener().open("unpackaged://x")


def test_without_fsspec_the_package_is_named() -> None:
    program = (
        "import sys\nsys.modules['fsspec'] = sys.modules['obstore'] = None\n"
        "from webds.openers import FsspecOpener, gopen\n"
        "from webds.errors import *\n"
        "try:\n    FsspecOpener().open('s3://b/k')\nexcept MissingExtraError as error:\n    print(error)\n"
        "try:\n    gopen('s3://b/k')\nexcept MissingExtraError as error:\n    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = ran.stdout.splitlines()
    assert "pip install fsspec" in first
    assert "webds[cloud]" in second
    assert issubclass(MissingExtraError, ImportError)
