"""The members of archives: tarfile and GNU tar say what they are."""

from __future__ import annotations

import importlib.util
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from webds.errors import TarFormatError, WebdsError
from webds.tar import Member, Members, MissingEnd, read_files, read_members
from webds.tar.header import MAX_EXTENSION, MAX_SIZE
from webds.typing import Readable

Files = list[tuple[str, bytes]]


class Dribble:
    """A stream with nothing but ``read``, which returns fewer bytes than asked for, as sockets do."""

    def __init__(self, data: bytes, most: int = 1000) -> None:
        self._data = io.BytesIO(data)
        self._random = random.Random(len(data))
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(self._random.randint(1, min(self._most, size)))


STREAMS: list[Callable[[bytes], Readable]] = [io.BytesIO, Dribble]


def judged(data: bytes) -> Files:
    """Return what tarfile finds."""
    files: Files = []
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            if info.isreg():
                file = tar.extractfile(info)
                assert file is not None
                files.append((info.name, file.read()))
    return files


def found(stream: Readable) -> Files:
    return [(member.name, data) for member, data in read_members(stream) if data is not None]


def nothing(name: str) -> bool:
    return False


def until_error(
    stream: Readable, want: Callable[[str], bool] | None = None, missing_end: MissingEnd = "error"
) -> tuple[list[tuple[Member, bytes | None]], WebdsError | None]:
    """Return the members that were read before an error, and the error."""
    read: list[tuple[Member, bytes | None]] = []
    try:
        for pair in read_members(stream, url="x.tar", want=want, missing_end=missing_end):
            read.append(pair)  # noqa: PERF402 - an error may come in between
    except WebdsError as error:
        return read, error
    return read, None


