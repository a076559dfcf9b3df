from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import work
from processes import alive
from shards import numbered_shards
from work import contents, leftovers

from webds.errors import MissingExtraError, OpenError, SampleError, WorkerError
from webds.tools.folders import FolderSource
from webds.tools.mapping import map_shards
from webds.tools.outputs import Output
from webds.tools.packing import pack
from webds.tools.rayengine import RayEngine
from webds.tools.resharding import reshard

pytestmark = pytest.mark.usefixtures("local_ray")


def test_results_come_in_the_order_of_the_tasks_and_all_reports_are_heard() -> None:
    heard: list[int] = []
    assert list(RayEngine().run(work.square, range(20), heard.append)) == [number * number for number in range(20)]
    assert sum(heard) == 20


def test_tasks_run_in_processes_of_the_cluster() -> None:
    found = set(RayEngine().run(work.name_process, range(20)))
    assert os.getpid() not in found
    assert RayEngine().at_once() == 2
    assert RayEngine(jobs=1).at_once() == 1


def test_functions_without_a_name_will_do() -> None:
    three = 3
    assert list(RayEngine().run(lambda number: number + three, [1])) == [4]


def test_what_a_task_raises_is_raised_with_its_attributes_and_its_traceback() -> None:
    with pytest.raises(SampleError, match="no good") as caught:
        list(RayEngine().run(work.fail_at, range(100)))
    assert type(caught.value) is SampleError
    assert (caught.value.url, caught.value.key) == ("s3://bucket/x.tar?***", "k")
    assert "in fail_at" in str(caught.value.__cause__)
    with pytest.raises(WorkerError, match="Unpicklable: odd"):
        list(RayEngine().run(work.raise_unpicklable, [1]))


@pytest.mark.parametrize(("retries", "times"), [(0, "before that: "), (1, "before that, twice: ")])
def test_a_task_that_kills_each_process_is_an_error_that_names_it(retries: int, times: str) -> None:
    with pytest.raises(WorkerError, match=rf"worked on fatal\.tar came to an end {times}"):
        list(RayEngine(retries=retries).run(work.kill_itself, ["a.tar", "fatal.tar", "b.tar"]))


def test_tasks_are_taken_as_they_can_be_begun() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with contextlib.closing(RayEngine().run(work.square, tasks())) as done:
        next(done)
    assert len(taken) <= 5
    taken.clear()
    with contextlib.closing(RayEngine(jobs=1).run(work.square, tasks())) as done:
        next(done)
    assert len(taken) <= 2


def test_closing_ends_tasks_under_way_and_lets_them_tidy_up(tmp_path: Path) -> None:
    path = tmp_path / "at work"

    def tasks() -> Iterator[Any]:
        yield str(path)
        work.until(lambda: path.exists() and path.read_text())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(RayEngine().run(work.wait_with_file, tasks()))
    work.until(lambda: not path.exists())


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="jobs=0"):
        RayEngine(jobs=0)
    with pytest.raises(ValueError, match="retries=-1"):
        RayEngine(retries=-1)


def test_without_ray_an_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'webds\[ray\]'"):
        RayEngine()
    for name in [name for name in sys.modules if name.startswith("webds.ray")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install 'webds\[ray\]'"):
        importlib.import_module("webds.ray")


def test_a_cluster_that_is_not_there_is_an_error_that_names_it() -> None:
    code = "from webds.tools.rayengine import RayEngine; RayEngine('nowhere').at_once()"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"{OpenError.__name__}: cannot connect to Ray at 'nowhere': " in run.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_tools_write_the_same_bytes_as_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered_shards(tmp_path, 3, 20)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    for number in range(20):
        (tmp_path / "files" / f"{number:02d}.txt").write_text(f"text {number}")
    for engine, place in ((None, "here"), (RayEngine(), "there")):
        (tmp_path / place).mkdir()
        urls = "shard-*.tar"
        map_shards(work.say, urls, Output(target=f"{place}/map-%d.tar", manifest="m.json"), engine=engine)
        reshard(urls, Output(target=f"{place}/mixed-%d.tar", maxcount=25), "shuffle", engine=engine)
        pack(FolderSource("files"), Output(target=f"{place}/packed-%d.tar", maxcount=6, index=True), engine=engine)
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert len(files(tmp_path / "here")) == 3 + 3 + 1 + 3 + 4 + 4
    assert leftovers(tmp_path) == []


def test_a_process_that_is_killed_in_the_middle_of_a_shard_leaves_nothing_missing_and_nothing_twice(
    tmp_path: Path,
) -> None:
    urls = numbered_shards(tmp_path, 4, 50)
    function = webds_function(tmp_path)
    map_shards(work.say, urls, Output(target=f"{tmp_path}/here/", index=True), jobs=1)
    results: list[Any] = []
    output = Output(target=f"{tmp_path}/there/", index=True)
    thread = threading.Thread(
        target=lambda: results.append(map_shards(function, urls, output, engine=RayEngine())), daemon=True
    )
    thread.start()
    ready = tmp_path / "ready"
    work.until(ready.exists)
    first = int(ready.read_text())
    os.kill(first, signal.SIGKILL)
    work.until(lambda: not alive(first))
    work.until(lambda: int(ready.read_text()) != first)
    (tmp_path / "fifo").write_bytes(b"")  # lets the next one go on
    thread.join(60)
    (done,) = results
    assert (done.written.shards, done.written.samples) == (4, 200)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert sum(contents(f"{tmp_path}/there/*.tar").values()) == len(contents(f"{tmp_path}/there/*.tar")) == 200
    assert leftovers(tmp_path) == []


def webds_function(folder: Path) -> Any:
    """Return a function like `work.say` that waits in the middle of the third shard."""
    from webds.tools.functions import NamedFunction

    path = work.block_in(folder, "key00125")
    path.write_text(
        path.read_text().replace("    return sample", "    return {**sample, 'txt': 'this is ' + sample['__key__']}")
    )
    return NamedFunction(f"{path}:block")
