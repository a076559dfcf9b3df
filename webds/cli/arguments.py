"""Arguments and options that commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, final

import click
from click.core import ParameterSource
from typing_extensions import TypeVar

from webds.index.manifest import read_list
from webds.tools.engine import Engine
from webds.urls import scheme_of

__all__ = [
    "End",
    "as_json",
    "engine",
    "engine_of",
    "expand",
    "index",
    "jobs",
    "missing_end",
    "overwrite",
    "urls",
]

CommandT = TypeVar("CommandT", bound="Callable[..., Any] | click.Command")

End: TypeAlias = Literal["error", "accept"]


@final
class _Option:
    """An option, to decorate any number of commands with."""

    def __init__(self, *names: str, **attributes: Any) -> None:
        self._names = names
        self._attributes = attributes

    def __call__(self, command: CommandT) -> CommandT:
        return click.option(*self._names, **self._attributes)(command)


def _expanded(context: click.Context, parameter: click.Parameter, given: Sequence[str]) -> list[str]:
    return list(expand(given))


def expand(given: Sequence[str]) -> Iterator[str]:
    """Yield what stands on the command line, with the lines of ``@FILE`` in its place.

    Empty lines and those that begin with ``#`` are passed over. The lines are as if they stood on the command line:
    relative to the current folder. They run no commands, though, as no file may; ``@-`` reads standard input.

    Raises:
        click.UsageError: the file cannot be read, or would run a command.
    """
    for one in given:
        if not one.startswith("@") or os.path.exists(one):
            yield one
            continue
        found = False
        for line in _lines(one[1:]):
            found = True
            if scheme_of(line) in ("pipe", "-"):
                raise click.UsageError(f"{one} names {line!r}, and no file may run commands or read standard input")
            yield line
        if not found:
            raise click.UsageError(f"{one} names no shards")


def _lines(name: str) -> Iterator[str]:
    try:
        if name == "-":
            text = read_list(sys.stdin.buffer, name)
        else:
            with open(name, "rb") as file:
                text = read_list(file, name)
    except OSError as error:
        raise click.UsageError(f"cannot read @{name}: {error.strerror or error}") from error
    stripped = (line.strip() for line in text.split("\n"))
    return (line for line in stripped if line and not line.startswith("#"))


def urls(name: str = "urls", *, metavar: str = "SHARDS...", required: bool = True) -> Callable[[CommandT], CommandT]:
    """Return the argument that takes any number of shards, as the list of strings ``name``."""
    return click.argument(name, nargs=-1, required=required, metavar=metavar, callback=_expanded)


as_json: Final = _Option("--json", "as_json", is_flag=True, help="Print JSON, for other programs.")

jobs: Final = _Option(
    "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Number of processes."
)

_engine: Final = _Option(
    "--engine",
    "engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What does the work: processes of this host, or a Ray cluster (extra ray); -j bounds the tasks at once there.",
)

_address: Final = _Option(
    "--address",
    metavar="ADDRESS",
    help="The Ray cluster, such as auto or HOST:6379; by default one of this host, which is started if need be.",
)


def engine(command: CommandT) -> CommandT:
    """Add the options that say what does the work, for `engine_of`."""
    return _engine(_address(command))


def engine_of(name: str, address: str | None, *others: str) -> Engine | None:
    """Return the engine that the options say; None for processes of this host.

    Args:
        name: what ``--engine`` says.
        address: what ``--address`` says.
        *others: what is read and written: other hosts have not the streams of this process.

    Raises:
        click.UsageError: options that do not go together.
        MissingExtraError: Ray is not installed.
    """
    if name == "local":
        if address is not None:
            raise click.UsageError("--address is for --engine ray")
        return None
    if "-" in others:
        raise click.UsageError("--engine ray reads and writes no standard streams (-): name files or URLs")
    from webds.tools.rayengine import RayEngine  # noqa: PLC0415  # an extra, and slow

    context = click.get_current_context()
    given = context.get_parameter_source("jobs") is not ParameterSource.DEFAULT
    return RayEngine(address, jobs=context.params["jobs"] if given else None)


overwrite: Final = _Option("--overwrite", is_flag=True, help="Replace what is there already.")

index: Final = _Option(
    "--index/--no-index", "use_index", default=True, help="Whether the index of a remote shard is used; by default yes."
)

missing_end: Final = _Option(
    "--missing-end",
    type=click.Choice(["error", "accept"]),
    default="error",
    show_default=True,
    help="What an archive is that ends without end blocks: cut short, or as its writer made it.",
)
