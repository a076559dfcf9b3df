"""``webds index``: member tables and a manifest."""

from __future__ import annotations

import json
from pathlib import Path

from commands import here, webds as run
from damage import mixed_shard, serving_files
from shards import numbered_shards

import webds


def test_an_index_is_written_beside_the_shards(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 3)
    outcome = run("index", *shards)
    assert (outcome.status, outcome.text, outcome.err) == (0, f"{tmp_path}/index.json\n", "2 shards indexed\n")
    listed = json.loads((tmp_path / "index.json").read_text())["shardlist"]
    assert [(shard["url"], shard["nsamples"]) for shard in listed] == [(Path(shard).name, 3) for shard in shards]
    assert (tmp_path / "shard-000001.idx").read_text().startswith("v1.2 3\n")
    assert len(webds.DatasetBuilder(f"{tmp_path}/index.json").indexed().build()) == 6


def test_what_is_there_is_not_done_again_unless_asked_for(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 2, 3)
    here("index", shards[0])
    assert here("index", *shards).err == "1 shard indexed, 1 had an index already\n"
    outcome = here("index", "--json", *shards)
    assert json.loads(outcome.out) == {"manifest": f"{tmp_path}/index.json", "shards": 2, "indexed": 0}
    assert here("index", "--rebuild", *shards).err == "2 shards indexed\n"


def test_processes_write_the_same(tmp_path: Path) -> None:
    shards = numbered_shards(tmp_path, 3, 3)
    run("index", "-j", "2", "--md5", "-o", tmp_path / "two.json", *shards)
    here("index", "--rebuild", "--md5", "-o", tmp_path / "one.json", *shards)
    assert (tmp_path / "two.json").read_text() == (tmp_path / "one.json").read_text()
    assert "md5sum" in (tmp_path / "two.json").read_text()


def test_good_shards_before_a_bad_one_are_indexed(tmp_path: Path) -> None:
    (good,) = numbered_shards(tmp_path, 1, 3)
    outcome = here("index", good, mixed_shard(tmp_path))
    assert (outcome.status, outcome.out) == (1, b"")
    assert "has the field 'jpg' twice" in outcome.err
    assert len(json.loads((tmp_path / "index.json").read_text())["shardlist"]) == 1


def test_remote_shards_are_indexed_into_a_folder(tmp_path: Path) -> None:
    (shard,) = numbered_shards(tmp_path, 1, 3)
    with serving_files({"/x.tar": shard}) as web:
        assert here("index", web.url("/x.tar")).status == 1
        outcome = here("index", "-d", tmp_path, web.url("/x.tar"))
        assert (outcome.status, outcome.err) == (0, "1 shard indexed\n")
        assert here("info", tmp_path / "index.json").lines[0] == "1 shard, 3 samples, 6 members, 21 B"
    assert (tmp_path / "x.idx").exists()
