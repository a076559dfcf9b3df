from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import threading
from pathlib import Path
from typing import cast

import pytest
from processes import alive, children
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import PipeOpener, processes
from webds.openers.streams import DrainWriter
from webds.testing import OpenerSuite
from webds.testing.suite import open_files, settled, shown


class TestPipeOpener(OpenerSuite):
    @override
    def make_opener(self) -> Opener:
        return PipeOpener()

    @override
    def url_of(self, folder: Path, content: bytes) -> str:
        path = folder / f"{len(os.listdir(folder))}.bin"
        path.write_bytes(content)
        return f"pipe:cat {shlex.quote(str(path))}"

    @override
    def missing_url(self, folder: Path) -> str:
        return f"pipe:cat {shlex.quote(str(folder / 'nothing'))}"

    @override
    def secret_url(self, folder: Path, secret: str) -> str:
        return f"pipe:cat --header 'Authorization: Bearer {secret}' 'https://user:{secret}@host/x?sig={secret}'"

    @override
    def writable_url(self, folder: Path) -> str | None:
        return f"pipe:cat > {shlex.quote(str(folder / 'written'))}"

    @override
    def written(self, folder: Path, url: str) -> bytes:
        return (folder / "written").read_bytes()


def drained(command: str) -> bytes:
    """Read in pieces, as the tar reader does."""
    parts: list[bytes] = []
    with PipeOpener().open(f"pipe:{command}") as stream:
        while part := stream.read(1000):
            parts.append(part)
    return b"".join(parts)


def failure(command: str) -> OpenError:
    with pytest.raises(OpenError) as caught:
        drained(command)
    return caught.value


def test_a_failure_inside_a_pipeline_is_an_error() -> None:
    assert "status 3" in str(failure("(echo data; exit 3) | cat"))


def test_a_failure_after_all_data_is_an_error_that_comes_after_the_data() -> None:
    with PipeOpener().open("pipe:printf %05000d 7; exit 4") as stream:
        assert len(stream.read(4000)) == 4000
        assert len(stream.read(4000)) == 1000
        with pytest.raises(OpenError, match="status 4"):
            stream.read(4000)


def test_reading_everything_at_once_raises_too() -> None:
    with PipeOpener().open("pipe:echo data; exit 4") as stream, pytest.raises(OpenError, match="status 4"):
        stream.read()


def test_a_failure_that_nobody_read_up_to_is_raised_by_close() -> None:
    before = children()
    stream = PipeOpener().open("pipe:printf data; exit 4")
    assert stream.read(4) == b"data"
    assert settled(lambda: not any(alive(pid) for pid in children() - before))
    with pytest.raises(OpenError, match="status 4"):
        stream.close()
    assert stream.closed


def test_a_failure_is_none_of_a_reader_that_stops_before_the_end() -> None:
    before = children()
    stream = PipeOpener().open("pipe:printf data; exit 4")
    assert stream.read(3) == b"dat"
    assert settled(lambda: not any(alive(pid) for pid in children() - before))
    stream.close()


def test_sigpipe_is_no_failure() -> None:
    assert drained("yes | head -c 1000") == b"y\n" * 500
    assert drained("printf data; exit 141") == b"data"
    assert drained("printf data; kill -PIPE $$") == b"data"


def test_a_signal_is_named() -> None:
    assert "SIGKILL" in str(failure("kill -KILL $$"))


def test_a_command_that_does_not_exist_says_so() -> None:
    error = failure("no-such-command-here")
    assert "status 127" in str(error)
    assert "no-such-command-here" in error.message


def test_the_error_carries_the_end_of_stderr_in_bounds() -> None:
    error = failure("seq 300000 >&2; echo the last words >&2; exit 1")
    assert error.message.endswith("300000\nthe last words")
    assert len(error.message) < 3000
    assert "said nothing" in failure("exit 1").message


def test_progress_bars_and_colours_are_shown_as_plain_lines() -> None:
    error = failure(r"printf '10%%\r20%%\r\033[31mred\033[0m\a\n' >&2; exit 1")
    assert error.message.endswith("10%\n20%\nred")


def test_no_secret_shows_where_the_kept_part_of_stderr_begins() -> None:
    line = "https://host/x?signature=" + "hush" * 20000
    assert "hush" not in shown(failure(f"printf {shlex.quote(line)} >&2; printf {shlex.quote(line)} >&2; exit 1"))


@pytest.mark.parametrize("order", ["first", "meanwhile", "last"])
def test_a_chatty_command_never_blocks(order: str) -> None:
    talk = "seq 200000 >&2"
    command = {
        "first": f"{talk}; printf %0100000d 7",
        "meanwhile": f"{talk} & printf %0100000d 7; wait",
        "last": f"printf %0100000d 7; exec >&-; {talk}",
    }[order]
    assert len(drained(command)) == 100000


def test_a_chatty_command_never_blocks_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with PipeOpener().open(f"pipe:seq 100000 >&2; cat > {path}; seq 100000 >&2", "wb") as stream:
        stream.write(bytes(300_000))
    assert path.stat().st_size == 300_000


def test_closing_early_ends_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    before, files = children(), open_files()
    stream = PipeOpener().open(f"pipe:(echo $BASHPID > {pids}; sleep 1000) | (echo data; sleep 1000)")
    assert stream.read(4) == b"data"
    assert settled(lambda: pids.exists() and pids.read_text() != "")
    stream.close()
    assert children() <= before
    assert open_files() <= files
    assert settled(lambda: not alive(int(pids.read_text())))


