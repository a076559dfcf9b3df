"""Many members read at once, by their table: each header is as good as looked at by itself."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from shards import sample_of, write_shard

import webds
from webds.errors import StaleIndexError
from webds.index import scan
from webds.sources.ranges import Ranges, bounded

ORDER = [7, 3, 19, 0, 11, 12, 5, 18, 1]


@pytest.fixture
def shard(tmp_path: Path) -> str:
    url = write_shard(tmp_path / "a.tar", map(sample_of, range(20)))
    webds.build_index(url)
    return url


def _read(url: str, ordinals: list[int] = ORDER) -> list[webds.Sample]:
    source = webds.DatasetBuilder(url).indexed().plan.source
    assert isinstance(source, webds.IndexedTarSource)
    return list(source.read_at(url, ordinals))


def test_all_come_as_they_are(shard: str) -> None:
    assert [int(sample["cls"]) for sample in _read(shard)] == ORDER
    assert [sample["__key__"] for sample in _read(shard, [4, 4, 2])] == ["key00004", "key00004", "key00002"]


@pytest.mark.parametrize("at", [0, 7, 100, 130, 134, 135, 140, 148, 153, 154, 155, 156, 200, 257, 345, 400, 511])
def test_any_byte_of_a_header_that_is_another_is_noticed(shard: str, at: int) -> None:
    assert len(ORDER) * 2 > 8, "many"
    data = bytearray(Path(shard).read_bytes())
    data[11 * 2048 + at] ^= 0x02
    Path(shard).write_bytes(data)
    with pytest.raises(StaleIndexError, match="index is of another version") as caught:
        _read(shard)
    assert caught.value.url == shard


def test_a_header_of_another_member_is_noticed(shard: str) -> None:
    data = bytearray(Path(shard).read_bytes())
    data[11 * 2048 : 12 * 2048] = data[12 * 2048 : 13 * 2048]
    Path(shard).write_bytes(data)
    with pytest.raises(StaleIndexError, match=r"there is 'key00012\.cls' of 2 bytes in place of 'key00011\.cls'"):
        _read(shard)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_unusual_headers_are_looked_at_one_by_one(tmp_path: Path, form: int) -> None:
    names = ["d" * 90 + "/" + "x" * 60, "é", "a/b.c/d", "y" * 93, "z" * 94]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for i in range(20):
            info = tarfile.TarInfo(f"{names[i % 5]}{i:02d}.txt")
            info.size, info.uid = i, 0o7777777 if i % 3 else 0
            archive.addfile(info, io.BytesIO(b"t" * i))
    assert [len(sample["txt"]) for sample in _read(str(path))] == ORDER


def test_a_shard_cut_short_is_noticed_in_the_middle_of_many(shard: str) -> None:
    table = scan(io.BytesIO(Path(shard).read_bytes())).table
    assert table is not None
    data = Path(shard).read_bytes()
    for end in (9 * 2048 + 300, 9 * 2048 + 512):
        ranges = Ranges(shard, lambda starts, lengths, end=end: (  # type: ignore[misc]
            data[start : min(end, start + length)] for start, length in zip(starts, lengths, strict=True)
        ), 0)  # fmt: skip
        with pytest.raises(StaleIndexError):
            ranges.fetch(table, table.firsts[:-1])


def test_a_sample_that_is_wanted_twice_comes_twice(shard: str) -> None:
    first, other, second = _read(shard, [4, 2, 4])
    assert first == second != other
    assert first is not second


def test_together_is_what_is_asked_for_in_order_and_bounded_in_bytes(shard: str) -> None:
    table = scan(io.BytesIO(Path(shard).read_bytes())).table
    assert table is not None
    assert list(bounded(iter(ORDER), table)) == [ORDER]
    many = [i % 20 for i in range(600)]
    assert [len(part) for part in bounded(iter(many), table)] == [256, 256, 88]
    table.sizes[:] = 9 << 20  # two of a sample, whose beginnings are near
    parts = list(bounded(iter(ORDER), table))
    assert [number for part in parts for number in part] == ORDER
    assert {len(part) for part in parts} == {2, 1}
