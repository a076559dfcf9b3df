"""``webds plan``."""

from __future__ import annotations

import sys
from typing import Final, Literal

import attrs
import click

from webds.cli import arguments
from webds.cli.output import print_json
from webds.tools.planning import Training, plan_training

__all__ = ["command"]

_HELP: Final = """
Say what an epoch over SHARDS will be for so many ranks and workers, without reading data.

Batches and samples of each rank, what is dropped or padded, how many bytes of shards each node reads from, how large a
cache has to be so that none is fetched twice, how many shards are open at once, and how far shuffling moves samples.

It takes the number of samples of each shard: from a manifest or member tables, as "webds index" writes them. Where
there are none, the headers of local shards are read. By default single samples are dealt out over ranks and workers, as
"indexed()" does it; with --stream, whole shards are, which takes a manifest.

\b
Examples:
  webds plan --ranks 8 --workers 4 --batch 64 data/index.json
  webds plan --ranks 64 --nodes 8 --own --window 16 --batch 256 'train-*.tar'
  webds plan --json --stream --ranks 16 --workers 8 index.json
"""


@click.command("plan", help=_HELP)
@arguments.urls()
@click.option("-r", "--ranks", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Ranks.")
@click.option(
    "-w", "--workers", type=click.IntRange(min=0), default=0, metavar="N", help="DataLoader workers of each rank."
)
@click.option("--nodes", type=click.IntRange(min=1), default=1, metavar="N", help="Nodes that the ranks are on.")
@click.option("--own", is_flag=True, help="Each node keeps to samples of its own: split(nodes=N).")
@click.option(
    "-b", "--batch", type=click.IntRange(min=0), default=0, metavar="N", help="Samples in a batch of one rank."
)
@click.option(
    "--remainder",
    type=click.Choice(["drop", "pad", "uneven"]),
    default="drop",
    show_default=True,
    help="What becomes of samples that do not fill a step of all ranks.",
)
@click.option("--stream", is_flag=True, help="Divide whole shards, as streams are read, and not samples.")
@click.option("--shuffle", type=click.IntRange(min=0), default=0, metavar="N", help="Shuffle in a buffer of N samples.")
@click.option("--window", type=click.IntRange(min=1), metavar="N", help="Shuffle the samples of each N shards.")
@click.option("--seed", type=int, default=0, help="Of the order.")
@click.option("--epoch", type=click.IntRange(min=0), default=0, help="Which epoch; each has an order of its own.")
@arguments.as_json
def command(
    urls: list[str],
    ranks: int,
    workers: int,
    nodes: int,
    own: bool,
    batch: int,
    remainder: Literal["drop", "pad", "uneven"],
    stream: bool,
    shuffle: int,
    window: int | None,
    seed: int,
    epoch: int,
    as_json: bool,
) -> None:
    """Plan an epoch."""
    if stream and (window is not None or own):
        raise click.UsageError("--window and --own divide single samples: leave --stream out")
    if ranks % nodes:
        raise click.UsageError(f"{ranks} ranks are not evenly on {nodes} nodes")
    training = Training(
        world_size=ranks,
        workers=workers,
        nodes=nodes,
        own=own,
        batch=batch,
        remainder=None if stream else remainder,
        shuffle=shuffle,
        window=window,
        seed=seed,
        epoch=epoch,
    )
    plan = plan_training(urls, training)
    if as_json:
        print_json({**attrs.asdict(plan), "steps": plan.steps})
    else:
        sys.stdout.write(f"{plan}\n")