def archive(files: Files, tar_format: int = tarfile.PAX_FORMAT, **attributes: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def body(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: dict[str, str], kind: bytes = b"x") -> bytes:
    data = b""
    for keyword, value in records.items():
        text = f" {keyword}={value}\n".encode()
        length = next(n for n in range(len(text), len(text) + 20) if len(str(n)) + len(text) == n)
        data += str(length).encode() + text
    return header("pax", len(data), kind) + body(data)


END = bytes(1024)
CPYTHON = importlib.util.find_spec("test")  # CPython's own tests, whose archives are read here
CPYTHON_FOLDERS = CPYTHON.submodule_search_locations if CPYTHON is not None else None
CPYTHON_ARCHIVES = sorted(path for folder in CPYTHON_FOLDERS or () for path in Path(folder).rglob("*.tar*"))


@pytest.mark.skipif(not CPYTHON_ARCHIVES, reason="this Python came without the data of its tests")
@pytest.mark.parametrize("path", CPYTHON_ARCHIVES, ids=lambda path: path.name)
def test_archives_of_cpython_are_read_as_tarfile_reads_them(path: Path) -> None:
    data = path.read_bytes()
    try:
        expected = judged(data)
    except tarfile.ReadError:
        for stream in STREAMS:
            with pytest.raises(TarFormatError):
                found(stream(data))
    else:
        assert expected
        for stream in STREAMS:
            assert found(stream(data)) == expected


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
LONG_NAMES = st.lists(NAMES, min_size=1, max_size=20).map("/".join)
ANY_NAME = st.one_of(NAMES, LONG_NAMES).filter(lambda name: not name.endswith("/"))
FILES = st.lists(st.tuples(ANY_NAME, st.binary(max_size=1500)), max_size=6)


@given(FILES, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.sampled_from(STREAMS))
def test_what_tarfile_writes_is_read(files: Files, tar_format: int, stream: Callable[[bytes], Readable]) -> None:
    data = archive(files, tar_format)
    assert found(stream(data)) == files == judged(data)


@given(st.lists(st.tuples(st.text("abc/.ü", min_size=1, max_size=90), st.binary(max_size=1500)), max_size=6))
def test_ustar_archives_are_read(files: Files) -> None:
    files = [(name, data) for name, data in files if not name.endswith("/")]
    data = archive(files, tarfile.USTAR_FORMAT)
    assert found(io.BytesIO(data)) == files == judged(data)


@pytest.mark.parametrize("tar_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_numbers_that_need_base_256_or_records_are_read(tar_format: int) -> None:
    data = archive([("a.b", b"data")], tar_format, uid=1 << 40, mtime=1 << 40)
    assert found(io.BytesIO(data)) == [("a.b", b"data")]
    negative = archive([("a.b", b"data")], tar_format, mtime=-5)
    assert found(io.BytesIO(negative)) == [("a.b", b"data")]


def test_a_size_in_base_256_is_read() -> None:
    block = bytearray(header("a.b", 4))
    block[124:136] = tarfile.itn(1 << 40, 12, tarfile.GNU_FORMAT)[:1] + (4).to_bytes(11, "big")  # type: ignore[attr-defined]  # left out of its stubs
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    data = bytes(block) + body(b"data") + END
    assert found(io.BytesIO(data)) == judged(data) == [("a.b", b"data")]


KINDS = [
    ("dir.x/", tarfile.DIRTYPE),
    ("hard.x", tarfile.LNKTYPE),
    ("soft.x", tarfile.SYMTYPE),
    ("tty.x", tarfile.CHRTYPE),
    ("disk.x", tarfile.BLKTYPE),
    ("fifo.x", tarfile.FIFOTYPE),
    ("old-dir.x/", tarfile.AREGTYPE),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("size", [0, 1234])
def test_links_devices_and_directories_are_passed_over_whatever_their_size(name: str, kind: bytes, size: int) -> None:
    data = header(name, size, kind) + header("a.b", 4) + body(b"data") + END
    assert found(io.BytesIO(data)) == judged(data) == [("a.b", b"data")]
    members = Members(io.BytesIO(data))
    assert [member.name for member in members] == ["a.b"]
    assert members.others == 1


@pytest.mark.parametrize("kind", [b"V", b"D", b"N", b"A", b"?"])
def test_members_of_other_kinds_are_passed_over_with_their_data(kind: bytes) -> None:
    data = header("x.y", 600, kind) + body(b"x" * 600) + header("a.b", 4) + body(b"data") + END
    assert found(io.BytesIO(data)) == [("a.b", b"data")]


@pytest.mark.parametrize("kind", [tarfile.AREGTYPE, tarfile.CONTTYPE])
def test_old_and_contiguous_files_are_regular(kind: bytes) -> None:
    data = header("a.b", 4, kind) + body(b"data") + END
    assert found(io.BytesIO(data)) == judged(data) == [("a.b", b"data")]


def test_a_later_volume_of_several_is_refused() -> None:
    data = header("x.y", 600, b"M") + body(b"x" * 600) + END
    with pytest.raises(TarFormatError, match="another volume"):
        found(io.BytesIO(data))


def test_long_names_of_links_do_not_stick_to_the_next_file() -> None:
    target = "t" * 300
    data = (
        header("././@LongLink", 301, b"K") + body(target.encode() + b"\0")
        + header("././@LongLink", 301, b"L") + body(b"n" * 300 + b"\0")
        + header("soft", 0, tarfile.SYMTYPE) + header("a.b", 4) + body(b"data") + END
    )  # fmt: skip
    assert found(io.BytesIO(data)) == judged(data) == [("a.b", b"data")]


def test_pax_records_go_before_headers_and_global_ones_hold_until_taken_back() -> None:
    data = (
        pax({"path": "everywhere.x", "comment": "x" * 1000}, b"g")
        + header("a.b", 4) + body(b"data")
        + pax({"path": "own.x"}) + header("a.b", 4) + body(b"data")
        + pax({"path": ""}) + header("back.b", 4) + body(b"data")
        + pax({"path": ""}, b"g") + header("back.c", 4) + body(b"data")
        + pax({"path": "sun.x"}, b"X") + header("a.b", 4) + body(b"data")
        + pax({"size": "5"}) + header("big.b", 0) + body(b"right")
        + pax({"mtime": "1.5"}) + header("c.d", 4) + body(b"data") + END
    )  # fmt: skip
    assert [name for name, _ in found(io.BytesIO(data))] == [
        "everywhere.x", "own.x", "back.b", "back.c", "sun.x", "big.b", "c.d",
    ]  # fmt: skip
    assert found(io.BytesIO(data))[-2][1] == b"right"


def test_what_git_archive_writes_is_read_even_without_files() -> None:
    comment = pax({"comment": "0123456789abcdef" * 2}, b"g")
    assert found(io.BytesIO(comment + END)) == []
    assert found(io.BytesIO(comment + header("a.b", 4) + body(b"data") + END)) == [("a.b", b"data")]


@pytest.mark.parametrize("kind", [b"x", b"L", b"K"])
def test_a_header_that_extends_nothing_is_an_error(kind: bytes) -> None:
    data = header("x", 10, kind) + body(b"10 path=x\n")
    for end in (END, b""):
        with pytest.raises(TarFormatError, match="after the header that extends it"):
            list(read_members(io.BytesIO(data + end), missing_end="accept"))


@pytest.mark.parametrize("kind", [b"x", b"g", b"X", b"L", b"K"])
@pytest.mark.parametrize("size", [MAX_EXTENSION + 1, 8**11 - 1, MAX_SIZE])
def test_names_and_records_of_absurd_length_are_refused_before_they_are_read(kind: bytes, size: int) -> None:
    stream = Dribble(header("x", size, kind) + bytes(100_000), most=1 << 30)
    with pytest.raises(TarFormatError, match=r"absurd|cut short"):
        found(stream)


@pytest.mark.parametrize("size", ["-1", "x", "1.5", "9" * 19, "9" * 21, "\N{FULLWIDTH DIGIT ONE}"])
def test_sizes_of_pax_records_that_are_no_sizes_are_refused(size: str) -> None:
    with pytest.raises(TarFormatError, match="claims a size"):
        found(io.BytesIO(pax({"size": size}) + header("a.b", 4) + body(b"data") + END))


def test_global_records_of_holes_are_refused() -> None:
    with pytest.raises(TarFormatError, match="for all members"):
        found(io.BytesIO(pax({"GNU.sparse.size": "5"}, b"g") + header("a.b", 4) + body(b"data") + END))


def test_names_that_are_no_utf8_keep_their_bytes() -> None:
    name = b"\xe4\xf6\xfc.jpg".decode("utf-8", "surrogateescape")
    for tar_format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT):
        assert found(io.BytesIO(archive([(name, b"x")], tar_format))) == [(name, b"x")]


def test_gnu_tar_and_python_agree_on_a_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("a.jpg", "a.cls", "sub.dir/b.jpg", "d" * 90 + "/" + "e" * 90 + ".txt", "ü.txt"):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(len(name) * 37))
    (tree / "link.jpg").symlink_to("a.jpg")
    os.mkfifo(tree / "fifo.jpg")
    for tar_format in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        command = ["tar", "--format", tar_format, "-C", str(tree), "-c", "."]
        data = subprocess.run(command, capture_output=True, check=tar_format != "v7").stdout
        expected = judged(data)
        assert len(expected) >= 4
        for stream in STREAMS:
            assert found(stream(data)) == expected


SAMPLE: Files = [("a.jpg", b"1" * 700), ("a.cls", b"1"), ("n" * 150 + ".jpg", b"2" * 600), ("b.cls", b"")]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("stream", STREAMS)
def test_every_truncation_before_the_end_marker_is_an_error(
    tar_format: int, stream: Callable[[bytes], Readable]
) -> None:
    files = SAMPLE if tar_format != tarfile.USTAR_FORMAT else [SAMPLE[0], SAMPLE[1], SAMPLE[3]]
    data = archive(files, tar_format)
    content = len(data.rstrip(b"\0"))
    marker = content - content % -512
    for end in {*range(0, len(data), 512), *range(100, len(data), 512), len(data) - 1}:
        for want in (None, nothing):
            read, error = until_error(stream(data[:end]), want)
            assert [member.name for member, _ in read] == [name for name, _ in files[: len(read)]]
            assert (error is None) == (end >= marker + 512)
            if error is None:
                assert len(read) == len(files)
                continue
            assert isinstance(error, TarFormatError)
            assert error.url == "x.tar"
            assert error.offset is not None
            assert error.offset <= end
            assert any(text in str(error) for text in ("cut short", "not a tar archive", "is due"))


def test_missing_end_markers_are_accepted_where_asked_for() -> None:
    data = archive(SAMPLE[:2], tarfile.USTAR_FORMAT)
    content = data[: 2 * 512 + 1024 + 512]
    with pytest.raises(TarFormatError, match='missing_end="accept"') as caught:
        found(io.BytesIO(content))
    assert caught.value.offset == len(content)
    for end in (b"", bytes(100), bytes(512)):
        assert list(read_files(io.BytesIO(content + end), missing_end="accept")) == SAMPLE[:2]
    for bad in (content[:-1], content[:-512], content[:-700], content + b"x", content + bytes(99) + b"x"):
        for stream in STREAMS:
            with pytest.raises(TarFormatError, match="cut short"):
                list(read_files(stream(bad), missing_end="accept"))
    assert list(read_files(io.BytesIO(b""), missing_end="accept")) == []
    with pytest.raises(ValueError, match="missing_end"):
        Members(io.BytesIO(), missing_end="maybe")  # type: ignore[arg-type]


def test_a_large_member_that_is_cut_is_noticed_though_it_is_not_read() -> None:
    data = header("a.b", 1 << 20) + bytes(1 << 20)
    for stream in STREAMS:
        with pytest.raises(TarFormatError, match=r"inside 'a.b', after 1048574 of 1048576 bytes") as caught:
            list(read_members(stream(data[:-2]), want=nothing, missing_end="accept"))
        assert caught.value.offset == len(data) - 2
        assert caught.value.field == "a.b"


def test_an_empty_file_is_an_error_and_an_empty_archive_is_none() -> None:
    with pytest.raises(TarFormatError, match="empty"):
        found(io.BytesIO())
    assert found(io.BytesIO(bytes(512))) == []
    assert found(io.BytesIO(bytes(10240))) == []
    with pytest.raises(TarFormatError, match="cut short"):
        found(io.BytesIO(bytes(511)))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "an HTML page"),
        (b"<html>" + b" " * 2000, "an HTML page"),
        (b'{"error": 404}' * 100, "a JSON document"),
        (b"PK\x03\x04" * 300, "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer"),
        (random.Random(1).randbytes(5000), "unrecognised data"),
        (b"\x89PNG", "unrecognised data"),
    ],
)
def test_what_is_no_archive_is_called_what_it_is(data: bytes, what: str) -> None:
    for stream in STREAMS:
        with pytest.raises(TarFormatError, match=rf"^{what}.*, not a tar archive") as caught:
            list(read_members(stream(data), url="https://host/x.tar?token=123"))
        assert caught.value.offset == 0
        assert "123" not in str(caught.value).replace("12345", "")


