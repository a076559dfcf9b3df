"""Looking at the child processes of this one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import warnings
from collections.abc import Generator
from pathlib import Path
from unittest import mock

__all__ = ["alive", "children", "forking_when_locked", "threads_of_ours"]


def _status(pid: str) -> tuple[str, int] | None:
    """Return (state, parent) of a process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def children() -> set[int]:
    """Return the numbers of the children of this process, zombies included."""
    found = {int(pid): _status(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    return {pid for pid, status in found.items() if status is not None and status[1] == os.getpid()}


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    status = _status(str(pid))
    return status is not None and status[0] != "Z"


def threads_of_ours() -> set[threading.Thread]:
    """Return the threads of this process that webds has started."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("webds")}


@contextlib.contextmanager
def forking_when_locked(most: int) -> Generator[list[int]]:
    """Fork a child whenever a file has been locked, which lives on, with copies of all descriptors, until the end.

    Another thread of a process may fork workers at any moment. The list has the numbers of the children.

    Args:
        most: how many children there are at most.
    """
    real, pids = fcntl.flock, list[int]()
    ours, theirs = os.pipe()

    def locks(descriptor: int, operation: int) -> None:
        real(descriptor, operation)
        if operation & fcntl.LOCK_UN or len(pids) == most:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            os.close(theirs)
            os.read(ours, 1)
            os._exit(0)
        pids.append(pid)

    try:
        with mock.patch.object(fcntl, "flock", locks):
            yield pids
    finally:
        os.close(theirs)
        os.close(ours)
        for pid in pids:
            os.waitpid(pid, 0)
