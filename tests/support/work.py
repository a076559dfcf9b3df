"""Functions for tools to call, in this process or in others, and functions of users in files of their own."""

from __future__ import annotations

import collections
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from webds.errors import SampleError
from webds.tools.engine import report
from webds.tools.reading import source_of
from webds.typing import Sample

__all__ = [
    "BLOCKING",
    "Unpicklable",
    "block_in",
    "contents",
    "fail_at",
    "kill_itself",
    "leftovers",
    "name_process",
    "say",
    "square",
    "until",
]

BLOCKING: Final = """
import os, pathlib
here = pathlib.Path(__file__).parent

def block(sample):
    if sample["__key__"] == (here / "at").read_text():
        (here / "ready.new").write_text(str(os.getpid()))
        (here / "ready.new").rename(here / "ready")
        with open(here / "fifo", "rb") as fifo:
            fifo.read()
    return sample
"""
"""A file with a function that returns its sample, but waits at one whose key is in the file ``at``."""


def block_in(folder: Path, key: str) -> Path:
    """Write the file above, to wait at ``key``; return its path."""
    (folder / "blocking.py").write_text(BLOCKING)
    (folder / "at").write_text(key)
    os.mkfifo(folder / "fifo")
    return folder / "blocking.py"


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.02)


def contents(urls: Any) -> collections.Counter[tuple[tuple[str, Any], ...]]:
    """Return how often each sample is there."""
    source = source_of(urls)
    return collections.Counter(tuple(sorted(sample.items())) for url in source.shards() for sample in source.read(url))


def leftovers(folder: Path) -> list[str]:
    """Return the names of hidden files."""
    return sorted(path.name for path in folder.rglob(".*"))


def square(number: int) -> int:
    report(1)
    return number * number


def name_process(number: int) -> int:
    return os.getpid()


def fail_at(number: int) -> int:
    if number == 3:
        raise SampleError("no good", url="s3://bucket/x.tar?sig=secret", key="k")
    return number


def kill_itself(task: str) -> str:
    if task == "fatal.tar":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


class Unpicklable(Exception):  # noqa: N818
    """An exception that cannot be made again from its text."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)


def raise_unpicklable(number: int) -> None:
    raise Unpicklable("odd", "even")


def wait_with_file(path: str) -> None:
    """Put a file there while at work, and take it away at the end, come what may."""
    Path(path).write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.02)
    finally:
        os.unlink(path)


def say(sample: Sample) -> Sample:
    return {**sample, "txt": f"this is {sample['__key__']}"}


def double(sample: Sample) -> list[Sample]:
    return [{**sample, "__key__": sample["__key__"] + end} for end in "ab"]


def drop_odd(sample: Sample) -> Sample | None:
    return None if int(sample["cls"]) % 2 else sample


def is_even(sample: Sample) -> bool:
    return int(sample["cls"]) % 2 == 0


def increment(sample: Sample) -> Sample:
    return {"cls": sample["cls"] + 1}


def fail_at_seven(sample: Sample) -> Sample:
    if int(sample["cls"]) == 7:
        raise ZeroDivisionError("seven")
    return sample


def backwards(sample: Sample) -> int:
    return -int(sample["cls"])
