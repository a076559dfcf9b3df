from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import work
from processes import alive, children

from webds.errors import SampleError, WorkerError
from webds.tools.engine import Engine, ProcessEngine, SerialEngine, engine_of

ENGINES = [SerialEngine(), ProcessEngine(2)]


@pytest.mark.parametrize("engine", ENGINES, ids=["serial", "processes"])
def test_results_come_in_the_order_of_the_tasks_and_all_reports_are_heard(engine: Engine) -> None:
    heard: list[int] = []
    assert list(engine.run(work.square, range(20), heard.append)) == [number * number for number in range(20)]
    assert sum(heard) == 20


@pytest.mark.parametrize("engine", ENGINES, ids=["serial", "processes"])
def test_what_a_task_raises_is_raised_with_its_attributes(engine: Engine) -> None:
    results: list[int] = []
    with pytest.raises(SampleError, match="no good") as caught:
        results.extend(engine.run(work.fail_at, range(100)))
    assert (caught.value.url, caught.value.key) == ("s3://bucket/x.tar?***", "k")


def test_an_error_of_another_process_brings_its_traceback_along() -> None:
    with pytest.raises(SampleError) as caught:
        list(ProcessEngine(1).run(work.fail_at, [3]))
    assert "in fail_at" in str(caught.value.__cause__)


def test_an_exception_that_cannot_be_pickled_is_told_all_the_same() -> None:
    with pytest.raises(WorkerError, match="Unpicklable: odd"):
        list(ProcessEngine(1).run(work.raise_unpicklable, [1]))


def test_a_process_that_is_killed_is_an_error_that_names_its_task() -> None:
    with pytest.raises(WorkerError, match=r"worked on fatal\.tar .* killed by SIGKILL, perhaps for lack of memory"):
        list(ProcessEngine(2).run(work.kill_itself, ["a.tar", "fatal.tar", "b.tar"]))


def test_tasks_run_in_as_many_processes_as_asked_for_and_none_is_left() -> None:
    before = children()
    found = set(ProcessEngine(2).run(work.name_process, range(40)))
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2
    assert not any(map(alive, found))
    assert not {child for child in children() - before if child in found}


def test_no_more_processes_are_started_than_there_are_tasks() -> None:
    assert len(set(ProcessEngine(8).run(work.name_process, [1]))) == 1


def test_closing_ends_tasks_under_way_and_lets_them_tidy_up(tmp_path: Path) -> None:
    path = tmp_path / "at work"

    def tasks() -> Iterator[Any]:
        yield str(path)
        work.until(path.exists)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ProcessEngine(2).run(work.wait_with_file, tasks()))
    assert not path.exists()


PARENT = """
import sys, work
from webds.tools.engine import ProcessEngine
if __name__ == "__main__":
    list(ProcessEngine(1).run(work.wait_with_file, [sys.argv[1]]))
"""


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script, path = tmp_path / "parent.py", tmp_path / "at work"
    script.write_text(PARENT)
    folders = os.pathsep.join([str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": folders}
    with subprocess.Popen([sys.executable, script, path], env=environment) as process:
        work.until(lambda: path.exists() and path.read_text())
        worker = int(path.read_text())
        process.send_signal(signal.SIGKILL)
    work.until(lambda: not alive(worker))
    assert not path.exists()


def test_tasks_are_taken_as_they_can_be_begun() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[Any]:
        for number in range(1000):
            taken.append(number)
            yield number

    with contextlib.closing(ProcessEngine(1).run(work.square, tasks())) as done:
        next(done)
    assert len(taken) <= 2


def test_a_function_that_cannot_be_pickled_is_an_error_here() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        list(ProcessEngine(1).run(lambda task: task, [1]))


def test_one_job_is_this_process() -> None:
    assert isinstance(engine_of(1), SerialEngine)
    engine = engine_of(3)
    assert isinstance(engine, ProcessEngine)
    assert engine.jobs == 3
    with pytest.raises(ValueError, match="jobs=0"):
        ProcessEngine(0)
