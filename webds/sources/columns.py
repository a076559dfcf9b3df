"""The columns of Arrow tables as fields of samples: what each is called, and what its values are."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, final

import attrs
import numpy as np

from webds.codecs.contents import ANY_IMAGE, extension_of, plain_name
from webds.codecs.tables import default_decoders
from webds.errors import FieldError, annotate
from webds.typing import Sample

__all__ = ["Column", "Naming", "samples_of"]

ReadFile: TypeAlias = Callable[[str], bytes]
"""From a path or URL that a table names to the content of the file."""


@final
class _Kind(enum.Enum):
    """What the values of a column are."""

    FILE = "structures of bytes and path, as images and audio are stored"
    BYTES = "bytes"
    INTEGER = "integers"
    TEXT = "texts, and what is written as one: dates, times and decimals"
    ARRAY = "arrays, or lists, of numbers"
    JSON = "all else that JSON can say"
    JSON_TEXT = "texts that are JSON"
    NOTHING = "no value at all"


_INTEGERS: Final = ("cls", "cls2", "class", "count", "index", "inx", "id")
_EXTENSIONS: Final = {
    _Kind.INTEGER: _INTEGERS,
    _Kind.TEXT: ("txt", "text", "transcript", *_INTEGERS),
    _Kind.ARRAY: ("npy",),
    _Kind.JSON: ("json", "jsn"),
    _Kind.JSON_TEXT: ("json", "jsn"),
}
"""Under which extensions the values of a kind are encoded, and come back; the first is the usual one."""


@final
@attrs.frozen
class Column:
    """A column, and the field that it becomes.

    Attributes:
        name: of the column.
        kind: what its values are.
        field: the name of the field; None where the content of each value decides on its extension.
        prefix: what comes before that extension.
    """

    name: str
    kind: _Kind
    field: str | None
    prefix: str

    def is_wanted(self, fields: Collection[str] | None) -> bool:
        """Return whether somebody may look at it."""
        if fields is None or self.field in fields:
            return True
        return self.field is None and any(field.startswith(f"{self.prefix}.") for field in fields)

    def values(self, cells: Any) -> Sequence[Any]:
        """Return the values of a ``pyarrow.ChunkedArray``, as `put` wants them."""
        values: list[Any] = list(cells) if self.kind is _Kind.ARRAY else cells.to_pylist()
        return values

    def put(self, value: Any, sample: Sample, read_file: ReadFile) -> None:
        """Put a value into a sample; nothing, if it is null."""
        path: str | None = None
        if self.kind is _Kind.FILE and value is not None:
            path = value["path"]
            value = value["bytes"] if value["bytes"] is not None or path is None else read_file(path)
        elif self.kind is _Kind.ARRAY:
            value = _array(value)
        elif self.kind in (_Kind.TEXT, _Kind.JSON):
            value = _plain(value)
        elif self.kind is _Kind.JSON_TEXT and isinstance(value, str):
            value = value.encode()
        if value is None:
            return
        field = self.field or f"{self.prefix}.{extension_of(value, path)}"
        if field in sample:
            raise FieldError(f"two columns would be the field {field!r}: say fields={{'another.name': {self.name!r}}}")
        sample[field] = value


@final
@attrs.frozen
class Naming:
    """How columns and samples are called.

    Attributes:
        key: the column that has the keys; None numbers the samples, unless there is a column ``__key__``.
        fields: field → column, for columns that are to be called otherwise than by default.
    """

    key: str | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict[str, str])

    def __attrs_post_init__(self) -> None:
        twice = sorted({name for name in self.fields.values() if list(self.fields.values()).count(name) > 1})
        if twice:
            raise ValueError(f"fields={self.fields!r}: the column {twice[0]!r} is to be two fields")

    def key_column(self, names: Collection[str]) -> str | None:
        """Return the column that has the keys; None if there is none."""
        return "__key__" if self.key is None and "__key__" in names else self.key

    def columns(self, schema: Any) -> list[Column]:
        """Return the columns of a ``pyarrow.Schema`` that become fields.

        Raises:
            FieldError: a column that was named is not there, or two columns would be one field.
            TypeError: a column has values that no field can have.
        """
        names: list[str] = schema.names
        key = self.key_column(names)
        for asked in (*self.fields.values(), *([] if key is None else [key])):
            if asked not in names:
                raise FieldError(f"there is no column {asked!r}; there are {', '.join(map(repr, names))}", field=asked)
        asked_for = {name: field for field, name in self.fields.items()}
        columns: list[Column] = []
        for name, kind in zip(names, schema.types, strict=True):
            if (name == key and name not in asked_for) or name in ("__key__", "__url__"):
                continue
            columns.append(_column(name, _kind_of(kind, name), asked_for.get(name)))
        taken: dict[str, str] = {}
        for column in columns:
            field = column.field or f"{column.prefix}."
            if taken.setdefault(field, column.name) != column.name:
                raise FieldError(
                    f"the columns {taken[field]!r} and {column.name!r} would both be the field {field!r}: say "
                    "fields={'another.name': …} for one of them",
                    field=field,
                )
        return columns


def _column(name: str, kind: _Kind, asked: str | None) -> Column:
    plain = plain_name(name)
    if asked is not None:
        field = asked.lower().removeprefix(".")
        as_json = kind is _Kind.ARRAY and field.rpartition(".")[2] in _EXTENSIONS[_Kind.JSON]
        return Column(name, _Kind.JSON if as_json else kind, field, plain)
    last = plain.rpartition(".")[2]
    if kind in _EXTENSIONS:
        known = _EXTENSIONS[kind]
        return Column(name, kind, plain if last in known else f"{plain}.{known[0]}", plain)
    says = last not in ANY_IMAGE and last in default_decoders("pil")
    return Column(name, kind, plain if says else None, plain)


def _kind_of(kind: Any, name: str) -> _Kind:
    """Return what the values of an Arrow type are.

    Raises:
        TypeError: there are files, or bytes, inside other values.
    """
    import pyarrow as pa  # noqa: PLC0415  # comes with datasets

    is_ = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.json":
            return _Kind.JSON_TEXT
        return _Kind.ARRAY if hasattr(kind, "shape") else _kind_of(kind.storage_type, name)
    if is_.is_dictionary(kind):
        return _kind_of(kind.value_type, name)
    if is_.is_null(kind):
        return _Kind.NOTHING
    if is_.is_integer(kind):
        return _Kind.INTEGER
    if is_.is_string(kind) or is_.is_large_string(kind) or is_.is_date(kind) or is_.is_time(kind):
        return _Kind.TEXT
    if is_.is_timestamp(kind) or is_.is_decimal(kind):
        return _Kind.TEXT
    if _is_binary(kind):
        return _Kind.BYTES
    if is_.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"} and _is_binary(kind["bytes"].type):
        return _Kind.FILE
    if _is_list(kind) and (is_.is_integer(kind.value_type) or is_.is_floating(kind.value_type)):
        return _Kind.ARRAY
    if _has_bytes(kind):
        raise TypeError(
            f"the column {name!r} has files or bytes inside of lists or structures, which no field can have: make "
            "columns of them, by the flatten or map of the data set, or leave it out by its select_columns"
        )
    return _Kind.JSON


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _has_bytes(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return _is_binary(kind) or any(_has_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _array(cell: Any) -> Any:
    """Return the array of a scalar of Arrow's: of a list of numbers, or of what `datasets` calls Array2D and so on."""
    if not cell.is_valid:
        return None
    if hasattr(cell.type, "shape"):
        return np.asarray(cell.as_py(), dtype=cell.type.value_type)
    values = cell.values
    if values.null_count:
        raise FieldError("a list of numbers with nulls in it is no array: say fields={'name.json': …} of the column")
    return np.array(values.to_numpy(zero_copy_only=False))  # a view would hold the whole table, and be read-only


def _plain(value: Any) -> Any:
    """Return a value as JSON, or a text, can say it: dates and times in ISO 8601, durations in seconds."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.date | dt.time):  # a datetime, or pandas' Timestamp, is a date
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, decimal.Decimal) else value


def samples_of(
    table: Any, columns: Iterable[Column], keys: Iterable[str], read_file: ReadFile, shard: str
) -> Iterator[Sample]:
    """Yield the rows of a ``pyarrow.Table`` as samples.

    Args:
        table: the rows.
        columns: those of its columns that become fields.
        keys: one for each row.
        read_file: reads the files that it names.
        shard: what it is part of, for errors.
    """
    taken: list[tuple[Column, Sequence[Any]]] = []
    for column in columns:
        try:
            taken.append((column, column.values(table.column(column.name))))
        except Exception as error:
            annotate(error, url=shard, field=column.name, stage="read")
            raise
    for row, key in enumerate(keys):
        sample: Sample = {"__key__": key}
        for column, values in taken:
            try:
                column.put(values[row], sample, read_file)
            except Exception as error:
                annotate(error, url=shard, key=key, field=column.name, stage="read")
                raise
        yield sample
