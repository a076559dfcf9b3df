from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import work
from commands import here, start, webds as run
from processes import alive
from shards import numbered_shards, tar_bytes
from webserver import serving
from work import contents, leftovers

MINE = """
def shout(sample):
    return {**sample, "txt": sample["txt"].decode().upper()}

def count(sample):
    return {**sample, "cls": sample["cls"] + 1}

def fail(sample):
    if sample["__key__"] == "key00006":
        raise RuntimeError("no\\nsix")
    return sample
"""


def prepared(folder: Path) -> list[str]:
    (folder / "mine.py").write_text(MINE)
    return numbered_shards(folder, 3, 4)


def test_a_function_of_a_module_in_this_folder_over_all_shards(tmp_path: Path) -> None:
    urls = prepared(tmp_path)
    outcome = run("map", "mine:shout", "shard-*.tar", "-o", "new/", "-j", "2", "--manifest", "m.json", cwd=tmp_path)
    assert (outcome.status, outcome.out, outcome.err) == (0, b"", "12 samples in 3 shards\n")
    expected = {
        tuple(sorted({**dict(sample), "txt": dict(sample)["txt"].upper()}.items())): 1 for sample in contents(urls)
    }
    assert contents(f"{tmp_path}/new/m.json") == expected


def test_decoded_and_to_standard_output(tmp_path: Path) -> None:
    urls = prepared(tmp_path)
    outcome = here(
        "map", "mine.py:count", "-", "-o", "-", "--decode", "cls", stdin=Path(urls[1]).read_bytes(), cwd=tmp_path
    )
    assert (outcome.status, outcome.err) == (0, "4 samples in 1 shard\n")
    (tmp_path / "out.tar").write_bytes(outcome.out)
    assert sorted(int(dict(sample)["cls"]) for sample in contents(str(tmp_path / "out.tar"))) == [5, 6, 7, 8]


def test_a_remote_shard_and_a_broken_one(tmp_path: Path) -> None:
    prepared(tmp_path)
    body = tar_bytes([("a.txt", b"x"), ("b.txt", b"y")])
    with serving() as web:
        web.routes |= {"/x.tar": body, "/cut.tar": body[:1100]}
        outcome = here("map", "mine:shout", web.url("/x.tar"), "-o", "x-%d.tar", cwd=tmp_path)
        assert (outcome.status, outcome.err) == (0, "2 samples in 1 shard\n")
        assert contents(str(tmp_path / "x-0.tar")) == {
            (("__key__", "a"), ("txt", b"X")): 1, (("__key__", "b"), ("txt", b"Y")): 1
        }  # fmt: skip
        outcome = here("map", "mine:shout", web.url("/cut.tar"), "-o", "y-%d.tar", cwd=tmp_path)
    assert outcome.status == 1
    assert outcome.err.startswith(f"webds: {web.url('/cut.tar')}: the archive ends")
    assert not list(tmp_path.glob("y-*"))


def test_a_function_that_fails(tmp_path: Path) -> None:
    urls = prepared(tmp_path)
    outcome = here("map", "mine:fail", *urls, "-o", "new/", "-j", "2", cwd=tmp_path)
    assert (outcome.status, outcome.err) == (1, f"webds: {urls[1]}: RuntimeError: no six (key 'key00006')\n")
    assert "shard-000001.tar" not in os.listdir(tmp_path / "new")
    outcome = here("map", "mine:fail", *urls, "-o", "left/", "--on-error", "skip", "--json", cwd=tmp_path)
    assert outcome.status == 1
    told = json.loads(outcome.text)
    assert (told["samples"], told["failed"]) == (11, 1)
    assert told["errors"] == [f"{urls[1]}: key 'key00006': RuntimeError: no\nsix"]
    outcome = here("map", "mine:gone", *urls, "-o", "other/", cwd=tmp_path)
    assert (outcome.status, outcome.err) == (2, "webds map: 'mine' has no function 'gone' (try 'webds map --help')\n")


def test_ctrl_c_leaves_whole_shards_and_the_same_command_goes_on(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 4, 5)
    blocking = work.block_in(tmp_path, "key00017")
    command = ["map", f"{blocking}:block", *urls, "-o", "new/", "-j", "2", "--index"]
    with start(*command, cwd=tmp_path, start_new_session=True) as process:
        work.until((tmp_path / "ready").exists)
        work.until(lambda: len(list((tmp_path / "new").glob("[!.]*.tar"))) == 3)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"webds: interrupted\n")
    assert leftovers(tmp_path / "new") == [".folder.job"]
    assert not alive(int((tmp_path / "ready").read_text()))
    (tmp_path / "at").write_text("")
    outcome = run(*command, cwd=tmp_path)
    assert (outcome.status, outcome.err) == (0, "20 samples in 4 shards, 3 of them from before\n")
    assert contents(f"{tmp_path}/new/*.tar") == contents(urls)
    assert leftovers(tmp_path / "new") == []


def test_kill_9_ends_all_processes_and_the_same_command_goes_on(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, 4, 5)
    blocking = work.block_in(tmp_path, "key00017")
    command = ["map", f"{blocking}:block", *urls, "-o", "new/", "-j", "2"]
    with start(*command, cwd=tmp_path) as process:
        work.until((tmp_path / "ready").exists)
        process.kill()
    worker = int((tmp_path / "ready").read_text())
    work.until(lambda: not alive(worker))
    (tmp_path / "at").write_text("")
    outcome = run(*command, cwd=tmp_path)
    assert outcome.status == 0
    assert outcome.err.startswith("20 samples in 4 shards")
    assert contents(f"{tmp_path}/new/*.tar") == contents(urls)
    assert leftovers(tmp_path / "new") == []
