"""``webds cat``."""

from __future__ import annotations

from typing import Final

import click

from webds.cli import arguments
from webds.openers.schemes import default_opener
from webds.tools.members import copy_member
from webds.tools.reading import source_of

__all__ = ["command"]

_HELP: Final = """
Write the content of MEMBER, the first of this name in SHARDS, to standard output, as it is stored.

MEMBER is the path of a member, such as 'a/0001.jpg'; or a key, a dot and a field, as `webds ls` shows them. Of a
remote shard that has an index, only this member is read.

\b
Examples:
  webds cat train-000000.tar 0001.json | jq .
  webds cat 'https://example.org/train-{000..146}.tar' 0001.jpg > 0001.jpg
  curl -s https://example.org/x.tar | webds cat - 0001.txt
"""


@click.command("cat", help=_HELP)
@arguments.urls()
@click.argument("member")
@arguments.index
@arguments.missing_end
def command(urls: list[str], member: str, use_index: bool, missing_end: arguments.End) -> None:
    """Write one member."""
    source = source_of(urls, missing_end=missing_end)
    with default_opener().open("-", "wb") as stream:
        copy_member(source, member, stream, use_index=use_index)
        stream.flush()
