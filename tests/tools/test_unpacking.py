from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from shards import numbered_shards, tar_bytes, write_members
from webserver import serving
from work import leftovers

from webds.errors import TarFormatError, WriteError
from webds.tools.unpacking import unpack


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_member_becomes_a_file(tmp_path: Path) -> None:
    members = [("a/b.JPG", b"1"), ("./c.d.txt", b"2"), ("README", b"3"), ("__meta__/x.json", b"4"), ("ü.\udcff", b"5")]
    url = write_members(tmp_path / "in.tar", members)
    done = unpack(url, tmp_path / "out")
    assert (done.files, done.size, done.kept) == (5, 5, 0)
    assert files(tmp_path / "out") == {os.path.normpath(name): data for name, data in members}


@given(st.dictionaries(st.text("ab./_", min_size=1, max_size=6), st.binary(max_size=600), max_size=8))
@settings(max_examples=60)
def test_nothing_is_written_outside_whatever_the_names(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("unpack")
    url = write_members(folder / "in.tar", members.items())
    inside = folder / "deep" / "out"
    names = {os.path.normpath(name) for name in members}
    try:
        unpack(url, inside)
    except (WriteError, OSError):  # a name that leads out, or a file where a folder is to be
        pass
    else:
        assert set(files(inside)) == names - {"."}
    assert {str(path.relative_to(folder)) for path in folder.iterdir()} <= {"in.tar", "deep"}
    assert [path.name for path in (folder / "deep").glob("*")] in (["out"], [])


@pytest.mark.parametrize("name", ["../x.txt", "/x.txt", "a/../../x.txt", "a/..", "..", "./", "//x"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    url = write_members(tmp_path / "in.tar", [("good.txt", b""), (name, b"bad")])
    with pytest.raises((WriteError, TarFormatError)) as caught:
        unpack(url, tmp_path / "out")
    assert caught.value.url == url
    assert set(files(tmp_path)) == {"in.tar", "out/good.txt"}


def test_links_are_neither_made_nor_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("link/x.txt"))
    unpack(str(tmp_path / "in.tar"), tmp_path / "out")
    assert files(tmp_path / "out") == {"link/x.txt": b""}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(elsewhere)
    with pytest.raises(WriteError, match="is reached by a link"):
        unpack(str(tmp_path / "in.tar"), tmp_path / "other")
    (tmp_path / "third" / "link").mkdir(parents=True)
    (tmp_path / "third" / "link" / "x.txt").symlink_to(elsewhere / "x.txt")
    with pytest.raises(WriteError, match="is a link"):
        unpack(str(tmp_path / "in.tar"), tmp_path / "third", overwrite=True)
    assert not list(elsewhere.iterdir())


def test_files_that_are_there_are_kept_or_refused_or_replaced(tmp_path: Path) -> None:
    url = write_members(tmp_path / "in.tar", [("a.txt", b"new"), ("b.txt", b"same")])
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.txt").write_bytes(b"same")
    done = unpack(url, out)
    assert (done.files, done.kept) == (1, 1)
    (out / "a.txt").write_bytes(b"old")
    with pytest.raises(WriteError, match="exists with another content") as caught:
        unpack(url, out)
    assert (caught.value.url, caught.value.key, caught.value.field) == (url, "a", "txt")
    done = unpack(url, out, overwrite=True)
    assert (done.files, done.kept) == (1, 1)
    assert files(out) == {"a.txt": b"new", "b.txt": b"same"}


def test_two_members_of_one_name_are_an_error(tmp_path: Path) -> None:
    url = write_members(tmp_path / "in.tar", [("a.txt", b"1"), ("a.txt", b"1")])
    with pytest.raises(WriteError, match=r"two members have the name 'a\.txt'"):
        unpack(url, tmp_path / "out", overwrite=True)


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    url = write_members(tmp_path / "in.tar", [("f/a.txt", b"1")])
    folder = tmp_path / "out" / "f"
    folder.mkdir(parents=True)
    (folder / ".a.txt.0123456789abcdef.part").write_bytes(b"half")
    unpack(url, tmp_path / "out")
    assert files(tmp_path / "out") == {"f/a.txt": b"1"}
    assert leftovers(tmp_path) == []


def test_samples_and_fields_are_selected(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 3)
    unpack(urls, tmp_path / "a", fields=["cls"], match="*[12]")
    assert sorted(files(tmp_path / "a")) == ["key00001.cls", "key00002.cls"]
    unpack(urls, tmp_path / "b", by_shard=True, match="key0000[3]", jobs=2)
    assert sorted(files(tmp_path / "b")) == ["shard-000001/key00003.cls", "shard-000001/key00003.txt"]
    with pytest.raises(ValueError, match="the same name"):
        unpack([urls[0], urls[0]], tmp_path / "c", by_shard=True)


def test_a_remote_shard_and_one_cut_short(tmp_path: Path) -> None:
    body = tar_bytes([("a.txt", b"1" * 2000), ("b.txt", b"2" * 2000)])
    with serving() as web:
        web.routes |= {"/x.tar": body, "/cut.tar": body[:4000]}
        unpack(web.url("/x.tar"), tmp_path / "out")
        assert files(tmp_path / "out") == {"a.txt": b"1" * 2000, "b.txt": b"2" * 2000}
        with pytest.raises(TarFormatError):
            unpack(web.url("/cut.tar"), tmp_path / "cut")
    assert files(tmp_path / "cut") == {"a.txt": b"1" * 2000}
