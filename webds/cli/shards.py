"""Options and words that the commands share which write shards."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import click
from typing_extensions import TypeVar

from webds.cli import arguments
from webds.cli.output import note, print_json
from webds.errors import WebdsError, place_of
from webds.tools.functions import NamedFunction
from webds.tools.outputs import Output, Written
from webds.tools.reading import Passed, Selection, Wanted

__all__ = [
    "function",
    "output_of",
    "output_options",
    "pairs",
    "plural",
    "refuse_json_beside_shard",
    "said",
    "select_options",
    "selection_of",
    "size",
    "split_names",
    "usage_errors",
]

CommandT = TypeVar("CommandT", bound="Callable[..., Any] | click.Command")

_SIZE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kMGTP]?)(?P<binary>i?)B?", re.IGNORECASE)
_OPTIONS: Final = {
    "overwrite=True": "--overwrite",
    'missing_end="accept"': "--missing-end accept",
    "md5=True": "--md5",
    "keys=": "--rename ",
    "memory=": "--memory ",
    "manifest=": "--manifest",
    "split=": "--split",
    "dot=": "--dot",
    "columns=": "what is said of columns",
    "class_names=": "--class-names",
}
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size(value: str | float) -> float:
    """Return a number of bytes, for an option's ``type``: ``1000``, ``500MB`` (of 1000), ``2GiB`` (of 1024).

    Raises:
        click.BadParameter: it is none.
    """
    if isinstance(value, int | float):
        return float(value)
    match = _SIZE.fullmatch(value.strip())
    if match is None or (match["binary"] and not match["unit"]):
        raise click.BadParameter(f"{value!r} is no number of bytes, such as 500MB or 2GiB")
    found: float = float(match["number"]) * (1024 if match["binary"] else 1000) ** _POWERS[match["unit"].lower()]
    if found < 1:
        raise click.BadParameter(f"{value!r}: expected 1 byte at least")
    return found


def output_options(*, cut: bool = True) -> Callable[[CommandT], CommandT]:
    """Return the options that say where shards go and how they are written.

    Args:
        cut: whether the command decides where one shard ends and the next begins.
    """
    options: list[Callable[[Any], Any]] = [
        click.option("-o", "--output", "target", required=True, metavar="TARGET", help="Where the shards go."),
        click.option(
            "--compress",
            type=click.Choice(["gz", "bz2", "xz", "zst", "none"]),
            help="Compress the shards; by default, as their suffix says.",
        ),
        click.option("--index", is_flag=True, help="Write a member table (.idx) beside each shard."),
        click.option("--manifest", metavar="NAME", help="List the shards in this manifest (.json), beside them."),
        click.option("--md5", is_flag=True, help="Note the MD5 of each shard in the manifest."),
        click.option(
            "--mtime",
            type=click.IntRange(min=0),
            default=0,
            metavar="SECONDS",
            help="Time of all members; by default 0.",
        ),
        arguments.overwrite,
    ]
    if cut:
        options[1:1] = [
            click.option(
                "--maxcount",
                type=click.IntRange(min=1),
                default=100000,
                show_default=True,
                metavar="N",
                help="Samples in a shard, at most.",
            ),
            click.option(
                "--maxsize",
                type=size,
                default="3GB",
                show_default=True,
                metavar="SIZE",
                help="Bytes of data after which a shard is finished.",
            ),
        ]
    return _all(options)


def _all(options: Sequence[Callable[[Any], Any]]) -> Callable[[CommandT], CommandT]:
    def decorate(command: CommandT) -> CommandT:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def output_of(given: Mapping[str, Any]) -> Output:
    """Return what the options of `output_options` say."""
    compress = given["compress"]
    with usage_errors():
        return Output(
            target=given["target"],
            maxcount=given.get("maxcount", float("inf")),
            maxsize=given.get("maxsize", float("inf")),
            compress=False if compress == "none" else compress,
            index=given["index"],
            manifest=given["manifest"],
            md5=given["md5"],
            mtime=given["mtime"],
            overwrite=given["overwrite"],
        )


def select_options() -> Callable[[CommandT], CommandT]:
    """Return the options that say which samples and fields are taken."""
    return _all([
        click.option("-f", "--fields", metavar="FIELD,…", help="Keep these fields, and samples that have any of them."),
        click.option("--without", metavar="FIELD,…", help="Leave these fields out."),
        click.option("--match", metavar="PATTERN", help="Take samples whose key matches, such as 'dog/*'."),
        click.option("--keys", "keys_file", metavar="FILE", help="Take samples whose keys are in FILE, one a line."),
        click.option(
            "--where", metavar="FUNCTION", help="Take samples for which a Python function is true, given the sample."
        ),
    ])  # fmt: skip


def selection_of(given: Mapping[str, Any]) -> Selection | None:
    """Return what the options of `select_options` say; None if nothing is left out.

    Raises:
        click.UsageError: the file with the keys cannot be read.
    """
    fields, without = split_names(given["fields"]), split_names(given["without"])
    match, keys, where = given["match"], _keys(given["keys_file"]), function(given["where"])
    asks = match is not None or keys is not None or where is not None
    if fields is None and without is None and not asks:
        return None
    return Selection(
        fields=fields, without=without or (), where=Wanted(match=match, keys=keys, function=where) if asks else None
    )


def _keys(path: str | None) -> frozenset[str] | None:
    if path is None:
        return None
    try:
        with click.open_file(path, encoding="utf-8") as file:
            return frozenset(line.rstrip("\r\n") for line in file)
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read the keys in {path!r}: {error}") from error


def split_names(text: str | None) -> list[str] | None:
    """Return the names of fields that stand in an option, separated by commas."""
    if text is None:
        return None
    names = [name.strip().lower().removeprefix(".") for name in text.split(",") if name.strip()]
    if not names:
        raise click.UsageError(f"{text!r} names no field")
    return names


def function(name: str | None) -> NamedFunction | None:
    """Return the function of a name, once it is known to be one.

    Raises:
        click.UsageError: there is none.
    """
    if name is None:
        return None
    named = NamedFunction(name)
    try:
        named.load()
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    return named


def pairs(given: Sequence[str], what: str) -> dict[str, str]:
    """Return what options ``NAME=VALUE`` say.

    Raises:
        click.UsageError: one is not like that, or a name comes twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise click.UsageError(f"{text!r}: expected {what}")
        if name in found:
            raise click.UsageError(f"{name!r} is given twice")
        found[name] = value
    return found


