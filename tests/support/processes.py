"""Looking at the child processes of this one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["alive", "children"]


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