def test_a_damaged_first_header_is_not_called_something_else() -> None:
    data = bytearray(archive(SAMPLE))
    data[3] ^= 1
    with pytest.raises(TarFormatError, match="checksum"):
        found(io.BytesIO(bytes(data)))


def test_the_stream_is_read_to_its_end() -> None:
    stream = io.BytesIO(archive(SAMPLE) + bytes(1_000_000))
    assert found(stream) == SAMPLE
    assert stream.read() == b""


@pytest.mark.parametrize("padding", [0, 512, 9 * 512, 1 << 20])
def test_a_second_archive_after_the_first_is_an_error_after_the_members_of_the_first(padding: int) -> None:
    data = archive(SAMPLE) + bytes(padding) + archive(SAMPLE)
    for stream in STREAMS:
        members = Members(stream(data))
        files: Files = []
        with pytest.raises(TarFormatError, match="another archive follows") as caught:
            files += ((member.name, members.data()) for member in members)
        assert caught.value.offset == len(archive(SAMPLE)) + padding
        assert members.ended
    first = read_files(io.BytesIO(data))
    assert [next(first) for _ in SAMPLE] == SAMPLE


def test_garbage_after_the_end_marker_is_padding() -> None:
    assert found(io.BytesIO(archive(SAMPLE) + random.Random(2).randbytes(100_000))) == SAMPLE


