"""``webds ls``: good, odd, broken and remote shards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import here, start, webds as run
from damage import gnu_tar, mixed_shard, serving_files
from shards import numbered_shards, tar_bytes, write_members

import webds


def test_a_shard_is_a_line_for_each_sample(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 2)
    outcome = run("ls", shard)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == b"key00000\tcls 1 B  txt 6 B\nkey00001\tcls 1 B  txt 6 B\n"


def test_several_shards_have_their_names_above(tmp_path: Path) -> None:
    first, second = numbered_shards(tmp_path, 2, 1)
    outcome = here("ls", f"{tmp_path}/shard-{{000000..000001}}.tar")
    assert outcome.text == f"{first}:\nkey00000\tcls 1 B  txt 6 B\n\n{second}:\nkey00001\tcls 1 B  txt 6 B\n"


def test_standard_input_is_a_shard(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 3)
    outcome = run("ls", "-", stdin=Path(shard).read_bytes())
    assert (outcome.status, outcome.out) == (0, here("ls", shard).out)


def test_json_has_where_each_member_lies(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("d/A.JPG", b"123"), ("d/A.cls", b"4")])
    line = json.loads(here("ls", "--json", shard).out)
    assert line == {
        "url": shard,
        "key": "d/A",
        "fields": {
            "jpg": {"name": "d/A.JPG", "size": 3, "offset": 512},
            "cls": {"name": "d/A.cls", "size": 1, "offset": 1536},
        },
    }


def test_members_are_lines_for_programs(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("a.jpg", b"123"), ("a.cls", b"4")])
    assert here("ls", "--members", shard).text == "512\t3\ta.jpg\n1536\t1\ta.cls\n"


def test_limit_ends_before_what_is_wrong_behind(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    assert here("ls", "-n", "1", shard) == here("ls", "--limit", "1", shard)
    outcome = here("ls", "-n", "1", shard)
    assert (outcome.status, outcome.text, outcome.err) == (0, "a\tjpg 1 B  cls 1 B\n", "")
    assert here("ls", "-n", "0", shard).text == ""


def test_fields_that_were_named_are_listed_alone(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 1)
    assert here("ls", "-f", "txt", shard).text == "key00000\ttxt 6 B\n"


def test_faults_are_said_and_the_rest_is_listed(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    outcome = here("ls", shard)
    assert outcome.status == 1
    assert [line.partition("\t")[0] for line in outcome.lines] == ["a", "b", "c", "d", "c", "D"]
    assert outcome.err.splitlines() == [
        f"webds: {shard}: sample 'b' has the field 'jpg' twice (offset 3584)",
        f"webds: {shard}: the members of sample 'c' are apart: 'cls' comes after other samples (offset 8704)",
    ]


@pytest.mark.parametrize("cut", [700, 1024, 1600, 2300])
def test_a_shard_that_was_cut_short_is_listed_as_far_as_samples_are_whole(tmp_path: Path, cut: int) -> None:
    whole = tar_bytes([("a.jpg", b"1" * 600), ("b.jpg", b"2")])
    (tmp_path / "x.tar").write_bytes(whole[:cut])
    outcome = here("ls", tmp_path / "x.tar")
    assert outcome.status == 1
    assert outcome.text == ("a\tjpg 600 B\n" if cut > 2048 + 200 else "")
    assert outcome.err.count("\n") == 1
    assert "cut short" in outcome.err


def test_a_shard_without_end_blocks_is_accepted_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes([("a.jpg", b"1")])[:1024])
    assert here("ls", tmp_path / "x.tar").status == 1
    outcome = here("ls", "--missing-end", "accept", tmp_path / "x.tar")
    assert (outcome.status, outcome.text) == (0, "a\tjpg 1 B\n")


def test_a_remote_shard_is_listed_by_its_headers(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 3)
    with serving_files({"/x.tar": shard}) as web:
        outcome = run("ls", web.url("/x.tar?token=hush"))
        assert (outcome.status, outcome.out) == (0, here("ls", shard).out)
        missing = here("ls", web.url("/y.tar?token=hush"))
    assert (missing.status, missing.out) == (1, b"")
    assert "404" in missing.err
    assert "hush" not in missing.err


def test_a_remote_shard_with_an_index_is_not_read(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 300)
    webds.build_index(shard)
    with serving_files({"/x.tar": shard, "/x.idx": Path(shard).with_suffix(".idx")}) as web:
        outcome = here("ls", web.url("/x.tar"))
        assert (outcome.status, outcome.out) == (0, here("ls", shard).out)
        asked = [one.headers.get("range") for one in web.asked if one.path == "/x.tar" and one.method == "GET"]
        # Its size is asked for, and whether it ends where the index says.
        assert all((span is not None and not span.startswith("bytes=0-")) or span == "bytes=0-0" for span in asked)
        web.asked.clear()
        assert here("ls", "--no-index", web.url("/x.tar")).out == outcome.out
        assert not any(one.path == "/x.idx" for one in web.asked)


def test_an_index_of_another_version_is_an_error(tmp_path: Path) -> None:
    one, other = numbered_shards(tmp_path, 2, 30)
    Path(other).write_bytes(tar_bytes([("a.jpg", b"1")]))
    webds.build_index(other)
    with serving_files({"/x.tar": one, "/x.idx": Path(other).with_suffix(".idx")}) as web:
        outcome = here("ls", web.url("/x.tar"))
    assert (outcome.status, outcome.out) == (1, b"")
    assert "the index is of another version" in outcome.err


@pytest.mark.parametrize("options", [(), ("--format=pax",), ("--format=gnu",), ("-z",), ("--sort=name",)])
def test_shards_of_gnu_tar(tmp_path: Path, options: tuple[str, ...]) -> None:
    outcome = here("ls", gnu_tar(tmp_path, *options))
    assert outcome.status == 0, outcome.err
    assert outcome.lines[:2] == ["files/n0\tcls 1 B  bin 0 B", "files/n1\tcls 1 B  bin 700 B"]
    assert outcome.lines[2] == f"files/{'x' * 120}2\tcls 1 B  bin 1.40 kB"


def test_shards_of_webdataset(tmp_path: Path) -> None:
    from webdataset.writer import TarWriter  # type: ignore[import-untyped]

    with TarWriter(str(tmp_path / "w.tar")) as writer:
        for number in range(100):
            writer.write({"__key__": f"s{number:03d}", "cls": number, "txt": "x" * number})
    outcome = here("ls", tmp_path / "w.tar")
    assert outcome.status == 0
    assert outcome.lines == [f"s{n:03d}\tcls {len(str(n))} B  txt {n} B" for n in range(100)]


def test_names_that_a_terminal_would_obey_are_escaped(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("a\x1b[2J.cls", b"1"), ("b\nc.cls", b"2"), (" d.cls", b"3")])
    assert here("ls", shard).lines == ["a\\x1b[2J\tcls 1 B", "b c\tcls 1 B", "' d'\tcls 1 B"]


def test_nobody_reads_the_rest(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 20_000)
    with start("ls", shard) as process:
        assert process.stdout.readline() == b"key00000\tcls 1 B  txt 6 B\n"
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    outcome = here("ls", f"{tmp_path}/*.tar")
    assert (outcome.status, outcome.out) == (1, b"")
    assert "no file matches" in outcome.err
