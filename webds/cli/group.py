"""The commands there are. Each is imported when it is called, so that the others cost it nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Final, final

import click
from typing_extensions import override

__all__ = ["COMMANDS", "DEBUG", "webds"]

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    # Name → module, which has the command as ``command``; what it does.
    "ls": ("webds.cli.ls", "List samples, their fields and sizes."),
    "cat": ("webds.cli.cat", "Write the content of one member."),
    "info": ("webds.cli.info", "Say what is in shards, and what is out of the ordinary."),
    "show": ("webds.cli.show", "Show samples as pictures, with their keys and labels."),
    "verify": ("webds.cli.verify", "Say what is wrong with shards; save what can be saved."),
    "index": ("webds.cli.index", "Write member tables and a manifest."),
    "plan": ("webds.cli.plan", "Say what an epoch will be for so many ranks and workers."),
    "bench": ("webds.cli.bench", "Measure how fast a data set is read, stage by stage."),
    "pack": ("webds.cli.pack", "Write files, or rows of a table, as shards."),
    "unpack": ("webds.cli.unpack", "Write members as files."),
    "reshard": ("webds.cli.reshard", "Cut, join, shuffle, sort, select, recompress shards."),
    "cp": ("webds.cli.cp", "Copy shards between any two places, verified."),
    "map": ("webds.cli.map", "Call a Python function for every sample."),
    "report": ("webds.cli.report", "Make a page about shards to look at."),
}

DEBUG: Final = "webds.debug"
"""What the context's ``meta`` has where tracebacks are wanted."""


def _debug(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        context.meta[DEBUG] = True


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=_debug, help="Show the traceback of an error."
    )


@final
class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        if not any(parameter.name == "debug" for parameter in command.params):
            command.params.append(_debug_option())
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"webds {importlib.metadata.version('webds')}")
        context.exit()


_HELP: Final = """
Look at, check and make tar shards for training, local or remote.

SHARDS are paths, URLs (http, s3, gs, az, …), brace expressions such as 'train-{0000..0146}.tar', globs, manifests
(.json), lists (.txt, or @FILE for one a line), or - for standard input. Data go to standard output, all else to
standard error.

\b
Examples:
  webds ls 'data/train-{000..146}.tar'
  webds COMMAND --help

The exit status is 0 if all is well, 1 if the data or the work has faults, 2 for wrong usage.
"""


webds: Final = _Commands(
    "webds",
    help=_HELP,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="Show the version, and end.",
        ),
        _debug_option(),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
