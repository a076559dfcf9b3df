"""``webds pack``."""

from __future__ import annotations

from typing import Any, Final, Literal

import click

from webds.cli import arguments
from webds.cli.progress import progress
from webds.cli.shards import output_of, output_options, pairs, refuse_json_beside_shard, said, usage_errors
from webds.tools.folders import ImageFolderSource
from webds.tools.packing import Kind, pack, pack_source, write_classes
from webds.tools.rows import Columns

__all__ = ["command"]

_HELP: Final = """
Write the files of a folder, or the rows of a table, as shards.

\b
PATH is
  a folder             files that share a name but for its suffix are a sample: a/1.jpg and
                       a/1.json make the sample a/1 with the fields jpg and json. The key ends
                       at the first dot (--dot last: at the last one; others become _).
  an image folder      with --kind imagefolder: PATH/class/x.png, as torchvision has it. The
                       sample class/x has the fields png and cls, the number of its class.
  .csv .tsv .jsonl     a table; each row is a sample.
  .parquet .arrow      likewise (extra arrow), also with the images in it.
  a data set           that datasets.save_to_disk wrote (extra datasets); --split names one.

In a table, --file FIELD=COLUMN takes the files (or URLs) that a column names, relative to the table, and --field
FIELD=COLUMN the values of a column. Columns that are called like an extension (txt, cls, …) are fields by themselves,
and so are columns of images or other bytes; all others make one JSON object, in the field json (--rest FIELD,
--no-rest). Samples are numbered unless --key names a column.

TARGET is a pattern with a place for the shard's number, such as out/train-%06d.tar; the name of a single shard; or -
for standard output. The contents of files stay as they are, byte for byte.

Ctrl-C leaves whole shards only; the same command goes on from there. --overwrite begins anew.

\b
Examples:
  webds pack photos/ -o 'photos-%06d.tar' --maxsize 1GB --index -j 8
  webds pack imagenet/train --kind imagefolder -o 'train-%06d.tar' --classes classes.json
  webds pack captions.csv --file jpg=path --field txt=caption --key id -o 'x-%06d.tar'
  webds pack saved/ --split train -o 'train-%06d.tar' --manifest index.json
"""

_KINDS: Final = ("folder", "imagefolder", "csv", "jsonl", "parquet", "arrow", "datasets")


@click.command("pack", help=_HELP)
@click.argument("path")
@output_options()
@click.option("--kind", type=click.Choice(_KINDS), help="What PATH is; by default, as its suffix says.")
@click.option("--dot", type=click.Choice(["first", "last"]), help="Folders: which dot of a name ends the key.")
@click.option("--class-names", metavar="FIELD", help="Image folders: a field for the name of the class, such as txt.")
@click.option("--classes", metavar="FILE", help="Image folders: write the names of the classes to FILE, as JSON.")
@click.option("--key", metavar="COLUMN", help="Tables: the column with the key.")
@click.option("--file", "files", multiple=True, metavar="FIELD=COLUMN", help="Tables: a field of files; repeatable.")
@click.option("--field", "fields", multiple=True, metavar="FIELD=COLUMN", help="Tables: a field of values; repeatable.")
@click.option("--rest", default="json", show_default=True, metavar="FIELD", help="Tables: the field for other columns.")
@click.option("--no-rest", is_flag=True, help="Tables: leave other columns out.")
@click.option("--replace-dots", is_flag=True, help="Tables: write _ for dots in the last part of keys.")
@click.option("--split", metavar="NAME", help="Data sets: which split.")
@arguments.jobs
@arguments.engine
@arguments.as_json
def command(
    path: str,
    kind: Kind | None,
    dot: Literal["first", "last"] | None,
    class_names: str | None,
    classes: str | None,
    key: str | None,
    files: tuple[str, ...],
    fields: tuple[str, ...],
    rest: str,
    no_rest: bool,
    replace_dots: bool,
    split: str | None,
    jobs: int,
    engine: str,
    address: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write files or rows as shards."""
    output = output_of(given)
    refuse_json_beside_shard(output, as_json=as_json)
    runs = arguments.engine_of(engine, address, path, output.target)
    with progress() as bar, usage_errors():
        columns = None
        if key is not None or files or fields or no_rest or replace_dots or rest != "json":
            columns = Columns(
                key=key,
                files=pairs(files, "--file FIELD=COLUMN"),
                fields=pairs(fields, "--field FIELD=COLUMN"),
                rest=None if no_rest else rest,
                dots=replace_dots,
            )
        source = pack_source(path, kind, columns=columns, split=split, dot=dot, class_names=class_names)
        if classes is not None and not isinstance(source, ImageFolderSource):
            raise click.UsageError("--classes is for image folders")
        done = pack(source, output, jobs=jobs, engine=runs, progress=bar)
        if classes is not None and isinstance(source, ImageFolderSource):
            write_classes(source, classes)
    said(done.written, done.passed, as_json=as_json)