def test_closing_early_ends_what_the_command_left_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    stream = PipeOpener().open(f"pipe:sleep 1000 2> /dev/null & echo $! > {pids}; yes")
    assert stream.read(4) == b"y\ny\n"
    stream.close()
    assert settled(lambda: not alive(int(pids.read_text())))


def test_a_command_whose_status_somebody_else_took_is_not_taken_for_good() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert "SIGCHLD" in str(failure("echo data; exit 3"))
        with PipeOpener().open("pipe:yes") as stream:
            assert stream.read(2) == b"y\n"
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_command_that_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.1)
    before = children()
    stream = PipeOpener().open("pipe:trap '' TERM PIPE; echo data; while true; do sleep 0.01; done")
    assert stream.read(5) == b"data\n"
    stream.close()
    assert children() <= before


def test_many_streams_closed_early_leave_neither_zombies_nor_files_nor_threads() -> None:
    before, files, threads = children(), open_files(), threading.active_count()
    for size in (0, 1, 5000, 100_000):
        for _ in range(3):
            with PipeOpener().open("pipe:yes") as stream:
                assert len(stream.read(size)) == size
    assert children() <= before
    assert open_files() <= files
    assert threading.active_count() <= threads


def test_a_stream_that_is_forgotten_ends_its_command() -> None:
    before, files = children(), open_files()
    PipeOpener().open("pipe:yes").read(1)
    assert settled(lambda: children() <= before and open_files() <= files)


def test_a_daemon_that_keeps_stderr_open_does_not_hold_us() -> None:
    files = open_files()
    assert drained("printf data; (trap '' TERM; sleep 5) >/dev/null &") == b"data"
    assert open_files() <= files


def test_descriptors_above_1023_work(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200 if hard == resource.RLIM_INFINITY else min(1200, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1050)] if wanted == 1200 else []
    try:
        assert drained("echo data") == b"data\n"
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_command_has_neither_our_standard_input_nor_our_terminal() -> None:
    assert drained("cat; test -t 0 && echo terminal; true") == b""
    assert int(drained("ps -o sid= -p $$ || cut -d' ' -f6 /proc/$$/stat")) != os.getsid(0)


def test_without_bash_sh_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sh", "cat"):
        (tmp_path / name).symlink_to(cast("str", shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert drained("echo data | cat") == b"data\n"
    assert "status 3" in str(failure("echo data; exit 3"))


def test_without_any_shell_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpenError, match="bash or sh"):
        PipeOpener().open("pipe:true")


@pytest.mark.parametrize("url", ["pipe:", "pipe:  ", "cat x", "pipes:cat x"])
def test_what_is_no_command_is_refused(url: str) -> None:
    with pytest.raises(OpenError, match="shell command"):
        PipeOpener().open(url)


@pytest.mark.parametrize("command", ["nul\0byte", "echo " + "x" * (1 << 22)])
def test_a_command_that_cannot_be_started_is_an_open_error_and_leaves_nothing_open(command: str) -> None:
    files = open_files()
    with pytest.raises(OpenError, match="cannot start"):
        PipeOpener().open(f"pipe:{command}")
    assert open_files() <= files


def test_a_failure_of_a_writer_is_raised_by_close() -> None:
    stream = PipeOpener().open("pipe:cat > /dev/null; echo no room >&2; exit 5", "wb")
    stream.write(b"data")
    with pytest.raises(OpenError, match=re.compile("status 5.*no room", re.DOTALL)):
        stream.close()
    assert stream.closed


def test_a_command_that_stops_reading_is_an_error_even_if_it_is_content() -> None:
    before = children()
    stream = PipeOpener().open("pipe:head -c 5 > /dev/null; echo enough >&2", "wb")
    with pytest.raises(OpenError, match=re.compile("stopped reading.*enough", re.DOTALL)):
        stream.write(bytes(1 << 20))
    with pytest.raises(OpenError, match="stopped reading"):
        stream.close()
    assert children() <= before


def test_an_exception_in_the_block_ends_the_command_before_it_sees_an_end(tmp_path: Path) -> None:
    path = tmp_path / "result"
    before = children()

    def write_half() -> None:
        with PipeOpener().open(f"pipe:cat > {path}.part && mv {path}.part {path}", "wb") as stream:
            stream.write(bytes(100_000))
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert children() <= before
    assert not path.exists()


def test_abort_leaves_no_result(tmp_path: Path) -> None:
    path = tmp_path / "result"
    stream = cast("DrainWriter", PipeOpener().open(f"pipe:cat > {path}.part && mv {path}.part {path}", "wb"))
    stream.write(b"data")
    stream.abort()
    stream.abort()
    assert stream.closed
    assert not path.exists()


def test_a_forked_process_neither_reads_nor_ends_the_command_of_its_parent(tmp_path: Path) -> None:
    stream = PipeOpener().open("pipe:echo data; sleep 0.2; echo more")
    assert stream.read(5) == b"data\n"
    child = os.fork()
    if child == 0:
        try:
            stream.read(1)
        except OpenError:
            stream.close()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert stream.read() == b"more\n"
    stream.close()


def test_a_forked_process_does_not_keep_a_writer_of_its_parent_waiting(tmp_path: Path) -> None:
    path = tmp_path / "x"
    stream = PipeOpener().open(f"pipe:cat > {path}", "wb")
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        stream.write(b"data")
        stream.close()
        assert path.read_bytes() == b"data"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_buffer_size_is_how_much_is_read_at_once() -> None:
    with PipeOpener(buffer_size=10).open("pipe:printf %0100d 7") as stream:
        stream.read(1)
        assert len(stream.peek(1)) == 9  # type: ignore[attr-defined]  # of a buffered reader
