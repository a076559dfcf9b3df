from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from webds.errors import WriteError
from webds.tar.packing import ROOM, Content, MemberPacker
from webds.tar.writer import HeaderTemplate, member_header, padding

KEYS = st.one_of(st.text(max_size=120), st.text("abc/._-0", max_size=120), st.text("k", min_size=85, max_size=100))
FIELDS = st.one_of(st.text(max_size=20), st.sampled_from(["txt", "cls", "jpg", "seg.png", "a/", "", "\0", "é"]))
DATA = st.one_of(st.binary(max_size=1600), st.sampled_from([0, 1, 511, 512, 513, 5000, 70_000]).map(bytes))
TEMPLATES = st.builds(
    HeaderTemplate,
    mode=st.integers(0, 0o7777),
    user=st.text("abc é", max_size=15),
    group=st.text("xyz", max_size=31),
    mtime=st.integers(0, 8**11 - 1),
)


def plain(template: HeaderTemplate, key: str, members: list[tuple[str, Content]]) -> bytes | None:
    """Return what the slow functions make of the members; None if one of them cannot be."""
    try:
        return b"".join(
            template.header(f"{key}.{field}", len(data)) + bytes(data) + padding(len(data)) for field, data in members
        )
    except WriteError:
        return None


def packed(packer: MemberPacker, key: str, members: list[tuple[str, Content]], start: int = 0) -> bytes | None:
    """Return what is packed behind ``start``, into a buffer in which something was before."""
    buffer = bytearray(b"\xff" * (start + sum(len(data) + ROOM for _, data in members)))
    end = packer.pack(buffer, start, key, members)
    if end is None:
        return None
    assert buffer[:start] == b"\xff" * start
    assert buffer[end:] == b"\xff" * (len(buffer) - end)
    return bytes(buffer[start:end])


@given(TEMPLATES, st.lists(st.tuples(KEYS, st.lists(st.tuples(FIELDS, DATA), max_size=4)), max_size=6))
def test_members_are_those_of_the_plain_functions_or_left_to_them(
    template: HeaderTemplate, samples: list[tuple[str, list[tuple[str, Content]]]]
) -> None:
    packer = MemberPacker(template)
    for start, (key, members) in enumerate(samples):
        found = packed(packer, key, members, start)
        assert found is None or found == plain(template, key, members)


@given(st.text("azAZ09._-/ ~", max_size=94), st.integers(0, 0o7777), st.lists(DATA, min_size=1, max_size=4))
def test_names_that_fit_are_not_left_to_the_plain_functions(key: str, mode: int, contents: list[bytes]) -> None:
    members: list[tuple[str, Content]] = [("f" * number + ".x", data) for number, data in enumerate(contents)]
    expected = b"".join(
        member_header(f"{key}.{field}", len(data), mode=mode) + data + padding(len(data)) for field, data in members
    )
    assert packed(MemberPacker(HeaderTemplate(mode=mode)), key, members) == expected


@pytest.mark.parametrize("char", ["\x01", "a", "\x7f"])
@pytest.mark.parametrize("length", [1, 50, 96, 97])
def test_names_up_to_the_limit_with_the_smallest_and_largest_checksums(char: str, length: int) -> None:
    key, template = char * length, HeaderTemplate()
    found = packed(MemberPacker(template), key, [("txt", b"1")])
    assert found == (plain(template, key, [("txt", b"1")]) if length + 4 <= 100 else None)


def test_any_bytes_like_data_is_packed() -> None:
    packer = MemberPacker(HeaderTemplate())
    for data in (b"12345678", bytearray(b"12345678"), memoryview(b"12345678"), memoryview(b"-1-2-3-4-5-6-7-8")[1::2]):
        assert packed(packer, "a", [("bin", data)]) == plain(HeaderTemplate(), "a", [("bin", b"12345678")])


def test_many_different_sizes_and_fields_are_packed_in_bounded_memory() -> None:
    packer, template = MemberPacker(HeaderTemplate()), HeaderTemplate()
    data = bytes(5000)
    for size in (*range(5000), *range(10)):
        members: list[tuple[str, Content]] = [(f"f{size}", data[:size])]
        found = packed(packer, "key", members)
        if size % 97 == 0 or size < 10:
            assert found == plain(template, "key", members)
    assert len(packer._middles) <= 1 << 12
    assert len(packer._suffixes) <= 1 << 12


def test_one_name_that_does_not_fit_leaves_the_whole_sample_to_the_plain_functions() -> None:
    packer = MemberPacker(HeaderTemplate())
    assert packed(packer, "k" * 95, [("txt", b"1"), ("json", b"2")]) == plain(
        HeaderTemplate(), "k" * 95, [("txt", b"1"), ("json", b"2")]
    )
    assert packed(packer, "k" * 96, [("txt", b"1"), ("json", b"2")]) is None
    assert packed(packer, "ü", [("txt", b"1")]) is None
    assert packed(packer, "a\0", [("txt", b"1")]) is None
    assert packed(packer, "a", [("txt", b"1"), ("é", b"2")]) is None
