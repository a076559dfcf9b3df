"""Shell commands as child processes: their ends of pipes, their exit status, what they say on stderr."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Final, Literal, final

from webds.errors import OpenError
from webds.openers.streams import attempt
from webds.redaction import redact

__all__ = ["ShellCommand"]

_FINE: Final = (0, 128 + 13, -13)  # 13 is SIGPIPE: somebody further on had enough
_KEPT: Final = 32 << 10  # bytes of stderr that are kept
_SHOWN: Final = 2000  # characters of them that an error shows
_TURN: Final = 16  # reads of stderr at a time, lest a flood of it keep us from the data
_GRACE: Final = 0.2  # seconds for a command whose output nobody wants any more
_PATIENCE: Final = 2.0  # seconds for one that was told to end
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def _shell() -> tuple[str, ...]:
    """Return the arguments that come before a command: those of a shell that notices failures inside pipelines."""
    return _shell_on(os.environ.get("PATH", os.defpath))


@functools.cache
def _shell_on(path: str) -> tuple[str, ...]:
    if os.name != "posix":
        return ()
    if bash := shutil.which("bash", path=path):
        return bash, "-o", "pipefail", "-c"
    if sh := shutil.which("sh", path=path):
        probe = subprocess.run([sh, "-o", "pipefail", "-c", ":"], stderr=subprocess.DEVNULL, check=False)  # noqa: S603  # a constant command
        return (sh, "-c") if probe.returncode else (sh, "-o", "pipefail", "-c")
    return ()


@final
class ShellCommand:
    """One running command, in a process group of its own, with its output or input at this end of a pipe.

    What it writes to stderr is taken in whenever something is read, written or waited for, and its end is kept,
    so that it neither blocks nor grows. It has no terminal, and a reader has no standard input.

    Args:
        command: for the shell.
        url: what errors name.
        mode: ``"rb"`` to read what it writes, ``"wb"`` to write what it reads.
        variables: added to its environment.
        name: what errors call it, where the URL does not say it.

    Raises:
        OpenError: it cannot be started.
    """

    def __init__(
        self,
        command: str,
        url: str,
        mode: Literal["rb", "wb"],
        *,
        variables: Mapping[str, str] | None = None,
        name: str = "the command",
    ) -> None:
        self.url = url
        self.name = name
        self._command = command
        self._tail = bytearray()
        self._cut = False
        self._abandoned = False
        self._unknown = False
        self._told = False
        self._reaping = threading.Lock()
        self._data: int | None = None
        self._errors: int | None = None
        shell = _shell()
        if not shell:
            raise OpenError("shell commands need bash or sh, and none was found", url=url)
        self._process = attempt(lambda: self._start(shell, mode, variables or {}), f"cannot start {name}", url)
        _running.add(self)

    def _start(
        self, shell: tuple[str, ...], mode: Literal["rb", "wb"], variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as theirs:
            pipes = os.pipe(), os.pipe()
            for descriptor in (*pipes[0], *pipes[1]):
                on_failure.callback(os.close, descriptor)
            data, other = pipes[0] if mode == "rb" else pipes[0][::-1]
            errors, other_errors = pipes[1]
            os.set_blocking(errors, False)
            os.set_blocking(data, mode == "rb")
            process = subprocess.Popen(  # noqa: S603  # the command is the caller's own; see webds.sources.urls
                [*shell, self._command],
                stdin=subprocess.DEVNULL if mode == "rb" else other,
                stdout=other if mode == "rb" else None,
                stderr=other_errors,
                env={**os.environ, **variables},
                start_new_session=True,
            )
            on_failure.pop_all()
            theirs.callback(os.close, other)
            theirs.callback(os.close, other_errors)
            self._data, self._errors = data, errors
        return process

    def read_into(self, buffer: memoryview) -> int:
        """Read what there is into ``buffer``, waiting for one byte at least; 0 when the command closed its output."""
        if self._abandoned:
            raise self._not_ours()
        if self._data is None:
            return 0
        self._wait_for(self._data, select.POLLIN)
        return os.readv(self._data, [buffer])

    def write_from(self, data: memoryview) -> int:
        """Write some of ``data``, waiting until one byte at least is taken, and return how many were.

        Raises:
            BrokenPipeError: the command does not read any more.
        """
        if self._abandoned:
            raise self._not_ours()
        while self._data is not None:
            self._wait_for(self._data, select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                return os.write(self._data, data)
        raise BrokenPipeError

    def at_end(self) -> bool:
        """Return whether the command has closed its output and everything was read. One byte may get lost over this."""
        if self._data is None:
            return True
        return bool(_poll({self._data: select.POLLIN}, 0)) and not os.read(self._data, 1)

    def close_pipe(self) -> None:
        """Close this end of the pipe; the command sees the end of its input, or SIGPIPE when it writes."""
        if self._data is not None:
            os.close(self._data)
            self._data = None

    def wait(self, seconds: float | None = None, *, sweep: bool = False) -> bool:
        """Wait for the command to end, and return whether it did within ``seconds``.

        Args:
            seconds: None to wait as long as it takes.
            sweep: whether to end what it leaves behind in its process group.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        pause = 0.0005
        while not self._has_ended():
            if deadline is not None and time.monotonic() > deadline:
                return False
            if self._errors is None:
                time.sleep(pause)
            elif _poll({self._errors: select.POLLIN}, pause):
                self._take_errors()
            pause = min(2 * pause, 0.05)
        if sweep:
            self._signal(signal.SIGTERM)
        with self._reaping:
            self._process.wait()
        self._take_errors()
        self._let_go()
        return True

    def _has_ended(self) -> bool:
        """Return whether the command has ended, leaving its number taken until `subprocess.Popen.wait`."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            self._unknown = True
            return True

    def check(self) -> None:
        """Raise if the command, which has ended, did not end well.

        Raises:
            OpenError: its exit status is neither 0 nor that of SIGPIPE, or not known.
        """
        if self._unknown:
            raise self.failure("has ended, and somebody else in this process took its exit status (SIGCHLD ignored?)")
        if self._process.returncode not in _FINE:
            raise self.failure("failed")

    def failure(self, what: str) -> OpenError:
        """Return an error that says ``what`` the command did, its exit status if there is one, and its last words."""
        status = self._process.returncode
        what = f"{self.name} {what}"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                what = f"{what}, ended by {signal.Signals(-status).name}"
        elif status:
            what = f"{what} with status {status}"
        said = self._said()
        return OpenError(
            f"{what}; the end of its stderr:\n{said}" if said else f"{what} and said nothing", url=self.url
        )

    def stop(self) -> None:
        """Close the pipe, and end the command and its process group if that does not."""
        self.close_pipe()
        if not self.wait(_GRACE, sweep=True):
            self.kill()

    def kill(self) -> None:
        """End the command and everything in its process group, gently at first, while its pipe is still open."""
        self._signal(signal.SIGTERM)
        if not self.wait(_PATIENCE, sweep=True):
            self._signal(signal.SIGKILL)
            self.wait(sweep=True)

    def interrupt(self) -> None:
        """Tell the command to end, from another thread than the one that reads or waits; this one then sees the end.

        Asked again, it is ended, willing or not.
        """
        self._signal(signal.SIGKILL if self._told else signal.SIGTERM)
        self._told = True

    def abandon(self) -> None:
        """Close the pipes of a command that belongs to the parent process."""
        self._let_go()
        self._abandoned = True
        self._process.returncode = 0  # nobody here may wait for it

    def _not_ours(self) -> OpenError:
        return OpenError("the command belongs to the process that started it, not to one that was forked", url=self.url)

    def _signal(self, number: signal.Signals) -> None:
        # A command that has not been waited for keeps its number: a signal cannot reach anybody else.
        with self._reaping:  # no other thread waits for it meanwhile
            self._has_ended()
            if self._process.returncode is None and not self._unknown:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)

    def _let_go(self) -> None:
        self.close_pipe()
        if self._errors is not None:
            os.close(self._errors)
            self._errors = None
        _running.discard(self)

    def _wait_for(self, descriptor: int, event: int) -> None:
        """Wait until ``event`` is there for ``descriptor``, taking in what comes on stderr meanwhile."""
        while self._errors is not None:
            ready = _poll({descriptor: event, self._errors: select.POLLIN}, None)
            if self._errors in ready:
                self._take_errors()
            if descriptor in ready:
                return
        _poll({descriptor: event}, None)

    def _take_errors(self) -> None:
        """Take in what there is on stderr, and close it at its end."""
        for _ in range(_TURN):
            if self._errors is None:
                return
            try:
                part = os.read(self._errors, 1 << 16)
            except BlockingIOError:
                return
            if not part:
                os.close(self._errors)
                self._errors = None
            self._tail += part
            if len(self._tail) > 2 * _KEPT:
                del self._tail[:-_KEPT]
                self._cut = True

    def _said(self) -> str:
        """Return the last lines of stderr without secrets."""
        text = bytes(self._tail).decode(errors="replace").replace("\r", "\n")
        if self._cut:  # half a line could hold half a secret, which would not be recognised
            text = text.partition("\n")[2]
        lines = [line.rstrip() for line in _CONTROLS.sub("", text).split("\n") if line.strip()]
        return redact("\n".join(lines[-20:]))[-_SHOWN:]


def _poll(events: Mapping[int, int], seconds: float | None) -> set[int]:
    """Return the descriptors for which one of their ``events``, or their end, is there within ``seconds``."""
    poll = select.poll()  # unlike select, it knows descriptors above 1023
    for descriptor, event in events.items():
        poll.register(descriptor, event)
    return {descriptor for descriptor, _ in poll.poll(None if seconds is None else 1000 * seconds)}


_running: weakref.WeakSet[ShellCommand] = weakref.WeakSet()


def _abandon_all() -> None:
    """In a forked child: let go of the parent's commands.

    A copy of a pipe's end would keep a command from seeing that the parent closed its own.
    """
    for command in list(_running):
        command.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
