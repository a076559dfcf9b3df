"""5. Dots in directories are part of the key; the writer refuses a dotted basename and says how such names are read."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from webds.errors import WriteError
from webds.sinks import TarWriter
from webds.tar.naming import base_plus_ext


def test_05_dots_in_directories_are_written_and_read_as_part_of_the_key(tmp_path: Path) -> None:
    keys = ["v1.0/a", "a.b/c.d/e", "./a", "x..y/z"]
    with TarWriter(tmp_path / "x.tar") as sink:
        for key in keys:
            sink.write({"__key__": key, "seg.png": b"png", "cls": 1})
    with tarfile.open(tmp_path / "x.tar") as tar:
        read = [base_plus_ext(name) for name in tar.getnames()]
    assert read == [(key, field) for key in keys for field in ("cls", "seg.png")]


@pytest.mark.parametrize("key", ["a.b", "v1.0/img.0001", "a..b", "a."])
def test_05_a_dot_in_the_basename_is_refused_with_what_would_be_read(tmp_path: Path, key: str) -> None:
    read_key, read_field = base_plus_ext(f"{key}.cls")
    with TarWriter(tmp_path / "x.tar") as sink:
        with pytest.raises(WriteError) as caught:
            sink.write({"__key__": key, "cls": 1})
        assert f"key {read_key!r}" in caught.value.message
        assert read_field is not None
        assert f"field '{read_field.removesuffix('cls')}" in caught.value.message
        assert caught.value.key == key
        sink.write({"__key__": "good", "cls": 1})
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getnames() == ["good.cls"]


@pytest.mark.parametrize("key", [".hidden", "dir/.hidden", ".", ".."])
def test_05_a_key_that_readers_pass_over_is_refused(tmp_path: Path, key: str) -> None:
    assert base_plus_ext(f"{key}.cls") == (None, None)
    with TarWriter(tmp_path / "x.tar") as sink, pytest.raises(WriteError, match="no sample at all"):
        sink.write({"__key__": key, "cls": 1})
