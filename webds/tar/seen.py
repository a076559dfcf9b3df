"""The keys that an archive has had, in little memory."""

from __future__ import annotations

from array import array
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
        if self._table is None:
            self._table = self._unpack()
        number = self._table.get(key)
        return None if number is None else self._fields[number]

    def add(self, key: str, fields: tuple[str, ...]) -> None:
        """Keep a key that has not been seen."""
        number = self._numbers.get(fields)
        if number is None:
            number = self._numbers[fields] = len(self._fields)
            self._fields.append(fields)
        ascends = key > self.last
        if ascends:
            self.last = key
        if self._table is None and (not ascends or number > _MOST_NUMBERS):
            self._table = self._unpack()
        if self._table is not None:
            self._table[key] = number
            return
        self._of_each.append(number)
        self._recent.append(key)
        if len(self._recent) == _PACKED_TOGETHER:
            packed = _SEPARATOR.join(self._recent)
            if packed.count(_SEPARATOR) == len(self._recent) - 1:
                self._packed.append(packed)
                self._recent.clear()
            else:  # a keys function of the user's makes such keys
                self._table = self._unpack()

    def _unpack(self) -> dict[str, int]:
        keys = [key for packed in self._packed for key in packed.split(_SEPARATOR)] + self._recent
        table = dict(zip(keys, self._of_each, strict=True))
        self._packed, self._recent, self._of_each = [], [], array("H")
        return table
