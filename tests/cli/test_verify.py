"""``webds verify``: what is wrong with shards, and what of them can be saved."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from commands import here, webds as run
from damage import gnu_tar, mixed_shard, pictures, serving_files
from shards import numbered_shards, tar_bytes, write_members

import webds


def flip(path: str | Path, offset: int) -> None:
    """Change one byte of a file."""
    data = bytearray(Path(path).read_bytes())
    data[offset] ^= 0xFF
    Path(path).write_bytes(data)


def manifest(folder: Path, *shards: str, **more: object) -> str:
    """Write a manifest of shards, with their MD5."""
    entries = [
        {"url": Path(shard).name, "md5sum": hashlib.md5(Path(shard).read_bytes()).hexdigest(), **more}
        for shard in shards
    ]
    path = folder / "list.json"
    path.write_text(json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}))
    return str(path)


def test_good_shards_are_ok(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 3)
    outcome = run("verify", *shards)
    assert (outcome.status, outcome.err) == (0, "2 shards, 6 samples; all good\n")
    assert outcome.text == "".join(f"ok  {shard}: 3 samples, 21 B\n" for shard in shards)
    quiet = here("verify", "-q", *shards)
    assert (quiet.status, quiet.out) == (0, b"")


def test_samples_that_are_not_sound_are_bad(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    outcome = here("verify", shard)
    assert outcome.status == 1
    assert outcome.lines == [
        f"BAD {shard}: 4 samples, 9 B, 1 member without a key",
        "    sample: at byte 3584: sample 'b' has the field 'jpg' twice",
        "    sample: at byte 8704: the members of sample 'c' are apart: 'cls' comes after other samples",
    ]


def test_damage_is_bad_and_the_other_shards_are_still_verified(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 3, 2)
    flip(shards[0], 1024 + 130)
    outcome = here("verify", *shards, f"{tmp_path}/none.tar")
    assert outcome.status == 1
    assert [line[:4] for line in outcome.lines if line[0] != " "] == ["BAD ", "ok  ", "ok  ", "BAD "]
    assert "    structure: at byte 1024: a header is damaged" in outcome.lines[1]
    assert "    open: " in outcome.lines[-1]
    assert outcome.err == "4 shards, 4 samples; 2 bad\n"


def test_a_hash_that_a_manifest_says_is_compared(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 2)
    listed = manifest(tmp_path, *shards)
    assert "hash compared" in here("verify", listed).lines[0]
    flip(shards[1], 512)  # data, which headers do not tell
    outcome = here("verify", listed)
    assert outcome.status == 1
    assert "contents: at byte 10240: the file is not what it should be: the md5 of its 10240 bytes" in outcome.text
    assert here("verify", "--no-hash", listed).status == 0


def test_a_size_and_a_count_that_a_manifest_says_are_compared(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 2)
    outcome = here("verify", manifest(tmp_path, shard, filesize=512))
    assert (outcome.status, outcome.lines[1]) == (1, "    contents: it has 10240 bytes, where its manifest says 512")
    outcome = here("verify", manifest(tmp_path, shard, nsamples=3))
    assert (outcome.status, outcome.lines[1]) == (1, "    index: its manifest says 3 samples, and there are 2")


def test_an_index_is_compared(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 2)
    webds.build_index(shard)
    assert "index compared" in here("verify", shard).lines[0]
    index = Path(shard).with_suffix(".idx")
    index.write_text(index.read_text().replace("key00001.txt", "key00009.txt").replace("key00001.cls", "key00009.cls"))
    outcome = here("verify", shard)
    assert outcome.status == 1
    assert "    index: its index tells of other members than there are" in outcome.text


def test_values_are_decoded_where_that_is_asked_for(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 5, broken=[2])
    assert here("verify", shard).status == 0
    outcome = run("verify", "--decode", shard)
    assert outcome.status == 1
    assert outcome.lines[0].startswith(f"BAD {shard}: 5 samples")
    assert outcome.lines[1].startswith("    decode: p2.png at byte ")
    assert len(outcome.lines) == 2


def test_what_is_not_decoded_is_said(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("a.pkl", pickle.dumps(1)), ("a.xyz", b"1"), ("a.json", b"{}")])
    outcome = here("verify", "--decode", shard)
    assert outcome.status == 0
    first, second, _ = outcome.err.splitlines()
    assert first.startswith("webds: not decoded: pkl: ")
    assert second == "webds: not decoded: xyz: no decoder is known for it"


def test_json_has_a_line_for_each_shard(tmp_path: Path) -> None:
    (good,) = numbered_shards(tmp_path, 1, 2)
    lines = [json.loads(line) for line in here("verify", "--json", good, mixed_shard(tmp_path)).lines]
    assert [(line["samples"], line["count"]) for line in lines] == [(2, 0), (4, 2)]
    assert lines[1]["problems"][0] == {
        "kind": "sample",
        "text": "sample 'b' has the field 'jpg' twice",
        "key": "b",
        "field": "jpg",
        "offset": 3584,
    }


def test_many_problems_are_cut_short_unless_all_are_asked_for(tmp_path: Path) -> None:
    members = [(f"{number}.{field}", b"1") for number in range(30) for field in ("cls", "CLS")]
    shard = write_members(tmp_path / "x.tar", members)
    assert here("verify", shard).lines[-1] == "    … and 10 more"
    assert len(here("verify", "--all", shard).lines) == 31


def test_processes_find_the_same(tmp_path: Path) -> None:
    shards = [mixed_shard(tmp_path), *numbered_shards(tmp_path, 2, 3)]
    one, two = here("verify", *shards), run("verify", "-j", "2", *shards)
    assert (two.status, two.out, two.err) == (one.status, one.out, one.err)


def test_remote_shards_and_standard_input(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    with serving_files({"/x.tar": shard}) as web:
        outcome = here("verify", web.url("/x.tar"))
    assert outcome.status == 1
    assert outcome.lines[1:] == here("verify", shard).lines[1:]
    assert here("verify", "-", stdin=Path(shard).read_bytes()).lines[1:] == outcome.lines[1:]


@pytest.mark.parametrize("options", [(), ("--format=pax",), ("-z",)])
def test_shards_of_gnu_tar_are_ok(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert here("verify", "--decode", gnu_tar(tmp_path, *options)).status == 0


def test_what_can_be_saved_is_written_and_what_is_lost_is_listed(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    before = Path(shard).read_bytes()
    outcome = run("verify", "--repair", tmp_path / "mended", shard)
    assert outcome.status == 1
    assert outcome.lines[3:] == [
        f"    saved: 4 samples, of which 1 had members that were apart: {tmp_path}/mended/mixed.tar",
        "    lost: README: it belongs to no sample",
        "    lost: b: the field 'jpg' is there twice, and the two differ",
    ]
    assert Path(shard).read_bytes() == before
    samples = {sample.pop("__key__"): sample for sample in webds.DatasetBuilder(f"{tmp_path}/mended/mixed.tar").build()}
    assert samples == {
        "a": {"jpg": b"1", "cls": b"2"},
        "c": {"jpg": b"6", "cls": b"9"},
        "d": {"jpg": b"7", "cls": b"8"},
        "D": {"cls": b"0"},
    }
    assert here("verify", tmp_path / "mended" / "mixed.tar").status == 0


def test_good_shards_are_not_rewritten(tmp_path: Path) -> None:
    here("verify", "--repair", tmp_path / "mended", *numbered_shards(tmp_path, 1, 2))
    assert not (tmp_path / "mended").exists()


def test_samples_that_do_not_decode_are_lost_if_decoding_is_asked_for(tmp_path: Path) -> None:
    shard = pictures(tmp_path, 5, broken=[2])
    outcome = here("verify", "--decode", "--repair", tmp_path / "mended", shard)
    assert "    lost: p2: its field 'png' cannot be decoded" in outcome.text
    assert [line[:2] for line in here("ls", tmp_path / "mended" / "pictures.tar").lines] == ["p0", "p1", "p3", "p4"]


def test_a_repaired_shard_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    shard = mixed_shard(tmp_path)
    (tmp_path / "mended").mkdir()
    (tmp_path / "mended" / "mixed.tar").write_bytes(b"mine")
    outcome = here("verify", "--repair", tmp_path / "mended", shard)
    assert outcome.status == 1
    assert "there is a file of this name already" in outcome.err
    assert (tmp_path / "mended" / "mixed.tar").read_bytes() == b"mine"
    here("verify", "--repair", tmp_path / "mended", "--overwrite", shard)
    assert here("verify", tmp_path / "mended" / "mixed.tar").status == 0


def test_repair_wants_names_that_differ_and_shards_that_can_be_read_twice(tmp_path: Path) -> None:
    outcome = here("verify", "--repair", tmp_path, "-", stdin=tar_bytes([]))
    assert (outcome.status, "put what comes from standard input into a file" in outcome.err) == (2, True)
    (tmp_path / "other").mkdir()
    outcome = here("verify", "--repair", tmp_path, mixed_shard(tmp_path), mixed_shard(tmp_path / "other"))
    assert (outcome.status, "have the same name" in outcome.err) == (2, True)


def test_a_remote_shard_is_repaired(tmp_path: Path) -> None:
    with serving_files({"/mixed.tar": mixed_shard(tmp_path)}) as web:
        outcome = here("verify", "--repair", tmp_path / "mended", web.url("/mixed.tar?key=hush"))
    assert "saved: 4 samples" in outcome.text
    assert "hush" not in outcome.text
    assert (tmp_path / "mended" / "mixed.tar").exists()
