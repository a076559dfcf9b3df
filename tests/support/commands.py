"""Running the command line in a process of its own, and commands that only tests have."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Final

import attrs
import click
import pytest

from webds.cli import main
from webds.errors import TarFormatError

__all__ = ["Outcome", "command", "faulty", "here", "in_terminal", "start", "webds"]

_ROOT: Final = Path(__file__).parents[2]
_WITH_FAULTS: Final = """
import sys
from webds.cli.group import COMMANDS
COMMANDS["fault"] = ("commands", "What a test wants to go wrong.")
from webds.cli import main
sys.exit(main())
"""


@attrs.frozen
class Outcome:
    """How a command ended: its exit status, and what it wrote."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def start(*arguments: str | Path, cwd: Path | None = None, code: str | None = None, **options: Any) -> Any:
    """Start ``webds`` with arguments, its streams as pipes; ``options`` go to `subprocess.Popen`."""
    support = str(Path(__file__).parent)
    path = os.pathsep.join(filter(None, [support, str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100", **options.pop("env", {})}
    program = ["-m", "webds"] if code is None else ["-c", code]
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | options
    return subprocess.Popen([sys.executable, *program, *map(str, arguments)], cwd=cwd, env=environment, **streams)


def webds(*arguments: str | Path, stdin: bytes = b"", **options: Any) -> Outcome:
    """Run ``webds`` with arguments to its end; see `start`."""
    with start(*arguments, **options) as process:
        out, err = process.communicate(stdin, timeout=120)
    return Outcome(process.returncode, out or b"", (err or b"").decode())


def here(*arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> Outcome:
    """Run ``webds`` in this process, which takes less time."""
    out, err = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        if cwd is not None:
            patch.chdir(cwd)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        patch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
        patch.setattr(sys, "stderr", io.TextIOWrapper(err, encoding="utf-8"))
        patch.setenv("COLUMNS", "100")
        status = main(list(map(str, arguments)))
        sys.stdout.flush()
        sys.stderr.flush()
        return Outcome(status, out.getvalue(), err.getvalue().decode())


def in_terminal(*arguments: str | Path, both: bool = False, **options: Any) -> tuple[Outcome, str]:
    """Run ``webds`` with a terminal for standard error, or for both streams; return also what that was sent."""
    main, its = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **options.pop("env", {})}
    if both:
        options["stdout"] = its
    with start(*arguments, stderr=its, env=environment, **options) as process:
        os.close(its)
        parts: list[bytes] = []
        reader = threading.Thread(target=_read_terminal, args=(main, parts))
        reader.start()
        out = b"" if both else process.stdout.read()
        process.wait(120)
        reader.join(60)
    os.close(main)
    return Outcome(process.returncode, out, ""), b"".join(parts).decode()


def _read_terminal(descriptor: int, parts: list[bytes]) -> None:
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(descriptor, 65536):
            parts.append(part)


def faulty(*arguments: str, **options: Any) -> Outcome:
    """Run the command below."""
    return webds("fault", *arguments, code=_WITH_FAULTS, **options)


@click.command()
@click.argument("what")
def command(what: str) -> None:
    r"""Go wrong.

    \b
    Example:
      webds fault data
    """
    match what:
        case "data":
            raise TarFormatError("it is broken", url="https://u:secret@host/x.tar?sig=1", key="a\x1b[2J", offset=512)
        case "file":
            with open("/nowhere/at all", "rb"):
                pass
        case "bug":
            raise ZeroDivisionError("two\nlines")
        case "interrupt":
            raise KeyboardInterrupt
        case "usage":
            raise click.UsageError("Not so.")
        case "terminate":
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                signal.pause()
            finally:
                click.echo("tidied up")
        case "warn":
            warnings.warn("mind\nthis", stacklevel=1)
        case "odd":
            sys.stdout.write(b"\xff.txt\n".decode("utf-8", "surrogateescape"))
        case "many":
            for number in range(1_000_000):
                click.echo(number)
        case _:
            click.echo(f"done {what}")
