"""Line 26: errors in decode, map and batch say where, and chain their cause, however far from the shard it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from expecting import raises
from in_workers import fails_on_three, label, refuse_seven
from shards import sample_of, write_shard

import webds
from webds.errors import BatchError, DecodeError, FieldError, WebdsError, place_of


@pytest.fixture
def urls(tmp_path: Path) -> list[str]:
    """Three shards of four samples, numbered through; number 6 has JSON that is none."""
    samples = [{**sample_of(number), "json": "[" if number == 6 else "[]"} for number in range(12)]
    return [write_shard(tmp_path / f"{i}.tar", samples[4 * i : 4 * i + 4]) for i in range(3)]


def _is_three(data: bytes) -> bytes:
    fails_on_three(int(data))
    return data


def _shuffled(b: Any) -> Any:
    return b.shuffle(7)


def _as_is(b: Any) -> Any:
    return b


OWN: dict[str, tuple[Any, str, str | None]] = {
    "map": (lambda b: b.map(fails_on_three), "map", None),
    "map of a tuple": (lambda b: b.to_tuple("cls", "txt").map(_first).map(fails_on_three), "map", None),
    "map_dict": (lambda b: b.map_dict(cls=_is_three), "map_dict", "cls"),
    "map_tuple": (lambda b: b.to_tuple("txt", "cls").map_tuple(bytes.decode, _is_three), "map_tuple", "cls"),
    "filter": (lambda b: b.map(label).filter(fails_on_three), "filter", None),
    "decode": (lambda b: b.with_decoder("cls", _is_three).decode(), "decode", "cls"),
    "decode into": (lambda b: b.with_decoder("cls", _is_three).select("cls").into(_Labelled), "into", "cls"),
    "associate": (lambda b: b.associate(_table), "associate", None),
}


def _first(pair: tuple[bytes, bytes]) -> int:
    return int(pair[0])


def _table(key: str) -> dict[str, Any]:
    fails_on_three(int(key.removeprefix("key")))
    return {}


class _Labelled(NamedTuple):
    label: Annotated[Any, webds.field("cls")]


@pytest.mark.parametrize("before", [_as_is, _shuffled])
@pytest.mark.parametrize("name", OWN)
def test_26_a_function_s_own_exception_keeps_its_type_and_has_notes(urls: list[str], name: str, before: Any) -> None:
    chain, stage, field = OWN[name]
    with pytest.raises(ArithmeticError, match="three is too much") as caught:
        list(chain(before(webds.DatasetBuilder([urls[0], urls[2]]))).build())
    place = {"stage": stage, "url": urls[0], "key": "key00003"} | ({"field": field} if field else {})
    assert place_of(caught.value) == place
    assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("name", OWN)
def test_26_the_notes_come_along_out_of_a_worker(urls: list[str], name: str) -> None:
    chain, stage, field = OWN[name]
    builder = chain(webds.DatasetBuilder([urls[0], urls[2]]).shuffle(7))
    with raises(ArithmeticError, match="three is too much") as caught:
        list(builder.loader(num_workers=2))
    text = str(caught.value)
    place = {"stage": stage, "url": urls[0], "key": "key00003"} | ({"field": field} if field else {})
    for name_of_part, part in place.items():
        assert f'"{name_of_part}": "{part}"' in text
    assert "fails_on_three" in text, "the traceback leads to the line that failed"


PACKAGE: dict[str, tuple[Any, type[WebdsError], str, str, str | None]] = {
    "decode": (lambda b: b.decode(), DecodeError, "decode", "key00006", "json"),
    "decode and more": (
        lambda b: b.decode().to_tuple("json", "cls").map_tuple(len, int).shuffle(3).batch(2),
        DecodeError,
        "decode",
        "key00006",
        "json",
    ),
    "to_tuple": (lambda b: b.to_tuple("absent"), FieldError, "to_tuple", "key00000", "absent"),
    "batch": (
        lambda b: b.to_tuple("txt", "cls").map_tuple(bytes.decode, _odd_one).batch(12),
        BatchError,
        "batch",
        "key00010 (and 11 more)",
        "cls",
    ),
}


def _odd_one(data: bytes) -> Any:
    return int(data) if int(data) < 10 else "ten"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", PACKAGE)
def test_26_an_error_of_the_package_has_its_place_as_attributes(urls: list[str], name: str, workers: int) -> None:
    chain, kind, stage, key, field = PACKAGE[name]
    with raises(kind) as caught:
        list(chain(webds.DatasetBuilder(urls)).loader(num_workers=workers))
    error = caught.value
    assert type(error) is kind
    url = urls[int(key[3:8]) // 4]
    assert (error.url, error.stage, error.key, error.field) == (url, stage, key, field)
    assert url in str(error)


@pytest.mark.parametrize("workers", [0, 2])
def test_26_after_a_shuffle_the_place_is_still_that_of_the_sample(urls: list[str], workers: int) -> None:
    builder = webds.DatasetBuilder(urls).shuffle(100).decode().to_tuple("json").batch(3)
    with raises(DecodeError) as caught:
        list(builder.loader(num_workers=workers))
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == (urls[1], "key00006", "json", "decode")


def test_26_the_cause_is_chained(urls: list[str]) -> None:
    with pytest.raises(DecodeError) as caught:
        list(webds.DatasetBuilder(urls).decode().to_tuple("json").build())
    assert isinstance(caught.value.__cause__, ValueError)
    assert "column 2" in str(caught.value.__cause__)


def test_26_the_cause_is_told_by_the_text_out_of_a_worker(urls: list[str]) -> None:
    with raises(DecodeError) as caught:
        list(webds.DatasetBuilder(urls).decode().to_tuple("json").loader(num_workers=2))
    assert "JSONDecodeError" in str(caught.value)
    assert "column 2" in str(caught.value)


def test_26_a_collate_function_s_own_exception(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).map(label).batch(4, collate=refuse_seven)
    with pytest.raises(LookupError, match="seven") as caught:
        list(builder.build())
    assert place_of(caught.value) == {"stage": "batch", "url": urls[1], "key": "key00004 (and 3 more)"}


def test_26_an_exception_that_takes_no_text_comes_out_of_a_worker_with_its_place(urls: list[str]) -> None:
    def fails(sample: Any) -> None:
        raise _OddError(1, 2)

    with raises(RuntimeError) as caught:
        list(webds.DatasetBuilder(urls).map(fails).loader(num_workers=1))
    assert "_OddError" in str(caught.value)
    assert '"key": "key00000"' in str(caught.value)


class _OddError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


def test_26_keys_that_look_like_anything_stay_themselves(tmp_path: Path) -> None:
    """Whatever a key or field holds, the attributes come back right out of a worker."""
    key = 'a]b}{"key": "x"}] [webds: {"url": "forged"}] ü'
    url = write_shard(tmp_path / "x.tar", [{"__key__": key, "json": "["}])
    for workers in (0, 1):
        with raises(DecodeError) as caught:
            list(webds.DatasetBuilder(url).decode().loader(num_workers=workers))
        assert (caught.value.key, caught.value.url, caught.value.field) == (key, url, "json")


def test_26_a_place_of_several_repetitions_and_batches(urls: list[str]) -> None:
    builder = webds.DatasetBuilder(urls).map(label).repeat(2).batch(5).unbatch().map(int).map(fails_on_three)
    with pytest.raises(ArithmeticError) as caught:
        list(builder.build())
    assert place_of(caught.value) == {"stage": "map", "url": urls[0], "key": "key00003"}


def test_26_after_a_pipe_it_says_so(urls: list[str]) -> None:
    with pytest.raises(ArithmeticError) as caught:
        list(webds.DatasetBuilder(urls).map(label).pipe(sorted).map(fails_on_three).build())
    assert place_of(caught.value) == {"stage": "map", "url": "after pipe sorted"}
