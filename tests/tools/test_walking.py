"""What headers tell: the same samples, and the same faults, as reading the shard."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from shards import numbered_shards, tar_bytes
from typing_extensions import TypeVar

import webds
from webds.errors import SampleError, TarFormatError, WebdsError
from webds.index import scan
from webds.tar import read_samples
from webds.tools.walking import Check, Walk, groups_of

V = TypeVar("V")
NAMES = st.lists(
    st.sampled_from(["a.x", "a.y", "b.x", "b.y", "B.x", "b.X", "c/d.x", "README", "__m__/a.x"]), max_size=9
)


def exhaust(values: Iterable[V]) -> tuple[list[V], Exception | None]:
    """Return what comes, and the error in which it ends."""
    found: list[V] = []
    try:
        found.extend(values)
    except WebdsError as error:
        return found, error
    return found, None


@settings(max_examples=150)
@given(NAMES, st.integers(0, 2000))
def test_samples_and_faults_are_those_of_a_reader(names: list[str], size: int) -> None:
    data = tar_bytes([(name, bytes(size)) for name in names])
    walk = Walk(io.BytesIO(data))
    check = Check()
    groups = [(group, check(group)) for group in walk]
    sound = [group.fields for group, fault in groups if fault is None]
    faults = [(fault.key, fault.field) for _, fault in groups if fault is not None]
    delivered, error = exhaust(tuple(sample)[1:] for sample in read_samples(io.BytesIO(data)))
    if isinstance(error, SampleError):
        assert (error.key, error.field) in faults
        assert delivered == sound[: len(delivered)]
    else:
        assert (faults, delivered) == ([], sound)
        assert walk.passed_over == names.count("README")


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("size", [10, 5_000, 400_000])
def test_entries_say_where_data_lie(size: int, read: bool) -> None:
    members = [(f"{number:02d}.bin", bytes([number]) * (size + number)) for number in range(8)]
    data = tar_bytes(members)
    groups = list(Walk(io.BytesIO(data), read=read))
    assert [group.members[0].name for group in groups] == [name for name, _ in members]
    for group, (_, content) in zip(groups, members, strict=True):
        (entry,) = group.members
        assert data[entry.offset : entry.offset + entry.size] == content
        assert entry.data == (content if read else None)


def test_a_table_tells_the_same(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 300)
    with open(shard, "rb") as stream:
        table = scan(stream).table
    assert table is not None
    with open(shard, "rb") as stream:
        assert list(groups_of(table)) == list(Walk(stream))


def test_what_is_whole_comes_before_the_damage() -> None:
    data = tar_bytes([("a.x", b"1"), ("a.y", b"1"), ("b.x", b"1"), ("c.x", bytes(5000))])
    found, error = exhaust(Walk(io.BytesIO(data[:6000]), url="u"))
    assert [group.key for group in found] == ["a", "b"]
    assert isinstance(error, TarFormatError)
    assert error.url == "u"
    assert "after 2 samples" in str(error)


def test_many_members_whose_content_nobody_wants_are_still_checked(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([(f"{number:04d}.x", b"1") for number in range(2000)]))
    data[1024 * 1500 + 100] ^= 1
    found, error = exhaust(Walk(io.BytesIO(bytes(data))))
    assert "header is damaged" in str(error)
    assert [group.key for group in found] == [f"{number:04d}" for number in range(1499)]


def test_reading_without_some_fields_is_the_same_as_with_them(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 500)
    keys = [sample["__key__"] for sample in webds.DatasetBuilder(shard).build()]
    with open(shard, "rb") as stream:
        assert [sample["__key__"] for sample in read_samples(stream, fields=())] == keys
