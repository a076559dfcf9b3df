"""``webds show``."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Final

import click

from webds.cli import arguments
from webds.cli.errors import Status, describe
from webds.cli.output import console, counted, note
from webds.cli.pictures import TILE, print_tiles
from webds.errors import WebdsError
from webds.openers.schemes import default_opener
from webds.sinks.targets import FileTarget, refuse_existing
from webds.tools.reading import source_of
from webds.tools.sheet import Tile, draw_sheet, tiles
from webds.urls import local_path

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["command"]

_HELP: Final = """
Show the first samples of SHARDS, or random ones: small pictures with their keys and labels.

With -o, a contact sheet is written as PNG. Without, they are shown in the terminal, as coloured blocks; where standard
output is no terminal, the PNG is written there. The picture is the first field of a sample that has the extension of
one; labels are texts, classes and JSON, or what --label names. What cannot be decoded is said in its place, and the
exit status is 1 then.

Random samples (--random, or --seed N for those of a number) are read alone where shards are local or have an index;
otherwise all of the shards is read.

\b
Examples:
  webds show train-000000.tar
  webds show -n 100 --random -o sheet.png 'train-{000000..000146}.tar'
  webds show -n 25 --image seg.png --label txt --label cls -o sheet.png train-000000.tar
"""


@click.command("show", help=_HELP)
@arguments.urls()
@click.option(
    "-n", "--number", "count", type=click.IntRange(1, 10_000), default=12, show_default=True, help="Number of samples."
)
@click.option("--random", "at_random", is_flag=True, help="Show random samples, the same ones each time.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Show other random samples for each number.")
@click.option("-o", "--output", metavar="FILE", help="Write a PNG there; - is standard output.")
@click.option("--image", metavar="FIELD", help="The field that is the picture.")
@click.option("--label", "labels", multiple=True, metavar="FIELD", help="A field shown as text; may be repeated.")
@click.option(
    "--size", type=click.IntRange(16, 1024), default=160, show_default=True, help="Pixels of a picture in the PNG."
)
@click.option("--columns", type=click.IntRange(min=1), help="Pictures beside one another in the PNG.")
@arguments.overwrite
@arguments.missing_end
@click.pass_context
def command(
    context: click.Context,
    urls: list[str],
    count: int,
    at_random: bool,
    seed: int | None,
    output: str | None,
    image: str | None,
    labels: tuple[str, ...],
    size: int,
    columns: int | None,
    overwrite: bool,
    missing_end: arguments.End,
) -> None:
    """Show samples."""
    path = None if output in (None, "-") else local_path(output or "")
    if path is not None:
        refuse_existing(path, overwrite=overwrite)
    in_terminal = output is None and sys.stdout.isatty()
    source = source_of(urls, missing_end=missing_end)
    seed = (seed or 0) if at_random or seed is not None else None
    pixels = TILE if in_terminal else size
    found: list[Tile] = []
    failure: WebdsError | None = None
    try:
        found.extend(tiles(source, count, seed=seed, image=image, labels=labels, size=pixels))
    except WebdsError as error:  # what came before is shown all the same
        failure = error
    if found and in_terminal:
        print_tiles(console(), found)
    elif found:
        _write(draw_sheet(found, columns=columns, size=size), output or "-", overwrite=overwrite)
    faulty = [tile for tile in found if tile.fault is not None]
    if failure is not None:
        note(f"webds: {describe(failure)}")
    if faulty:
        note(f"webds: {counted(len(faulty), 'picture')} cannot be decoded")
    if not found and failure is None:
        note("webds: there are no samples")
    if faulty or failure is not None or not found:
        context.exit(Status.FAULTS)


def _write(sheet: Image.Image, output: str, *, overwrite: bool) -> None:
    """Write a PNG, which has its name when it is whole."""
    data = io.BytesIO()
    sheet.save(data, "PNG")
    path = local_path(output)
    if path is None:
        with default_opener().open(output, "wb") as stream:
            stream.write(data.getvalue())
            stream.flush()
        return
    target = FileTarget(path, overwrite=overwrite)
    try:
        target.write(data.getvalue())
        target.commit()
    finally:
        target.discard()
