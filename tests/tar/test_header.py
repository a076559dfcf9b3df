from __future__ import annotations

import tarfile
from typing import Literal, TypeAlias

import pytest
from hypothesis import given, strategies as st

from webds.errors import TarFormatError
from webds.tar.header import decode_header, describe, has_valid_checksum, number, padded, parse_pax, shown

Format: TypeAlias = Literal[0, 1, 2]
"""One of tarfile's USTAR_FORMAT, GNU_FORMAT, PAX_FORMAT."""


def header(name: str = "a/b.jpg", tar_format: Format = tarfile.USTAR_FORMAT, **attributes: object) -> bytes:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info.tobuf(tar_format, "utf-8", "surrogateescape")[-512:]


def with_checksum(block: bytes, *, signed: bool = False) -> bytes:
    """Return the block with the checksum that fits it."""
    blank = block[:148] + b" " * 8 + block[156:]
    total = sum(blank) - (0x100 * sum(byte >= 0x80 for byte in blank) if signed else 0)
    return blank[:148] + b"%06o\0 " % total + blank[156:]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"00000000644\0", 0o644),
        (b"        644 ", 0o644),
        (b"644\0garbage!", 0o644),
        (b"\0" * 12, 0),
        (b" " * 12, 0),
        (b"\x0000000000644", 0o644),
        (b"777777777777", 8**12 - 1),
        (b"\x80" + bytes(10) + b"\x07", 7),
        (b"\x80" + (2**80 + 5).to_bytes(11, "big"), 2**80 + 5),
        (b"\xff" * 12, -1),
        (b"\xff" * 11 + b"\0", -256),
        (b"\xc0" + bytes(11), -(2**94)),
        (b"\xbf" + b"\xff" * 11, 2**94 - 1),
    ],
)
def test_numbers_are_octal_or_base_256(field: bytes, value: int) -> None:
    assert number(field) == value


@pytest.mark.parametrize(
    "field", [b"0000000 12\0\0", b"12345678999\0", b"0x12\0", b"-1\0", b"+1\0", b"1_0\0", b"1e3\0"]
)
def test_what_is_no_number_is_refused(field: bytes) -> None:
    with pytest.raises(TarFormatError, match="in place of a number"):
        number(field)


