"""The page as a document: what it says without a browser to run it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import HOSTILE, garden, hostile
from shards import write_shard
from typing_extensions import override

from webds.tools.report import ReportOptions, gather, render
from webds.tools.report.previews import island

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Outline(HTMLParser):
    """Elements, in order, and whether each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @override
    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    return found


@pytest.fixture
def evil(tmp_path: Path) -> str:
    return render(gather(hostile(tmp_path), ReportOptions(title=HOSTILE)))


def test_its_elements_are_its_own_and_all_closed(evil: str) -> None:
    found = outline(evil)
    assert (found.faults, found.open) == ([], [])
    assert [name for name, _ in found.elements].count("script") == 2
    names = {name for _, attributes in found.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert "style" not in names
    links = [value for _, attributes in found.elements for name, value in attributes.items() if name in ("href", "src")]
    assert links
    assert all(link is not None and link.startswith(("data:", "#")) for link in links)
    assert "http-equiv" in names


def test_its_policy_names_its_own_script_and_style(evil: str) -> None:
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', evil)
    style, script = (re.findall(rf"<{name}>(.*?)</{name}>", evil, re.DOTALL)[0] for name in ("style", "script"))
    for name, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}';" in html.unescape(policy)
    assert html.unescape(policy).startswith("default-src 'none';")


def test_what_the_script_reads_is_ascii_without_markup(evil: str) -> None:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', evil, re.DOTALL)
    assert data.isascii()
    assert not set("<>&") & set(data)
    assert json.loads(data)[0]["fields"][0]["text"].startswith("</script><script>window.hacked")
    assert json.loads(island("<\u2028\ud800")) == "<\u2028\ud800"


def test_it_can_be_encoded_and_is_the_same_each_time(tmp_path: Path) -> None:
    urls = [*garden(tmp_path), *hostile(tmp_path)]
    pages = [render(gather(urls)).encode() for _ in range(2)]
    assert pages[0] == pages[1]


def test_json_without_a_picture_or_a_text_is_shown_in_short(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "x.tar", [{"__key__": "k", "json": '{"a": 1, "b": {"c": 2}, "d": "<e>"}'}])
    assert '<p class="excerpt" dir="auto">a: 1, d: &lt;e&gt;</p>' in render(gather(path))
