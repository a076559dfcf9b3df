"""The rows of data sets of Hugging Face's `datasets` as samples."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Collection, Generator, Iterable, Sequence
from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.errors import FieldError, annotate
from webds.openers.named import read_named
from webds.openers.schemes import default_opener
from webds.sources.columns import Column, Naming, samples_of
from webds.typing import Sample

__all__ = ["HuggingFaceRows", "HuggingFaceStream"]

_BATCH: Final = 64
"""Rows that are fetched at once; few, since each may hold an image."""


def _read_file(url: str) -> bytes:
    return read_named(url, default_opener())


def _name(dataset: Any) -> str:
    parts = ("huggingface", dataset.info.builder_name, dataset.info.config_name, dataset.split)
    return "/".join(str(part) for part in parts if part is not None)


def _key(value: object, column: str) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise FieldError(f"the column {column!r}, which has the keys, holds {value!r}", field=column)
    return str(value)


@attrs.frozen(slots=False, eq=False)
class _Rows:
    """What both kinds of data sets have in common.

    Attributes:
        dataset: a ``datasets.Dataset`` or ``datasets.IterableDataset``.
        naming: how columns and samples are called.
    """

    dataset: Any
    naming: Naming

    def _columns(self, schema: Any, fields: Collection[str] | None) -> list[Column]:
        return [column for column in self.naming.columns(schema) if column.is_wanted(fields)]

    def _names(self, schema: Any, columns: Iterable[Column]) -> list[str]:
        """Return the columns to read: those that become fields and the one that has the keys, and at least one."""
        key = self.naming.key_column(schema.names)
        wanted = {column.name for column in columns} | ({key} if key is not None else set())
        return [name for name in schema.names if name in wanted] or schema.names[:1]

    def _samples(self, table: Any, columns: Iterable[Column], numbers: Iterable[str], shard: str) -> Generator[Sample]:
        """Yield the rows of a table, of which ``numbers`` are the keys where no column has them."""
        name = self.naming.key_column(table.column_names)
        keys: Iterable[str] = numbers
        if name is not None:
            try:
                keys = [_key(value, name) for value in table.column(name).to_pylist()]
            except FieldError as error:
                annotate(error, url=shard, stage="read")
                raise
        yield from samples_of(table, columns, keys, _read_file, shard)


@final
@attrs.frozen(slots=False, eq=False)
class HuggingFaceRows(_Rows, IndexedSource[Sample]):
    """The rows of a ``datasets.Dataset``, by their numbers.

    Attributes:
        cuts: the numbers of the rows that shards begin with, and the number of rows.
    """

    cuts: Sequence[int] = (0,)
    _views: dict[tuple[str, ...], Any] = attrs.field(factory=dict[tuple[str, ...], Any], init=False)

    @override
    def shards(self) -> Sequence[str]:
        name = _name(self.dataset)
        return [f"{name}/rows-{lo:09d}-{hi:09d}" for lo, hi in itertools.pairwise(self.cuts)]

    @override
    def counts(self) -> Sequence[int]:
        return [hi - lo for lo, hi in itertools.pairwise(self.cuts)]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Generator[Sample]:
        lo, hi = self._bounds[shard]
        return self._read(shard, lo, range(min(start, hi - lo), hi - lo), fields)

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Generator[Sample]:
        lo, hi = self._bounds[shard]
        return self._read(shard, lo, _checked(ordinals, hi - lo, shard), fields)

    @functools.cached_property
    def _bounds(self) -> dict[str, tuple[int, int]]:
        """Shard → the number of its first row, and of the one behind its last."""
        return dict(zip(self.shards(), itertools.pairwise(self.cuts), strict=True))

    def _read(
        self, shard: str, first: int, ordinals: Iterable[int], fields: Collection[str] | None
    ) -> Generator[Sample]:
        schema = self.dataset.features.arrow_schema
        columns = self._columns(schema, fields)
        view = self._view(tuple(self._names(schema, columns)))
        left = iter(ordinals)
        while rows := [first + ordinal for ordinal in itertools.islice(left, _BATCH)]:
            in_row = rows == list(range(rows[0], rows[0] + len(rows)))
            table = view[rows[0] : rows[-1] + 1] if in_row else view[rows]
            yield from self._samples(table, columns, (f"{row:09d}" for row in rows), shard)

    def _view(self, names: tuple[str, ...]) -> Any:
        """Return the data set as Arrow tables of some columns: what is stored, and not decoded."""
        if names not in self._views:
            self._views[names] = self.dataset.with_format("arrow", columns=list(names))
        return self._views[names]

    def key(self, shard: str, ordinal: int) -> str | None:
        """Return the key of a sample; None where there is no such sample."""
        lo, hi = self._bounds[shard]
        return self._keys[lo + ordinal] if 0 <= ordinal < hi - lo else None

    def find(self, key: str) -> list[tuple[str, int]]:
        """Return shard and ordinal of every sample of this key; all keys are read for it, once in each process."""
        return self._places.get(key, [])

    @functools.cached_property
    def _keys(self) -> list[str]:
        name = self.naming.key_column(self.dataset.column_names)
        if name is None:
            return [f"{row:09d}" for row in range(len(self.dataset))]
        return [_key(value, name) for value in self._view((name,))[:].column(name).to_pylist()]

    @functools.cached_property
    def _places(self) -> dict[str, list[tuple[str, int]]]:
        places: dict[str, list[tuple[str, int]]] = {}
        for shard, (lo, hi) in self._bounds.items():
            for ordinal, key in enumerate(self._keys[lo:hi]):
                places.setdefault(key, []).append((shard, ordinal))
        return places

    @override
    def __getstate__(self) -> dict[str, Any]:
        made = ("_bounds", "_keys", "_places")  # and can be made again
        return {name: value for name, value in self.__dict__.items() if name not in made} | {"_views": {}}

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.dataset)} rows in {len(self.cuts) - 1} shards)"


def _checked(ordinals: Iterable[int], count: int, shard: str) -> Generator[int]:
    for ordinal in ordinals:
        if not 0 <= ordinal < count:
            raise IndexError(f"ordinal {ordinal} in shard {shard!r}, which holds {count} samples")
        yield ordinal


@final
@attrs.frozen(slots=False, eq=False)
class HuggingFaceStream(_Rows, Source[Sample]):
    """The rows of a ``datasets.IterableDataset``, whose shards are the shards here."""

    @override
    def shards(self) -> Sequence[str]:
        name, shards = _name(self.dataset), self.dataset.num_shards
        return [f"{name}/{number:05d}-of-{shards:05d}" for number in range(shards)]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Generator[Sample]:
        shards = self.shards()
        number = shards.index(shard)
        part = self.dataset.shard(num_shards=len(shards), index=number)
        columns: list[Column] | None = None
        if part.features is not None:
            schema = part.features.arrow_schema
            columns = self._columns(schema, fields)
            part = part.select_columns(self._names(schema, columns))
        # Several rows at once would be one table, whose columns are those of its first row where no features are known.
        # Unlike __iter__, iter does not take a part of the part in a DataLoader's worker: the plan has done it.
        with contextlib.closing(part.with_format("arrow").iter(batch_size=1)) as tables:
            for ordinal, table in enumerate(tables):
                if ordinal >= start:
                    there = self._columns(table.schema, fields) if columns is None else columns
                    yield from self._samples(table, there, (f"{number:05d}-{ordinal:09d}",), shard)

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dataset.num_shards} shards)"
