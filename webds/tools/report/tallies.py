"""What is counted while shards are read: in little memory, whatever they hold, and to be added up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final, Generic, Self, final

import attrs
from typing_extensions import TypeVar, override

from webds.tools.report.facts import Bin, Example, FindingKind, Range

__all__ = ["FieldTally", "Fields", "Issues", "Measure", "Shape", "Shapes", "Values"]

ValueT = TypeVar("ValueT", bound=Hashable)

_FINE: Final = 8
"""Classes of size to an octave: each is 9 % wide."""

MAX_FIELDS: Final = 100
_MAX_SHAPES: Final = 500
_MAX_VALUES: Final = 10_000
_EXAMPLES: Final = 12


@final
class Values(Counter[ValueT], Generic[ValueT]):
    """How often each value occurs; `full` once there were too many different ones."""

    full: bool = False

    def count(self, value: ValueT, times: int = 1) -> None:
        """Count a value; one that is new only if there is room."""
        if value in self or len(self) < _MAX_VALUES:
            self[value] += times
        else:
            self.full = True

    def merge(self, other: Values[ValueT]) -> None:
        """Count what another one has counted."""
        for value, times in other.items():
            self.count(value, times)
        self.full |= other.full

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None for too many."""
        return None if self.full else len(self)

    def top(self, most: int) -> tuple[tuple[ValueT, int], ...]:
        """Return the most frequent values; among equals, those that were there first."""
        return tuple(self.most_common(most))

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _values, (dict(self), self.full)


def _values(counts: dict[ValueT, int], full: bool) -> Values[ValueT]:
    values: Values[ValueT] = Values(counts)
    values.full = full
    return values


