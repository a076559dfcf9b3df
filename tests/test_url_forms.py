"""Schemes, local paths and brace expressions: what `webds.urls` makes of texts."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings, strategies as st

from webds.errors import UrlError
from webds.urls import check_scheme, expand_braces, has_glob, local_glob, local_path, path_url, scheme_of


@pytest.mark.parametrize(
    ("url", "scheme", "path"),
    [
        ("x.tar", "file", "x.tar"),
        ("/data/x 100%20.tar", "file", "/data/x 100%20.tar"),
        ("", "file", ""),
        ("-", "-", None),
        ("-x", "file", "-x"),
        ("./-", "file", "./-"),
        ("pipe:cat x", "pipe", None),
        ("Pipe:cat x", "pipe", None),
        ("./pipe:cat x", "file", "./pipe:cat x"),
        ("http://host/x.tar?a=b", "http", None),
        ("HTTPS://host/x.tar", "https", None),
        ("s3://bucket/key", "s3", None),
        ("my-store+v1.2://x", "my-store+v1.2", None),
        ("simplecache::s3://bucket/key", "simplecache", None),
        ("file:///data/a%20b.tar", "file", "/data/a b.tar"),
        ("file://localhost/data/x.tar", "file", "/data/x.tar"),
        ("FILE:/data/x.tar", "file", "/data/x.tar"),
        ("file:x.tar", "file", "x.tar"),
        ("file://host/share/x.tar", "file", None),
        ("file://host", "file", None),
        ("file:///C:/data/x%20.tar", "file", "C:/data/x .tar"),
        ("file::s3://bucket/key", "file", None),
        (r"C:\data\x.tar", "file", r"C:\data\x.tar"),
        ("C:/data/x.tar", "file", "C:/data/x.tar"),
        ("c://data/x.tar", "file", "c://data/x.tar"),
        ("12:30.tar", "file", "12:30.tar"),
        ("hdfs:x", "file", "hdfs:x"),
        ("a b://x", "file", "a b://x"),
        (" pipe:x", "file", " pipe:x"),
        ("dir/http://x", "file", "dir/http://x"),
    ],
)
def test_scheme_and_path_of_a_url(url: str, scheme: str, path: str | None) -> None:
    assert (scheme_of(url), local_path(url)) == (scheme, path)


@given(st.text(min_size=1))
@example("-")
@example("pipe:x")
@example("file:x%20y")
@example("http://x")
@example("s3::x")
def test_a_path_as_a_url_is_that_path_again(path: str) -> None:
    url = path_url(path)
    assert scheme_of(url) == "file"
    found = local_path(url)
    assert found is not None
    assert os.path.normpath(found) == os.path.normpath(path)


@pytest.mark.parametrize("scheme", ["s3", "HDFS", "-", "a+b.c-d9"])
def test_a_scheme_comes_back_in_lower_case(scheme: str) -> None:
    assert check_scheme(scheme) == scheme.lower()


@pytest.mark.parametrize("scheme", ["", "x", "s3:", "s3://", "9p", "a b"])
def test_what_is_no_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match="no scheme"):
        check_scheme(scheme)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.tar", ["x.tar"]),
        ("x-{0..3}.tar", ["x-0.tar", "x-1.tar", "x-2.tar", "x-3.tar"]),
        ("x-{008..011}", ["x-008", "x-009", "x-010", "x-011"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("{a,b{1,2}}", ["a", "b1", "b2"]),
        ("{0..6..3}", ["0", "3", "6"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{x}", ["{x}"]),
        ("{0..3", ["{0..3"]),
        ("{}", ["{}"]),
        (r"C:\data\x-{0..1}.tar", [r"C:\data\x-0.tar", r"C:\data\x-1.tar"]),
        (r"C:\data\{a,b}.tar", [r"C:\data\a.tar", r"C:\data\b.tar"]),
        (r"\\server\share\{a,b}", [r"\\server\share\a", r"\\server\share\b"]),
        (r"a\b-{0..1}", [r"a\b-0", r"a\b-1"]),
        (r"a\{0,1\}", [r"a\{0,1\}"]),
        ("http://host/x-{0..1}.tar?sig={2,3}", [f"http://host/x-{i}.tar?sig={j}" for i in "01" for j in "23"]),
        ("pipe:cat x-{0..1}.tar", ["pipe:cat x-0.tar", "pipe:cat x-1.tar"]),
        ("pipe:curl 'http://h/x-{0..1}.tar' | awk '{print $1, $2}'",
         [f"pipe:curl 'http://h/x-{i}.tar' | awk '{{print $1, $2}}'" for i in "01"]),
        ("pipe:{a,b}  {1,2}\t-", [f"pipe:{a}  {b}\t-" for a in "ab" for b in "12"]),
        ("dir/{with space,other}.tar", ["dir/with space.tar", "dir/other.tar"]),
    ],
)  # fmt: skip
def test_braces_are_expanded_as_by_bash(text: str, expected: list[str]) -> None:
    assert expand_braces(text) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="compares with bash")
@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("ab01{},.-/x"), max_size=14))
def test_expressions_without_quotes_are_those_of_bash(text: str) -> None:
    assume(text and not text.startswith("-"))
    ran = subprocess.run(["bash", "-fc", f"printf '<%s>' {text}"], capture_output=True, text=True, check=False)
    # bash drops empty words that have no quotes.
    assert "".join(f"<{word}>" for word in expand_braces(text) if word) in (ran.stdout, ran.stdout.replace("<>", ""))


def test_a_long_expression_is_whole() -> None:
    urls = expand_braces("x-{000000..123456}.tar")
    assert (len(urls), urls[0], urls[-1]) == (123457, "x-000000.tar", "x-123456.tar")


@pytest.mark.parametrize("text", ["{0..99999999999}", "{0..9999}{0..9999}", "pipe:{0..9999} {0..9999}"])
def test_a_limit_is_kept_without_building_what_is_beyond(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(UrlError, match="more than 1000"):
        expand_braces(text, limit=1000)
    assert time.process_time() - begin < 5
    assert len(expand_braces("{1..1000}", limit=1000)) == 1000


@pytest.mark.parametrize("text", ["{a," * 5000 + "b" + "}" * 5000, "{" * 5000, "{a," * 5000])
def test_absurd_nesting_is_an_error_or_nothing(text: str) -> None:
    try:
        expanded = expand_braces(text)
    except UrlError:
        return
    assert expanded == [text]


def test_a_listing_is_sorted_and_of_files_only(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d.tar").mkdir()
    assert local_glob(f"{tmp_path}/*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    assert local_glob(f"{tmp_path}/[bc].*") == [f"{tmp_path}/b.tar", f"{tmp_path}/c.txt"]
    assert local_glob(f"{tmp_path}/nothing*") == []


def test_leading_directories_with_glob_characters_are_taken_by_their_names(tmp_path: Path) -> None:
    for folder in ("set [1]", "set 1", "x*"):
        (tmp_path / folder / "sub?").mkdir(parents=True)
        (tmp_path / folder / "sub?" / "a.tar").write_bytes(b"")
    assert local_glob(f"{tmp_path}/set [1]/sub?/*.tar") == [f"{tmp_path}/set [1]/sub?/a.tar"]
    assert local_glob(f"{tmp_path}/x*/*/a.tar") == [f"{tmp_path}/x*/sub?/a.tar"]
    assert local_glob(f"{tmp_path}/s*/sub?/a.tar") == [f"{tmp_path}/set 1/sub?/a.tar", f"{tmp_path}/set [1]/sub?/a.tar"]


def test_a_listed_file_is_a_file_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "pipe:touch evil", "s3::x", "plain"):
        Path(name).write_bytes(b"")
    assert local_glob("*") == ["./-", "./pipe:touch evil", "./s3::x", "plain"]
    assert local_glob("p*") == ["./pipe:touch evil", "plain"]


def test_glob_characters_are_seen() -> None:
    assert [has_glob(text) for text in ("a*", "a?", "a[b]", "a{b}", "a")] == [True, True, True, False, False]
