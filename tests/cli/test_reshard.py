from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import work
from commands import here, start, webds as run
from shards import numbered_shards, tar_bytes, write_shard
from webserver import serving
from work import contents, leftovers

from webds.tools.reading import source_of


def keys(path: Path) -> list[str]:
    source = source_of(str(path))
    return [sample["__key__"] for sample in source.read(str(path))]


def test_shards_are_cut_otherwise(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 3, 4)
    options = ["--maxcount", "5", "--index", "--manifest", "m.json", "--md5"]
    outcome = run("reshard", "shard-*.tar", "-o", "x-%02d.tar", *options, cwd=tmp_path)
    assert (outcome.status, outcome.out, outcome.err) == (0, b"", "12 samples in 3 shards\n")
    assert sorted(path.name for path in tmp_path.glob("x-*")) == [
        f"x-0{n}.{end}" for n in range(3) for end in ("idx", "tar")
    ]
    assert contents(f"{tmp_path}/x-*.tar") == contents(urls)
    listed = json.loads((tmp_path / "m.json").read_text())["shardlist"]
    assert [(shard["url"], shard["nsamples"], len(shard["md5sum"])) for shard in listed] == [
        ("x-00.tar", 5, 32), ("x-01.tar", 5, 32), ("x-02.tar", 2, 32)
    ]  # fmt: skip
    again = run("reshard", "shard-*.tar", "-o", "x-%02d.tar", cwd=tmp_path)
    assert again.status == 1
    assert again.err == "webds: 3 files exist, 'x-00.tar' is the first; --overwrite replaces what is there\n"


def test_a_shuffle_by_seed_with_results_as_json(tmp_path: Path) -> None:
    numbered_shards(tmp_path, 2, 20)
    for seed, name in [(1, "a"), (1, "b"), (2, "c")]:
        outcome = here(
            "reshard", "shard-*.tar", "-o", f"{name}.tar", "--shuffle", "--seed", str(seed), "--json", cwd=tmp_path
        )
        assert json.loads(outcome.text) == {
            "samples": 40, "shards": 1, "kept": 0, "left_out": {"samples": 0, "members": 0, "examples": []}
        }  # fmt: skip
    a, b, c = ((tmp_path / f"{name}.tar").read_bytes() for name in "abc")
    assert a == b != c
    assert sorted(keys(tmp_path / "a.tar")) == [f"key{number:05d}" for number in range(40)] != keys(tmp_path / "a.tar")


def test_through_pipes(tmp_path: Path) -> None:
    body = Path(numbered_shards(tmp_path, 1, 6)[0]).read_bytes()
    (tmp_path / "keys").write_text("key00001\nkey00004\n")
    sorts = here(
        "reshard", "-", "-o", "-", "--sort", "--by", "by.py:by", "--keys", "keys", "-f", "cls", stdin=body, cwd=tmp_path
    )
    assert sorts.status == 2
    assert "there is no module 'by.py', looked for in" in sorts.err
    (tmp_path / "by.py").write_text("def by(sample): return -int(sample['cls'])\n")
    sorts = here(
        "reshard", "-", "-o", "-", "--sort", "--by", "by.py:by", "--keys", "keys", "-f", "cls", stdin=body, cwd=tmp_path
    )
    assert sorts.status == 0
    assert sorts.err == "2 samples in 1 shard\n4 samples left out, as asked for\n"
    (tmp_path / "out.tar").write_bytes(sorts.out)
    assert keys(tmp_path / "out.tar") == ["key00004", "key00001"]
    assert {name for sample in contents(str(tmp_path / "out.tar")) for name, _ in sample} == {"__key__", "cls"}
    assert leftovers(tmp_path) == []


