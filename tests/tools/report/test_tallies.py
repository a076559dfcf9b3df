"""What is counted: exact, or true to a few percent, whatever the order and the parts."""

from __future__ import annotations

import pickle
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from webds.tools.report.tallies import Fields, Measure, Shapes, Values


def measured(numbers: Sequence[int]) -> Measure:
    measure = Measure()
    for number in numbers:
        measure.add(number)
    return measure


@given(st.lists(st.integers(0, 10**9), max_size=60), st.integers(0, 60))
def test_parts_together_are_the_whole(numbers: list[int], cut: int) -> None:
    whole, part = measured(numbers), measured(numbers[:cut])
    part.merge(pickle.loads(pickle.dumps(measured(numbers[cut:]))))
    assert (part.total, part.count, part.zeros) == (sum(numbers), len(numbers), numbers.count(0))
    assert part.range() == whole.range()
    above = [number for number in numbers if number]
    found = whole.range()
    assert (found is None) == (not above)
    if found is not None:
        assert (found.least, found.middle, found.most) == (min(above), statistics.median_low(above), max(above))
        assert [bin_.count for bin_ in found.bins] == [
            sum(bin_.low <= number < bin_.high for number in above) for bin_ in found.bins
        ]
        assert sum(bin_.count for bin_ in found.bins) == len(above)


def test_a_median_of_very_many_numbers_is_true_to_five_percent() -> None:
    found = measured(range(1, 40_001)).range()
    assert found is not None
    assert not found.is_exact
    assert found.middle == pytest.approx(20_000, rel=0.05)


def test_values_that_are_too_many_are_no_longer_told_apart() -> None:
    values: Values[str] = Values()
    for number in range(30_000):
        values.count(str(number))
    values.count("0")
    copy = pickle.loads(pickle.dumps(values))
    assert copy.distinct is None
    assert len(copy) == 10_000
    assert copy.top(1) == (("0", 2),)
    other: Values[str] = Values()
    other.count("x")
    other.merge(values)
    assert other.full


def test_fields_and_shapes_that_are_too_many_are_counted_together() -> None:
    fields, shapes = Fields(), Shapes()
    for number in range(1000):
        fields.at(f"f{number}").sizes.add(3)
        shapes.count([f"f{number}"], 1, 0, str(number))
    merged = Fields()
    merged.merge(pickle.loads(pickle.dumps(fields)))
    assert len(merged) == 100
    assert merged.others.count == 900
    assert len(shapes) == 501
    assert shapes[()].samples == 500
