"""``webds bench``."""

from __future__ import annotations

import sys
from typing import Any, Final

import attrs
import click

from webds.cli import arguments
from webds.cli.output import counted, print_json, print_table, size_text
from webds.cli.progress import progress
from webds.tools.bench import Bench, Measured, bench

__all__ = ["command"]

_HELP: Final = """
Measure how fast SHARDS are read, and which stage takes the time.

The data set is read as a training loop would that takes no time itself: opened, read, shuffled, decoded, put into
batches, by as many DataLoader workers as asked for. Files that were read a short time before come out of memory: a
second run measures something else than the first.

"io" is the reading of bytes, "read" the making of samples, "consumer" the time in which nothing was asked for, which is
the DataLoader's own. The seconds are summed over workers; those of "decode" with threads are the time it was waited
for. Rates are counted from the first value on, so that the start of workers is not in them.

\b
Examples:
  webds bench 'train-{000000..000146}.tar'
  webds bench --decode torchrgb8 --size 224 --field 'jpg;png' --field cls --batch 64 --workers 4 'train-*.tar'
  webds bench --json --seconds 30 https://example.org/train-000000.tar
"""


@click.command("bench", help=_HELP)
@arguments.urls()
@click.option("--decode", metavar="SPEC", help="Decode; images as rgb8, torchrgb8, pil, …")
@click.option(
    "--size", type=click.IntRange(min=1), metavar="N", help="Bring images to N x N pixels, as batches want them."
)
@click.option(
    "-f", "--field", "fields", multiple=True, metavar="FIELD", help="Read this field only; may be given several times."
)
@click.option("--shuffle", type=click.IntRange(min=0), default=0, metavar="N", help="Shuffle in a buffer of N samples.")
@click.option("--batch", type=click.IntRange(min=0), default=0, metavar="N", help="Put N samples into a batch.")
@click.option("--workers", type=click.IntRange(min=0), default=0, metavar="N", help="Number of DataLoader workers.")
@click.option("--threads", type=click.IntRange(min=0), default=0, metavar="N", help="Threads that decode, in each.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.0), default=10.0, show_default=True, help="Stop after so many seconds."
)
@click.option("-n", "--samples", type=click.IntRange(min=1), metavar="N", help="Stop after N samples.")
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True, help="Read the shards so often.")
@click.option("--skip-errors", is_flag=True, help="Leave out what cannot be read or decoded, and count it.")
@arguments.missing_end
@arguments.as_json
def command(
    urls: list[str],
    decode: str | None,
    size: int | None,
    fields: tuple[str, ...],
    shuffle: int,
    batch: int,
    workers: int,
    threads: int,
    seconds: float,
    samples: int | None,
    epochs: int,
    skip_errors: bool,
    missing_end: arguments.End,
    as_json: bool,
) -> None:
    """Measure a data set."""
    if decode is None and (size is not None or threads):
        raise click.UsageError("--size and --threads say how to decode: give --decode, too")
    what = Bench(
        decode=decode,
        size=None if size is None else (size, size),
        fields=fields,
        shuffle=shuffle,
        batch=batch,
        workers=workers,
        threads=threads,
        seconds=seconds,
        samples=samples,
        epochs=epochs,
        skip=skip_errors,
    )
    try:
        what.builder(urls, missing_end=missing_end)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    with progress() as bar:
        measured = bench(urls, what, missing_end=missing_end, progress=bar)
    if as_json:
        print_json(_as_json(measured))
    else:
        _print(measured)


def _print(measured: Measured) -> None:
    how = "all of it" if measured.whole else "a part"
    sys.stdout.write(f"{counted(measured.samples, 'sample')} in {measured.seconds:.2f} s, {how}\n")
    sys.stdout.write(f"{measured.rate:,.0f} samples/s, {size_text(measured.bytes_rate)}/s read\n")
    sys.stdout.write(f"the first after {measured.first:.3f} s\n\n")
    stats = measured.stats
    rows = [(stage.name, stage.values, stage.seconds) for stage in stats.stages]
    rows.append(("consumer", stats.consumed, stats.consumer_seconds))
    total = sum(seconds for _, _, seconds in rows)
    print_table(
        ["stage", "values", "seconds", "share"],
        [
            [
                name,
                size_text(values) if name == "io" else f"{values:,}",
                f"{seconds:.3f}",
                f"{seconds / total if total else 0.0:.1%}",
            ]
            for name, values, seconds in rows
        ],
        right=(1, 2, 3),
    )
    if stats.losses:
        sys.stdout.write(
            f"\n{counted(len(stats.losses), 'error')} let pass, {len(stats.cut_short):,} of them cut a shard short\n"
        )
    if stats.slowest is not None:
        sys.stdout.write(f"\nthe slowest stage: {stats.slowest.name}\n")


def _as_json(measured: Measured) -> dict[str, Any]:
    stats = measured.stats
    return {
        "samples": measured.samples,
        "seconds": measured.seconds,
        "first": measured.first,
        "samples_per_second": measured.rate,
        "bytes_read": stats.bytes_read,
        "bytes_per_second": measured.bytes_rate,
        "whole": measured.whole,
        "stages": [attrs.asdict(stage) for stage in stats.stages],
        "consumer_seconds": stats.consumer_seconds,
        "errors": len(stats.losses),
        "retries": len(stats.retries),
    }
