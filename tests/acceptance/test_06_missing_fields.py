"""Line 6: a missing field names the key, the shard and the fields that are there; or is skipped, or filled in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from expecting import raises
from shards import sample_of, write_shard

import webds
from webds.errors import FieldError


class Labelled(NamedTuple):
    label: Annotated[int, webds.field("label;cls")]


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Two shards of three samples, numbered through; number 4 has no ``cls``."""
    samples = [sample_of(number) for number in range(6)]
    del samples[4]["cls"]
    return [write_shard(tmp_path / f"{i}.tar", samples[3 * i : 3 * i + 3]) for i in range(2)]


CHAINS: dict[str, Callable[[webds.DatasetBuilder[webds.Sample]], webds.DatasetBuilder[Any]]] = {
    "to_tuple": lambda b: b.to_tuple("txt", "label;cls"),
    "rename": lambda b: b.rename(target="label;cls"),
    "into": lambda b: b.into(Labelled),
    "after shuffle": lambda b: b.decode().shuffle(3).to_tuple("label;cls"),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("chain", CHAINS)
def test_06_the_error_names_key_shard_and_what_is_there(urls: list[str], chain: str, workers: int) -> None:
    builder = CHAINS[chain](webds.DatasetBuilder(urls))
    with raises(FieldError) as caught:
        list(builder.loader(num_workers=workers))
    error = caught.value
    assert (error.url, error.key, error.field) == (urls[1], "key00004", "label;cls")
    assert error.stage == ("to_tuple" if "shuffle" in chain else chain)
    assert "it has txt" in str(error)
    assert isinstance(error, KeyError)
    assert isinstance(error, ValueError)


def test_06_map_dict_names_them_too(urls: list[str]) -> None:
    with pytest.raises(FieldError, match="it has txt") as caught:
        list(webds.DatasetBuilder(urls).map_dict(cls=int).build())
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == (urls[1], "key00004", "cls", "map_dict")


def test_06_a_field_that_is_nowhere_is_an_error_and_no_empty_dataset(urls: list[str]) -> None:
    with pytest.raises(FieldError, match=r"'jpg;png'.*cls, txt"):
        list(webds.DatasetBuilder(urls).to_tuple("jpg;png").build())


@pytest.mark.parametrize("workers", [0, 2])
def test_06_missing_skip_leaves_out_just_that_sample(urls: list[str], workers: int) -> None:
    builder = webds.DatasetBuilder(urls).decode().to_tuple("cls", missing="skip")
    assert sorted(builder.loader(num_workers=workers)) == [(n,) for n in (0, 1, 2, 3, 5)]


@pytest.mark.parametrize("value", [None, -1, "", "none", 0.5, (), b"skip"])
def test_06_any_other_value_stands_in(urls: list[str], value: Any) -> None:
    builder = webds.DatasetBuilder(urls).decode().to_tuple("__key__", "cls", missing=value)
    assert dict(builder.build())["key00004"] == value
    assert dict(builder.build())["key00003"] == 3


def test_06_the_error_policy_counts_it_under_its_field(urls: list[str]) -> None:
    dataset = webds.DatasetBuilder(urls, on_error="skip").decode().to_tuple("cls").build()
    assert sorted(dataset) == [(n,) for n in (0, 1, 2, 3, 5)]
    (loss,) = dataset.stats().losses
    assert (loss.stage, loss.url, loss.key, loss.field) == ("to_tuple", urls[1], "key00004", "cls")
