"""``webds cp``."""

from __future__ import annotations

from typing import Final

import click

from webds.cli import arguments
from webds.cli.output import note, print_json, size_text
from webds.cli.progress import progress
from webds.cli.shards import plural, usage_errors
from webds.tools.copying import VerifyCopies, copy

__all__ = ["command"]

_HELP: Final = """
Copy SHARDS, or any other files, to TARGET: between folders, buckets, web servers (from these only) and pipes.

TARGET is a folder, or a bucket with a path, with a slash at the end; a pattern such as x-%06d.tar; the name of a single
copy; or - for standard output.

A copy appears when it is whole. Sizes and hashes that a manifest states are compared with what is read, and the size of
the copy with that; --verify hash reads every copy again and compares its SHA-256. A copy that is not what was read is
removed, and an error. What is there already is kept if it has the same content, and an error if not; so a command that
was broken off is simply repeated, and copies what is missing.

\b
Examples:
  webds cp 'https://example.org/train-{000000..000146}.tar' data/ -j 8
  webds cp data/index.json s3://bucket/train/ --index --manifest index.json --verify hash
  webds cp 's3://bucket/val/*.tar' gs://other/val/
  webds cp https://example.org/x.tar - | tar tf -
"""


@click.command("cp", help=_HELP)
@arguments.urls()
@click.argument("target")
@click.option(
    "--verify",
    type=click.Choice(["size", "hash"]),
    default="size",
    show_default=True,
    help="How copies are verified: by their size; or by reading them again.",
)
@click.option("--index", is_flag=True, help="Copy the member table (.idx) beside each shard, too, where there is one.")
@click.option("--manifest", metavar="NAME", help="Write a manifest of the copies, beside them.")
@arguments.overwrite
@arguments.jobs
@arguments.engine
@arguments.as_json
def command(
    urls: list[str],
    target: str,
    verify: VerifyCopies,
    index: bool,
    manifest: str | None,
    overwrite: bool,
    jobs: int,
    engine: str,
    address: str | None,
    as_json: bool,
) -> None:
    """Copy shards."""
    if as_json and target == "-":
        raise click.UsageError("--json and the copy would both go to standard output")
    runs = arguments.engine_of(engine, address, *urls, target)
    with progress() as bar, usage_errors():
        done = copy(
            urls,
            target,
            verify=verify,
            index=index,
            manifest=manifest,
            overwrite=overwrite,
            jobs=jobs,
            engine=runs,
            progress=bar,
        )
    if as_json:
        print_json({"files": done.files, "size": done.size, "kept": done.kept})
        return
    kept = f", {plural(done.kept, 'file')} there already" if done.kept else ""
    note(f"{plural(done.files, 'file')} copied, {size_text(done.size)}{kept}")
