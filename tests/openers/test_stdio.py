from __future__ import annotations

import io
import multiprocessing
import subprocess
import sys
from typing import Any

import pytest
from opening import refusal_of_stdin

from webds.errors import OpenError
from webds.openers import StdioOpener


def run(program: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program in a process of its own: what is tested are its streams."""
    start = "from webds.openers import StdioOpener, gopen\nimport sys\n"
    return subprocess.run([sys.executable, "-c", start + program], input=data, capture_output=True, check=False)


def test_what_one_reader_left_the_next_one_finds() -> None:
    program = """
with gopen("-") as first:
    head = first.read(4)
with gopen("-") as second:
    middle, rest = second.read1(4), second.read()
print(head, middle, rest, sys.stdin.closed)
"""
    ran = run(program, b"0123456789" * 1000)
    assert ran.stdout.decode().startswith("b'0123' b'4567' b'8901234")
    assert ran.stdout.decode().rstrip().endswith("89' False")


def test_standard_output_stays_open_and_in_order() -> None:
    program = """
print("before")
with gopen("-", "wb") as stream:
    assert stream.write(b"data\\n") == 5
print("after")
"""
    ran = run(program)
    assert (ran.stdout, ran.stderr) == (b"before\ndata\nafter\n", b"")


def test_a_reader_that_went_away_is_an_open_error() -> None:
    program = """
from webds.errors import OpenError
import os
read, write = os.pipe()
os.dup2(write, 1)
os.close(read), os.close(write)
stream = StdioOpener().open("-", "wb")
try:
    stream.write(bytes(1 << 20))
    stream.flush()
except OpenError as error:
    print(error, file=sys.stderr)
    os._exit(0)
"""
    ran = run(program)
    assert b"cannot write standard output: Broken pipe" in ran.stderr


def test_a_closed_stream_does_not_read() -> None:
    stream = StdioOpener().open("-")
    assert stream.readable()
    assert not stream.writable()
    stream.close()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read()


def test_a_stream_for_reading_does_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"data")))
    with StdioOpener().open("-") as stream:
        with pytest.raises(io.UnsupportedOperation):
            stream.write(b"x")
        assert stream.read(None) == b"data"  # type: ignore[arg-type]  # BinaryIO does not know it, and files do


def test_without_a_binary_stream_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("text"))
    with pytest.raises(OpenError, match="standard input"):
        StdioOpener().open("-")
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OpenError, match="standard output"):
        StdioOpener().open("-", "wb")


def test_it_opens_nothing_else() -> None:
    with pytest.raises(OpenError, match="-"):
        StdioOpener().open("file")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_has_no_standard_input(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue: Any = context.SimpleQueue()
    worker: Any = context.Process(target=refusal_of_stdin, args=(queue,))  # type: ignore[attr-defined]  # of all contexts
    worker.start()
    assert "main process" in queue.get()
    worker.join()
