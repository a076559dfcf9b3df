"""``webds map``."""

from __future__ import annotations

from typing import Any, Final, Literal

import click

from webds.cli import arguments
from webds.cli.errors import Status
from webds.cli.output import note, shown
from webds.cli.progress import progress
from webds.cli.shards import (
    function,
    output_of,
    output_options,
    plural,
    refuse_json_beside_shard,
    said,
    select_options,
    selection_of,
    split_names,
    usage_errors,
)
from webds.tools.mapping import map_shards

__all__ = ["command"]

_HELP: Final = """
Call a Python FUNCTION for every sample of SHARDS, and write what it returns: one shard for each that is read.

FUNCTION is module:function, the module in the current folder or wherever Python finds it, or file.py:function. It is
given a sample, a dict of "__key__" and the bytes of each field, and returns a sample, several (a list, or as a
generator; each with a key of its own), or None to leave it out. Bytes are written as they are; other values are encoded
by the extension of their field. With --decode, the function gets the values of these fields, which are then encoded
again: decode no more than it needs.

TARGET is a folder, with a slash at the end, for shards of the same names; a pattern such as out/x-%06d.tar; or, for a
single shard, its name, or - for standard output.

With -j, shards are worked on in several processes; with --engine ray, on the hosts of a Ray cluster, which have to
see the same files. Ctrl-C leaves whole shards only; the same command goes on from there, unless the function's file was
changed. --overwrite begins anew.

\b
Examples:
  webds map resize.py:smaller 'train-{000..146}.tar' -o small/ -j 8
  webds map captions:clean 'x-*.tar' -o 'clean-%06d.tar' --decode json --index
  webds map embed.py:embed 's3://b/x-{0..999}.tar' -o s3://b/e/ --engine ray --address auto
  webds map --on-error skip checks.py:only_good x.tar -o good.tar

\b
A function:
  def clean(sample):
      text = sample["txt"].decode().strip()
      return {**sample, "txt": text} if text else None
"""


@click.command("map", help=_HELP)
@click.argument("name", metavar="FUNCTION")
@arguments.urls()
@output_options(cut=False)
@click.option("--decode", metavar="FIELD,…|all", help="Fields, or their extensions, that the function gets decoded.")
@click.option(
    "--images", metavar="SPEC", help="How images among them are decoded: rgb8, pil, …; by default they stay bytes."
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="At a sample at which the function fails: end; or leave it out, with exit status 1.",
)
@select_options()
@arguments.jobs
@arguments.engine
@arguments.missing_end
@arguments.as_json
@click.pass_context
def command(
    context: click.Context,
    /,
    name: str,
    urls: list[str],
    decode: str | None,
    images: str | None,
    on_error: Literal["raise", "skip"],
    jobs: int,
    engine: str,
    address: str | None,
    missing_end: arguments.End,
    as_json: bool,
    **given: Any,
) -> None:
    """Call a function for every sample."""
    output = output_of(given)
    refuse_json_beside_shard(output, as_json=as_json)
    named = function(name)
    assert named is not None
    runs = arguments.engine_of(engine, address, *urls, output.target)
    with progress() as bar, usage_errors():
        done = map_shards(
            named,
            urls,
            output,
            decode=True if decode == "all" else split_names(decode) or False,
            images=images,
            on_error=on_error,
            selection=selection_of(given),
            jobs=jobs,
            engine=runs,
            missing_end=missing_end,
            progress=bar,
        )
    said(done.written, done.passed, as_json=as_json, failed=done.failed, errors=done.errors)
    if done.failed:
        if not as_json:
            note(f"webds: the function failed at {plural(done.failed, 'sample')}, which are left out")
            for error in done.errors:
                note(f"webds: {shown(error)}")
        context.exit(Status.FAULTS)
