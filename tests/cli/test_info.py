"""``webds info``: what is in shards, and what is out of the ordinary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import here, webds as run
from damage import mixed_shard, serving_files
from shards import numbered_shards, tar_bytes, write_members

import webds


def described(*arguments: str | Path) -> dict[str, Any]:
    outcome = here("info", "--json", *arguments)
    found: dict[str, Any] = json.loads(outcome.out)
    kinds = {anomaly["kind"]: anomaly for anomaly in found["anomalies"]}
    assert outcome.status == any(anomaly["error"] for anomaly in kinds.values())
    return {**found, "anomalies": kinds}


def test_a_good_shard_is_described_in_full(tmp_path: Path) -> None:
    sizes = [10, 10, 10, 100, 1000]
    shard = write_members(tmp_path / "x.tar", [(f"{i}.txt", b"x" * size) for i, size in enumerate(sizes)])
    outcome = run("info", "--rows", "3", shard)
    assert (outcome.status, outcome.err) == (0, "")
    full, third = "█" * 40, "█" * 13 + "▍"
    assert (
        outcome.text
        == f"""\
1 shard, 5 samples, 5 members, 1.13 kB

field  values    total   mean  least  median     most
txt         5  1.13 kB  226 B   10 B    11 B  1.00 kB

txt, sizes:
  10 B to 47 B      {full}  3
  48 B to 223 B     {third}{" " * 26}  1
  224 B to 1.00 kB  {third}{" " * 26}  1

nothing is out of the ordinary
"""
    )


def test_everything_that_is_out_of_the_ordinary_is_named(tmp_path: Path) -> None:
    mixed = mixed_shard(tmp_path)
    second = write_members(
        tmp_path / "second.tar", [("d.jpg", b"1"), ("d.cls", b"1"), ("e.cls", b"1"), ("f.cls", b"1")]
    )
    found = described(mixed, second)
    assert {kind: anomaly["count"] for kind, anomaly in found["anomalies"].items()} == {
        "duplicate field": 1,
        "parts apart": 1,
        "member without a key": 1,
        "key in several shards": 1,
        "keys differ in case": 1,
        "field missing": 3 + 2,
        "field spelled differently": 1,
    }
    examples = {kind: anomaly["examples"][0] for kind, anomaly in found["anomalies"].items()}
    assert examples["duplicate field"] == f"sample 'b' has the field 'jpg' twice, in {mixed}"
    assert examples["parts apart"].startswith("the members of sample 'c' are apart")
    assert examples["member without a key"] == f"README in {mixed}"
    assert examples["key in several shards"] == f"d in {mixed}, d in {second}"
    assert examples["keys differ in case"] == f"d in {mixed}, D in {mixed}, d in {second}"
    assert examples["field spelled differently"] == "JPG is read as jpg"


def test_a_sample_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "x.tar", [("a.cls", b"1"), ("b.cls", b"1"), ("a.cls", b"1")])
    found = described(shard)
    assert (found["samples"], list(found["anomalies"])) == (2, ["sample twice"])


def test_a_field_that_few_samples_lack_is_named_with_one_of_them(tmp_path: Path) -> None:
    members = [(f"{i}.{field}", b"1") for i in range(5) for field in ("jpg", "cls") if (i, field) != (3, "cls")]
    outcome = here(
        "info", write_members(tmp_path / "x.tar", [*members, ("9.more", b"1"), ("9.jpg", b"1"), ("9.cls", b"1")])
    )
    assert outcome.status == 0
    assert "  field missing: 1\n    cls in 1 of 6 samples, such as 3\n" in outcome.text  # and `more` is the exception
    assert "samples by their fields:\n             4  cls jpg   (such as 0)\n" in outcome.text


def test_a_broken_shard_is_described_as_far_as_it_goes(tmp_path: Path) -> None:
    good = numbered_shards(tmp_path, 2, 3)
    Path(good[0]).write_bytes(Path(good[0]).read_bytes()[:3000])
    found = described(*good)
    assert found["samples"] == 1 + 3
    assert "cut short" in found["anomalies"]["cannot be read on"]["examples"][0]


def test_an_empty_shard_is_out_of_the_ordinary(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes([]))
    found = described(tmp_path / "x.tar")
    assert (found["samples"], list(found["anomalies"])) == (0, ["shard without samples"])


def test_shards_one_by_one(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 3)
    lines = here("info", "--shards", *shards).lines
    assert lines[2].split() == ["shard", "samples", "members", "size"]
    assert [line.split() for line in lines[3:5]] == [[shard, "3", "6", "21", "B"] for shard in shards]


def test_processes_find_the_same(tmp_path: Path) -> None:
    shards = [mixed_shard(tmp_path), *numbered_shards(tmp_path, 2, 3)]
    one, two = run("info", "--json", *shards), run("info", "--json", "-j", "2", *shards)
    assert (two.status, two.out, two.err) == (one.status, one.out, one.err)


def test_remote_shards_and_standard_input(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 300)
    webds.build_index(shards[0])
    local = here("info", shards[0]).out
    with serving_files(
        {"/a.tar": shards[0], "/b.tar": shards[0], "/a.idx": Path(shards[0]).with_suffix(".idx")}
    ) as web:
        assert here("info", web.url("/a.tar")).out == local
        assert here("info", web.url("/b.tar")).out == local
    assert here("info", "-", stdin=Path(shards[0]).read_bytes()).out == local
