from __future__ import annotations

import json
from pathlib import Path

from commands import here, webds as run
from shards import numbered_shards, tar_bytes, write_members
from webserver import serving


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_members_become_files(tmp_path: Path) -> None:
    numbered_shards(tmp_path, 2, 3)
    outcome = run("unpack", "shard-*.tar", "-o", "out", "-f", "cls", "-j", "2", cwd=tmp_path)
    assert (outcome.status, outcome.out, outcome.err) == (0, b"", "6 files written, 6 B\n")
    assert names(tmp_path / "out") == [f"key0000{n}.cls" for n in range(6)]
    again = run("unpack", "shard-*.tar", "-o", "out", "--json", "--match", "*[01]", cwd=tmp_path)
    assert json.loads(again.text) == {"files": 2, "size": 12, "kept": 2}
    (tmp_path / "out" / "key00000.cls").write_text("other")
    refused = run("unpack", "shard-000000.tar", "-o", "out", cwd=tmp_path)
    assert refused.status == 1
    assert refused.err.startswith("webds: shard-000000.tar: ")
    assert "exists with another content; --overwrite replaces it" in refused.err
    assert run("unpack", "shard-000000.tar", "-o", "out", "--overwrite", cwd=tmp_path).status == 0
    assert (tmp_path / "out" / "key00000.cls").read_text() == "0"


def test_standard_input_a_remote_shard_and_a_broken_one(tmp_path: Path) -> None:
    body = tar_bytes([("f/a.txt", b"1" * 600), ("b.txt", b"2")])
    assert here("unpack", "-", "-o", "in", "--by-shard", stdin=body, cwd=tmp_path).status == 0
    assert names(tmp_path / "in") == ["stdin/b.txt", "stdin/f/a.txt"]
    with serving() as web:
        web.routes |= {"/x.tar": body, "/cut.tar": body[:1600]}
        outcome = here("unpack", web.url("/x.tar"), "-o", "remote", cwd=tmp_path)
        assert (outcome.status, names(tmp_path / "remote")) == (0, ["b.txt", "f/a.txt"])
        outcome = here("unpack", web.url("/cut.tar"), "-o", "cut", cwd=tmp_path)
    assert outcome.status == 1
    assert outcome.err.startswith(f"webds: {web.url('/cut.tar')}: ")
    assert names(tmp_path / "cut") == ["f/a.txt"]


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    write_members(tmp_path / "evil.tar", [("../outside.txt", b"!")])
    outcome = here("unpack", "evil.tar", "-o", "out", cwd=tmp_path)
    assert outcome.status == 1
    assert "leads out of the folder" in outcome.err
    assert names(tmp_path) == ["evil.tar"]