@given(st.integers(-(256**11) // 2, 256**11 // 2))
def test_numbers_that_tarfile_writes_in_base_256_are_read(value: int) -> None:
    field = tarfile.itn(value, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]  # left out of its stubs
    assert number(field) == value


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_name_size_and_kind_are_read(tar_format: Format) -> None:
    found = decode_header(header("dir.x/b.jpg", tar_format, size=1234, type=tarfile.CONTTYPE))
    assert (found.name, found.size, found.kind) == ("dir.x/b.jpg", 1234, b"7")
    assert found.dialect == ("gnu" if tar_format == tarfile.GNU_FORMAT else "ustar")


def test_the_prefix_belongs_to_the_name_in_ustar_headers_only() -> None:
    long = "/".join(["directory"] * 20) + "/a.jpg"
    block = header(long)
    assert decode_header(block).name == long
    gnu = with_checksum(block[:257] + b"ustar  \0" + block[265:])  # GNU tar keeps times there
    assert decode_header(gnu).name == block[:100].rstrip(b"\0").decode()
    v7 = with_checksum(block[:257] + bytes(8) + block[265:])
    assert decode_header(v7).name == block[:100].rstrip(b"\0").decode()
    star = with_checksum(block[:508] + b"tar\0")
    assert decode_header(star).name == long
    assert (decode_header(gnu).dialect, decode_header(v7).dialect, decode_header(star).dialect) == ("gnu", "v7", "star")


def test_checksums_of_signed_bytes_are_accepted() -> None:
    block = header("ü" * 20)
    signed = with_checksum(block, signed=True)
    assert signed != with_checksum(block)
    assert decode_header(signed).name == decode_header(block).name == "ü" * 20
    far = with_checksum(block[:200] + b"\xff" * 40 + block[240:], signed=True)
    assert has_valid_checksum(far)


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_changed_byte_is_noticed_unless_it_only_changes_what_pads_the_checksum(at: int, change: int) -> None:
    good = header("ü/picture.jpg", size=77, mtime=1_700_000_000)
    bad = bytearray(good)
    bad[at] ^= change
    if has_valid_checksum(bytes(bad)):
        assert 148 <= at < 156
        assert {good[at], bad[at]} <= set(b"\0 0")
    else:
        with pytest.raises(TarFormatError):
            decode_header(bytes(bad))


def test_names_that_are_no_utf8_keep_their_bytes() -> None:
    block = with_checksum(b"\xe4\xf6.jpg".ljust(100, b"\0") + header()[100:])
    assert decode_header(block).name.encode("utf-8", "surrogateescape") == b"\xe4\xf6.jpg"


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80\xff" + bytes(10), b"nonsense\0\0\0\0"])
def test_sizes_that_no_file_has_are_refused(size: bytes) -> None:
    block = header()
    with pytest.raises(TarFormatError):
        decode_header(with_checksum(block[:124] + size + block[136:]))


def record(keyword: str, value: str) -> bytes:
    payload = f" {keyword}={value}\n".encode("utf-8", "surrogateescape")
    length = len(payload)
    while len(str(length)) + len(payload) != length:
        length = len(str(length)) + len(payload)
    return str(length).encode() + payload


TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@given(st.lists(st.tuples(TEXT.filter(bool).filter(lambda text: "=" not in text), TEXT)), st.integers(0, 3))
def test_pax_records_are_read_in_their_order(records: list[tuple[str, str]], padding: int) -> None:
    body = b"".join(record(*pair) for pair in records) + bytes(padding)
    assert parse_pax(body) == records


@pytest.mark.parametrize(
    "body",
    [
        b"path=x\n",
        b"x path=x\n",
        b"9 path=x\n" + b"a",
        b"11 path=x\n",  # one byte more than there is
        b"8 path=x\n",
        b"0 path=x\n",
        b"99999999999999999999999999 path=x\n",
        b"4294967306 path=x\n",
        b"7 path\n",
        b"5 =x\n",
        b"-9 path=x\n",
        b"9 path=x ",
        b"\0" * 8 + b"9 path=x\n",
        b" 9 path=x\n",
    ],
)
def test_malformed_pax_records_are_refused(body: bytes) -> None:
    with pytest.raises(TarFormatError, match="pax header"):
        parse_pax(body)


@given(st.binary(max_size=60))
def test_any_bytes_in_place_of_pax_records_end_in_records_or_an_error(body: bytes) -> None:
    try:
        records = parse_pax(body)
    except TarFormatError:
        return
    assert all(keyword for keyword, _ in records)
    assert sum(len(keyword) + len(value) + 3 for keyword, value in records) <= len(body)


@pytest.mark.parametrize(
    ("data", "noun"),
    [
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"\xef\xbb\xbf \n<html lang=en>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "an XML document"),
        (b'{"error": "not found"}', "a JSON document"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"PK\x03\x04....", "a zip archive"),
        (b"404: not found\n", "text"),
        (b"\x01\x02\xff", "unrecognised data"),
        (b"", "unrecognised data"),
    ],
)
def test_what_is_no_tar_is_called_what_it_is(data: bytes, noun: str) -> None:
    assert describe(data).startswith(noun)
    block = data.ljust(512, b" ")
    with pytest.raises(TarFormatError, match=f"{noun}.* where a tar header belongs"):
        decode_header(block)


def test_data_is_padded_to_whole_blocks() -> None:
    assert [padded(size) for size in (0, 1, 511, 512, 513)] == [0, 512, 512, 512, 1024]


def test_names_in_messages_are_short() -> None:
    assert shown("a'b") == repr("a'b")
    assert len(shown("x" * 10**6)) < 300
