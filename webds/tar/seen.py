"""The keys that an archive has had, in little memory."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Sequence
from typing import Final, final

__all__ = ["SeenKeys"]

_SEPARATOR: Final = "\0"  # a name in an archive ends before one
_PACKED_TOGETHER: Final = 4096
_MOST_NUMBERS: Final = 0xFFFF  # that fit the array


@final
class SeenKeys:
    """Which keys have been seen, and the fields that each had.

    As long as each key is above all before it, as in archives that are sorted by name or whose writer counts,
    a key above the last one is known to be new, and the keys are only kept as text in a row. The first key for
    which that is not so makes a table of them.

    Attributes:
        last: no key above this one has been seen.
    """

    def __init__(self) -> None:
        self.last: str = ""
        self._numbers: dict[tuple[str, ...], int] = {}
        self._fields: list[tuple[str, ...]] = []
        self._recent: list[str] = []
        self._packed: list[str] = []
        self._of_each = array("H")
        self._table: dict[str, int] | None = None

    def get(self, key: str) -> tuple[str, ...] | None:
        """Return the fields that ``key`` had; None if it has not been seen."""
        if key > self.last:
            return None
        number = self._into_table().get(key)
        return None if number is None else self._fields[number]

    def add(self, key: str, fields: tuple[str, ...]) -> None:
        """Keep a key that has not been seen."""
        number = self._number(fields)
        if self._table is None and key > self.last and number <= _MOST_NUMBERS:
            self.last = key
            self._of_each.append(number)
            self._recent.append(key)
            if len(self._recent) == _PACKED_TOGETHER:
                self._pack()
            return
        self._into_table()[key] = number
        self.last = max(self.last, key)

    def are_new(self, keys: Sequence[str]) -> bool:
        """Return whether none of ``keys`` has been seen, and none is there twice."""
        if _ascend(keys):
            if keys[0] > self.last:
                return True
        elif len(set(keys)) < len(keys):
            return False
        return self._into_table().keys().isdisjoint(keys)

    def add_all(self, keys: Sequence[str], shapes: Sequence[tuple[str, ...]]) -> None:
        """Keep keys, one or more, of which `are_new` is true, and the fields that each had; no key has a NUL."""
        if shapes.count(shapes[0]) == len(shapes):
            numbers = [self._number(shapes[0])] * len(shapes)
        else:
            numbers = list(map(self._number, shapes))
        if self._table is None and keys[0] > self.last and _ascend(keys) and max(numbers) <= _MOST_NUMBERS:
            self._pack()
            self._packed.append(_SEPARATOR.join(keys))
            self._of_each.extend(numbers)
            self.last = keys[-1]
            return
        self._into_table().update(zip(keys, numbers, strict=True))
        self.last = max(self.last, *keys)

    def _number(self, fields: tuple[str, ...]) -> int:
        """Return the number that stands for ``fields``."""
        number = self._numbers.get(fields)
        if number is None:
            number = self._numbers[fields] = len(self._fields)
            self._fields.append(fields)
        return number

    def _pack(self) -> None:
        """Keep the recent keys in a row."""
        packed = _SEPARATOR.join(self._recent)
        if packed.count(_SEPARATOR) == len(self._recent) - 1:
            self._packed.append(packed)
            self._recent.clear()
        elif self._recent:  # a keys function of the user's makes such keys
            self._into_table()

    def _into_table(self) -> dict[str, int]:
        """Return the table of the keys, from here on the only place where they are."""
        if self._table is None:
            keys = [key for packed in self._packed for key in packed.split(_SEPARATOR)] + self._recent
            self._table = dict(zip(keys, self._of_each, strict=True))
            self._packed, self._recent, self._of_each = [], [], array("H")
        return self._table


def _ascend(keys: Sequence[str]) -> bool:
    """Return whether each key is above the one before it."""
    return all(map(operator.lt, keys, keys[1:]))
