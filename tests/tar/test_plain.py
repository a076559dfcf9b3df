"""The fast way through plain members gives what the general way gives, for any archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from typing_extensions import override

from webds.errors import OpenError, WebdsError
from webds.tar import ReadStats, base_plus_ext, read_samples
from webds.tar.header import BLOCK
from webds.tar.plain import _leap, plain_members
from webds.tar.spacious import Spacious
from webds.tar.writer import end_of_archive, member_header, padding
from webds.typing import KeyFunction


@contextmanager
def general_way() -> Generator[None]:
    with mock.patch("webds.tar.members.Members.plain", return_value=None):
        yield


@contextmanager
def pieces_of(size: int) -> Generator[None]:
    with mock.patch.multiple("webds.tar.blocks", PIECE=size, _FIRST_PIECE=size, _PIECE_OF_LARGE=2 * size):
        yield


@contextmanager
def together_from(few: int) -> Generator[None]:
    """Look at members all together where there are that many."""
    with mock.patch("webds.tar.plain.FEW", few), mock.patch("webds.tar.grouping.FEW", few):
        yield


class Anywhere(io.BytesIO):
    """An archive that can be read at any position, and fails at the first read that reaches ``fails_at``."""

    fails_at = 1 << 60

    def read_at(self, size: int, position: int) -> bytes:
        if position + size > self.fails_at:
            raise OpenError("broken")
        with memoryview(self.getbuffer()) as view:
            return bytes(view[position : position + size])

    def expect(self, position: int, size: int) -> None:
        pass


@contextmanager
def from_header_to_header(glance: int = 3 * BLOCK, learn: int = 6, few: int = 2, most: int = 5) -> Generator[None]:
    """Read any archive as those of large members are read."""
    with (
        mock.patch("webds.tar.plain._LARGE", 0),
        mock.patch.multiple("webds.tar.spacious", _GLANCE=glance, _LEARN=learn, _FEW=few, _MOST=most),
    ):
        yield


def outcome(archive: bytes, file: type[io.BytesIO] = io.BytesIO, **options: Any) -> tuple[list[Any], Any, Any]:
    """Return the samples with their fields in order, how it ended, and what was counted."""
    samples: list[Any] = []
    stats = ReadStats()
    end: Any = None
    try:
        for sample in read_samples(file(archive), url="a.tar", stats=stats, **options):
            samples.append(list(sample.items()))  # noqa: PERF401  # what came before an error counts
    except WebdsError as error:
        end = (type(error), str(error))
    except ZeroDivisionError as error:
        end = (type(error), error.__notes__)
    return samples, end, attrs.astuple(stats)


def assert_same(archive: bytes, piece: int = 4096, **options: Any) -> tuple[list[Any], Any, Any]:
    with general_way():
        expected = outcome(archive, **options)
    with pieces_of(piece):
        for few in (1, 1000):
            with together_from(few):
                assert outcome(archive, **options) == expected
                with from_header_to_header():
                    assert outcome(archive, Anywhere, **options) == expected
                    assert outcome(archive, **options) == expected
    return expected


def with_checksum(block: bytearray, *, signed: bool = False) -> bytes:
    block[148:156] = b" " * 8
    total = sum(byte - 256 if signed and byte >= 128 else byte for byte in block)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def member(name: str, data: bytes = b"") -> bytes:
    header = member_header(name, len(data), mode=0o444, user="u", group="g", mtime=1)
    return header + data + padding(len(data))


def archive_of(*members: bytes) -> bytes:
    body = b"".join(members)
    return body + end_of_archive(len(body))


def spaces_before_size(block: bytearray) -> None:
    block[124:136] = b"%11o " % int(block[124:135], 8)


def short_size(block: bytearray) -> None:
    block[124:136] = (b"%o\0" % int(block[124:135], 8)).ljust(12, b"\0")


def base_256_size(block: bytearray) -> None:
    block[124:136] = b"\x80" + int(block[124:135], 8).to_bytes(11, "big")


def underscores_in_size(block: bytearray) -> None:
    block[124:136] = b"0000_000_" + b"%02o" % (int(block[124:135], 8) & 0o77) + b"\0"


def minus_before_size(block: bytearray) -> None:
    block[124:136] = b"-0000000001\0"


def old_type(block: bytearray) -> None:
    block[156] = 0


def contiguous_type(block: bytearray) -> None:
    block[156] = ord("7")


def directory_type(block: bytearray) -> None:
    block[156] = ord("5")


def unknown_type(block: bytearray) -> None:
    block[156] = ord("Q")


def prefix(block: bytearray) -> None:
    block[345:350] = b"pre/x"


def gnu_magic(block: bytearray) -> None:
    block[257:265] = b"ustar  \0"
    block[345:357] = b"01234567012\0"


def no_magic(block: bytearray) -> None:
    block[257:265] = bytes(8)


def behind_the_name(block: bytearray) -> None:
    block[90:95] = b"\0left"


def line_feed(block: bytearray) -> None:
    block[0:3] = b"a\nb"


def high_bytes(block: bytearray) -> None:
    block[265:275] = b"\xff" * 10


def no_utf8(block: bytearray) -> None:
    block[0:2] = b"\xe9\xff"


def seven_digit_sum(block: bytearray) -> None:
    block[148:156] = b"%07o\0" % (sum(block) - sum(block[148:156]) + 256)


def wrong_sum(block: bytearray) -> None:
    block[148:156] = b"%06o\0 " % (sum(block) % 8**6 + 1)


ODDITIES: list[Callable[[bytearray], None]] = [
    spaces_before_size, short_size, base_256_size, underscores_in_size, minus_before_size, old_type, contiguous_type,
    directory_type, unknown_type, prefix, gnu_magic, no_magic, behind_the_name, line_feed, high_bytes, no_utf8,
]  # fmt: skip
SUMS: list[Callable[[bytearray], None]] = [seven_digit_sum, wrong_sum]


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.__name__)
def test_an_odd_header_anywhere_among_plain_ones_is_read_the_same(
    oddity: Callable[[bytearray], None], signed: bool, position: int
) -> None:
    members = [member(f"d/s{i // 2}.{'abc'[i % 2]}", bytes([i]) * (7 + 200 * i)) for i in range(6)]
    block = bytearray(members[position][:BLOCK])
    oddity(block)
    members[position] = with_checksum(block, signed=signed) + members[position][BLOCK:]
    assert_same(archive_of(*members), 1 << 16)


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("oddity", SUMS, ids=lambda oddity: oddity.__name__)
def test_an_odd_checksum_anywhere_is_read_the_same(oddity: Callable[[bytearray], None], position: int) -> None:
    members = [member(f"s{i // 2}.{'abc'[i % 2]}", b"x" * 100) for i in range(6)]
    block = bytearray(members[position][:BLOCK])
    oddity(block)
    members[position] = bytes(block) + members[position][BLOCK:]
    assert_same(archive_of(*members), 1 << 16)


def test_every_changed_byte_of_a_header_is_read_the_same() -> None:
    archive = archive_of(*(member(f"s{i}.{field}", b"12345") for i in range(3) for field in ("a", "b")))
    for at in range(2 * 2 * BLOCK, 2 * 2 * BLOCK + BLOCK):
        damaged = bytearray(archive)
        damaged[at] ^= 0x15
        assert_same(bytes(damaged), 1 << 16)


names = st.one_of(
    st.builds(
        "{}{}.{}".format,
        st.sampled_from(["", "d/", "d.e/", "__x__/", "__", "a b/", "ü/", "d" * 120 + "/"]),
        st.sampled_from(["a", "b", "c", "B", "é", "__a", ".", "n" * 90]),
        st.sampled_from(["cls", "JPG", "seg.png", "b__", "__key__", "__url__", "", "json"]),
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
)
archives = st.lists(
    st.tuples(
        names,
        st.binary(max_size=1500),
        st.sampled_from([b"0", b"0", b"0", b"0", b"5", b"2"]),
        st.sampled_from([1, 1, 1.5, 1234567890.123]),
    ),
    max_size=25,
)


def made(members: list[tuple[str, bytes, bytes, float]], form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, encoding="utf-8") as archive:
        for name, data, kind, mtime in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mtime = mtime if form == tarfile.PAX_FORMAT else int(mtime)
            info.size = len(data) if kind == b"0" else 0
            try:
                archive.addfile(info, io.BytesIO(data))
            except (ValueError, UnicodeEncodeError):  # a name that this format cannot hold
                continue
    return file.getvalue()


def by_length(path: str) -> tuple[str | None, str | None]:
    if path.endswith("B.cls"):
        raise ZeroDivisionError(path)
    return (None, None) if len(path) % 5 == 0 else (path[:2], path[2:])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    members=archives,
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    piece=st.sampled_from([512, 700, 3000, 1 << 20]),
    cut=st.one_of(st.none(), st.integers(0, 20000)),
    flip=st.one_of(st.none(), st.tuples(st.integers(0, 20000), st.integers(1, 255))),
    fields=st.one_of(st.none(), st.frozensets(st.sampled_from(["cls", "jpg", "seg.png"]))),
    start=st.integers(0, 4),
    duplicates=st.sampled_from(["error", "skip", "first", "last"]),
    keys=st.sampled_from([base_plus_ext, by_length]),
    goes_on=st.booleans(),
)
def test_any_archive_is_read_the_same(
    members: list[tuple[str, bytes, bytes, float]],
    form: int,
    piece: int,
    cut: int | None,
    flip: tuple[int, int] | None,
    fields: frozenset[str] | None,
    start: int,
    duplicates: str,
    keys: KeyFunction,
    goes_on: bool,
) -> None:
    archive = bytearray(made(members, form))
    if flip is not None:
        archive[flip[0] % len(archive)] ^= flip[1]
    options: dict[str, Any] = {"on_error": lambda error: True} if goes_on else {}
    assert_same(bytes(archive[:cut]), piece, fields=fields, start=start, duplicates=duplicates, keys=keys, **options)


@pytest.mark.parametrize("name", ["ü/b.__url__", "b.x", "__b__.x", "b.", "b.X"])
def test_an_odd_name_among_large_members_is_taken_by_itself(name: str) -> None:
    members = [("a.x", b"1" * 600), (name, b"2"), (name, b"3"), ("c.x", b"4" * 600), ("d.x", b"5")]
    archive = made([(name, data, b"0", 1) for name, data in members], tarfile.GNU_FORMAT)
    for goes_on in ({}, {"on_error": lambda error: True}):
        assert_same(archive, 1 << 20, **goes_on)


def test_pax_headers_with_only_a_time_are_plain() -> None:
    archive = made(
        [(f"s{i}.{field}", b"x" * 9, b"0", 1.25) for i in range(5) for field in ("a", "b")], tarfile.PAX_FORMAT
    )
    assert len(plain_members(archive, 0).names) == 10
    samples, end, _ = assert_same(archive)
    assert len(samples) == 5
    assert end is None


def test_plain_members_stop_before_one_that_is_not_whole() -> None:
    archive = archive_of(member("a.x", b"1" * 600), member("b.x", b"2" * 600))
    plain = plain_members(archive[:2800], 0)
    assert plain.texts() == ["a.x"]
    assert (plain.starts, plain.sizes, plain.begins) == ([512], [600], [0, 1536])


def test_the_fast_way_is_taken() -> None:
    archive = archive_of(*(member(f"s{i}.{field}", b"12345") for i in range(50) for field in ("a", "b")))
    with mock.patch("webds.tar.members.Members.data", side_effect=AssertionError("one by one")) as data:
        samples = read_samples(io.BytesIO(archive))
        with pytest.raises(AssertionError):
            next(samples)  # the first member comes by itself: nothing has been read ahead
    assert data.call_count == 1
    taken = mock.Mock(side_effect=plain_members)
    with mock.patch("webds.tar.members.plain_members", taken):
        assert len(list(read_samples(io.BytesIO(archive)))) == 50
    assert taken.call_count <= 3


alike = st.lists(
    st.tuples(
        st.sampled_from(["cls", "cls", "cls", "txt"]),
        st.sampled_from([3, 3, 3, 600]),
        st.integers(1600, 4000),
        st.sampled_from([0, 30, 30, 30, 700]),
    ),
    min_size=4,
    max_size=40,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    samples=alike,
    flip=st.one_of(st.none(), st.tuples(st.integers(0, 200000), st.integers(1, 255))),
    cut=st.one_of(st.none(), st.integers(0, 200000)),
    fields=st.sampled_from([None, frozenset({"cls"}), frozenset({"jpg"}), frozenset({"json", "cls"})]),
    width=st.sampled_from([1, 6]),
    few=st.integers(1, 5),
    most=st.integers(1, 20),
)
def test_samples_that_are_stored_alike_are_read_the_same(
    samples: list[tuple[str, int, int, int]],
    flip: tuple[int, int] | None,
    cut: int | None,
    fields: frozenset[str] | None,
    width: int,
    few: int,
    most: int,
) -> None:
    members: list[bytes] = []
    for i, (small, first, large, last) in enumerate(samples):
        key = f"d/{i:0{width}d}"
        members.append(member(f"{key}.{small}", bytes([i + 1]) * first))
        members.append(member(f"{key}.jpg", bytes([i + 2]) * large))
        if last:
            members.append(member(f"{key}.json", bytes([i + 3]) * last))
    archive = bytearray(archive_of(*members))
    if flip is not None:
        archive[flip[0] % len(archive)] ^= flip[1]
    whole = bytes(archive[:cut])
    with general_way():
        expected = outcome(whole, fields=fields)
    with pieces_of(1 << 12), together_from(few), from_header_to_header(learn=12, few=few, most=most):
        assert outcome(whole, Anywhere, fields=fields) == expected
        assert outcome(whole, fields=fields) == expected


@pytest.mark.parametrize(("size", "most"), [(50_000, 1 << 22), (3, 1 << 21)])
def test_a_stream_of_large_members_is_looked_through_once_and_much_at_once(size: int, most: int) -> None:
    members = [member(f"s{i:05d}.{field}", b"1" * size) for i in range(15_000_000 // (size + 1000)) for field in "ab"]
    asked: list[int] = []

    class Watched(io.BytesIO):
        @override
        def seekable(self) -> bool:
            return False

        @override
        def read1(self, size: int | None = -1, /) -> bytes:
            asked.append(-1 if size is None else size)
            return super().read1(size)

    looked = mock.Mock(side_effect=plain_members)
    leapt = mock.Mock(side_effect=_leap)
    with mock.patch("webds.tar.members.plain_members", looked), mock.patch("webds.tar.plain._leap", leapt):
        found = outcome(archive_of(*members), Watched)
    assert len(found[0]) == len(members) // 2
    assert found[1] is None
    assert max(asked) == most
    assert 3 < looked.call_count <= len(asked)
    assert leapt.call_count == (1 if size > 8192 else looked.call_count), "large ones are not looked for everywhere"


def test_going_from_header_to_header_is_what_is_done_to_large_members() -> None:
    members = [member(f"s{i:03d}.{field}", b"1" * size) for i in range(200) for field, size in SIZES.items()]
    positions: list[int] = []

    class Watched(Anywhere):
        @override
        def read_at(self, size: int, position: int) -> bytes:
            positions.append(size)
            return super().read_at(size, position)

    found = outcome(archive_of(*members), Watched, fields={"cls"})
    assert len(found[0]) == 200
    assert found[1] is None
    assert 150 < len(positions) < 250
    assert max(positions) <= 5 * BLOCK


SIZES = {"cls": 3, "jpg": 50_000, "json": 300}


@pytest.mark.parametrize("buffering", [-1, 0])
def test_what_open_returns_is_read_so_as_well(tmp_path: Path, buffering: int) -> None:
    members = [member(f"s{i:03d}.{field}", b"1" * size) for i in range(200) for field, size in SIZES.items()]
    path = tmp_path / "x.tar"
    path.write_bytes(b"before" + archive_of(*members))
    with open(path, "rb", buffering) as stream:
        stream.seek(6)  # then positions in the file and in the archive differ, and it is read as it comes
        with mock.patch("webds.tar.members.Spacious", side_effect=AssertionError):
            assert len(list(read_samples(stream))) == 200
    path.write_bytes(archive_of(*members))
    asked = mock.Mock(side_effect=Spacious)
    with open(path, "rb", buffering) as stream, mock.patch("webds.tar.members.Spacious", asked):
        found = list(read_samples(stream, fields={"jpg", "json"}))
        assert stream.tell() == path.stat().st_size
    assert [sample["__key__"] for sample in found] == [f"s{i:03d}" for i in range(200)]
    assert {(sample["jpg"], sample["json"]) for sample in found} == {(b"1" * 50_000, b"1" * 300)}
    assert asked.call_count == 1


def test_a_failure_far_behind_comes_after_all_samples_before_it() -> None:
    members = [member(f"s{i:03d}.{field}", b"1" * size) for i in range(200) for field, size in SIZES.items()]
    archive = archive_of(*members)

    class Broken(Anywhere):
        fails_at = len(archive) // 2

    samples, end, stats = outcome(archive, Broken)
    assert [dict(sample)["__key__"] for sample in samples] == [f"s{i:03d}" for i in range(100)]
    assert end[0] is OpenError
    assert stats[0] == 100


def test_a_file_that_is_cut_while_it_is_read_is_said_to_be() -> None:
    members = [member(f"s{i:03d}.{field}", b"1" * size) for i in range(99) for field, size in SIZES.items()]
    file = Anywhere(archive_of(*members))
    samples = read_samples(file, url="a.tar")
    found = [next(samples) for _ in range(30)]
    file.truncate(40 * 53_000)
    with pytest.raises(WebdsError, match=r"cut short.*after \d+ samples.*a\.tar"):
        found.extend(samples)
    assert 35 < len(found) < 45
    assert all(len(sample["jpg"]) == 50_000 for sample in found)
