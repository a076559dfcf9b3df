"""The rows of tables as samples: CSV, JSON lines, Parquet, Arrow, and what Hugging Face's datasets saved to a disk."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import secrets
import sys
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, TextIO, cast, final

import attrs
from typing_extensions import override

from webds.codecs.contents import ANY_IMAGE, extension_of, plain_name
from webds.codecs.tables import default_encoders
from webds.errors import FieldError, MissingExtraError, SampleError, UrlError, annotate
from webds.openers.streams import open_error
from webds.sinks.fields import SampleEncoder
from webds.tools.items import FilePart, Item, PackSource, Part
from webds.tools.reading import Passed
from webds.urls import path_url, scheme_of

__all__ = ["ArrowSource", "Columns", "CsvSource", "HuggingFaceSource", "JsonlSource", "ParquetSource", "TableSource"]

_BATCH: Final = 64
"""Rows that are decoded at once; few, since each may hold an image."""


def _mapping(given: Mapping[str, str]) -> dict[str, str]:
    return {field.lower().removeprefix("."): column for field, column in given.items()}


@final
@attrs.frozen(kw_only=True)
class Columns:
    """Which columns become which fields.

    Attributes:
        key: the column with the key; None numbers the samples: ``000000000``, ….
        files: field → column that has paths or URLs of files, relative to the table, whose contents are the field.
        fields: field → column whose values are the field: bytes as they are, other values encoded by the extension
            of the field. A column that is a structure of ``bytes`` and ``path``, as Hugging Face stores images and
            audio, gives its bytes, or the content of its path.
        rest: the field that has all other columns, as one JSON object; None leaves them out. Columns that have the
            name of an extension that can be encoded (``jpg``, ``txt``, ``cls``, …) are fields by themselves, and so are
            columns of bytes: under the extension that their content has, with the column's name before it if there are
            several.
        dots: whether dots in the last part of a key become ``_``, as dots there would end it.
    """

    key: str | None = None
    files: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=_mapping)
    fields: Mapping[str, str] = attrs.field(factory=dict[str, str], converter=_mapping)
    rest: str | None = "json"
    dots: bool = False

    def __attrs_post_init__(self) -> None:
        both = sorted(self.files.keys() & self.fields.keys())
        if both:
            raise ValueError(f"the field {both[0]!r} is given twice")

    @property
    def named(self) -> frozenset[str]:
        """The columns that are given by name."""
        return frozenset((*self.files.values(), *self.fields.values(), *([] if self.key is None else [self.key])))


@attrs.define
class TableSource(PackSource):
    """The rows of a table.

    Attributes:
        path: the table, a local file or folder.
        columns: which columns become which fields.
    """

    path: str = attrs.field(converter=os.fspath)
    columns: Columns = attrs.field(factory=Columns)
    passed: Passed = attrs.field(factory=Passed, init=False)

    @abstractmethod
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each row, and what to call it in errors."""

    @override
    def items(self) -> Iterator[Item]:
        encoder = SampleEncoder(encoder=True, keep_meta=True)
        known = frozenset(default_encoders())
        folder = os.path.dirname(os.path.abspath(self.path))
        for number, (origin, row) in enumerate(self.rows()):
            key = self._key(row, number, origin)
            try:
                fields = self._fields(row, known, folder)
                plain = {name: value for name, value in fields.items() if not isinstance(value, FilePart)}
                encoded = dict(encoder.encode({"__key__": key, **plain})[1]) if plain else {}
            except Exception as error:
                annotate(error, url=origin, key=key, stage="pack")
                raise
            parts: dict[str, Part] = {
                name: value if isinstance(value, FilePart) else bytes(encoded[name]) for name, value in fields.items()
            }
            yield Item(key, parts, origin)

    def _key(self, row: Mapping[str, Any], number: int, origin: str) -> str:
        name = self.columns.key
        if name is None:
            return f"{number:09d}"
        value = self._value(row, name, origin)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise FieldError(f"the column {name!r}, which has the key, holds {value!r}", url=origin, field=name,
                             stage="pack")  # fmt: skip
        key = str(value)
        if self.columns.dots:
            folder, slash, base = key.rpartition("/")
            key = folder + slash + base.replace(".", "_")
        return key

    def _value(self, row: Mapping[str, Any], column: str, origin: str | None = None) -> Any:
        if column not in row:
            raise FieldError(f"there is no column {column!r}; there are {', '.join(map(repr, row))}", url=origin,
                             field=column, stage="pack")  # fmt: skip
        return row[column]

    def _fields(self, row: Mapping[str, Any], known: frozenset[str], folder: str) -> dict[str, Any]:
        columns = self.columns
        fields: dict[str, Any] = {}
        for field, column in columns.files.items():
            value = self._value(row, column)
            if value not in (None, ""):
                fields[field] = _file(value, column, folder)
        for field, column in columns.fields.items():
            value = self._value(row, column)
            if value is not None:
                fields[field] = _number(_content(value, folder), field)
        rest = {name: value for name, value in row.items() if name not in columns.named}
        blobs = {name: value for name, value in rest.items() if _is_blob(value)}
        for name, value in blobs.items():
            del rest[name]
            extension = _extension(value, name, known)
            field = extension if len(blobs) == 1 or name.lower() == extension else f"{plain_name(name)}.{extension}"
            _put(fields, field, _content(value, folder))
        for name in [name for name in rest if name.lower() in known]:
            value = rest.pop(name)
            if value is not None:
                _put(fields, name.lower(), _number(value, name.lower()))
        if rest and columns.rest is not None:
            _put(fields, columns.rest, rest)
        if not fields:
            raise SampleError(f"the row has nothing that would be a field, only {', '.join(map(repr, row))}")
        return fields

    @override
    def identity(self) -> list[Any]:
        return [type(self).__name__, *_stamp(self.path), repr(attrs.astuple(self.columns))]


