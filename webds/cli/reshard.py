"""``webds reshard``."""

from __future__ import annotations

from typing import Any, Final

import click

from webds.cli import arguments
from webds.cli.progress import progress
from webds.cli.shards import (
    function,
    output_of,
    output_options,
    refuse_json_beside_shard,
    said,
    select_options,
    selection_of,
    size,
    usage_errors,
)
from webds.tools.resharding import Arrangement, reshard

__all__ = ["command"]

_HELP: Final = """
Write the samples of SHARDS into other shards: cut otherwise, put together, shuffled, sorted, selected, recompressed.

TARGET is a pattern with a place for the shard's number, such as out/train-%06d.tar; the name of a single shard, or -
for standard output; or a folder, with a slash at the end, for one shard under the same name for each that is read.

The contents of fields stay as they are, byte for byte; members get new headers, with an owner, mode and time of their
own, and are sorted by field within a sample. Members that belong to no sample are left out, and counted. Shards that
are put together may have the same keys: --rename gives them new ones.

--shuffle, --sort and --regroup put samples aside on the disk, in a hidden folder beside TARGET or in --scratch, and
hold no more of them in memory than --memory says, however many there are. A shuffle is decided by --seed and by the
list of SHARDS.

Ctrl-C leaves whole shards only; the same command goes on from there. --overwrite begins anew.

\b
Examples:
  webds reshard 'big-{0..3}.tar' -o 'small/x-%06d.tar' --maxsize 500MB --index
  webds reshard 'x-*.tar' -o 'shuffled-%06d.tar' --shuffle --seed 7 --manifest index.json
  webds reshard images.tar labels.tar -o 'both-%06d.tar' --regroup
  webds reshard 'x-*.tar' -o packed/ --compress zst -j 4
  webds reshard 'x-*.tar' -o dogs.tar --match 'dog/*' --fields jpg,cls
  webds reshard 'part-*.tar' -o 'all-%06d.tar' --rename '{shard}/{key}'
  curl -s https://example.org/x.tar | webds reshard - -o - --where mine.py:is_good | webds ls -
"""


@click.command("reshard", help=_HELP)
@arguments.urls()
@output_options()
@click.option("--shuffle", "arrangement", flag_value="shuffle", help="Write the samples in a random order.")
@click.option("--sort", "arrangement", flag_value="sort", help="Write the samples sorted by key, or by --by.")
@click.option(
    "--regroup",
    "arrangement",
    flag_value="regroup",
    help="Put members with one key together, wherever they lie; sorted by key.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffle.")
@click.option(
    "--by", metavar="FUNCTION", help="Sort by what a Python function returns, given the sample: a number or a text."
)
@click.option("--rename", metavar="TEMPLATE", help="New keys, of {key}, {shard} and {number}.")
@select_options()
@click.option(
    "--memory", type=size, default="256MiB", show_default=True, metavar="SIZE", help="Bytes of samples held in memory."
)
@click.option(
    "--scratch", type=click.Path(exists=True, file_okay=False), metavar="FOLDER", help="Where samples are put aside."
)
@arguments.jobs
@arguments.engine
@arguments.missing_end
@arguments.as_json
def command(
    urls: list[str],
    arrangement: Arrangement | None,
    seed: int,
    by: str | None,
    rename: str | None,
    memory: float,
    scratch: str | None,
    jobs: int,
    engine: str,
    address: str | None,
    missing_end: arguments.End,
    as_json: bool,
    **given: Any,
) -> None:
    """Write samples into other shards."""
    output = output_of(given)
    refuse_json_beside_shard(output, as_json=as_json)
    if by is not None and arrangement != "sort":
        raise click.UsageError("--by is for --sort")
    runs = arguments.engine_of(engine, address, *urls, output.target)
    with progress() as bar, usage_errors():
        done = reshard(
            urls,
            output,
            arrangement or "keep",
            seed=seed,
            by=function(by),
            keys=rename,
            selection=selection_of(given),
            memory=int(memory),
            scratch=scratch,
            jobs=jobs,
            engine=runs,
            missing_end=missing_end,
            progress=bar,
        )
    said(done.written, done.passed, as_json=as_json)