@final
@attrs.define
class Measure:
    """Numbers from 0 on, of which the distribution is wanted.

    Attributes:
        total: their sum.
        zeros: how many are 0, of which no more is said.
        least: the smallest of the others; None if there are none.
        most: the largest.
        classes: how many are in each class of size.
        values: how often each occurs, as long as there are not too many.
    """

    total: int = 0
    zeros: int = 0
    least: int | None = None
    most: int = 0
    classes: Counter[int] = attrs.field(factory=Counter[int])
    values: Values[int] = attrs.field(factory=Values[int])

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return self.zeros + self.classes.total()

    def add(self, number: int) -> None:
        """Count a number."""
        if not number:
            self.zeros += 1
            return
        self.total += number
        self.least = number if self.least is None else min(self.least, number)
        self.most = max(self.most, number)
        self.classes[int(math.log2(number) * _FINE)] += 1
        self.values.count(number)

    def merge(self, other: Measure) -> None:
        """Count the numbers of another one as well."""
        self.total += other.total
        self.zeros += other.zeros
        if other.least is not None:
            self.least = other.least if self.least is None else min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.classes.update(other.classes)
        self.values.merge(other.values)

    def range(self) -> Range | None:
        """Return what there is to say of those above 0; None if there are none."""
        if self.least is None:
            return None
        octaves: Counter[int] = Counter()
        for number, count in self.classes.items():
            octaves[number // _FINE] += count
        bins = (Bin(2.0**o, 2.0 ** (o + 1), octaves[o]) for o in range(min(octaves), max(octaves) + 1))
        exact = not self.values.full
        if exact:
            middle = _middle(self.values)
        else:
            middle = min(max(round(2 ** ((_middle(self.classes) + 0.5) / _FINE)), self.least), self.most)
        return Range(self.least, middle, self.most, exact, tuple(bins))


def _middle(counts: Counter[int]) -> int:
    """Return the median of what was counted, the lower one of two."""
    left = (counts.total() + 1) // 2
    for number in sorted(counts):
        left -= counts[number]
        if left <= 0:
            return number
    raise ValueError("nothing was counted")


@final
@attrs.define
class FieldTally:
    """A field.

    Attributes:
        sizes: of its contents, in bytes.
        undecodable: how many are not what their extension says.
        classes: its values, if it has classes.
        formats: of its images.
        modes: likewise.
        widths: likewise.
        heights: likewise.
        cells: likewise, by quarter octaves of width and height.
        dimensions: likewise, by width and height.
    """

    sizes: Measure = attrs.field(factory=Measure)
    undecodable: int = 0
    classes: Values[str] = attrs.field(factory=Values[str])
    formats: Counter[str] = attrs.field(factory=Counter[str])
    modes: Counter[str] = attrs.field(factory=Counter[str])
    widths: Measure = attrs.field(factory=Measure)
    heights: Measure = attrs.field(factory=Measure)
    cells: Counter[tuple[int, int]] = attrs.field(factory=Counter[tuple[int, int]])
    dimensions: Values[tuple[int, int]] = attrs.field(factory=Values[tuple[int, int]])

    @property
    def count(self) -> int:
        """How many samples have it."""
        return self.sizes.count

    def add_image(self, width: int, height: int, format_: str, mode: str) -> None:
        """Count an image."""
        self.formats[format_] += 1
        self.modes[mode] += 1
        self.widths.add(width)
        self.heights.add(height)
        self.cells[int(math.log2(width) * 4), int(math.log2(height) * 4)] += 1
        self.dimensions.count((width, height))

    def merge(self, other: FieldTally) -> None:
        """Count what another one has counted."""
        self.undecodable += other.undecodable
        for mine, theirs in (
            (self.sizes, other.sizes), (self.widths, other.widths), (self.heights, other.heights)
        ):  # fmt: skip
            mine.merge(theirs)
        self.classes.merge(other.classes)
        self.dimensions.merge(other.dimensions)
        self.formats.update(other.formats)
        self.modes.update(other.modes)
        self.cells.update(other.cells)


@final
class Fields(dict[str, FieldTally]):
    """Fields by name, no more than can be listed.

    Attributes:
        others: of those that were left out, whatever they are called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.others: FieldTally = FieldTally()

    def at(self, name: str) -> FieldTally:
        """Return the tally of a field."""
        found = self.get(name)
        if found is None:
            if len(self) >= MAX_FIELDS:
                return self.others
            found = self[name] = FieldTally()
        return found

    def merge(self, other: Fields) -> None:
        """Count what another one has counted."""
        for name, tally in other.items():
            self.at(name).merge(tally)
        self.others.merge(other.others)


@final
@attrs.define
class Shape:
    """Samples with the same fields: how many, and the first one."""

    samples: int
    shard: int
    key: str


@final
class Shapes(dict[tuple[str, ...], Shape]):
    """Which fields occur together; the empty tuple is for all that are too many to list."""

    def count(self, fields: Sequence[str], samples: int, shard: int, key: str) -> None:
        """Count samples."""
        name = tuple(sorted(fields))
        if name not in self and len(self) >= _MAX_SHAPES:
            name = ()
        found = self.get(name)
        if found is None:
            self[name] = Shape(samples, shard, key)
        else:
            found.samples += samples

    def merge(self, other: Shapes) -> None:
        """Count what another one has counted."""
        for fields, shape in other.items():
            self.count(fields, shape.samples, shape.shard, shape.key)


@final
class Issues(dict[FindingKind, tuple[int, list[Example]]]):
    """What is noteworthy, by kind: how often, and the first few."""

    def note(self, kind: FindingKind, example: Example, count: int = 1) -> None:
        """Count one more."""
        before, examples = self.get(kind, (0, []))
        if len(examples) < _EXAMPLES:
            examples.append(example)
        self[kind] = before + count, examples

    def merge(self, other: Issues) -> Self:
        """Count what another one has counted."""
        for kind, (count, examples) in other.items():
            before, mine = self.get(kind, (0, []))
            self[kind] = before + count, (mine + examples)[:_EXAMPLES]
        return self
