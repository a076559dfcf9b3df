"""``webds cat``: one member, byte for byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from commands import here, webds as run
from damage import gnu_tar, serving_files
from shards import numbered_shards, tar_bytes, write_members

import webds

LARGE = random.Random(1).randbytes(3_000_000)


@pytest.fixture
def shard(tmp_path: Path) -> str:
    return write_members(
        tmp_path / "x.tar",
        [("d/A.JPG", b"\x00\xff\n"), ("d/A.cls", b"4"), ("README", b"read"), ("b.bin", LARGE), ("c.cls", b"5")],
    )


def test_a_member_goes_to_standard_output_as_it_is(shard: str) -> None:
    outcome = run("cat", shard, "d/A.JPG")
    assert (outcome.status, outcome.out, outcome.err) == (0, b"\x00\xff\n", "")


@pytest.mark.parametrize(
    ("name", "content"), [("d/A.jpg", b"\x00\xff\n"), ("README", b"read"), ("b.bin", LARGE), ("c.cls", b"5")]
)
def test_members_by_name_and_by_key_and_field(shard: str, name: str, content: bytes) -> None:
    assert here("cat", shard, name).out == content
    assert here("cat", "-", name, stdin=Path(shard).read_bytes()).out == content


@pytest.mark.parametrize("name", ["d/A", "A.jpg", "d/A.png", "c", "nothing"])
def test_what_is_not_there_is_an_error(shard: str, name: str) -> None:
    outcome = here("cat", shard, name)
    assert (outcome.status, outcome.out) == (1, b"")
    assert outcome.err.count("\n") == 1


def test_a_key_gets_its_fields_named(shard: str) -> None:
    error = here("cat", shard, "d/A").err
    assert error == f"webds: {shard}: 'd/A' is a sample; name one of its fields, as in d/A.jpg: there are jpg, cls\n"


def test_the_first_of_several_shards_that_has_it(tmp_path: Path) -> None:
    numbered_shards(tmp_path, 3, 2)
    pattern = f"{tmp_path}/shard-{{000000..000002}}.tar"
    assert here("cat", pattern, "key00004.txt").out == b"text 4"
    assert "these 3 shards have no member 'key9.txt'" in here("cat", pattern, "key9.txt").err


def test_many_members_are_passed_over(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 3000)
    for number in (0, 1, 1500, 2999):
        assert here("cat", shard, f"key{number:05d}.txt").out == b"text %d" % number


def test_a_member_before_the_damage_is_there_and_one_in_it_is_not(tmp_path: Path) -> None:
    whole = tar_bytes([("a.bin", b"1" * 600), ("b.bin", LARGE)])
    (tmp_path / "x.tar").write_bytes(whole[:2_000_000])
    assert here("cat", tmp_path / "x.tar", "a.bin").out == b"1" * 600
    outcome = here("cat", tmp_path / "x.tar", "b.bin")
    assert outcome.status == 1
    assert "the archive ends inside 'b.bin'" in outcome.err
    assert LARGE.startswith(outcome.out)  # as `cat` does


def test_remote_members(tmp_path: Path, shard: str) -> None:
    with serving_files({"/x.tar": shard}) as web:
        outcome = run("cat", web.url("/x.tar"), "b.bin")
    assert (outcome.status, outcome.out == LARGE) == (0, True)


def test_a_remote_member_is_read_alone_where_there_is_an_index(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("b.bin", LARGE), ("c.cls", b"5"), ("d.bin", LARGE[:70000])])
    webds.build_index(shard)
    with serving_files({"/x.tar": shard, "/x.idx": Path(shard).with_suffix(".idx")}) as web:
        assert here("cat", web.url("/x.tar"), "d.bin").out == LARGE[:70000]
        spans = [one.headers.get("range", "") for one in web.asked if one.path == "/x.tar" and one.method == "GET"]
    sizes = [int(end) - int(start) + 1 for start, _, end in (span[6:].partition("-") for span in spans) if end]
    assert len(sizes) == len(spans)
    assert sum(sizes) < 200_000


@pytest.mark.parametrize("option", ["-z", "-j", "-J"])
def test_compressed_shards_of_gnu_tar(tmp_path: Path, option: str) -> None:
    shard = gnu_tar(tmp_path, option)
    assert here("cat", shard, "files/n1.bin").out == random.Random(1).randbytes(700)
