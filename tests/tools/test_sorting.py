from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from webds.errors import OpenError
from webds.tools.sorting import RunWriter, merged
from webds.typing import Sample


def sample(number: int, size: int) -> Sample:
    return {"__key__": f"key {number}", "bin": bytes([number % 256]) * size, "n\udcff": str(number).encode()}


@given(
    places=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3000)), max_size=60),
    memory=st.sampled_from([1, 2000, 1 << 20]),
)
@settings(max_examples=40)
def test_what_goes_in_comes_out_in_order_whatever_the_memory(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], memory: int
) -> None:
    folder = str(tmp_path_factory.mktemp("runs"))
    writer = RunWriter(folder, memory)
    samples = [((place, number), sample(number, size)) for number, (place, size) in enumerate(places)]
    for order, one in samples:
        writer.add(order, one)
    runs = writer.finish()
    assert (len(runs) == len(places)) if memory == 1 else len(runs) <= max(1, len(places))
    assert list(merged(runs, folder, memory)) == sorted(samples, key=lambda pair: pair[0])
    assert sorted(os.listdir(folder)) == sorted(os.path.basename(run.path) for run in runs)


def test_an_early_end_removes_what_was_put_together(tmp_path: Path) -> None:
    writer = RunWriter(str(tmp_path), 1)
    for number in range(9):
        writer.add((number,), sample(number, 10))
    runs = writer.finish()
    samples = merged(runs, str(tmp_path), 1)
    next(samples)
    samples.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(os.listdir(tmp_path)) == 9


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    writer = RunWriter(str(tmp_path), 1 << 20)
    writer.add((0,), sample(0, 100))
    runs = writer.finish()
    os.truncate(runs[0].path, 150)
    with pytest.raises(OpenError, match="cut short"):
        list(merged(runs, str(tmp_path), 1 << 20))
    os.unlink(runs[0].path)
    with pytest.raises(OpenError, match="No such file"):
        list(merged(runs, str(tmp_path), 1 << 20))


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    writer = RunWriter(str(tmp_path / "gone"), 1)
    writer.add((0,), sample(0, 1))
    with pytest.raises(OpenError, match="cannot write samples that do not fit into memory"):
        writer.add((1,), sample(1, 1))
