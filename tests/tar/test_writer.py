from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from webds.errors import WriteError
from webds.tar.writer import BLOCK, RECORD, HeaderTemplate, end_of_archive, member_header, padding

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300).filter(
    lambda name: not name.endswith("/")
)


def archive(members: dict[str, bytes]) -> bytes:
    parts: list[bytes] = []
    for name, data in members.items():
        parts += (member_header(name, len(data)), data, padding(len(data)))
    body = b"".join(parts)
    return body + end_of_archive(len(body))


def read(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        found: dict[str, bytes] = {}
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            found[member.name] = file.read()
    return found


@given(st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8))
def test_tarfile_reads_back_any_name_and_content(members: dict[str, bytes]) -> None:
    data = archive(members)
    assert read(data) == members
    assert len(data) % RECORD == 0


@pytest.mark.parametrize("count", [1, 99, 100, 101, 155, 156, 157, 255, 256, 257, 1000, 20000])
@pytest.mark.parametrize("where", [None, "first", "middle", "last"])
@pytest.mark.parametrize("char", ["a", "é", "日"])
def test_names_at_the_limits_of_the_fields_read_back(count: int, where: str | None, char: str) -> None:
    name = [char] * count
    if where is not None and count > 2:
        name[{"first": 1, "middle": count // 2, "last": count - 2}[where]] = "/"
    members = {"".join(name): b"data", "next": b""}
    assert read(archive(members)) == members


@given(st.text("ab/", min_size=1, max_size=300).filter(lambda name: not name.endswith("/")))
def test_names_of_many_slashes_read_back(name: str) -> None:
    assert read(archive({name: b"1"})) == {name: b"1"}


def test_gnu_tar_reads_the_names(tmp_path: Path) -> None:
    names = ["a.txt", "d/" * 60 + "a.txt", "é" * 80 + ".txt", "x" * 150 + ".txt", "日本/語.txt", "with space.txt"]
    path = tmp_path / "names.tar"
    path.write_bytes(archive({name: name.encode() for name in names}))
    listing = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", path],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert listing.stdout.decode().splitlines() == names
    assert not listing.stderr
    content = subprocess.run(["tar", "-xOf", path, names[2]], capture_output=True, check=True)
    assert content.stdout == names[2].encode()


def test_a_header_is_one_block_wherever_the_name_fits() -> None:
    assert len(member_header("x" * 100, 1)) == BLOCK
    assert len(member_header("d" * 155 + "/" + "x" * 100, 1)) == BLOCK
    assert len(member_header("x" * 101, 1)) == 3 * BLOCK
    assert len(member_header("d" * 156 + "/" + "x" * 100, 1)) == 3 * BLOCK
    assert len(member_header("é", 1)) == 3 * BLOCK


def test_a_reader_that_passes_over_pax_records_finds_a_short_unicode_name() -> None:
    header = member_header("d/é.txt", 1)[-BLOCK:]
    assert header[:100].rstrip(b"\0") == "d/é.txt".encode()


def test_the_fallback_for_a_long_unicode_name_is_whole_characters() -> None:
    header = member_header("日" * 100, 1)[-BLOCK:]
    assert header[:100].rstrip(b"\0").decode() == "日" * 33


def test_header_fields_are_as_asked_for() -> None:
    header = member_header("a.txt", 5, mode=0o640, user="ann", group="staff", mtime=1234567890)
    info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert (info.name, info.size, info.mode, info.uname, info.gname) == ("a.txt", 5, 0o640, "ann", "staff")
    assert (info.mtime, info.uid, info.gid, info.type) == (1234567890, 0, 0, tarfile.REGTYPE)
    assert header[257:265] == b"ustar\x0000"


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**40])
def test_any_size_reads_back_with_one_block(size: int) -> None:
    header = member_header("a.bin", size)
    assert len(header) == BLOCK
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


@pytest.mark.parametrize("name", ["big.bin", "é" * 70 + ".bin"])
def test_members_over_eight_gibibytes_are_followed_by_the_next(tmp_path: Path, name: str) -> None:
    size = 8**11 + 700
    path = tmp_path / "big.tar"
    with path.open("wb") as file:  # a sparse file: it takes no space
        file.write(member_header(name, size))
        file.seek(size + len(padding(size)), os.SEEK_CUR)
        file.write(archive({"after.txt": b"here"}))
    with tarfile.open(path) as tar:
        assert [(member.name, member.size) for member in tar] == [(name, size), ("after.txt", 4)]
        after = tar.extractfile("after.txt")
        assert after is not None
        assert after.read() == b"here"
    listed = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", path],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert listed.stdout.decode().splitlines() == [name, "after.txt"]


@pytest.mark.parametrize("written", [0, BLOCK, RECORD - 2 * BLOCK, RECORD - BLOCK, RECORD, 5 * RECORD + BLOCK])
def test_the_end_is_two_zero_blocks_and_fills_the_record(written: int) -> None:
    end = end_of_archive(written)
    assert len(end) >= 2 * BLOCK
    assert not any(end)
    assert (written + len(end)) % RECORD == 0
    assert len(end) < RECORD + 2 * BLOCK


def test_the_end_comes_after_whole_blocks_only() -> None:
    with pytest.raises(ValueError, match="1000 bytes"):
        end_of_archive(1000)


@pytest.mark.parametrize("name", ["", "a/", "a\0b", "\0", "\ud800.txt", "é/", "x" * 70000])
def test_names_that_no_tar_holds_are_refused(name: str) -> None:
    with pytest.raises(WriteError):
        member_header(name, 1)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(WriteError, match="-1 bytes"):
        member_header("a", -1)


def test_settings_that_fit_no_header_are_refused() -> None:
    with pytest.raises(ValueError, match="mode="):
        HeaderTemplate(mode=0o10000)
    with pytest.raises(ValueError, match=r"mtime=1\.5"):
        HeaderTemplate(mtime=1.5)  # type: ignore[arg-type]  # what is tested  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="mtime=-1"):
        HeaderTemplate(mtime=-1)
    with pytest.raises(ValueError, match="user="):
        HeaderTemplate(user="u" * 32)
    with pytest.raises(ValueError, match="group="):
        HeaderTemplate(group="a\0b")


def test_equal_templates_are_equal_and_give_equal_headers() -> None:
    assert HeaderTemplate(mtime=3) == HeaderTemplate(mtime=3)
    assert HeaderTemplate(mtime=3).header("a", 1) == member_header("a", 1, mtime=3)
    assert HeaderTemplate(mtime=3).header("a", 1) != member_header("a", 1, mtime=4)
