"""What can be saved of damaged shards: whole samples alone, and as many as can be told to be."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest
from shards import tar_bytes, write_members

import webds
from webds.errors import OpenError
from webds.tools.reading import source_of
from webds.tools.repairing import Repaired, repair_shard

SAMPLES = {
    f"s{number}": {field: random.Random(f"{number}{field}").randbytes(size) for field, size in fields}
    for number, fields in enumerate(
        [
            [("jpg", 700), ("cls", 1)],
            [("jpg", 1024), ("cls", 1), ("txt", 40)],
            [("cls", 2)],
            [("jpg", 0), ("cls", 1)],
            [("jpg", 1500), ("cls", 1)],
        ]
    )
}
MEMBERS = [(f"{key}.{field}", data) for key, fields in SAMPLES.items() for field, data in fields.items()]
WHOLE = tar_bytes(MEMBERS)


def repaired(folder: Path, data: bytes, **options: bool) -> tuple[Repaired, dict[str, dict[str, bytes]]]:
    """Repair a shard of these bytes; return what came of it, and the samples of the new one."""
    (folder / "x.tar").write_bytes(data)
    found = repair_shard(
        source_of(str(folder / "x.tar")), str(folder / "x.tar"), folder / "y.tar", overwrite=True, **options
    )
    if found.path is None:
        return found, {}
    size = (folder / "y.tar").stat().st_size
    assert size % 10240 == 0
    samples = {sample.pop("__key__"): sample for sample in webds.DatasetBuilder(found.path).build()}
    assert len(samples) == found.samples
    return found, samples


def test_a_good_shard_stays_as_it_is(tmp_path: Path) -> None:
    found, samples = repaired(tmp_path, WHOLE)
    assert (samples, found.lost, found.moved) == (SAMPLES, [], 0)
    assert (tmp_path / "y.tar").read_bytes() == WHOLE


@pytest.mark.parametrize("at", range(0, len(WHOLE.rstrip(b"\0")) + 512, 512))
def test_damage_to_any_block_costs_a_sample_and_its_neighbours_at_most(tmp_path: Path, at: int) -> None:
    for place in (3, 130, 150, 400):  # the name, the size, the checksum, and what is nothing in a header
        data = bytearray(WHOLE)
        data[at + place] ^= 0x55
        found, samples = repaired(tmp_path, bytes(data))
        damaged = [key for key in samples if samples[key] != SAMPLES.get(key)]
        # What is damaged inside data cannot be seen; it costs nothing else.
        assert len(damaged) <= (not found.lost)
        assert len(SAMPLES.keys() - samples.keys()) <= 3
        told = " ".join(lost.what + lost.why for lost in found.lost)
        assert [key for key in SAMPLES.keys() - samples.keys() if key not in told] == []


@pytest.mark.parametrize("cut", range(512, len(WHOLE) - 10240, 300))
def test_of_a_shard_that_was_cut_short_all_but_the_last_sample_is_saved(tmp_path: Path, cut: int) -> None:
    _, samples = repaired(tmp_path, WHOLE[:cut])
    assert samples.items() <= SAMPLES.items()
    ends = {}
    with tarfile.open(fileobj=io.BytesIO(WHOLE)) as archive:
        for member in archive:
            ends[member.name.partition(".")[0]] = member.offset_data + member.size
    before = [key for key, end in ends.items() if end <= cut]
    assert list(samples) in (before, before[:-1])


def test_several_gaps(tmp_path: Path) -> None:
    members = [(f"{number:03d}.{field}", b"x" * 600) for number in range(100) for field in ("a", "b")]
    data = bytearray(tar_bytes(members))
    step = 4 * 3 * 512  # bytes of two samples
    for number in (10, 20, 30):
        data[number * step : number * step + 3000] = bytes(random.Random(number).randbytes(3000))
    found, samples = repaired(tmp_path, bytes(data))
    lost = {
        key
        for number in (10, 20, 30)
        for key in (f"{2 * number - 1:03d}", f"{2 * number:03d}", f"{2 * number + 1:03d}")
    }
    assert {f"{number:03d}" for number in range(100)} - samples.keys() <= lost
    assert sum(one.what.startswith("bytes ") for one in found.lost) == 3


def test_an_archive_inside_of_a_member_is_not_taken_for_the_shard(tmp_path: Path) -> None:
    inner = tar_bytes([("evil.jpg", b"1" * 600), ("evil.cls", b"2")])
    data = bytearray(tar_bytes([("a.cls", b"1"), ("b.tar", inner), ("c.cls", b"3"), ("d.cls", b"4")]))
    data[1024 + 330] ^= 1  # in the header of b.tar; its size is good
    _, samples = repaired(tmp_path, bytes(data))
    assert samples == {"d": {"cls": b"4"}}


def test_archives_that_follow_one_another_become_one(tmp_path: Path) -> None:
    found, samples = repaired(tmp_path, tar_bytes(MEMBERS[:2]) + tar_bytes(MEMBERS[2:]))
    assert (samples, found.lost) == (SAMPLES, [])


def test_members_that_are_apart_come_together(tmp_path: Path) -> None:
    found, samples = repaired(tmp_path, tar_bytes(sorted(MEMBERS, key=lambda member: member[0].partition(".")[2])))
    assert samples == SAMPLES
    assert found.moved == 4  # one has a single member


def test_fields_that_are_there_twice_are_kept_if_they_are_equal(tmp_path: Path) -> None:
    found, samples = repaired(tmp_path, tar_bytes([*MEMBERS, MEMBERS[0], ("s1.cls", b"other")]))
    assert samples == {key: fields for key, fields in SAMPLES.items() if key != "s1"}
    assert [(lost.what, lost.why) for lost in found.lost] == [
        ("s1", "the field 'cls' is there twice, and the two differ")
    ]


def test_members_of_no_sample_and_reserved_names_are_left_out(tmp_path: Path) -> None:
    found, samples = repaired(
        tmp_path, tar_bytes([("__meta__/x.json", b"{}"), ("README", b"1"), ("a.cls", b"1"), ("b.__key__", b"1")])
    )
    assert samples == {"a": {"cls": b"1"}}
    assert [lost.what for lost in found.lost] == ["__meta__/x.json", "README", "b"]


def test_long_names_and_their_headers_stay(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("x" * 300 + ".cls", "y.cls", "ü" * 200 + ".cls"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    data = stream.getvalue().replace(b"y.cls", b"z.cls", 1)  # a header that does not fit its sum
    _, samples = repaired(tmp_path, data)
    assert samples == {}  # those on both sides are next to the damage
    _, samples = repaired(tmp_path, stream.getvalue())
    assert list(samples) == ["x" * 300, "y", "ü" * 200]


def test_a_compressed_shard_is_saved_as_far_as_it_can_be_decompressed(tmp_path: Path) -> None:
    members = [(f"{number:03d}.bin", random.Random(number).randbytes(20_000)) for number in range(30)]
    packed = gzip.compress(tar_bytes(members))
    found, samples = repaired(tmp_path, packed[: len(packed) // 2])
    assert 10 <= len(samples) <= 15
    assert samples.items() <= {name[:-4]: {"bin": data} for name, data in members}.items()
    assert found.lost[0].what.startswith("what follows byte ")


@pytest.mark.parametrize("data", [b"", b"no tar at all", bytes(5000), b"<!DOCTYPE html>" + b" " * 600])
def test_of_what_is_no_archive_nothing_is_saved(tmp_path: Path, data: bytes) -> None:
    found, _ = repaired(tmp_path, data)
    assert (found.path, found.samples) == (None, 0)
    assert not (tmp_path / "y.tar").exists()


def test_a_shard_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OpenError):
        repair_shard(source_of(str(tmp_path / "x.tar")), str(tmp_path / "x.tar"), tmp_path / "y.tar")


def test_it_may_be_written_over_itself(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [*MEMBERS, ("README", b"1")])
    found = repair_shard(source_of(shard), shard, shard, overwrite=True)
    assert found.samples == 5
    assert Path(shard).read_bytes() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
