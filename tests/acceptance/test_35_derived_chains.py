"""Line 35: whatever is derived from a builder leaves the builder as it was."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from in_workers import Number, as_is, is_odd, label, numbers_of
from shards import numbered_shards

import webds

Raw = webds.DatasetBuilder[webds.Sample]

DERIVED: dict[str, Any] = {
    "split": lambda b: b.split(webds.NoSplit()),
    "shuffle": lambda b: b.shuffle(5, seed=9),
    "repeat": lambda b: b.repeat(2),
    "take": lambda b: b.take(3),
    "decode": lambda b: b.decode("rgb"),
    "select": lambda b: b.select("cls"),
    "rename": lambda b: b.rename(number="cls"),
    "map": lambda b: b.map(label),
    "map_dict": lambda b: b.map_dict(cls=int),
    "map_tuple": lambda b: b.to_tuple("cls").map_tuple(int),
    "filter": lambda b: b.filter(bool),
    "associate": lambda b: b.associate(_nothing_more),
    "join": lambda b: b.join(b, collision="left"),
    "to_tuple": lambda b: b.to_tuple("cls"),
    "into": lambda b: b.into(Number),
    "batch": lambda b: b.batch(2),
    "unbatch": lambda b: b.batch(2).unbatch(),
    "pipe": lambda b: b.pipe(as_is),
    "on_error": lambda b: b.on_error("skip", max_errors=3),
    "cache": lambda b: b.cache(Path(b.plan.source.shards()[0]).parent / "copies"),
    "prefetch": lambda b: b.prefetch(),
    "measure": lambda b: b.measure(),
    "indexed": lambda b: b.indexed(),
    "select_samples": lambda b: b.indexed().select_samples(_is_any),
    "with_opener": lambda b: b.with_opener("mine", webds.FileOpener()),
    "with_decoder": lambda b: b.with_decoder("cls", int),
}
FINISH = {"build", "loader", "map_style", "explain", "plan_for", "of"}


@pytest.fixture
def base(tmp_path: Path) -> Raw:
    return webds.DatasetBuilder(numbered_shards(tmp_path))


def test_35_the_list_of_methods_is_complete() -> None:
    methods = {name for name, _ in inspect.getmembers(webds.DatasetBuilder, callable) if not name.startswith("_")}
    assert methods == set(DERIVED) | FINISH


@pytest.mark.parametrize("name", DERIVED)
def test_35_a_method_returns_another_builder(base: Raw, name: str) -> None:
    plan, shown, values = base.plan, base.explain(), list(base.build())
    derived = DERIVED[name](base)
    assert derived is not base
    assert derived.plan != plan
    list(derived.build())
    assert base.plan is plan
    assert base.explain() == shown
    assert list(base.build()) == values


def _is_any(sample: webds.SampleInfo) -> bool:
    return sample.ordinal >= 0


def _nothing_more(key: str) -> dict[str, Any]:
    return {}


def test_35_two_chains_of_one_base_know_nothing_of_each_other(base: Raw) -> None:
    common = base.decode().to_tuple("cls").map(_first)
    odd = common.filter(is_odd).on_error("skip").shuffle(0, seed=3)
    batches = common.batch(5, collate=list).take(2)
    assert sorted(odd.build()) == list(range(1, 20, 2))
    assert list(batches.build()) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert list(common.build()) == list(range(20))


def _first(pair: tuple[int]) -> int:
    return pair[0]


def test_35_tables_that_change_later_change_nothing(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    builder: Raw = webds.DatasetBuilder(urls)
    once: Raw = webds.DatasetBuilder(iter(urls[:2]))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # works all the same
    urls.clear()
    assert len(list(builder.build())) == 20
    assert [len(list(once.build())), len(list(once.build()))] == [10, 10]
    fields = {"number": "cls"}
    renamed = builder.rename(**fields)
    fields.clear()
    assert "number" in next(iter(renamed.build()))


def test_35_datasets_of_one_builder_count_their_own_epochs_and_losses(base: Raw) -> None:
    builder = base.shuffle(20).map(label).map(_not_three).on_error("skip")
    first, second = builder.build(), builder.build()
    epochs = [list(first) for _ in range(2)]
    assert list(second) == epochs[0]
    assert (len(first.stats().losses), len(second.stats().losses)) == (2, 1)


def _not_three(number: int) -> int:
    if number == 3:
        raise ArithmeticError("three")
    return number


def test_35_a_dataset_is_not_changed_by_what_is_derived_from_its_builder(base: Raw) -> None:
    dataset = base.map(label).build()
    longer = dataset.builder.repeat(2).pipe(numbers_of_numbers)
    assert len(list(longer.build())) == 40
    assert len(list(dataset)) == 20


def numbers_of_numbers(numbers: Any) -> Any:
    return iter(numbers)


def test_35_numbers_of_is_what_pipe_gets(base: Raw) -> None:
    assert list(base.with_decoder("cls", int).into(Number).pipe(numbers_of).build()) == list(range(20))
