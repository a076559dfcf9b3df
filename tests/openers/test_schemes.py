from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pytest
from opening import read_by_command
from stores import put
from typing_extensions import override
from webserver import serving

import webds.openers.schemes
from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import (
    CommandOpener,
    FileOpener,
    FunctionOpener,
    HttpOpener,
    SchemeOpener,
    as_opener,
    default_opener,
    gopen,
    reader,
    scheme_to_command,
)
from webds.testing import OpenerSuite


@pytest.fixture(autouse=True)
def _commands() -> Iterator[None]:
    before = dict(scheme_to_command)
    yield
    scheme_to_command.clear()
    scheme_to_command.update(before)


class Fixed(Opener):
    """Opens everything as the same bytes."""

    def __init__(self, content: bytes = b"fixed") -> None:
        self.content = content

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        return io.BytesIO(self.content)

    @override
    def size(self, url: str) -> int | None:
        return len(self.content)

    @override
    def list(self, pattern: str) -> list[str]:
        return [pattern.replace("*", "1")]


class TestSchemeOpener(OpenerSuite):
    @override
    def make_opener(self) -> Opener:
        return SchemeOpener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        number = len(os.listdir(folder))
        path = folder / f"{number}.bin"
        path.write_bytes(content)
        put(f"memory://{path}", content)
        return [str(path), f"file://{path}", f"pipe:cat {shlex.quote(str(path))}", f"memory://{path}"][number % 4]

    @override
    def missing_url(self, folder: Path) -> str:
        return f"nonesuch://{folder}/x"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"memory://{folder}/written"


def read(opener: Opener, url: str) -> bytes:
    with opener.open(url) as stream:
        return stream.read()


def test_the_order_is_table_then_command_then_built_in(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"plain")
    assert read(default_opener(), path) == b"plain"
    scheme_to_command["file"] = "echo command"  # without a place, as nobody should
    with pytest.raises(ValueError, match=r"\{url\}"):
        default_opener().open(path)
    scheme_to_command["file"] = "echo {url}"
    assert read(default_opener(), path) == f"{path}\n".encode()
    table = default_opener().with_opener("file", Fixed())
    assert read(table, path) == b"fixed"
    assert table.size(path) == 5
    assert table.read_range(path, 1, 2) == b"ix"


def test_with_opener_leaves_the_first_one_unchanged(tmp_path: Path) -> None:
    base = default_opener()
    one, two = base.with_opener("HDFS", Fixed(b"1")), base.with_opener("hdfs", Fixed(b"2"))
    assert read(one, "hdfs://x") == b"1"
    assert read(two, "hdfs://x") == b"2"
    assert "hdfs" not in base.openers
    assert one.list("hdfs://x-*") == ["hdfs://x-1"]


@pytest.mark.parametrize("scheme", ["hdfs://", "", "x", "a b", "9p://"])
def test_what_is_no_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match="no scheme"):
        default_opener().with_opener(scheme, Fixed())


def test_an_unknown_scheme_is_named_with_the_ways_out() -> None:
    with pytest.raises(OpenError, match=r"'nonesuch'.*with_opener\('nonesuch'.*scheme_to_command"):
        default_opener().open("nonesuch://x")


def test_every_built_in_scheme_is_there(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"data")
    put("memory://schemes/x", b"data")
    with serving() as web:
        web.routes["/x"] = b"data"
        for url in (
            f"{tmp_path}/x", f"file://{tmp_path}/x", f"pipe:cat {tmp_path}/x", f"PIPE:cat {tmp_path}/x",
            web.url("/x"), "memory://schemes/x",
        ):  # fmt: skip
            assert read(default_opener(), url) == b"data", url


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_commands_reach_workers(method: str) -> None:
    scheme_to_command["mine"] = "printf %s '{url}'"
    context = multiprocessing.get_context(method)
    queue: Any = context.SimpleQueue()
    opener = default_opener().with_opener("yours", FileOpener())
    worker: Any = context.Process(target=read_by_command, args=(opener, "mine://a'b", queue))  # type: ignore[attr-defined]  # of all contexts
    worker.start()
    assert queue.get() == (b"mine://a'b", b"other://x\n")
    worker.join()


