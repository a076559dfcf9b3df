"""``webds report``."""

from __future__ import annotations

import re
from pathlib import Path

from commands import webds
from pages import garden
from shards import numbered_shards
from webserver import serving


def keys(page: str) -> list[str]:
    return re.findall(r"<h3><button [^>]*><bdi>([^<]*)</bdi>", page)


def test_it_makes_a_page_about_good_shards(tmp_path: Path) -> None:
    garden(tmp_path)
    done = webds("report", "garden-*.tar", cwd=tmp_path)
    assert (done.status, done.out) == (0, b"")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    size = r"\d+ kB"
    assert re.fullmatch(rf"report\.html: 12 samples in 2 shards; {size}\n", done.err)
    assert keys(page) == [f"plant{number:03d}" for number in range(12)]
    again = webds("report", "garden-{0,1}.tar", "-o", "-", "-j", "2", cwd=tmp_path)
    assert again.status == 0
    assert again.text == page


def test_what_is_shown_is_a_matter_of_options(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2, samples=30)
    first = webds("report", *urls, "-o", "-", "-n", "3", "--first", "--title", "A <b>title</b>", "--headers-only")
    assert keys(first.text) == ["key00000", "key00001", "key00002"]
    assert "<h1><bdi>A &lt;b&gt;title&lt;/b&gt;</bdi></h1>" in first.text
    assert "Headers and classes were read" in first.text
    some = [keys(webds("report", *urls, "-o", "-", "-n", "3", "--seed", seed).text) for seed in ("1", "2")]
    assert some[0] != some[1]


def test_broken_shards_are_in_the_page_and_an_error_only_if_asked(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2, samples=3)
    broken = tmp_path / "broken.tar"
    broken.write_bytes(Path(urls[0]).read_bytes()[:2000])
    arguments: list[str | Path] = ["report", *urls, broken, "-o", tmp_path / "report.html"]
    assert webds(*arguments).status == 0
    strict = webds(*arguments, "--strict")
    assert strict.status == 1
    assert "; 1 broken shard; " in strict.err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "1 shard cannot be read to its end" in page
    nothing = webds("report", broken, "-o", "-")
    assert nothing.status == 1
    assert "cut short" in nothing.text
    assert webds("report", *urls, "--strict", "-o", "-").status == 0


def test_an_archive_without_end_is_taken_if_that_is_said(tmp_path: Path) -> None:
    (url,) = numbered_shards(tmp_path, shards=1, samples=1)
    Path(url).write_bytes(Path(url).read_bytes()[:2048])
    assert webds("report", url, "-o", "-", "--strict").status == 1
    assert webds("report", url, "-o", "-", "--strict", "--missing-end", "accept").status == 0


def test_shards_may_be_remote_or_come_from_standard_input(tmp_path: Path) -> None:
    (url,) = numbered_shards(tmp_path, shards=1, samples=4)
    data = Path(url).read_bytes()
    with serving() as server:
        server.routes["/x.tar"] = data
        remote = webds("report", server.url("/x.tar?token=secret"), "-o", "-")
    assert remote.status == 0
    assert keys(remote.text) == [f"key{number:05d}" for number in range(4)]
    assert "secret" not in remote.text + remote.err
    piped = webds("report", "-", "-o", "-", "-j", "2", stdin=data)
    assert keys(piped.text) == keys(remote.text)
    assert "<h1><bdi>standard input</bdi></h1>" in piped.text


def test_wrong_usage_is_one_line_and_leaves_things_alone(tmp_path: Path) -> None:
    (url,) = numbered_shards(tmp_path, shards=1)
    before = Path(url).read_bytes()
    wrong = webds("report", url, "-o", url)
    assert wrong.status == 2
    assert "is no report; --overwrite replaces it" in wrong.err
    assert Path(url).read_bytes() == before
    many = webds("report", url, "-n", "1000", "--page-size", "1MB", "-o", tmp_path / "r.html")
    assert many.status == 2
    assert "ask for fewer samples" in many.err
    assert webds("report", str(tmp_path / "none-*.tar"), "-o", "-").status == 1
    other = tmp_path / "other.txt"
    other.write_text("of no use")
    assert webds("report", url, "-o", other, "--overwrite").status == 0
    assert "<!doctype html>" in other.read_text(encoding="utf-8")


def test_its_help_tells_how_it_is_used() -> None:
    text = webds("report", "--help").text
    assert all(word in text for word in ("--headers-only", "--first", "--strict", "webds report 'data/"))