def said(written: Written, passed: Passed, *, as_json: bool, **more: Any) -> None:
    """Say what came of the work: on standard error, or as JSON on standard output."""
    left_out = {"samples": passed.samples, "members": passed.members, "examples": passed.examples}
    if as_json:
        print_json(
            {"samples": written.samples, "shards": written.shards, "kept": written.kept, "left_out": left_out, **more}
        )
        return
    kept = f", {written.kept} of them from before" if written.kept else ""
    note(f"{plural(written.samples, 'sample')} in {plural(written.shards, 'shard')}{kept}")
    if passed.samples:
        note(f"{plural(passed.samples, 'sample')} left out, as asked for")
    if passed.members:
        note(f"{plural(passed.members, 'member')} left out, part of no sample, such as {passed.examples[0]!r}")


def plural(number: int, word: str) -> str:
    """Return a number with the word for what is counted."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def refuse_json_beside_shard(output: Output, *, as_json: bool) -> None:
    """Raise an error if the result would be printed where a shard goes."""
    if as_json and output.target == "-":
        raise click.UsageError("--json and the shard would both go to standard output")


@contextlib.contextmanager
def usage_errors() -> Generator[None]:
    """Say of arguments that do not go together that they are wrong usage; name options as they are called here."""
    try:
        yield
    except WebdsError as error:
        text = _in_options(error.message)
        if text == error.message:
            raise
        raise type(error)(text, **place_of(error)) from error
    except ValueError as error:
        if place_of(error):  # of a function of the user's
            raise
        raise click.UsageError(_in_options(str(error))) from error


def _in_options(text: str) -> str:
    """Return a text in which arguments of functions are called as the options are that give them."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text