def _stamp(path: str) -> list[Any]:
    if path == "-":
        return [path, secrets.token_hex(8)]  # nobody knows what comes out of it the next time
    status = os.stat(path)
    return [os.path.abspath(path), status.st_size, status.st_mtime_ns]


def _put(fields: dict[str, Any], field: str, value: Any) -> None:
    if field in fields:
        raise SampleError(f"two columns would be the field {field!r}: say which is which", field=field)
    fields[field] = value


def _file(value: object, column: str, folder: str) -> FilePart:
    """Return the file that a cell of a table names."""
    if not isinstance(value, str):
        raise FieldError(f"the column {column!r} holds {type(value).__name__} in place of a file's name", field=column)
    if scheme_of(value) != "file" or value.lower().startswith("file:"):
        return FilePart(value)
    return FilePart(path_url(os.path.join(folder, value)))


def _is_blob(value: object) -> bool:
    return isinstance(value, bytes) or (
        isinstance(value, Mapping) and "bytes" in value and set(cast("Mapping[str, Any]", value)) <= {"bytes", "path"}
    )


def _content(value: Any, folder: str) -> Any:
    """Return a cell's value, or what it stands for: its bytes, or the content of its file."""
    if not isinstance(value, Mapping) or not _is_blob(value):
        return value
    if value["bytes"] is not None:
        return value["bytes"]
    return _file(value.get("path"), "path", folder)


def _extension(value: Any, column: str, known: frozenset[str]) -> str:
    """Return the extension of what a cell holds: the column's name, that of its path, or what its bytes begin with."""
    last = column.lower().rpartition(".")[2]
    if last in known and last not in ANY_IMAGE:
        return last
    path = value.get("path") if isinstance(value, Mapping) else None
    data: bytes = (value["bytes"] or b"") if isinstance(value, Mapping) else value
    return extension_of(data, path if isinstance(path, str) else None)


def _number(value: Any, field: str) -> Any:
    """Return the number that a text is, for fields that have numbers: in CSV all cells are texts."""
    if isinstance(value, str) and field.rpartition(".")[2] in ("cls", "cls2", "class", "count", "index", "inx", "id"):
        try:
            return int(value)
        except ValueError:
            return value
    return value


@final
@attrs.define
class CsvSource(TableSource):
    """A table of texts, UTF-8, its first line the names of the columns; separated by commas, in ``.tsv`` by tabs.

    The path ``-`` is standard input.
    """

    @override
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        with _opened(self.path, newline="") as file:
            reader = csv.reader(file, delimiter="\t" if self.path.lower().endswith(".tsv") else ",", strict=True)
            try:
                heads = next(reader, None)
                if not heads or len(set(heads)) < len(heads):
                    raise UrlError("a table begins with a line of different names for its columns", url=self.path)
                for cells in reader:
                    if not cells:
                        continue
                    if len(cells) != len(heads):
                        raise UrlError(f"line {reader.line_num} has {len(cells)} cells, and there are {len(heads)} "
                                       "columns", url=self.path)  # fmt: skip
                    yield f"{self.path}, line {reader.line_num}", dict(zip(heads, cells, strict=True))
            except (csv.Error, UnicodeDecodeError) as error:
                raise UrlError(f"line {reader.line_num + 1} is no CSV: {error}", url=self.path) from error


