"""``webds report``."""

from __future__ import annotations

from typing import Final

import click

from webds.cli import arguments
from webds.cli.errors import Status
from webds.cli.output import note, shown, size_text
from webds.cli.progress import progress
from webds.cli.shards import size
from webds.errors import WriteError
from webds.tools.engine import engine_of
from webds.tools.report import Report, ReportOptions, check_output, gather, render, write_report
from webds.tools.report.facts import FindingKind
from webds.tools.texts import count_text

__all__ = ["command"]

_HELP: Final = """
Make a page about SHARDS to look at: what they hold, what is wrong with them, and some of their samples.

The page is one file of HTML that works offline and asks nobody for anything. It has thumbnails that open large, audio
players, texts and JSON; distributions of sizes, classes and image dimensions; which fields samples have and lack; keys
and contents that are there more than once; and a table of the shards. Samples can be filtered by key, text, field and
shard. Whatever a shard holds is shown as text, and never run.

Everything is counted over all samples: shards are read once for that, and again for the samples that are shown. With
--headers-only no more than headers and classes is read, which is faster by far, and leaves out what needs contents:
image dimensions, fields that cannot be decoded, contents that are there more than once.

Broken shards, and fields that cannot be decoded, are listed in the page, and are no error, unless with --strict. The
exit status is 1, too, if no shard could be read at all.

\b
Examples:
  webds report 'data/train-*.tar' -o report.html
  webds report -n 200 --first 'https://example.org/x-{000..009}.tar'
  webds report --headers-only -j 8 --strict 's3://bucket/train-{0000..1023}.tar'
"""


@click.command("report", help=_HELP)
@arguments.urls()
@click.option(
    "-o", "--output", default="report.html", show_default=True, metavar="FILE", help="The page; - is standard output."
)
@click.option(
    "-n", "--samples", type=click.IntRange(min=0), default=60, show_default=True, metavar="N", help="Show N samples."
)
@click.option("--first", is_flag=True, help="Show the first samples, in place of some at random.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Which ones those at random are.")
@click.option("--headers-only", is_flag=True, help="Read headers and classes only.")
@click.option(
    "--page-size",
    type=size,
    default="32MB",
    show_default=True,
    metavar="SIZE",
    help="What the samples may take of the page; each gets an equal part. All else takes 2 MB at most.",
)
@click.option("--title", metavar="TEXT", help="What the page is called; by default what the names of the shards share.")
@click.option("--strict", is_flag=True, help="Exit with status 1 if there are faults. The page is made all the same.")
@arguments.overwrite
@arguments.missing_end
@arguments.jobs
@click.pass_context
def command(
    context: click.Context,
    urls: list[str],
    output: str,
    samples: int,
    first: bool,
    seed: int,
    headers_only: bool,
    page_size: float,
    title: str | None,
    strict: bool,
    overwrite: bool,
    missing_end: arguments.End,
    jobs: int,
) -> None:
    """Make a page."""
    try:
        options = ReportOptions(
            samples=samples,
            choice="first" if first else "random",
            seed=seed,
            content=not headers_only,
            max_bytes=int(page_size),
            title=title,
            missing_end=missing_end,
        )
    except ValueError as error:
        raise click.UsageError(f"{error}") from error
    try:
        check_output(output, overwrite=overwrite)
    except WriteError as error:
        raise click.UsageError(error.message.replace("overwrite=True", "--overwrite")) from error
    with progress() as bar:
        report = gather(urls, options, engine=engine_of(jobs), progress=bar)
    page = render(report)
    write_report(page, output, overwrite=overwrite)
    note(f"{shown(output)}: {_summary(report)}; {size_text(len(page))}")
    unreadable = all(shard.fault is not None and not shard.samples for shard in report.shards)
    if unreadable or (strict and report.faults):
        context.exit(Status.FAULTS)


def _summary(report: Report) -> str:
    faults = [count_text(finding.count, *_FAULTS[finding.kind]) for finding in report.findings if finding.is_fault]
    about = f"{count_text(report.samples, 'sample')} in {count_text(len(report.shards), 'shard')}"
    return "; ".join(filter(None, [about, ", ".join(faults)]))


_FAULTS: Final[dict[FindingKind, tuple[str, str]]] = {
    "broken": ("broken shard", ""),
    "undecodable": ("undecodable field", ""),
    "apart": ("key that comes back", "keys that come back"),
    "twice": ("field twice in its sample", "fields twice in their sample"),
    "taken": ("field of a reserved name", "fields of a reserved name"),
}
