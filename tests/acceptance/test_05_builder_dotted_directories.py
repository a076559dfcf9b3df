"""Line 5 for whole datasets: dots in directories are part of the key, on the way out and on the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from shards import write_members

import webds
from webds.errors import WriteError


@pytest.mark.parametrize("workers", [0, 2])
def test_05_keys_keep_the_dots_of_their_directories(tmp_path: Path, workers: int) -> None:
    members = [("v1.0/a.b/001.jpg", b"1"), ("v1.0/a.b/001.seg.PNG", b"2"), ("v1.0/a.c/001.jpg", b"3")]
    url = write_members(tmp_path / "x.tar", members)
    assert list(webds.DatasetBuilder(url).loader(num_workers=workers)) == [
        {"__key__": "v1.0/a.b/001", "jpg": b"1", "seg.png": b"2"},
        {"__key__": "v1.0/a.c/001", "jpg": b"3"},
    ]


def test_05_what_was_written_comes_back_under_its_key(tmp_path: Path) -> None:
    keys = ["plain", "dir.x/001", "a.b.c/d.e/f", "./dot", "..up/x", "ü.ö/ä"]
    with webds.TarWriter(str(tmp_path / "x.tar")) as sink:
        for number, key in enumerate(keys):
            sink.write({"__key__": key, "cls": number, "seg.txt": key})
    read = webds.DatasetBuilder(tmp_path / "x.tar").decode().to_tuple("__key__", "cls", "seg.txt").build()
    assert list(read) == [(key, number, key) for number, key in enumerate(keys)]


@pytest.mark.parametrize("key", ["a.b", "dir/a.b", "dir.x/.a"])
def test_05_a_dotted_basename_is_refused_and_how_it_would_be_read_is_said(tmp_path: Path, key: str) -> None:
    with (
        webds.TarWriter(str(tmp_path / "x.tar")) as sink,
        pytest.raises(WriteError, match="dot") as caught,
    ):
        sink.write({"__key__": key, "cls": 1})
    assert caught.value.key == key


def test_05_a_rule_of_one_s_own_reads_such_names(tmp_path: Path) -> None:
    url = write_members(tmp_path / "x.tar", [("dir/a.b.jpg", b"1"), ("dir/a.c.jpg", b"2")])
    assert [sample["__key__"] for sample in webds.DatasetBuilder(url, keys=_last_dot).build()] == ["dir/a.b", "dir/a.c"]
    assert [list(sample) for sample in webds.DatasetBuilder(url).build()] == [["__key__", "b.jpg", "c.jpg"]]


def _last_dot(path: str) -> tuple[str | None, str | None]:
    key, _, field = path.rpartition(".")
    return key, field
