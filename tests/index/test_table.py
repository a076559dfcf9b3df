from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from shards import tar_bytes

from webds.errors import StaleIndexError
from webds.index import MemberTable, parse_table, scan
from webds.index.table import count_in
from webds.index.usual import usual_columns

GOOD = b"v1.2 2\njpg 512 100 a.jpg cls 1536 1 a.cls\njpg 2560 600 d/b.jpg\n"


def parsed(data: bytes, size: int | None = None) -> MemberTable:
    table = parse_table(data, "x.idx", size=size)
    assert table is not None
    return table


def test_a_table_says_where_members_are() -> None:
    table = parsed(GOOD, 10240)
    assert len(table) == 2
    assert [table.name(member) for member in range(3)] == ["a.jpg", "a.cls", "d/b.jpg"]
    assert (list(table.members(0)), list(table.members(1))) == ([0, 1], [2])
    assert (table.begin(0), table.begin(1), table.end) == (0, 2048, 3584)
    assert table.offsets.dtype == np.int64
    assert table.dump() == GOOD


def test_many_members_at_once_are_read_as_one_by_one() -> None:
    # A field whose name is no ASCII has the whole table read line by line.
    odd = parsed(GOOD.replace(b"v1.2 2", b"v1.2 3") + "é 4096 0 d/c.é\n".encode())
    usual = parsed(GOOD)
    assert odd.names.startswith(usual.names)
    assert np.array_equal(odd.offsets[:3], usual.offsets)
    assert np.array_equal(odd.sizes[:3], usual.sizes)
    assert np.array_equal(odd.firsts[:3], usual.firsts)
    assert np.array_equal(odd.kinds[:3], usual.kinds)
    assert np.array_equal(odd.ends[:3], usual.ends)


def _by_lines(data: bytes) -> MemberTable | None:
    """What is read line by line: the text is not as usual if a line ends with a carriage return."""
    return parse_table(data.replace(b"\n", b"\r\n"), "x.idx")


MEMBERS = st.tuples(
    st.sampled_from(["a", "d.e/b", "d/e.f/long" + "g" * 40, "_x", "__y/z", "__m__/c"]),
    st.lists(
        st.tuples(st.sampled_from(["jpg", "JPG", "cls", "x.y", "longer.than.8"]), st.integers(0, 3000)),
        min_size=1, max_size=3, unique_by=lambda member: member[0].lower(),
    ),
)  # fmt: skip


@given(st.lists(MEMBERS, min_size=1, max_size=6), st.sampled_from([b"", b"\x00", b"\t", b" ", b"9", b"."]))
def test_tables_are_read_alike_at_once_and_line_by_line(
    samples: list[tuple[str, list[tuple[str, int]]]], broken: bytes
) -> None:
    lines: list[str] = []
    offset = 512
    for key, members in samples:
        words: list[str] = []
        for field, size in members:
            words.append(f"{field} {offset} {size} {key}.{field}")
            offset += -(-size // 512) * 512 + 512
        lines.append(" ".join(words))
    data = f"v1.2 {len(lines)}\n".encode() + "".join(f"{line}\n" for line in lines).encode()
    at = len(data) // 2
    data = data[:at] + broken + data[at:]
    expected = message = None
    try:
        expected = _by_lines(data)
    except StaleIndexError as error:
        message = error.message
    if message is not None:
        with pytest.raises(StaleIndexError) as caught:
            parse_table(data, "x.idx")
        assert caught.value.message == message
        return
    table = parse_table(data, "x.idx")
    assert (table is None) == (expected is None)
    if table is not None and expected is not None:
        assert table.same(expected)
        assert table.fields == expected.fields
        for ours, theirs in ((table.kinds, expected.kinds), (table.ends, expected.ends)):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)


def test_what_is_as_usual_is_read_at_once() -> None:
    assert usual_columns(GOOD, GOOD.index(b"\n") + 1, 2) is not None
    assert usual_columns(GOOD.replace(b"d/b.jpg", b"d/b.png"), GOOD.index(b"\n") + 1, 2) is None


