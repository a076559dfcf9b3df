"""The geometry of plots: where bars, ticks and cells are, in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, final

import attrs

from webds.tools.report.facts import Bin, ImageFacts
from webds.tools.texts import size_text

__all__ = ["Cell", "Dimensions", "Histogram", "Tick", "byte_histogram", "dimensions", "pixel_histogram"]

_AXIS: Final = 18.0
"""What labels below a plot take."""

_FEWEST: Final = 8
"""Octaves that a histogram shows at least, so that a few bars are no wall."""


@final
@attrs.frozen
class Cell:
    """A rectangle, with what it says.

    Attributes:
        x: left.
        y: top.
        width: to the right.
        height: downwards.
        text: what is said of it.
        weight: how full it is, from 0 to 1.
    """

    x: float
    y: float
    width: float
    height: float
    text: str
    weight: float = 1.0


@final
@attrs.frozen
class Tick:
    """A label on an axis, and the line that it belongs to."""

    at: float
    label: str


@final
@attrs.frozen
class Histogram:
    """Bars over an axis of octaves.

    Attributes:
        width: of the whole.
        height: likewise, with labels.
        base: where the bars stand.
        bars: those that there are.
        ticks: of the horizontal axis.
    """

    width: float
    height: float
    base: float
    bars: tuple[Cell, ...]
    ticks: tuple[Tick, ...]


@final
@attrs.frozen
class Dimensions:
    """Widths and heights of images: a cell for each quarter of an octave.

    Attributes:
        width: of the whole.
        height: likewise.
        left: where the plot begins, right of its labels.
        base: where it ends, above its labels.
        cells: those that there are.
        columns: ticks of the widths.
        rows: ticks of the heights.
        diagonal: from where to where images are square: x, y, x, y; None where none would be.
    """

    width: float
    height: float
    left: float
    base: float
    cells: tuple[Cell, ...]
    columns: tuple[Tick, ...]
    rows: tuple[Tick, ...]
    diagonal: tuple[float, float, float, float] | None


def byte_histogram(bins: Sequence[Bin], width: float = 168, height: float = 34) -> Histogram:
    """Return bars for sizes in bytes."""
    return _histogram(bins, width, height, size_text, 0.0)


def pixel_histogram(bins: Sequence[Bin], width: float = 320, height: float = 96) -> Histogram:
    """Return bars for lengths in pixels, with labels."""
    return _histogram(bins, width, height, _pixels, _AXIS)


def _pixels(length: float) -> str:
    return f"{length:,.0f}"


def _histogram(
    bins: Sequence[Bin], width: float, height: float, named: Callable[[float], str], axis: float
) -> Histogram:
    slots = max(_FEWEST, len(bins))
    before = (slots - len(bins)) // 2
    step, base = width / slots, height - axis
    most = max(bin_.count for bin_ in bins)
    bars: list[Cell] = []
    for i, bin_ in enumerate(bins, before):
        if bin_.count:
            tall = max(1.5, (base - 2) * bin_.count / most)
            text = f"{named(bin_.low)} to {named(bin_.high)}: {bin_.count:,}"
            bars.append(Cell(_short(i * step + 0.75), _short(base - tall), _short(step - 1.5), _short(tall), text))
    every = math.ceil(slots / 8)
    edges = range(0, len(bins) + 1, every) if axis else ()
    low = bins[0].low
    ticks = tuple(Tick(_short((i + before) * step), named(low * 2.0**i)) for i in edges)
    return Histogram(width, height, base, tuple(bars), ticks)


def dimensions(facts: ImageFacts, width: float = 360, most: float = 420) -> Dimensions:
    """Return the cells of widths and heights; one step is as wide as it is high."""
    columns = [column for column, _, _ in facts.cells]
    rows = [row for _, row, _ in facts.cells]
    # Whole octaves, and one at least beside what there is, so that there are labels.
    left_edge, right_edge = _octaves(columns)
    low_edge, high_edge = _octaves(rows)
    left, right = 44.0, 8.0
    step = min((width - left - right) / (right_edge - left_edge), (most - _AXIS - 8) / (high_edge - low_edge))
    base = _short(8 + step * (high_edge - low_edge))
    fullest = max(count for _, _, count in facts.cells)
    cells = tuple(
        Cell(
            _short(left + (column - left_edge) * step + 0.5),
            _short(base - (row - low_edge + 1) * step + 0.5),
            _short(step - 1),
            _short(step - 1),
            f"width {_span(column)}, height {_span(row)}: {count:,}",
            _short(0.25 + 0.75 * math.sqrt(count / fullest)),
        )
        for column, row, count in facts.cells
    )
    first, last = max(left_edge, low_edge), min(right_edge, high_edge)
    diagonal = None
    if first < last:
        ends = [(left + (edge - left_edge) * step, base - (edge - low_edge) * step) for edge in (first, last)]
        diagonal = (_short(ends[0][0]), _short(ends[0][1]), _short(ends[1][0]), _short(ends[1][1]))
    columns_at = (Tick(_short(left + (at - left_edge) * step), _edge(at)) for at in _ticks(left_edge, right_edge))
    rows_at = (Tick(_short(base - (at - low_edge) * step), _edge(at)) for at in _ticks(low_edge, high_edge))
    width = _short(left + (right_edge - left_edge) * step + right)
    return Dimensions(width, base + _AXIS, left, base, cells, tuple(columns_at), tuple(rows_at), diagonal)


def _edge(quarter: int) -> str:
    return _pixels(2 ** (quarter / 4))


def _octaves(numbers: Sequence[int]) -> tuple[int, int]:
    """Return the octave edges around what there is, in quarters."""
    low, high = min(numbers) // 4 * 4, (max(numbers) // 4 + 1) * 4
    while high - low < 12:
        low, high = (max(0, low - 4), high) if low else (low, high + 4)
        if high - low < 12:
            high += 4
    return low, high


def _ticks(low: int, high: int) -> range:
    return range(low, high + 1, 4 * math.ceil((high - low) / 4 / 8))


def _span(quarter: int) -> str:
    return f"{math.ceil(2 ** (quarter / 4)):,} to {math.ceil(2 ** ((quarter + 1) / 4)) - 1:,}"


def _short(number: float) -> float:
    return round(number, 2)
