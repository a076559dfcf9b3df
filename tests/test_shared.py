"""Bytes that a process shares with the processes it forks and spawns, and with nobody else."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from webds import shared
from webds.shared import SharedFile, is_spawning

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that share descriptors")


def run(method: str, *calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
    """Run all calls at once, each in a process of its own, and see them end well."""
    context: Any = multiprocessing.get_context(method)
    children = [context.Process(target=target, args=args) for target, args in calls]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * len(children)


def test_one_that_lives_until_the_interpreter_ends_makes_no_noise() -> None:
    program = "import webds; dataset = webds.DatasetBuilder(webds.MemorySource([1])).build(); print(*dataset)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("1\n", "")


# --- content -----------------------------------------------------------------------------------------------


def test_the_content_is_replaced_and_appended() -> None:
    file = SharedFile(b"first")
    assert file.read() == b"first"
    file.append(b", second")
    file.append(b"")
    assert file.read() == b"first, second"
    assert file.read(7) == b"second"
    assert file.read(100) == b""
    for content in (b"short", b"much longer than that", b"", b"x" * 100_000, b"again"):
        file.replace(content)
        assert file.read() == content
    file.append(b"!")
    assert file.read() == b"again!"
    assert SharedFile().read() == b""


def test_no_file_is_seen_and_no_descriptor_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = SharedFile(b"x")
    other = pickle.loads(pickle.dumps(file))
    if sys.platform == "linux":
        assert list(tmp_path.iterdir()) == []
    descriptors = {file._descriptor, other._descriptor}
    assert len(descriptors) == 2
    del file, other
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_a_change_that_was_interrupted_is_as_if_it_never_began() -> None:
    """A process was killed after it had written what it appended, and before it said so."""
    file = SharedFile(b"whole")
    file._pwrite(b"half", shared._LENGTH.size + 5)
    assert file.read() == b"whole"
    file.append(b"!")
    assert file.read() == b"whole!"


def test_without_the_calls_of_posix_a_process_has_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "fcntl", None)
    monkeypatch.delattr(os, "pread", raising=False)
    monkeypatch.delattr(os, "pwrite", raising=False)
    file = SharedFile(b"first")
    file.append(b", second")
    with file.locked():
        file.replace(file.read() + b", third")
    assert file.read() == b"first, second, third"
    assert pickle.loads(pickle.dumps(file)).read() == b"first, second, third"


# --- copies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda file: pickle.loads(pickle.dumps(file)), copy.copy, copy.deepcopy])
def test_a_plain_copy_is_independent(again: Callable[[SharedFile], SharedFile]) -> None:
    file = SharedFile(b"content")
    other = again(file)
    assert other.read() == b"content"
    other.append(b" of the copy")
    file.replace(b"new")
    assert (file.read(), other.read()) == (b"new", b"content of the copy")
    del file
    assert other.read() == b"content of the copy"


# --- processes ---------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_parent_and_children_see_each_others_changes(method: str) -> None:
    file = SharedFile(b"parent\n")
    run(method, (SharedFile.append, (file, b"child\n")))
    assert file.read() == b"parent\nchild\n"
    file.append(b"parent\n")
    run(method, (SharedFile.replace, (file, b"from the second child")))
    assert file.read() == b"from the second child"


def append_lines(file: SharedFile, name: str, count: int) -> None:
    for number in range(count):
        file.append(f"{name} {number} {name * 200}\n".encode())


@posix
def test_what_several_processes_append_is_never_mixed() -> None:
    file = SharedFile()
    run("fork", *((append_lines, (file, name, 50)) for name in "abcd"))
    lines = file.read().decode().splitlines()
    assert sorted(lines) == sorted(f"{name} {number} {name * 200}" for name in "abcd" for number in range(50))
    for name in "abcd":
        own = [int(line.split()[1]) for line in lines if line.startswith(name)]
        assert own == list(range(50)), "what one of them appends stays in order"


def count_up(file: SharedFile, times: int) -> None:
    for _ in range(times):
        with file.locked():
            file.replace(str(int(file.read()) + 1).encode())


@posix
def test_a_locked_block_is_alone_among_processes() -> None:
    file = SharedFile(b"0")
    run("fork", *((count_up, (file, 200)) for _ in range(4)))
    assert file.read() == b"800"


def test_a_locked_block_is_alone_among_threads() -> None:
    file = SharedFile(b"0")
    threads = [threading.Thread(target=count_up, args=(file, 200)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read() == b"800"


def must_not_get_the_lock(file: SharedFile) -> None:
    import fcntl

    with contextlib.suppress(BlockingIOError):
        fcntl.lockf(file._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(1)


def must_get_the_lock(file: SharedFile) -> None:
    import fcntl

    fcntl.lockf(file._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@posix
def test_the_end_of_an_inner_block_does_not_unlock_the_outer_one() -> None:
    file = SharedFile()
    with file.locked():
        run("fork", (must_not_get_the_lock, (file,)))
        with file.locked():
            file.append(b"x")
        file.replace(b"y")
        run("fork", (must_not_get_the_lock, (file,)))
    run("fork", (must_get_the_lock, (file,)))
    assert file.read() == b"y"


def be_killed_in_a_locked_block(file: SharedFile) -> None:
    with file.locked():
        file.replace(b"written before the end")
        os.kill(os.getpid(), signal.SIGKILL)


@posix
def test_a_killed_process_leaves_no_lock() -> None:
    file = SharedFile()
    child = multiprocessing.get_context("fork").Process(target=be_killed_in_a_locked_block, args=(file,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    file.append(b", and after")
    assert file.read() == b"written before the end, and after"


@posix
def test_a_fork_while_another_thread_holds_the_lock_does_not_hang() -> None:
    file = SharedFile()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with file._threads:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        run("fork", (SharedFile.append, (file, b"from the child")))
    finally:
        release.set()
        thread.join()
    assert file.read() == b"from the child"


# --- is_spawning -------------------------------------------------------------------------------------------


class SaysWhetherSpawning:
    """Unpickles as the word, in the child, that was true when it was pickled."""

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return str.encode, (str(is_spawning()),)


@posix
def test_is_spawning_tells_a_start_of_a_child_from_a_plain_pickle() -> None:
    assert pickle.loads(pickle.dumps(SaysWhetherSpawning())) == b"False"
    file = SharedFile()
    run("spawn", (SharedFile.append, (file, SaysWhetherSpawning())))
    assert file.read() == b"True"
    assert not is_spawning()


def test_one_that_outlives_its_module_says_nothing_at_the_end_of_the_process() -> None:
    # A function in a table of the package keeps the script's names until the package's own are gone.
    script = """
import webds
webds.default_handlers["rgb"]["mp4"] = lambda data: data
dataset = webds.DatasetBuilder(webds.MemorySource([1, 2, 3])).build()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
