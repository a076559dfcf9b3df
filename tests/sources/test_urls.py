from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from stores import put
from typing_extensions import override
from webserver import WebServer, serving

from webds.abc import Opener
from webds.errors import OpenError, UntrustedDataError, UrlError
from webds.openers import FunctionOpener, default_opener, reader
from webds.sources.urls import expand_urls

OPENER = default_opener()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with four shards."""
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        (tmp_path / f"x-{number}.tar").write_bytes(b"")
    return tmp_path


@pytest.fixture
def memory() -> Iterator[None]:
    MemoryFileSystem.store.clear()
    yield
    MemoryFileSystem.store.clear()


def manifest(*urls: str, **more: Any) -> str:
    shards = [{"url": url, "nsamples": 3, "other": 1} for url in urls]
    return json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": shards, **more})


def test_lists_of_anything_keep_their_order(here: Path) -> None:
    urls: list[str | Path] = [
        "x-{3..2}.tar",
        Path("x-0.tar"),
        "x-[01].tar",
        "http://host/a.tar",
        here / "x-{1,2}.tar",
        "-",
        "x-3.tar",
    ]
    assert expand_urls(urls, OPENER) == [
        "x-3.tar", "x-2.tar", "x-0.tar", "x-0.tar", "x-1.tar", "http://host/a.tar",
        f"{here}/x-1.tar", f"{here}/x-2.tar", "-", "x-3.tar",
    ]  # fmt: skip
    assert expand_urls(tuple(urls), OPENER) == expand_urls(iter(urls), OPENER) == expand_urls(urls, OPENER)  # type: ignore[arg-type]  # an iterator is welcome too


def test_local_globs_are_sorted_and_take_file_urls(here: Path) -> None:
    expected = [f"x-{number}.tar" for number in range(4)]
    assert expand_urls("x-*.tar", OPENER) == expand_urls("x-?.tar", OPENER) == expected
    assert expand_urls("x-{[01],[23]}.tar", OPENER) == expected
    assert expand_urls(f"file://{here}/x-*.tar", OPENER) == [f"{here}/{name}" for name in expected]


def test_a_file_with_the_very_name_of_a_pattern_wins(here: Path) -> None:
    for name in ("x-[0].tar", "x-{0..1}.tar", "x-?.tar"):
        (here / name).write_bytes(b"")
        assert expand_urls(name, OPENER) == [name]


def test_patterns_of_a_store_are_listed_by_its_opener(memory: None) -> None:
    for name in "ba":
        put(f"memory://bucket/{name}.tar", "")
    assert expand_urls("memory://bucket/*.tar", OPENER) == ["memory://bucket/a.tar", "memory://bucket/b.tar"]
    with pytest.raises(UrlError, match="no file matches"):
        expand_urls("memory://bucket/c*", OPENER)


def test_what_cannot_be_listed_says_so() -> None:
    opener = OPENER.with_opener("mine", FunctionOpener(reader))
    assert expand_urls("mine://x-{0..1}", opener) == ["mine://x-0", "mine://x-1"]
    with pytest.raises(OpenError, match="cannot list"):
        expand_urls("mine://x-*", opener)


@pytest.mark.parametrize(
    "url", ["http://h/x.tar?a=[1]*", "https://h/*.tar", "pipe:cat x-*.tar [ab]?", "-", "http://h/x?list=a.txt"]
)
def test_in_web_urls_and_commands_glob_characters_mean_themselves(url: str) -> None:
    assert expand_urls(url, OPENER) == [url]


def test_a_single_path_that_is_not_there_is_left_to_the_opener(here: Path) -> None:
    assert expand_urls("nothing.tar", OPENER) == ["nothing.tar"]
    assert expand_urls(["x-{0..9}.tar"], OPENER)[9] == "x-9.tar"


def test_paths_of_an_opener_that_is_not_of_this_host_need_not_be_here(here: Path) -> None:
    remote = FunctionOpener(reader)
    (here / "folder").mkdir()
    assert expand_urls(["/there/x-{0..1}.tar", "folder"], remote) == ["/there/x-0.tar", "/there/x-1.tar", "folder"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("y-*.tar", "no file matches"),
        ("y-{0..3}.tar", "none of the 4 files"),
        ("y-{0..3}*.tar", "no file matches"),
        ("{x,y}-*.tar", "no file matches"),
        ("empty", r"directory.*empty/\*\.tar"),
        ("empty/", r"directory.*empty/\*\.tar"),
        (".", "directory"),
        ("empty/*", "no file matches"),
        ("empt*", "no file matches"),
        (r"C:\data\*.tar", "no file matches"),
        ("", "empty string"),
        ("  ", "empty string"),
    ],
)
def test_what_matches_nothing_is_an_error_with_the_pattern(here: Path, pattern: str, words: str) -> None:
    (here / "empty").mkdir()
    with pytest.raises(UrlError, match=words) as caught:
        expand_urls(["x-0.tar", pattern], OPENER)
    assert caught.value.url == pattern


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(UrlError, match="empty list"):
        expand_urls([], OPENER)


@pytest.mark.parametrize("urls", [None, 3, b"x.tar", {"x.tar"}, {"x.tar": 1}, [None], [["x.tar"]], [b"x.tar"]])
def test_what_is_neither_text_nor_path_is_a_type_error(urls: Any) -> None:
    with pytest.raises(TypeError, match="expected a URL"):
        expand_urls(urls, OPENER)


def test_a_path_is_never_a_command(here: Path) -> None:
    assert expand_urls(Path("pipe:touch evil"), OPENER) == ["./pipe:touch evil"]
    assert expand_urls([Path("-")], OPENER) == ["./-"]


def test_a_file_that_a_listing_finds_is_never_a_command_or_a_list(here: Path) -> None:
    (here / "pipe:touch evil.tar").write_bytes(b"")
    (here / "all.json").write_text(manifest("x-0.tar"))
    assert expand_urls("p*", OPENER) == ["./pipe:touch evil.tar"]
    assert "all.json" in expand_urls("*", OPENER)


def test_a_manifest_is_read_and_its_urls_are_relative_to_it(here: Path) -> None:
    (here / "sub").mkdir()
    path = here / "sub" / "all.JSON"
    path.write_text(manifest("a.tar", "../x-0.tar", "/abs/b.tar", "s3://b/k.tar", "file:///f%20g.tar", "x-{0..1}*.tar"))
    expected = ["sub/a.tar", "sub/../x-0.tar", "/abs/b.tar", "s3://b/k.tar", "/f g.tar", "sub/x-{0..1}*.tar"]
    assert expand_urls("sub/all.JSON", OPENER) == expected
    assert expand_urls([Path("sub/all.JSON"), "x-1.tar"], OPENER) == [*expected, "x-1.tar"]
    assert expand_urls(f"file://{here}/sub/all.JSON", OPENER)[0] == f"{here}/sub/a.tar"
    assert expand_urls("sub/*.JSON", OPENER) == expected


def test_a_list_file_is_read_line_by_line(here: Path) -> None:
    text = "\ufeff# shards\r\n\r\n  x-{0..1}.tar  \r\n/abs/a b.tar\n#x-9.tar\nhttp://h/x-{2,3}.tar?a#b\nfile:c%20d.tar"
    (here / "all.txt").write_text(text)
    assert expand_urls("all.txt", OPENER) == [
        "x-0.tar", "x-1.tar", "/abs/a b.tar", "http://h/x-2.tar?a#b", "http://h/x-3.tar?a#b", "c d.tar",
    ]  # fmt: skip
    assert expand_urls(str(here / "all.txt"), OPENER)[0] == f"{here}/x-0.tar"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def test_a_manifest_on_a_web_server_is_relative_to_its_url(web: WebServer) -> None:
    names = ["a.tar", "../b.tar", "/c.tar", "./d.tar?sig=1", "//other/e.tar", "f:g.tar", "https://h/i.tar", "pi\tpe:x"]
    web.routes["/data/v1/all.json"] = manifest(*names).encode()
    assert expand_urls(web.url("/data/v1/all.json?token=hush#x"), OPENER) == [
        web.url("/data/v1/a.tar"),
        web.url("/data/b.tar"),
        web.url("/c.tar"),
        web.url("/data/v1/d.tar?sig=1"),
        "http://other/e.tar",
        web.url("/data/v1/f:g.tar"),
        "https://h/i.tar",
        web.url("/data/v1/pipe:x"),
    ]


def test_a_list_in_a_store_is_relative_to_its_url(memory: None) -> None:
    put(
        "memory://bucket/data/all.txt", "a.tar\n../b.tar\n../../../c.tar\n/d.tar\n./e//f.tar\nother://g/h.tar\nC:/i.tar"
    )
    assert expand_urls("memory://bucket/data/all.txt", OPENER) == [
        "memory://bucket/data/a.tar",
        "memory://bucket/b.tar",
        "memory://bucket/c.tar",
        "memory://bucket/d.tar",
        "memory://bucket/data/e//f.tar",
        "other://g/h.tar",
        "C:/i.tar",
    ]
    chained = expand_urls("simplecache::memory://bucket/data/all.txt", OPENER)
    assert chained[:2] == ["simplecache::memory://bucket/data/a.tar", "simplecache::memory://bucket/b.tar"]


def test_a_relative_name_in_a_list_without_a_folder_is_an_error(here: Path) -> None:
    opener = OPENER.with_opener("odd", FunctionOpener(lambda url: io.BytesIO(b"s3://b/a.tar\nb.tar")))
    with pytest.raises(UrlError, match=r"'b\.tar' is relative"):
        expand_urls("odd::all.txt", opener)


BAD: list[tuple[str, str, str]] = [
    ("x.json", "{", "not JSON"),
    ("x.json", "[" * 100_000, "not JSON"),
    ("x.json", "[]", "no manifest"),
    ("x.json", '{"shardlist": []}', "no manifest"),
    ("x.json", '{"__kind__": "wids-shard-index-v2", "shardlist": []}', "no manifest"),
    ("x.json", '{"__kind__": "wids-shard-index-v1"}', "no shardlist"),
    ("x.json", manifest(), "names no shards"),
    ("x.json", manifest(shardlist=[{"url": "a.tar"}, {"nsamples": 3}]), "entry 1"),
    ("x.json", manifest(shardlist=["a.tar"]), "entry 0"),
    ("x.json", manifest(" "), "entry 0"),
    ("x.json", manifest("more.json"), "a list in a list"),
    ("x.json", manifest("file://host/x.tar"), "another host"),
    ("x.txt", "\n# nothing\n", "names no shards"),
    ("x.txt", "caf\udce9.tar", "UTF-8"),
    ("x.txt", "more.txt", "a list in a list"),
    ("x.txt", "a-{0..99999999999}.tar", "more than 1000000"),
]


@pytest.mark.parametrize(("name", "text", "words"), BAD)
def test_a_list_that_is_none_is_an_error_with_its_url(here: Path, name: str, text: str, words: str) -> None:
    (here / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UrlError, match=words) as caught:
        expand_urls(name, OPENER)
    assert caught.value.url in (name, text)


def test_a_list_that_is_not_there_is_an_open_error(here: Path) -> None:
    for name in ("nothing.json", "nothing.txt"):
        with pytest.raises(OpenError, match="No such file"):
            expand_urls(name, OPENER)


class Endless(Opener):
    """Opens everything as a stream without an end, and counts what was read of it."""

    read = 0

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        class Stream(io.RawIOBase):
            @override
            def read(stream, size: int = -1, /) -> bytes:  # noqa: N805  # self is the opener
                self.read += size
                return b"#" * size

        return Stream()  # type: ignore[return-value]  # has what is used


def test_a_list_without_an_end_is_an_error(here: Path) -> None:
    endless = Endless()
    with pytest.raises(UrlError, match="256 MiB"):
        expand_urls("x.txt", endless)
    assert endless.read < 300 << 20


@pytest.mark.parametrize(
    "command", ["pipe:touch evil", "PIPE:touch evil", " pipe:touch evil", "-", "pipe:touch {evil,b}"]
)
@pytest.mark.parametrize("name", ["x.txt", "x.json"])
def test_a_command_that_came_out_of_a_file_is_refused_unless_trusted(here: Path, name: str, command: str) -> None:
    (here / name).write_text(f"x-0.tar\n{command}\n" if name == "x.txt" else manifest("x-0.tar", command))
    with pytest.raises(UntrustedDataError, match=r'with_opener\("pipe", webds.PipeOpener\(\)\)') as caught:
        expand_urls([name, "x-1.tar"], OPENER)
    assert caught.value.url == name
    trusted = expand_urls([name, "x-1.tar"], OPENER, trust_commands=True)
    assert trusted[1] == ("pipe:touch evil" if (name, command) == ("x.txt", "pipe:touch {evil,b}") else command.strip())
    assert not os.path.exists("evil")


def test_the_refusal_shows_no_secret_of_the_command(here: Path) -> None:
    (here / "x.txt").write_text("pipe:curl --user me:hush https://h/x?sig=hush")
    with pytest.raises(UntrustedDataError) as caught:
        expand_urls("x.txt", OPENER)
    assert "hush" not in str(caught.value)


def test_a_relative_name_in_a_file_is_no_command_either(here: Path) -> None:
    (here / "x.txt").write_text("file:pipe:touch%20evil\n./pipe:x\n./-\n")
    assert expand_urls("x.txt", OPENER) == ["./pipe:touch evil", "./pipe:x", "./-"]


def test_a_text_file_that_is_a_shard_of_a_command_is_no_list() -> None:
    assert expand_urls("pipe:tar cf - a.txt", OPENER) == ["pipe:tar cf - a.txt"]
