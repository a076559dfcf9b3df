"""Line 22: the shuffle buffer is filled before it emits, or ramps up as asked; how far a value travels is said."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from in_workers import label
from shards import numbered_shards

import webds


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    return numbered_shards(tmp_path, shards=6, samples=25)


def _read_when_emitted(urls: list[str], size: int, **options: Any) -> list[int]:
    """Return how many samples had gone in when the first, second, … came out."""
    count = 0

    def note(sample: webds.Sample) -> webds.Sample:
        nonlocal count
        count += 1
        return sample

    dataset = webds.DatasetBuilder(urls).map(note).shuffle(size, **options).build()
    return [count for _ in dataset]


@pytest.mark.parametrize("size", [1, 2, 10, 60, 149])
def test_22_it_is_filled_before_the_first_value_leaves(urls: list[str], size: int) -> None:
    read = _read_when_emitted(urls, size)
    assert read == [min(size + emitted, 150) for emitted in range(150)], "and stays full while values come in"


def test_22_fewer_samples_than_it_holds_come_shuffled_at_the_end(urls: list[str]) -> None:
    assert _read_when_emitted(urls, 1000) == [150] * 150
    numbers = list(webds.DatasetBuilder(urls).map(label).shuffle(1000, shards=False).build())
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(150))


@pytest.mark.parametrize("initial", [1, 5, 30])
def test_22_it_ramps_up_as_asked(urls: list[str], initial: int) -> None:
    read = _read_when_emitted(urls, 30, initial=initial)
    held = [went_in - came_out for came_out, went_in in enumerate(read)]
    assert initial <= held[0] <= initial + 1
    assert max(held) == 30
    rising = held[: 31 - initial]
    assert rising == sorted(rising), "one more is held with each that leaves"
    assert held[31 - initial] == 30


@pytest.mark.parametrize("size", [2, 10, 60])
def test_22_a_value_leaves_less_than_size_places_early(urls: list[str], size: int) -> None:
    travels: list[int] = []
    for seed in range(20):
        numbers = list(webds.DatasetBuilder(urls).map(label).shuffle(size, seed=seed, shards=False).build())
        travels += [place - number for place, number in enumerate(numbers)]
    assert min(travels) == -(size - 1)
    assert max(travels) > size, "and may leave late"


def test_22_over_whole_epochs_shards_are_mixed(urls: list[str]) -> None:
    numbers = list(webds.DatasetBuilder(urls).map(label).shuffle(60).build())
    shards = [number // 25 for number in numbers]
    assert any(before != after for before, after in itertools.pairwise(shards[:10]))


def test_22_the_documentation_and_explain_say_how_far(urls: list[str]) -> None:
    documentation = " ".join((webds.DatasetBuilder.shuffle.__doc__ or "").split())
    assert "at most ``size - 1`` places early" in documentation
    assert "one in a thousand is late by six times" in documentation
    assert "early or late on average" in documentation
    explained = webds.DatasetBuilder(urls).shuffle(60, initial=7).explain()
    assert "a buffer of 60" in explained
    assert "7 of them in" in explained
    assert "no value leaves more than that many places early" in explained


def test_22_how_far_samples_travel_in_windows_is_said_too(urls: list[str]) -> None:
    shuffled = webds.DatasetBuilder(urls).indexed().shuffle(window_shards=2, shards=False)
    moves = [abs(place - number) for place, number in enumerate(shuffled.map(label).build())]
    said = shuffled.plan_for().displacement
    assert max(moves) <= said.early == 49
    assert abs(sum(moves) / len(moves) - said.mean) < 0.2 * said.mean
    assert f"one moves {said.mean:.0f} places on average, and never more than 49" in shuffled.explain()


def test_22_the_buffer_works_on_whatever_comes_to_it(urls: list[str]) -> None:
    def pairs(samples: Iterator[webds.Sample]) -> Iterator[tuple[int, int]]:
        numbers = map(label, samples)
        return zip(numbers, numbers, strict=True)

    values = list(webds.DatasetBuilder(urls).pipe(pairs).shuffle(20, shards=False).build())
    assert sorted(values) == [(n, n + 1) for n in range(0, 150, 2)]
    assert values != sorted(values)
