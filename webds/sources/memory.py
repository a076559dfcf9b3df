"""Samples that are in memory: for tests, small tables, and whatever Python can list."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, final, overload

from typing_extensions import override

from webds.abc import IndexedSource
from webds.typing import T_co

__all__ = ["MemorySource"]


@final
class MemorySource(IndexedSource[T_co]):
    """Values of any kind, in one shard or several.

    A value that is a dict is handed out as a shallow copy, so that stages cannot change what is in memory.

    Args:
        samples: the values; a mapping gives the values of each shard under its name.
        shards: into how many shards to cut a plain list, as evenly as can be.
    """

    @overload
    def __init__(self, samples: Mapping[str, Iterable[T_co]]) -> None: ...
    @overload
    def __init__(self, samples: Iterable[T_co], shards: int = ...) -> None: ...
    def __init__(self, samples: Iterable[T_co] | Mapping[str, Iterable[T_co]], shards: int = 1) -> None:
        if shards < 1:
            raise ValueError(f"shards={shards}: expected a number from 1")
        if isinstance(samples, Mapping):
            if shards != 1:
                raise ValueError(f"shards={shards}: a mapping has its shards already")
            named = cast("Mapping[str, Iterable[T_co]]", samples)
            self._shards = {name: list(values) for name, values in named.items()}
        else:
            values = list(samples)
            cuts = [len(values) * i // shards for i in range(shards + 1)]
            parts = itertools.pairwise(cuts)
            self._shards = {f"memory-{i:06d}": values[lo:hi] for i, (lo, hi) in enumerate(parts)}

    @override
    def shards(self) -> Sequence[str]:
        return list(self._shards)

    @override
    def counts(self) -> Sequence[int]:
        return [len(values) for values in self._shards.values()]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[T_co]:
        return self.read_at(shard, range(start, max(start, len(self._shards[shard]))), fields)

    @override
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[T_co]:
        values = self._shards[shard]
        for ordinal in ordinals:
            if not 0 <= ordinal < len(values):
                raise IndexError(f"ordinal {ordinal} in shard {shard!r}, which holds {len(values)} samples")
            yield _copy(values[ordinal])

    def key(self, shard: str, ordinal: int) -> str | None:
        """Return the key of a sample; None where there is no such sample, or it has none."""
        values = self._shards[shard]
        return _key(values[ordinal]) if 0 <= ordinal < len(values) else None

    def find(self, key: str) -> list[tuple[str, int]]:
        """Return shard and ordinal of every sample of this key."""
        return self._places.get(key, [])

    @functools.cached_property
    def _places(self) -> dict[str, list[tuple[str, int]]]:
        places: dict[str, list[tuple[str, int]]] = {}
        for shard, values in self._shards.items():
            for ordinal, value in enumerate(values):
                if (key := _key(value)) is not None:
                    places.setdefault(key, []).append((shard, ordinal))
        return places

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({sum(self.counts())} samples in {len(self._shards)} shards)"


def _key(value: Any) -> str | None:
    key = value.get("__key__") if isinstance(value, dict) else None
    return None if key is None else str(key)


def _copy(value: Any) -> Any:
    return dict(value) if type(value) is dict else value