def test_members_say_where_their_data_lies() -> None:
    data = archive(SAMPLE)
    for member, content in read_members(io.BytesIO(data)):
        assert content is not None
        assert data[member.offset : member.offset + member.stored] == content
        assert member == Member(member.name, len(content), member.offset, len(content))


def test_an_archive_may_begin_anywhere_in_a_stream() -> None:
    big: Files = [("a.b", bytes(3 << 20)), ("c.d", b"end")]
    stream = io.BytesIO(b"x" * 77 + archive(big))
    stream.seek(77)
    assert list(read_members(stream, want=lambda name: name == "c.d"))[1][1] == b"end"


def test_content_can_be_taken_once() -> None:
    members = Members(io.BytesIO(archive(SAMPLE)))
    with pytest.raises(ValueError, match="no member"):
        members.data()
    next(members)
    assert members.data() == SAMPLE[0][1]
    with pytest.raises(ValueError, match="no member"):
        members.data()
    assert next(members).name == "a.cls"


def test_after_an_error_there_is_nothing_more() -> None:
    data = bytearray(archive(SAMPLE, tarfile.GNU_FORMAT))
    data[512 + 1024] ^= 1
    members = Members(io.BytesIO(bytes(data)))
    next(members)
    with pytest.raises(TarFormatError):
        next(members)
    assert list(members) == []
    cut = Members(io.BytesIO(bytes(data[:1000])))
    next(cut)
    with pytest.raises(TarFormatError):
        cut.data()
    assert list(cut) == []


