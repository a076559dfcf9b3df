"""Files and tables into shards."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator
from typing import Any, Final, Literal, TypeAlias, final

import attrs

from webds.errors import EmptyDatasetError, UrlError
from webds.openers.schemes import OpenerLike
from webds.sinks.pattern import ShardPattern
from webds.tools.engine import Engine, engine_of, report
from webds.tools.folders import FolderSource, ImageFolderSource
from webds.tools.items import Batch, Item, PackSource, batches
from webds.tools.jobs import Job, running
from webds.tools.outputs import Output, ShardFile, Written, complete, raw_encoder, remove_shards, write_stream
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import Passed, opener_of
from webds.tools.rows import ArrowSource, Columns, CsvSource, HuggingFaceSource, JsonlSource, ParquetSource
from webds.typing import Sample

__all__ = ["Kind", "Packed", "kind_of", "pack", "pack_source", "write_classes"]

Kind: TypeAlias = Literal["folder", "imagefolder", "csv", "jsonl", "parquet", "arrow", "datasets"]
"""What is packed; see `webds.tools.folders` and `webds.tools.rows`."""

_TABLES: Final[dict[Kind, Any]] = {
    "csv": CsvSource,
    "jsonl": JsonlSource,
    "parquet": ParquetSource,
    "arrow": ArrowSource,
}
_SUFFIXES: Final[dict[str, Kind]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}


@final
@attrs.define
class Packed:
    """What was packed.

    Attributes:
        written: what was written.
        passed: what was found, and is part of no sample.
    """

    written: Written
    passed: Passed


def kind_of(path: str) -> Kind:
    """Return what ``path`` seems to be: by its suffix, or, of a folder, by what is in it. Never an ``imagefolder``.

    Raises:
        UrlError: nothing that is known here.
    """
    if os.path.isdir(path):
        states = ("dataset_info.json", "state.json")
        saved = os.path.exists(os.path.join(path, "dataset_dict.json")) or all(
            os.path.exists(os.path.join(path, name)) for name in states
        )
        return "datasets" if saved else "folder"
    if path == "-":
        raise UrlError("standard input may be csv or jsonl: say which", url=path)
    if not os.path.exists(path):
        raise UrlError("there is no such file or folder", url=path)
    kind = _SUFFIXES.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise UrlError(f"no kind of table has this suffix: expected one of {', '.join(_SUFFIXES)}, or say it", url=path)
    return kind


def pack_source(
    path: str | os.PathLike[str],
    kind: Kind | None = None,
    *,
    columns: Columns | None = None,
    split: str | None = None,
    dot: Literal["first", "last"] | None = None,
    class_names: str | None = None,
) -> PackSource:
    """Return what is to be packed.

    Args:
        path: a folder, a table, or what Hugging Face's ``datasets`` saved.
        kind: what it is; None goes by the suffix, and takes a folder for one of files.
        columns: for tables: which columns become which fields.
        split: for ``datasets``: which split.
        dot: for folders: which dot of a file's name ends the key; see `webds.tools.folders.Splits`. By default, the
            first in a ``folder``, and the last in an ``imagefolder``.
        class_names: for an ``imagefolder``: a field for the name of the class, such as ``txt``.

    Raises:
        UrlError: it is not there, or nobody knows what it is.
        ValueError: an argument that is for another kind.
    """
    text = os.fspath(path)
    found = kind_of(text) if kind is None else kind
    given = {"columns": columns, "split": split, "dot": dot, "class_names": class_names}
    for name, kinds in _MEANT.items():
        if given[name] is not None and found not in kinds:
            raise ValueError(f"{name}= is for {', '.join(kinds)}; this is {found}")
    if found == "folder":
        return FolderSource(text, dot or "first")
    if found == "imagefolder":
        return ImageFolderSource(text, class_names, dot or "last")
    if not os.path.exists(text) and not (text == "-" and found in ("csv", "jsonl")):
        raise UrlError("there is no such file or folder", url=text)
    if found == "datasets":
        return HuggingFaceSource(text, columns or Columns(), split)
    source: PackSource = _TABLES[found](text, columns or Columns())
    return source


_MEANT: Final[dict[str, tuple[Kind, ...]]] = {
    "columns": ("csv", "jsonl", "parquet", "arrow", "datasets"),
    "split": ("datasets",),
    "dot": ("folder", "imagefolder"),
    "class_names": ("imagefolder",),
}


def pack(
    source: PackSource,
    output: Output,
    *,
    jobs: int = 1,
    engine: Engine | None = None,
    opener: OpenerLike | None = None,
    progress: Progress | None = None,
) -> Packed:
    """Write files, or the rows of a table, as shards. The contents of files stay as they are, byte for byte.

    Work that was broken off goes on where it was, if it is repeated as it was.

    Args:
        source: what to pack; see `pack_source`.
        output: where to: a pattern, or the name of a single shard.
        jobs: how many processes read files; tables that have their contents in them are read by one.
        engine: does this, in place of these.
        opener: opens files that a table names by URLs; None for the default.
        progress: hears how many samples have been written.

    Raises:
        WebdsError: a file cannot be read; a key or field cannot be written; a value not be encoded.
        EmptyDatasetError: there is nothing to pack.
    """
    tells = progress or NoProgress()
    opens = opener_of(opener)
    parameters = {"output": output.parameters(), "source": source.identity()}
    with running(
        output.target,
        "pack",
        parameters,
        opener=output.opens,
        existing=output.existing,
        overwrite=output.overwrite,
    ) as job:
        tells.begin("pack", source.count(), "samples")
        if source.is_inline or not output.is_pattern:
            samples = _samples(source.items(), opens, tells)
            with contextlib.closing(samples):
                written = write_stream(samples, output, job, raw_encoder())
        else:
            written = _pack_batches(source, output, job, engine or engine_of(jobs), opens, tells)
        if not written.samples:
            where = f", only files such as {source.passed.examples[0]!r}" if source.passed.examples else ""
            raise EmptyDatasetError(f"there is nothing to pack here{where}", url=str(source.identity()[1]))
    return Packed(written, source.passed)


def _samples(items: Iterator[Item], opener: Any, progress: Progress) -> Generator[Sample]:
    for item in items:
        yield item.sample(opener)
        progress.advance(1)


def _pack_batches(
    source: PackSource, output: Output, job: Job, engine: Engine, opener: Any, progress: Progress
) -> Written:
    written = Written()
    work = _Pack(output, job, opener)
    tasks = batches(source.items(), output.maxcount, output.maxsize, opener)
    with contextlib.closing(engine.run(work, tasks, progress.advance)) as done:
        for samples, kept in done:
            written.shards += 1
            written.samples += samples
            written.kept += kept
    names = ShardPattern(output.target, output.opener)
    if output.overwrite and written.shards:
        remove_shards([name for number, name in names.existing().items() if number >= written.shards], output)
    return written


@final
@attrs.frozen
class _Pack:
    """Packs one shard; returns the number of its samples, and whether it was there already."""

    output: Output
    job: Job
    opener: Any

    def __call__(self, batch: Batch) -> tuple[int, bool]:
        name = ShardPattern(self.output.target, self.output.opener).name(batch.number)
        if self.job.resumed and self.output.is_there(name):
            report(len(batch.items))
            return complete(name, self.output), True
        with ShardFile(name, self.output, raw_encoder()) as sink:
            for item in batch.items:
                sink.write(item.sample(self.opener))
                report(1)
        return len(batch.items), False


def write_classes(source: ImageFolderSource, path: str) -> None:
    """Write the names of classes, in the order of their numbers, as a JSON list."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(list(source.classes()), file, ensure_ascii=False, indent=1)
        file.write("\n")
