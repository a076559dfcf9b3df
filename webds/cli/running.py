"""From the arguments of the process to its exit status."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Generator, Sequence
from types import FrameType
from typing import NoReturn

import click
from click.shell_completion import shell_complete

from webds.cli.errors import Status, describe, is_closed_pipe, one_line
from webds.cli.group import DEBUG, webds

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Run the command line; see `webds.cli.main`."""
    complete = os.environ.get("_WEBDS_COMPLETE")
    if complete:
        return shell_complete(webds, {}, "webds", "_WEBDS_COMPLETE", complete)
    _escape_what_has_no_character()
    with _warnings_as_lines(), _ending_in_order():
        return _run(list(arguments))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments  # until the arguments are understood
    try:
        with webds.make_context("webds", arguments) as context:
            try:
                webds.invoke(context)
            finally:
                debug = bool(context.meta.get(DEBUG, False))
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return _flushed(end.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted", debug=debug)
        return Status.INTERRUPTED
    except click.UsageError as error:
        _say_usage(error)
        return Status.USAGE
    except click.ClickException as error:
        _say(describe(error), debug=debug)
        return error.exit_code
    except Exception as error:
        if is_closed_pipe(error):
            _close_stdout()
            return Status.CLOSED_PIPE
        _say(describe(error), debug=debug)
        return Status.FAULTS
    return Status.FINE


def _flushed(status: int) -> int:
    """Write what is still to be written, and return the status."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not is_closed_pipe(error):
            raise
        _close_stdout()
        return Status.CLOSED_PIPE
    return status


def _say(text: str, *, debug: bool) -> None:
    with contextlib.suppress(OSError):  # nobody reads that either
        if debug:
            traceback.print_exc()
        click.echo(f"webds: {text}", err=True)


def _say_usage(error: click.UsageError) -> None:
    name = "webds" if error.ctx is None else error.ctx.command_path
    with contextlib.suppress(OSError):
        click.echo(f"{name}: {describe(error).rstrip('.')} (try '{name} --help')", err=True)


def _close_stdout() -> None:
    """See to it that the end of the process does not write again where nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _escape_what_has_no_character() -> None:
    """Names in archives may be any bytes: they are written as they are, and shown as escapes."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors=errors if utf8 else "backslashreplace")


@contextlib.contextmanager
def _warnings_as_lines() -> Generator[None]:
    """Show warnings as one line each."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        text = getattr(message, "message", None) or str(message)
        with contextlib.suppress(OSError):
            click.echo(f"webds: warning: {one_line(text)}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _ending_in_order() -> Generator[None]:
    """End as by an exception when asked to end, so that no temporary file stays."""
    main = os.getpid()

    def end(number: int, frame: FrameType | None) -> NoReturn:
        if os.getpid() != main:  # a process that was forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise SystemExit(Status.TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: somebody else's process
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