def test_metadata_is_no_file() -> None:
    data = archive([("__index__/x.json", b"{}"), ("__a__", b""), *SAMPLE])
    assert list(read_files(io.BytesIO(data))) == SAMPLE
    assert len(list(read_members(io.BytesIO(data)))) == len(SAMPLE) + 2


@given(st.binary(max_size=3000), st.sampled_from(STREAMS))
def test_random_bytes_are_refused(data: bytes, stream: Callable[[bytes], Readable]) -> None:
    if data[:512].strip(b"\0") or len(data) < 512:
        with pytest.raises(WebdsError):
            found(stream(data))


MIXED = archive(SAMPLE, tarfile.GNU_FORMAT)[: 8 * 1024] + pax({"path": "p" * 200}) + header("x", 9) + body(b"z" * 9)


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    def mutated(changes: list[tuple[int, bytes, int]]) -> bytes:
        new = data
        for at, inserted, removed in changes:
            new = new[:at] + inserted + new[at + removed :]
        return new

    number = st.sampled_from(
        [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"99999999999 ", b"\x80\0\0\0\x7f"]
    )
    change = st.tuples(
        st.integers(0, len(data)), st.one_of(st.binary(max_size=20), number), st.sampled_from([0, 1, 12, 512])
    )
    return st.lists(change, min_size=1, max_size=4).map(mutated)


def rechecked(data: bytes) -> bytes:
    """Give each block that looks like a header a checksum that fits, so that damage is not noticed by that."""
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for index, block in enumerate(blocks):
        if len(block) == 512 and block[257:262] == b"ustar":
            total = sum(block) - sum(block[148:156]) + 256
            blocks[index] = block[:148] + b"%06o\0 " % total + block[156:]
    return b"".join(blocks)


@settings(max_examples=300)
@given(mutations(MIXED + END), st.booleans(), st.sampled_from(STREAMS), st.booleans())
def test_mutated_archives_end_in_members_or_an_error_of_webds(
    data: bytes, recheck: bool, stream: Callable[[bytes], Readable], wanted: bool
) -> None:
    read, error = until_error(stream(rechecked(data) if recheck else data), None if wanted else nothing)
    for member, content in read:
        assert content is None or len(content) == member.size
        assert member.offset <= len(data)
    if error is not None:
        assert error.offset is not None
        assert 0 <= error.offset <= len(data)


def test_sockets_are_streams() -> None:
    import socket
    import threading

    data = archive([("big.bin", os.urandom(2_000_000)), *SAMPLE])
    left, right = socket.socketpair()

    def send() -> None:
        with left:
            left.sendall(data)

    thread = threading.Thread(target=send)
    thread.start()
    with right, right.makefile("rb") as stream:
        assert found(stream) == judged(data)
    thread.join()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def test_members_come_before_the_error_of_the_stream_behind_them() -> None:
    class Breaking:
        def __init__(self, data: bytes) -> None:
            self._parts = list(pieces(data, 512))

        def read(self, size: int = -1, /) -> bytes:
            if not self._parts:
                raise ConnectionResetError("gone")
            return self._parts.pop(0)

    data = archive(SAMPLE, tarfile.GNU_FORMAT)
    files = read_files(Breaking(data[: 512 + 1024 + 1024]))
    assert [next(files), next(files)] == SAMPLE[:2]
    with pytest.raises(ConnectionResetError):
        next(files)
