"""``webds index``."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

import click

from webds.cli import arguments
from webds.cli.output import counted, note, print_json, shown
from webds.cli.progress import progress
from webds.datasets.indexing import IndexWork, index_shard
from webds.tools.reading import engine_for

__all__ = ["command"]

_HELP: Final = """
Write the index of SHARDS: a member table (.idx) for each, and a manifest of all.

With an index, a data set knows its length, reads any sample by its number, splits exactly over ranks and workers, and
resumes in no time. The tables are those that NVIDIA DALI reads; the manifest is a JSON file, which can be given in
place of the shards. By default the tables are beside the shards, and the manifest, index.json, beside the first;
remote shards need --directory. Only headers are read, where that can be. A compressed shard, and one with sparse
members, gets no table, and its samples are counted.

A manifest that is there is added to. Shards that have not changed since are passed over, so that work that was broken
off goes on where it was. The path of the manifest is printed.

\b
Examples:
  webds index 'data/train-*.tar'
  webds index -j 8 --md5 -o train.json 'data/train-{000000..000146}.tar'
  webds index --directory index/ 's3://bucket/train-*.tar'
  webds index --engine ray --address auto 'data/train-*.tar'
"""


@click.command("index", help=_HELP)
@arguments.urls()
@click.option("-o", "--manifest", metavar="FILE", help="The manifest.  [default: index.json beside the tables]")
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Where the tables are to be.  [default: beside the shards]",
)
@click.option("--md5", is_flag=True, help="Note the MD5 of each shard, too; all of it is read.")
@click.option("--rebuild", is_flag=True, help="Do again what is there already.")
@arguments.missing_end
@arguments.jobs
@arguments.engine
@arguments.as_json
def command(
    urls: list[str],
    manifest: str | None,
    directory: str | None,
    md5: bool,
    rebuild: bool,
    missing_end: arguments.End,
    jobs: int,
    engine: str,
    address: str | None,
    as_json: bool,
) -> None:
    """Write an index."""
    chosen = arguments.engine_of(engine, address, *urls)
    work = IndexWork.of(urls, manifest=manifest, directory=directory, md5=md5, missing_end=missing_end, rebuild=rebuild)
    runs = engine_for([job.url for job in work.due], chosen, jobs)
    with progress() as bar, contextlib.closing(runs.run(index_shard, work.due)) as entries:
        bar.begin("index", len(work.due), "shards")
        for _ in work.record(entries):
            bar.advance(1)
    if as_json:
        print_json({"manifest": work.manifest, "shards": work.shards, "indexed": len(work.due)})
    else:
        sys.stdout.write(f"{shown(work.manifest)}\n")
    before = work.shards - len(work.due)
    note(f"{counted(len(work.due), 'shard')} indexed{f', {before:,} had an index already' if before else ''}")
