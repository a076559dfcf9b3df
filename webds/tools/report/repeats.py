"""Keys and contents that are there more than once: found on disk, so that memory does not grow with the data set."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self, final

import attrs

from webds.tools.report.facts import Repeat
from webds.tools.report.scanning import DIGEST, ShardScan
from webds.tools.texts import name_text

__all__ = ["Repeated", "Repeats"]

_EXAMPLES: Final = 30
_PLACES: Final = 4

# The database is a temporary file without a name, and nobody needs it after a crash.
_SETUP: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -32768;
CREATE TABLE sample (shard INTEGER, ordinal INTEGER, key BLOB, PRIMARY KEY (shard, ordinal)) WITHOUT ROWID;
CREATE TABLE content (field INTEGER, size INTEGER, digest BLOB, shard INTEGER, ordinal INTEGER);
CREATE TABLE chosen (number INTEGER, field INTEGER, size INTEGER, name BLOB, PRIMARY KEY (name, size, field))
    WITHOUT ROWID;
"""

_KEYS: Final = """
SELECT key, COUNT(*), MIN(shard), MAX(shard) FROM sample GROUP BY key HAVING COUNT(*) > 1
"""
_APART: Final = "SELECT shard, key, COUNT(*) FROM sample GROUP BY shard, key HAVING COUNT(*) > 1"
_CONTENTS: Final = """
SELECT field, size, digest, COUNT(*) FROM content GROUP BY digest, size, field HAVING COUNT(*) > 1
ORDER BY size * (COUNT(*) - 1) DESC, MIN(shard), MIN(ordinal)
"""
_PLACES_OF_KEYS: Final = """
SELECT chosen.number, shard, key FROM sample CROSS JOIN chosen ON name = key ORDER BY chosen.number, shard, ordinal
"""
_PLACES_OF_CONTENTS: Final = """
SELECT chosen.number, content.shard, sample.key
FROM content CROSS JOIN chosen ON name = digest AND chosen.size = content.size AND chosen.field = content.field
CROSS JOIN sample ON sample.shard = content.shard AND sample.ordinal = content.ordinal
ORDER BY chosen.number, content.shard, content.ordinal
"""


@final
@attrs.frozen
class Repeated:
    """What is there more than once.

    Attributes:
        count: how many there are beyond the first of each.
        groups: how many different ones.
        bytes: of those beyond the first of each.
        examples: those that take most.
    """

    count: int
    groups: int
    bytes: int
    examples: tuple[Repeat, ...]


@final
class Repeats:
    """Takes what shards hold, and tells what of it repeats. A context manager: its file goes when the block ends.

    Args:
        urls: how the report names the shards, by their numbers; may still grow.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._fields: dict[str, int] = {}
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SETUP)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the file go."""
        self._database.close()

    def add(self, scan: ShardScan) -> None:
        """Take the keys and contents of a shard."""
        numbers = [self._fields.setdefault(name, len(self._fields)) for name in scan.names]
        digests = (bytes(scan.digests[at : at + DIGEST]) for at in range(0, len(scan.digests), DIGEST))
        owners = map(numbers.__getitem__, scan.owners)
        with self._transaction():
            keys = zip(itertools.repeat(scan.number), itertools.count(), scan.keys)  # two have no end
            self._database.executemany("INSERT INTO sample VALUES (?, ?, ?)", keys)
            contents = zip(owners, scan.sizes, digests, itertools.repeat(scan.number), scan.ordinals)
            self._database.executemany("INSERT INTO content VALUES (?, ?, ?, ?, ?)", contents)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("BEGIN")
        yield
        self._database.execute("COMMIT")

    def apart(self) -> Iterator[tuple[int, str, int]]:
        """Yield shard, key and how often, of keys that come back in one shard."""
        for shard, key, count in self._database.execute(_APART):
            yield shard, _text(key), count

    def keys(self) -> Repeated:
        """Return which keys several shards have."""
        rows = ((None, 0, key, count) for key, count, first, last in self._database.execute(_KEYS) if first != last)
        return self._repeated(rows, _PLACES_OF_KEYS, lambda field: None)

    def contents(self) -> Repeated:
        """Return which contents of a field are there more than once."""
        names = list(self._fields)
        rows = self._database.execute(_CONTENTS)
        return self._repeated(rows, _PLACES_OF_CONTENTS, lambda field: name_text(names[field]))

    def _repeated(
        self, rows: Iterator[tuple[Any, int, bytes, int]], query: str, named: Callable[[Any], str | None]
    ) -> Repeated:
        count = groups = wasted = 0
        chosen: list[tuple[Any, int, bytes, int]] = []
        for row in rows:
            _, size, _, times = row
            groups += 1
            count += times - 1
            wasted += size * (times - 1)
            if len(chosen) < _EXAMPLES:
                chosen.append(row)
        with self._transaction():
            self._database.execute("DELETE FROM chosen")
            named_rows = [
                (i, 0 if field is None else field, size, name) for i, (field, size, name, _) in enumerate(chosen)
            ]
            self._database.executemany("INSERT INTO chosen VALUES (?, ?, ?, ?)", named_rows)
        places: list[list[tuple[str, str]]] = [[] for _ in chosen]
        for number, shard, key in self._database.execute(query):
            if len(places[number]) < _PLACES:
                places[number].append((self._urls[shard], name_text(_text(key))))
        examples = (
            Repeat(named(field), times, size, tuple(found))
            for (field, size, _, times), found in zip(chosen, places, strict=True)
        )
        return Repeated(count, groups, wasted, tuple(examples))


def _text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
