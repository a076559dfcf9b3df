"""``--engine ray`` of the commands that have it: on a real cluster, compared with what is written here."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import work
from commands import here, start
from processes import alive
from shards import numbered_shards, tar_bytes
from webserver import serving
from work import contents, leftovers

from webds.tools.rayengine import RayEngine


def files(folder: Path) -> dict[str, bytes]:
    """All files but what Python caches of a module, which tells when the module was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }


@pytest.mark.usefixtures("local_ray")  # which the commands find there, in this process
def test_the_commands_write_the_same_bytes_on_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    functions: list[str] = []
    real = RayEngine.run

    def run_and_tell(engine: RayEngine, function: Any, *arguments: Any) -> Any:
        functions.append(getattr(function, "__name__", type(function).__name__))
        return real(engine, function, *arguments)

    monkeypatch.setattr(RayEngine, "run", run_and_tell)
    for place, engine in (("here", []), ("there", ["--engine", "ray"])):
        folder = tmp_path / place
        (folder / "texts").mkdir(parents=True)
        numbered_shards(folder, 3, 8)
        for number in range(7):
            (folder / "texts" / f"{number}.txt").write_text(f"text {number}")
        (folder / "mine.py").write_text("def shout(sample):\n    return {**sample, 'txt': sample['txt'].upper()}\n")
        for command in (
            ["map", "mine.py:shout", "shard-*.tar", "-o", "loud-%d.tar", "--manifest", "m.json"],
            ["reshard", "shard-*.tar", "-o", "mixed-%d.tar", "--shuffle", "--seed", "3", "--maxcount", "10"],
            ["pack", "texts", "-o", "packed-%d.tar", "--maxcount", "3"],
            ["index", "--md5", "shard-*.tar"],
            ["cp", "shard-*.tar", "copy-%d.tar"],
            ["unpack", "shard-*.tar", "-o", "files"],
        ):
            outcome = here(*command, *engine, cwd=folder)
            assert outcome.status == 0, outcome.err
    assert functions == ["_Convert", "_Scatter", "_Pack", "index_shard", "_Copy", "_Unpack"]
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert {
        "m.json",
        "loud-2.idx",
        "mixed-2.tar",
        "packed-2.tar",
        "index.json",
        "shard-000002.idx",
        "copy-2.tar",
        "files/key00007.txt",
    } <= set(files(tmp_path / "there"))
    assert contents(f"{tmp_path}/there/mixed-*.tar") == contents(f"{tmp_path}/there/shard-*.tar")


def test_a_process_of_the_cluster_is_killed_and_the_command_goes_on(tmp_path: Path, ray_address: str) -> None:
    urls = numbered_shards(tmp_path, 4, 20)
    function = work.block_in(tmp_path, "key00050")
    arguments = ["map", "blocking.py:block", "shard-*.tar", "-o", "new/", "--index", "-j", "2"]
    with start(*arguments, "--engine", "ray", "--address", ray_address, cwd=tmp_path) as process:
        work.until((tmp_path / "ready").exists)
        first = int((tmp_path / "ready").read_text())
        os.kill(first, signal.SIGKILL)
        work.until(lambda: not alive(first))
        work.until(lambda: int((tmp_path / "ready").read_text()) != first)
        (tmp_path / "fifo").write_bytes(b"")  # lets the next one go on
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err.decode()) == (0, b"", "80 samples in 4 shards\n")
    (tmp_path / "at").write_text("no sample")
    assert here("map", function.name + ":block", *urls, "-o", "own/", "--index", cwd=tmp_path).status == 0
    assert files(tmp_path / "new") == files(tmp_path / "own")
    assert leftovers(tmp_path / "new") == []


@pytest.mark.usefixtures("local_ray")
def test_shards_that_are_remote_or_broken(tmp_path: Path) -> None:
    body = tar_bytes([("a.txt", b"x"), ("b.txt", b"y")])
    (tmp_path / "mine.py").write_text("def same(sample):\n    return sample\n")
    with serving() as web:
        web.routes |= {"/x.tar": body, "/cut.tar": body[:1100]}
        urls = [web.url("/x.tar"), web.url("/cut.tar")]
        outcome = here("map", "mine.py:same", *urls, "-o", "x-%d.tar", "--engine", "ray", cwd=tmp_path)
    assert (outcome.status, outcome.out) == (1, b"")
    assert outcome.err.startswith(f"webds: {web.url('/cut.tar')}: the archive ends")
    assert outcome.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.glob("x-*")) == ["x-0.tar"]


def test_options_that_do_not_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered_shards(tmp_path, 1, 2)
    outcome = here("index", "shard-000000.tar", "--address", "auto", cwd=tmp_path)
    assert (outcome.status, "--address is for --engine ray" in outcome.err) == (2, True)
    for command in (["reshard", "-", "-o", "x.tar"], ["reshard", "shard-000000.tar", "-o", "-"]):
        outcome = here(*command, "--engine", "ray", cwd=tmp_path)
        assert (outcome.status, "no standard streams" in outcome.err) == (2, True)
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = here("index", "shard-000000.tar", "--engine", "ray", cwd=tmp_path)
    assert (outcome.status, "pip install 'webds[ray]'" in outcome.err) == (1, True)
