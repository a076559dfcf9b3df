"""The output, or the input, of shell commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Literal, final

import attrs
from typing_extensions import override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers.processes import ShellCommand
from webds.openers.streams import BUFFER_SIZE, Drain, DrainWriter, Feed, FeedReader, attempt

__all__ = ["PipeOpener", "open_command"]


@final
class _Output(Feed):
    """What a command writes. Its end is only an end if the exit status is good."""

    def __init__(self, command: ShellCommand) -> None:
        self._command = command
        self._ended = False

    @override
    def fill(self, buffer: memoryview) -> int:
        if self._ended:
            return 0
        number = attempt(lambda: self._command.read_into(buffer), "cannot read from the command", self._command.url)
        if not number:
            self._ended = True
            self._command.close_pipe()
            self._command.wait()
            self._command.check()
        return number

    @override
    def stop(self) -> None:
        self._command.interrupt()

    @override
    def release(self, *, unread: bool) -> None:
        if self._ended:
            return
        self._ended = True
        # Everything may have been read without anybody asking for more.
        if not unread and self._command.at_end() and self._command.wait(1.0):
            self._command.check()
        else:
            self._command.stop()


@final
class _Input(Drain):
    """What a command reads."""

    def __init__(self, command: ShellCommand) -> None:
        self._command = command
        self._broken = False

    def _failure(self) -> OpenError:
        return self._command.failure("stopped reading before everything was written")

    @override
    def take(self, data: memoryview) -> int:
        if not self._broken:
            try:
                return self._command.write_from(data)
            except BrokenPipeError:
                self._broken = True
                self._command.close_pipe()
                self._command.wait(1.0)
        raise self._failure()

    @override
    def finish(self) -> None:
        if self._broken:
            self._command.stop()
            raise self._failure()
        self._command.close_pipe()
        self._command.wait()
        self._command.check()

    @override
    def abort(self) -> None:
        self._command.kill()


def open_command(
    command: str,
    url: str,
    mode: Literal["rb", "wb"],
    *,
    buffer_size: int = BUFFER_SIZE,
    variables: Mapping[str, str] | None = None,
    name: str = "the command",
) -> BinaryIO:
    """Start ``command`` and return the stream of its output or input.

    Args:
        command: for the shell.
        url: what errors name.
        mode: ``"rb"`` to read what the command writes, ``"wb"`` to write what it reads.
        buffer_size: bytes that are read or written at once; below 1, a default.
        variables: added to the environment of the command.
        name: what errors call the command, where the URL does not say it.

    Raises:
        OpenError: the command cannot be started.
    """
    running = ShellCommand(command, url, mode, variables=variables, name=name)
    return DrainWriter(_Input(running), buffer_size) if mode == "wb" else FeedReader(_Output(running), buffer_size)


@final
@attrs.frozen
class PipeOpener(Opener):
    """Opens ``pipe:command``: the output of a shell command for reading, its input for writing.

    A command whose exit status is not 0 is an error, also inside a pipeline (``pipefail``, where the shell has
    it) and after all data; the error carries the end of what the command wrote to stderr. Status 141, SIGPIPE,
    is none. A stream that is closed before its end ends the command, with everything in its process group. The
    command has no terminal and, for reading, no standard input; what it writes to stderr is not shown otherwise.

    Attributes:
        buffer_size: bytes that are read or written at once; below 1, a default.
    """

    buffer_size: int = BUFFER_SIZE

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        scheme, colon, command = url.partition(":")
        if not colon or scheme.lower() != "pipe" or not command.strip():
            raise OpenError("expected pipe: and a shell command", url=url)
        return open_command(command, url, mode, buffer_size=self.buffer_size)
