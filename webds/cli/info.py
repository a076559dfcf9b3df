"""``webds info``."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from webds.cli import arguments
from webds.cli.errors import Status
from webds.cli.output import counted, print_json, print_table, shown, size_text
from webds.cli.progress import progress
from webds.redaction import redact
from webds.tools.reading import source_of
from webds.tools.sizes import FieldSizes
from webds.tools.survey import ShardSurvey, Survey, survey

__all__ = ["command"]

_WIDTH: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_SHAPES: Final = 8

_HELP: Final = """
Say what is in SHARDS: how many samples, which fields, how large they are, and what is out of the ordinary.

Only headers are read, where that can be. Looked for are shards that cannot be read to their end, fields that are
there twice, samples whose members are apart, keys that come twice (in one shard or in several), keys that differ in
case alone (and would be one file on some systems), members without a key, fields that most samples have and some lack,
and fields that are spelled in several ways. The exit status is 1 if reading these shards would fail.

Medians are off by an eighth at most.

\b
Examples:
  webds info 'train-{000000..000146}.tar'
  webds info -j 4 --shards 's3://bucket/train-*.tar'
  webds info --json train.json | jq .samples
"""


@click.command("info", help=_HELP)
@arguments.urls()
@click.option("--shards", "by_shard", is_flag=True, help="A line for each shard, too.")
@click.option("--rows", type=click.IntRange(min=1, max=64), default=10, show_default=True, help="Rows of a histogram.")
@arguments.index
@arguments.missing_end
@arguments.jobs
@arguments.as_json
@click.pass_context
def command(
    context: click.Context,
    urls: list[str],
    by_shard: bool,
    rows: int,
    use_index: bool,
    missing_end: arguments.End,
    jobs: int,
    as_json: bool,
) -> None:
    """Say what is in shards."""
    source = source_of(urls, missing_end=missing_end)
    with progress() as bar:
        found = survey(source, use_index=use_index, jobs=jobs, progress=bar)
    if as_json:
        print_json(_as_json(found, rows))
    else:
        _print(found, rows, by_shard=by_shard)
    if any(anomaly.is_error for anomaly in found.total.anomalies.values()):
        context.exit(Status.FAULTS)


def _print(found: Survey, rows: int, *, by_shard: bool) -> None:
    total = found.total
    sizes = f"{counted(total.members, 'member')}, {size_text(total.bytes)}"
    _say(f"{counted(len(found.shards), 'shard')}, {counted(total.samples, 'sample')}, {sizes}")
    if by_shard:
        _say()
        lines = [
            [shown(redact(one.url)), f"{one.samples:,}", f"{one.members:,}", size_text(one.bytes)]
            for one in found.shards
        ]
        print_table(["shard", "samples", "members", "size"], lines, right=(1, 2, 3))
    if total.fields:
        _say()
        heads = ["field", "values", "total", "mean", "least", "median", "most"]
        print_table(heads, [_row(name, total.fields[name]) for name in sorted(total.fields)], right=range(1, 7))
        for name in sorted(total.fields):
            _say(f"\n{shown(name)}, sizes:")
            _print_histogram(total.fields[name], rows)
    if len(total.shapes) > 1:
        _say("\nsamples by their fields:")
        _print_shapes(total)
    _say("\nout of the ordinary:" if total.anomalies else "\nnothing is out of the ordinary")
    for kind, anomaly in total.anomalies.items():
        _say(f"  {kind}: {anomaly.count:,}")
        for example in anomaly.examples:
            _say(f"    {shown(example)}")
        if anomaly.count > len(anomaly.examples) and kind != "field missing":
            _say("    …")


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def _row(name: str, sizes: FieldSizes) -> list[str]:
    numbers = (sizes.total, sizes.mean, sizes.least, sizes.quantile(0.5), sizes.most)
    return [shown(name), f"{sizes.count:,}", *map(size_text, numbers)]


def _print_histogram(sizes: FieldSizes, rows: int) -> None:
    ranges = sizes.histogram(rows)
    most = max(count for _, _, count in ranges)
    ends = [(size_text(max(low, sizes.least)), size_text(min(high - 1, sizes.most))) for low, high, _ in ranges]
    labels = [low if low == high else f"{low} to {high}" for low, high in ends]
    counts = [f"{count:,}" for _, _, count in ranges]
    for label, count, (_, _, number) in zip(labels, counts, ranges, strict=True):
        _say(f"  {label:<{max(map(len, labels))}}  {_bar(number / most):<{_WIDTH}}  {count:>{max(map(len, counts))}}")


def _bar(share: float) -> str:
    """Return a bar; what is there at all shows."""
    eighths = max(round(share * _WIDTH * 8), 1 if share else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _print_shapes(total: ShardSurvey) -> None:
    shapes = sorted(total.shapes.items(), key=lambda shape: -shape[1][0])
    for shape, (count, key) in shapes[:_SHAPES]:
        _say(f"  {count:>12,}  {' '.join(map(shown, shape))}   (such as {shown(key)})")
    if len(shapes) > _SHAPES:
        _say(f"  {sum(count for _, (count, _) in shapes[_SHAPES:]):>12,}  others, of {len(shapes) - _SHAPES:,} kinds")


def _as_json(found: Survey, rows: int) -> dict[str, Any]:
    total = found.total
    return {
        "samples": total.samples,
        "members": total.members,
        "bytes": total.bytes,
        "fields": {
            name: {
                "values": sizes.count,
                "total": sizes.total,
                "mean": sizes.mean,
                "least": sizes.least,
                "median": sizes.quantile(0.5),
                "most": sizes.most,
                "histogram": [
                    {"from": low, "below": high, "values": count} for low, high, count in sizes.histogram(rows)
                ],
            }
            for name, sizes in sorted(total.fields.items())
        },
        "shapes": [{"fields": shape, "samples": count, "first": key} for shape, (count, key) in total.shapes.items()],
        "anomalies": [
            {"kind": kind, "count": anomaly.count, "error": anomaly.is_error, "examples": anomaly.examples}
            for kind, anomaly in total.anomalies.items()
        ],
        "shards": [
            {"url": redact(one.url), "samples": one.samples, "members": one.members, "bytes": one.bytes}
            for one in found.shards
        ],
    }
