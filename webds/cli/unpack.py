"""``webds unpack``."""

from __future__ import annotations

from typing import Final

import click

from webds.cli import arguments
from webds.cli.output import note, print_json, size_text
from webds.cli.progress import progress
from webds.cli.shards import plural, split_names, usage_errors
from webds.tools.unpacking import unpack

__all__ = ["command"]

_HELP: Final = """
Write the members of SHARDS as files below a folder.

Every member that is a regular file becomes a file of its name, its content as it is; a file appears when it is whole.
Nothing is written outside of the folder, whatever names a shard has, and no link is followed. A file that is there
already with the same content stays, so that a command that was broken off is simply repeated; with another content it
is an error, unless --overwrite is given. Where several shards have the same names, --by-shard keeps them apart.

\b
Examples:
  webds unpack train-000000.tar -o files/
  webds unpack 'train-*.tar' -o files/ --by-shard -j 4
  webds unpack 's3://bucket/train-{000..146}.tar' -o images/ --fields jpg --match 'dog/*'
  curl -s https://example.org/x.tar | webds unpack - -o files/
"""


@click.command("unpack", help=_HELP)
@arguments.urls()
@click.option(
    "-o",
    "--output",
    "folder",
    default=".",
    show_default=True,
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Where the files go; it is made if it is not there.",
)
@click.option("-f", "--fields", metavar="FIELD,…", help="Write these fields of samples only.")
@click.option("--match", metavar="PATTERN", help="Write samples whose key matches, such as 'dog/*'.")
@click.option("--by-shard", is_flag=True, help="A folder for each shard, of its name without suffix.")
@arguments.overwrite
@arguments.jobs
@arguments.engine
@arguments.missing_end
@arguments.as_json
def command(
    urls: list[str],
    folder: str,
    fields: str | None,
    match: str | None,
    by_shard: bool,
    overwrite: bool,
    jobs: int,
    engine: str,
    address: str | None,
    missing_end: arguments.End,
    as_json: bool,
) -> None:
    """Write members as files."""
    runs = arguments.engine_of(engine, address, *urls)
    with progress() as bar, usage_errors():
        done = unpack(
            urls,
            folder,
            fields=split_names(fields),
            match=match,
            by_shard=by_shard,
            overwrite=overwrite,
            jobs=jobs,
            engine=runs,
            missing_end=missing_end,
            progress=bar,
        )
    if as_json:
        print_json({"files": done.files, "size": done.size, "kept": done.kept})
        return
    kept = f", {plural(done.kept, 'file')} there already" if done.kept else ""
    note(f"{plural(done.files, 'file')} written, {size_text(done.size)}{kept}")