def test_a_pickled_opener_takes_its_commands_along() -> None:
    scheme_to_command["mine"] = "echo taken along; : {url}"
    copy = pickle.loads(pickle.dumps(default_opener()))
    del scheme_to_command["mine"]
    assert read(copy.with_opener("x1", Fixed()), "mine://x") == b"taken along\n"
    assert pickle.loads(pickle.dumps(copy)) == copy
    scheme_to_command["mine"] = "echo newer; : {url}"
    assert read(copy, "mine://x") == b"newer\n"


def test_a_repr_shows_no_secret() -> None:
    opener = SchemeOpener({"https": HttpOpener(auth="hush")}, commands={"gs": "curl --user me:hush {url}"})
    opener = opener.with_opener("s3", "aws --secret-key=hush s3 cp {url} -")
    assert "hush" not in repr(opener)
    assert "gs" in repr(opener)


def test_as_opener_adapts_what_users_bring(tmp_path: Path) -> None:
    fixed = Fixed()
    assert as_opener(fixed) is fixed
    assert as_opener("cat {url}") == CommandOpener("cat {url}")
    assert as_opener(open_it) == FunctionOpener(open_it)
    assert as_opener(reader) == as_opener(cast("Callable[[str], Any]", gopen)) == default_opener()


def open_it(url: str) -> BinaryIO:
    return io.BytesIO()


@pytest.mark.parametrize("thing", [None, 3, b"cat {url}", ["cat {url}"]])
def test_what_opens_nothing_is_a_type_error(thing: Any) -> None:
    with pytest.raises(TypeError, match="opens nothing"):
        as_opener(thing)


def test_a_class_in_place_of_an_instance_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"FileOpener\(\)"):
        as_opener(cast("Any", FileOpener))


def test_gopen_reads_and_writes_paths_and_urls(tmp_path: Path) -> None:
    for url in (tmp_path / "a", str(tmp_path / "b"), f"file://{tmp_path}/c", f"pipe:cat > {tmp_path}/d"):
        with gopen(url, "wb") as stream:
            stream.write(b"data")
    for name in "abcd":
        with gopen(tmp_path / name) as stream, reader(str(tmp_path / name)) as again:
            assert stream.read() == again.read() == b"data"


def test_a_path_is_a_path_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "pipe:touch evil", "file:x", "s3:x"):
        Path(name).write_bytes(b"data")
        with gopen(Path(name)) as stream:
            assert stream.read() == b"data"
    assert not Path("evil").exists()


@pytest.mark.parametrize("mode", ["r", "w", "ab", "r+b", ""])
def test_another_mode_is_refused_by_name(mode: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"mode='{mode.replace('+', '.')}'"):
        gopen(tmp_path / "x", mode)


@pytest.mark.parametrize(("bufsize", "taken"), [(100, 100), (8192, 8192), (-1, 65536)])
def test_bufsize_is_how_much_is_read_at_once(tmp_path: Path, bufsize: int, taken: int) -> None:
    (tmp_path / "x").write_bytes(bytes(100_000))
    with gopen(tmp_path / "x", "rb", bufsize) as stream:
        stream.read(1)
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == taken
    with gopen(tmp_path / "x") as stream:
        stream.read(1)
        assert os.lseek(stream.fileno(), 0, os.SEEK_CUR) == 8192


@pytest.mark.parametrize("scheme", ["pipe", "http", "mine", "memory"])
def test_bufsize_reaches_every_built_in_opener(scheme: str) -> None:
    scheme_to_command["mine"] = "cat /dev/zero; : {url}"
    put("memory://bufsize", bytes(1000))
    with serving() as web:
        web.routes["/x"] = bytes(2000)
        url = {"pipe": "pipe:cat /dev/zero", "http": web.url("/x"), "mine": "mine://x", "memory": "memory://bufsize"}
        with gopen(url[scheme], bufsize=600) as stream:
            if scheme == "http":
                stream.read(512)  # which come first, whatever the size
            stream.read(1)
            assert len(stream.peek(1)) == 599  # type: ignore[attr-defined]  # of a buffered reader


def test_the_table_is_the_one_that_the_package_shows() -> None:
    assert webds.openers.schemes.scheme_to_command is scheme_to_command
