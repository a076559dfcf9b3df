"""4. Duplicate fields, and keys that come back: the writer refuses both."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from webds.errors import EncodeError, WriteError
from webds.sinks import TarWriter


def members(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.mark.parametrize("between", [0, 1, 50])
@pytest.mark.parametrize("again", [{"cls": 1}, {"txt": "t"}])
def test_04_a_key_that_comes_back_is_refused(tmp_path: Path, between: int, again: dict[str, object]) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        sink.write({"__key__": "a/b", "cls": 1})
        for number in range(between):
            sink.write({"__key__": f"{number}", "cls": 1})
        with pytest.raises(WriteError, match="'a/b' already") as caught:
            sink.write({"__key__": "a/b", **again})
        assert caught.value.key == "a/b"
        assert caught.value.url == str(tmp_path / "x.tar")
        sink.write({"__key__": "c", "cls": 1})
    assert members(tmp_path / "x.tar") == ["a/b.cls", *(f"{number}.cls" for number in range(between)), "c.cls"]


def test_04_a_key_whose_write_was_refused_may_come_again(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        with pytest.raises(EncodeError):
            sink.write({"__key__": "a", "cls": 1.5})
        sink.write({"__key__": "a", "cls": 1})
    assert members(tmp_path / "x.tar") == ["a.cls"]


def test_04_fields_that_readers_would_take_for_the_same_are_refused(tmp_path: Path) -> None:
    with TarWriter(tmp_path / "x.tar") as sink:
        with pytest.raises(WriteError, match=r"'JPG'.* 'jpg'") as caught:
            sink.write({"__key__": "a", "jpg": b"1", "JPG": b"2"})
        assert (caught.value.key, caught.value.field) == ("a", "JPG")
        with pytest.raises(WriteError, match=r"'seg\.cls'"):
            sink.dwrite("a", seg_cls=1, **{"seg.cls": 2})
        sink.write({"__key__": "a", "jpg": b"1"})
    assert members(tmp_path / "x.tar") == ["a.jpg"]