def test_a_field_is_written_as_it_is_spelled_and_read_in_lower_case() -> None:
    table = parsed(b"v1.2 1\nJPG 512 1 a.JPG\n")
    assert table.fields == ("jpg",)
    assert table.dump() == b"v1.2 1\nJPG 512 1 a.JPG\n"


@pytest.mark.parametrize(
    "data", [b"v1.1 1\njpg 512 100\n", b"v1.2 1\ntxt 512 100 __meta__/a.txt\n", b"v1.2 1\njpg 512 1 .jpg\n"]
)
def test_a_table_that_does_not_tell_the_samples_is_none(data: bytes) -> None:
    assert parse_table(data, "x.idx") is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no member table"),
        (b"v1.3 0\n", "no member table"),
        (b"v1.2 -1\n", "no member table"),
        (b"v1.2 999999999999999999\n", "announces 999999999999999999 samples and has 0"),
        (b"v1.2 2\njpg 512 1 a.jpg\n", "announces 2 samples and has 1"),
        (b"v1.2 1\njpg 512 1\n", "field offset size name"),
        (b"v1.2 1\njpg -512 1 a.jpg\n", "in place of a number"),
        (b"v1.2 1\njpg 512 99999999999999999999 a.jpg\n", "in place of a number"),
        (b"v1.2 1\njpg 100 1 a.jpg\n", "where none can be"),
        (b"v1.2 1\njpg 512 1000 a.jpg cls 1024 1 a.cls\n", "where none can be"),
        (b"v1.2 1\njpg 512 1 a.jpg cls 1536 1 b.cls\n", "does not belong there"),
        (b"v1.2 1\njpg 512 1 a.jpg jpg 1536 1 a.jpg\n", "does not belong there"),
        (b"v1.2 1\npng 512 1 a.jpg\n", "does not belong there"),
        (b"v1.2 1\njpg 512 20000 a.jpg\n", "of a shard of 10240 bytes"),
    ],
)
def test_a_damaged_table_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(StaleIndexError, match=what) as caught:
        parse_table(data, "x.idx", size=10240)
    assert caught.value.url == "x.idx"


LINES = st.lists(
    st.lists(
        st.sampled_from([b"jpg", b"a.jpg", b"512", b"1536", b"0", b"-1", b"9" * 18, b"9" * 30, b"\xff", b"b.jpg"])
    ),
    max_size=4,
)


@given(st.one_of(st.binary(max_size=200), st.builds(
    lambda n, lines: b"v1.2 %d\n" % n + b"\n".join(b" ".join(line) for line in lines), st.integers(-1, 5), LINES
)))  # fmt: skip
def test_any_bytes_are_a_table_or_an_error(data: bytes) -> None:
    try:
        table = parse_table(data, "x.idx", size=10**6)
    except StaleIndexError:
        return
    if table is not None:
        assert len(table) == count_in(data, "x.idx")[0]
        assert table.end <= 10**6 + 511
        assert parsed(table.dump()).same(table)


NAMES = st.lists(
    st.sampled_from(["a.jpg", "a.cls", "b.jpg", "d.e/c.JPG", "c.x.y", "é.txt", "k" * 120 + ".t"]), unique=True
)


@given(NAMES.map(sorted), st.integers(0, 2000))
def test_what_is_scanned_comes_back_from_its_file(names: list[str], size: int) -> None:
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = size + number
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    whole = stream.getvalue()
    found = scan(io.BytesIO(whole))
    assert found.table is not None
    assert parsed(found.table.dump(), len(whole)).same(found.table)
    for member in range(len(found.table.offsets)):
        start = int(found.table.offsets[member])
        assert whole[start : start + int(found.table.sizes[member])] == bytes(int(found.table.sizes[member]))


def test_a_name_with_white_space_cannot_be_told(tmp_path: Path) -> None:
    found = scan(io.BytesIO(tar_bytes([("a b.txt", b"1")])))
    assert (found.count, found.sayable) == (1, False)
    assert found.table is not None