@final
@attrs.define
class JsonlSource(TableSource):
    """A table of JSON objects, one a line; empty lines are passed over. The path ``-`` is standard input."""

    @override
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        with _opened(self.path) as file:
            for number, line in enumerate(_lines(file, self.path), 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UrlError(f"line {number} is no JSON: {error}", url=self.path) from error
                if not isinstance(row, dict):
                    raise UrlError(f"line {number} is no JSON object", url=self.path)
                yield f"{self.path}, line {number}", row


@contextlib.contextmanager
def _opened(path: str, newline: str | None = None) -> Generator[TextIO]:
    """Open a table of texts; standard input stays open."""
    if path == "-":
        text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline=newline)
        try:
            yield text
        finally:
            with contextlib.suppress(ValueError):  # somebody has closed it
                text.detach()
        return
    try:
        file = open(path, encoding="utf-8-sig", newline=newline)  # noqa: SIM115  # what follows has errors of its own
    except OSError as error:
        raise open_error("cannot read the table", path, error) from None
    with file:
        yield file


def _lines(file: Iterable[str], path: str) -> Iterator[str]:
    try:
        yield from file
    except UnicodeDecodeError as error:
        raise UrlError(f"this is no UTF-8 text: {error}", url=path) from error


def _arrow(purpose: str) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingExtraError.of("pyarrow", "arrow", purpose) from error
    return pa


@attrs.define
class _ArrowRows(TableSource):
    """A table that comes in batches of rows."""

    is_inline = True

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """Yield ``pyarrow.RecordBatch`` objects."""

    @override
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        number = 0
        for batch in _reading(self.batches, self.path):
            for start in range(0, batch.num_rows, _BATCH):
                for row in batch.slice(start, _BATCH).to_pylist():
                    yield f"{self.path}, row {number}", row
                    number += 1


def _reading(batches: Callable[[], Iterator[Any]], path: str) -> Iterator[Any]:
    """Yield batches; what is wrong with the file is said as usual."""
    arrow = _arrow("reading this table")
    try:
        yield from batches()
    except arrow.ArrowException as error:
        raise UrlError(f"this table cannot be read: {error}", url=path) from error
    except OSError as error:
        raise open_error("cannot read the table", path, error) from None


@final
@attrs.define
class ParquetSource(_ArrowRows):
    """A Parquet file (extra ``arrow``)."""

    @override
    def batches(self) -> Iterator[Any]:
        _arrow("reading Parquet files")
        import pyarrow.parquet as pq  # noqa: PLC0415

        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=_BATCH)

    @override
    def count(self) -> int | None:
        _arrow("reading Parquet files")
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            return int(pq.read_metadata(self.path).num_rows)
        except Exception:
            return None  # `items` says what is wrong


@final
@attrs.define
class ArrowSource(_ArrowRows):
    """An Arrow file, or a stream of Arrow's in a file (extra ``arrow``)."""

    @override
    def batches(self) -> Iterator[Any]:
        pa = _arrow("reading Arrow files")
        with pa.memory_map(self.path) as mapped:
            if mapped.read(6) == b"ARROW1":
                with pa.ipc.open_file(mapped) as file:
                    for number in range(file.num_record_batches):
                        yield file.get_batch(number)
                return
            mapped.seek(0)
            with pa.ipc.open_stream(mapped) as stream:
                yield from stream


@final
@attrs.define
class HuggingFaceSource(TableSource):
    """A data set that ``datasets`` saved with ``save_to_disk`` (extra ``datasets``).

    Images and audio are taken as they are stored, and not decoded.

    Attributes:
        split: which of its splits, where it has several.
    """

    split: str | None = None
    is_inline = True

    @override
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for number, row in enumerate(self._load()):
            yield f"{self.path}, row {number}", row

    @override
    def count(self) -> int | None:
        return len(self._load())

    def _load(self) -> Any:
        try:
            import datasets  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise MissingExtraError.of("datasets", "datasets", "reading data sets of Hugging Face") from error
        found: Any = datasets.load_from_disk(self.path)
        if isinstance(found, datasets.DatasetDict):
            if self.split not in found:
                raise UrlError(f"there are several splits, {', '.join(map(repr, found))}: name one", url=self.path)
            found = found[cast("str", self.split)]
        for name, feature in found.features.items():
            if isinstance(feature, datasets.Image | datasets.Audio):
                found = found.cast_column(name, _undecoded(feature))
        return found

    @override
    def identity(self) -> list[Any]:
        states = sorted(
            os.path.join(folder, name)
            for folder, _, names in os.walk(self.path)
            for name in names
            if name.endswith((".arrow", ".json"))
        )
        return ["datasets", self.split, *map(_stamp, states), repr(attrs.astuple(self.columns))]


def _undecoded(feature: Any) -> Any:
    """Return the feature of a column, made so that its values are not decoded."""
    return dataclasses.replace(feature, decode=False)