def test_a_remote_shard_into_a_compressed_folder(tmp_path: Path) -> None:
    body = tar_bytes([("a.x", b"1"), ("README", b""), ("b.x", b"2")])
    with serving() as web:
        web.routes["/data/x.tar"] = body
        outcome = here("reshard", web.url("/data/x.tar"), "-o", f"{tmp_path}/out/", "--compress", "gz", "--match", "b*")
    assert outcome.status == 0
    assert outcome.err == (
        "1 sample in 1 shard\n1 sample left out, as asked for\n1 member left out, part of no sample, such as 'README'\n"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.tar.gz"]
    assert keys(tmp_path / "out" / "x.tar.gz") == ["b"]


def test_a_broken_shard(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 2, 4)
    os.truncate(urls[1], 2600)
    outcome = here("reshard", *urls, "-o", f"{tmp_path}/x-%d.tar", "--maxcount", "3")
    assert outcome.status == 1
    assert outcome.err.startswith(f"webds: {urls[1]}: the archive ends ")
    assert outcome.err.count("\n") == 1
    assert [path.name for path in tmp_path.glob("x-*")] == ["x-0.tar"]
    outcome = here("reshard", f"{tmp_path}/gone.tar", "-o", f"{tmp_path}/y.tar")
    assert outcome.status == 1
    assert "gone.tar: cannot open: No such file or directory" in outcome.err


def test_keys_that_come_twice_and_their_new_names(tmp_path: Path) -> None:
    urls = [write_shard(tmp_path / f"{name}.tar", [{"__key__": "k", "cls": "1"}]) for name in "ab"]
    outcome = here("reshard", *urls, "-o", f"{tmp_path}/x.tar")
    assert outcome.status == 1
    assert "the shard has a sample with the key 'k' already" in outcome.err
    assert here("reshard", *urls, "-o", f"{tmp_path}/x.tar", "--rename", "{shard}/{key}").status == 0
    assert keys(tmp_path / "x.tar") == ["a/k", "b/k"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.tar", "--by", "a:b"], "--by is for --sort"),
        (["-o", "x.tar", "--md5"], "--md5 goes into a manifest: name one with --manifest"),
        (["-o", "x.tar", "--maxsize", "many"], "'many' is no number of bytes, such as 500MB or 2GiB"),
        (["-o", "-", "--json"], "--json and the shard would both go to standard output"),
        (["-o", "x.tar", "--memory", "10"], "--memory 10: expected 1048576 bytes at least"),
        (["-o", "x-%d-%d.tar"], "must have one place for the shard's number"),
        ([], "Missing option '-o'"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    numbered_shards(tmp_path, 1, 1)
    outcome = here("reshard", "shard-000000.tar", *arguments, cwd=tmp_path)
    assert (outcome.status, outcome.out) == (2, b"")
    assert message in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["shard-000000.tar"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_whole_shards_and_the_same_command_goes_on(tmp_path: Path, jobs: int) -> None:
    """With the shuffle's first half interrupted, nothing has a final name, and what was sorted is not lost."""
    numbered_shards(tmp_path, 4, 5)
    blocking = work.block_in(tmp_path, "key00017")
    (tmp_path / "out").mkdir()
    command = ["reshard", "shard-*.tar", "-o", "out/x-%d.tar", "--shuffle", "--maxcount", "6", "-j", str(jobs)]
    command += ["--where", f"{blocking}:block"]
    # As a terminal does, to all processes of the group.
    with start(*command, cwd=tmp_path, start_new_session=True) as process:
        work.until((tmp_path / "ready").exists)
        work.until(lambda: any((tmp_path / "out" / ".x-%d.tar.scratch").glob("shard-*.json")))
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"webds: interrupted\n")
    assert list((tmp_path / "out").glob("[!.]*")) == []
    scratch = tmp_path / "out" / ".x-%d.tar.scratch"
    notes = sorted(path.name for path in scratch.glob("*.json"))
    assert notes
    assert "shard-3.json" not in notes
    (tmp_path / "at").write_text("")
    outcome = run(*command, cwd=tmp_path)
    assert (outcome.status, outcome.err) == (0, "20 samples in 4 shards\n")
    assert leftovers(tmp_path) == []
    assert contents(f"{tmp_path}/out/*.tar") == contents(f"{tmp_path}/shard-*.tar")
    other = run(*command[:3], f"{tmp_path}/whole-%d.tar", *command[4:], cwd=tmp_path)
    assert other.status == 0
    for number in range(4):
        assert (tmp_path / f"whole-{number}.tar").read_bytes() == (tmp_path / f"out/x-{number}.tar").read_bytes()


def test_kill_9_leaves_whole_shards_and_the_same_command_goes_on(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 4, 5)
    blocking = work.block_in(tmp_path, "key00017")
    (tmp_path / "out").mkdir()
    command = ["reshard", "shard-*.tar", "-o", "out/x-%d.tar", "--maxcount", "6", "--where", f"{blocking}:block"]
    with start(*command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        work.until((tmp_path / "ready").exists)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert [len(keys(path)) for path in sorted((tmp_path / "out").glob("[!.]*"))] == [6, 6]
    (tmp_path / "at").write_text("")
    outcome = run(*command, cwd=tmp_path)
    assert (outcome.status, outcome.err) == (0, "20 samples in 4 shards, 2 of them from before\n")
    assert contents(f"{tmp_path}/out/*.tar") == contents(urls)
    assert leftovers(tmp_path) == []


def test_help_is_there_without_torch() -> None:
    code = "import sys\nfrom webds.cli import main\nmain(['reshard', '--help'])\nprint('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Examples:" in told.stdout
    assert told.stdout.endswith("False\n")
