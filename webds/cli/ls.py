"""``webds ls``."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from typing import Any, Final

import click

from webds.cli import arguments
from webds.cli.errors import Status, describe
from webds.cli.output import note, print_json, shown, size_text
from webds.redaction import redact
from webds.tools.listing import Listed, list_samples
from webds.tools.reading import source_of
from webds.tools.walking import Entry

__all__ = ["command"]

_HELP: Final = """
List the samples of SHARDS: a line for each, with its key, its fields, and their sizes.

Only headers are read, where that can be. A remote shard that has an index is listed from that. Where members do not
make whole samples (a field twice, a key that comes back) or a shard is damaged, that is said on standard error and
the rest is listed; the exit status is 1 then.

With --json, a line for each sample: {"url", "key", "fields": {field: {"name", "size", "offset"}}}; the offset is that
of the data in the uncompressed archive.

\b
Examples:
  webds ls train-000000.tar
  webds ls -n 10 'https://example.org/train-{000000..000146}.tar'
  webds ls --members train-000000.tar
  webds ls --json 'train-*.tar' | jq -r .key
  curl -s https://example.org/x.tar | webds ls -
"""


@click.command("ls", help=_HELP)
@arguments.urls()
@click.option("-n", "--limit", type=click.IntRange(min=0), metavar="N", help="List the first N samples.")
@click.option(
    "-f", "--field", "fields", multiple=True, metavar="FIELD", help="List this field only; may be given several times."
)
@click.option("--members", is_flag=True, help="A line for each member: its offset, its size in bytes, its name.")
@arguments.index
@arguments.missing_end
@arguments.as_json
@click.pass_context
def command(
    context: click.Context,
    urls: list[str],
    limit: int | None,
    fields: tuple[str, ...],
    members: bool,
    use_index: bool,
    missing_end: arguments.End,
    as_json: bool,
) -> None:
    """List samples."""
    source = source_of(urls, missing_end=missing_end)
    several = len(source.shards()) > 1
    wanted = {field.lower().removeprefix(".") for field in fields}
    before: str | None = None
    faults = False
    for listed in _first(list_samples(source, use_index=use_index), limit):
        if listed.error is not None:
            faults = True
            sys.stdout.flush()  # so that it stands at its place
            note(f"webds: {describe(listed.error)}")
        if listed.group is None:
            continue
        if as_json:
            print_json(_as_json(listed, wanted), line=True)
            continue
        if several and listed.url != before:
            sys.stdout.write(f"{'' if before is None else chr(10)}{shown(listed.url)}:\n")
            before = listed.url
        entries = [entry for entry in listed.group.members if not wanted or entry.field in wanted]
        if members:
            sys.stdout.writelines(f"{entry.offset}\t{entry.size}\t{shown(entry.name)}\n" for entry in entries)
        else:
            sys.stdout.write(f"{shown(listed.group.key)}\t{'  '.join(map(_field, entries))}\n")
    if faults:
        context.exit(Status.FAULTS)


def _first(found: Iterator[Listed], limit: int | None) -> Iterator[Listed]:
    """Yield the first samples, and what is wrong among them."""
    count = 0
    for one in found if limit is None or limit > 0 else ():
        yield one
        count += one.group is not None
        if count == limit:
            return


def _field(entry: Entry) -> str:
    return f"{shown(entry.field)} {size_text(entry.size)}"


def _as_json(listed: Listed, wanted: Collection[str]) -> dict[str, Any]:
    group = listed.group
    assert group is not None
    fields = {
        entry.field: {"name": entry.name, "size": entry.size, "offset": entry.offset}
        for entry in group.members
        if not wanted or entry.field in wanted
    }
    fault = {} if listed.error is None else {"error": describe(listed.error)}
    return {"url": redact(listed.url), "key": group.key, "fields": fields, **fault}
