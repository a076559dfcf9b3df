"""Companion shards: in step or by index, whole or not, and what errors say."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from places import Rank
from shards import numbered_shards, write_members, write_shard
from typing_extensions import override

import webds
from webds.errors import EmptyDatasetError, FieldError, SampleError, SplitError, UrlError
from webds.stages.join import Join

Builder = webds.DatasetBuilder[webds.Sample]
WHOLE = [(b"%d" % n, [n]) for n in range(15)]


def _companions(folder: Path, *shards: Iterable[int]) -> Builder:
    """Companions of these numbers, each with its own as JSON."""
    folder.mkdir(exist_ok=True)
    urls = [
        write_shard(folder / f"{i}.tar", [{"__key__": f"key{n:05d}", "emb.json": f"[{n}]"} for n in numbers])
        for i, numbers in enumerate(shards)
    ]
    return webds.DatasetBuilder(urls).decode()


def _thirds() -> list[list[int]]:
    return [list(range(i * 5, i * 5 + 5)) for i in range(3)]


@pytest.fixture
def samples(tmp_path: Path) -> Builder:
    return webds.DatasetBuilder(numbered_shards(tmp_path, 3, 5))


def _values(builder: Builder) -> list[Any]:
    return list(builder.to_tuple("cls", "emb.json", missing=None).build())


ways: list[Callable[[Builder], Builder]] = [lambda b: b, lambda b: b.indexed()]


@pytest.mark.parametrize("left", ways)
@pytest.mark.parametrize("right", ways)
@pytest.mark.parametrize("order", ["same", "shuffled", "more"])
def test_each_sample_gets_its_own(left: Any, right: Any, order: str, samples: Builder, tmp_path: Path) -> None:
    shards = _thirds()
    for i, shard in enumerate(shards):
        shard += [100 + i] if order == "more" else []
        if order != "same":
            random.Random(i).shuffle(shard)
    assert _values(left(samples).join(right(_companions(tmp_path / "c", *shards)))) == WHOLE


def test_by_index_they_may_be_in_any_shard_and_asked_for_in_any_order(samples: Builder, tmp_path: Path) -> None:
    companions = _companions(tmp_path / "c", random.Random(2).sample(range(15), 15)).indexed()
    assert _values(samples.join(companions)) == WHOLE
    shuffled = samples.indexed().shuffle(4, window_shards=2).join(companions)
    assert sorted(_values(shuffled)) == sorted(WHOLE)
    assert _values(shuffled) != WHOLE
    in_memory = [{"__key__": f"key{n:05d}", "emb.json": [n]} for n in range(15)]
    assert _values(samples.join(webds.MemorySource(in_memory))) == WHOLE


@given(data=st.data())
def test_whoever_is_missing_is_found_out(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    left = {"s": [{"__key__": str(n), "x": n} for n in data.draw(st.permutations(range(6)))]}
    there = data.draw(st.lists(st.integers(0, 8), unique=True))

    class Stream(webds.Source[webds.Sample]):
        """One shard of companions, without an index."""

        @override
        def shards(self) -> list[str]:
            return ["c"]

        @override
        def read(self, shard: str, fields: Any = None, start: int = 0) -> Any:
            return iter([{"__key__": str(n), "y": -n} for n in there][start:])

    builder = webds.DatasetBuilder(webds.MemorySource(left)).split(webds.NoSplit())
    for companions in (Stream(), webds.MemorySource([{"__key__": str(n), "y": -n} for n in there])):
        found = {s["x"]: s.get("y") for s in builder.join(companions, missing="keep").build()}
        assert found == {n: -n if n in there else None for n in range(6)}


@pytest.mark.parametrize("right", ways)
def test_errors_name_key_and_shards(right: Any, samples: Builder, tmp_path: Path) -> None:
    companions = right(_companions(tmp_path / "c", range(5), [5, 6, 8, 9], range(10, 15)))
    with pytest.raises(SampleError) as caught:
        _values(samples.join(companions))
    error = caught.value
    assert (error.key, error.stage, error.url) == ("key00007", "join", str(tmp_path / "shard-000001.tar"))
    assert str(tmp_path / "c" / "1.tar") in error.message or "3 companion shards" in error.message
    dataset = samples.join(companions, missing="skip").build()
    assert len(list(dataset)) == 14
    (loss,) = dataset.stats().losses
    assert (loss.key, loss.stage, loss.ordinal, loss.action) == ("key00007", "join", 2, "skipped")


@pytest.mark.parametrize("right", ways)
def test_an_error_of_a_companion_is_its_own_and_a_policy_lets_it_pass(
    right: Any, samples: Builder, tmp_path: Path
) -> None:
    companions = _companions(tmp_path / "c", *_thirds())
    write_shard(
        tmp_path / "c" / "1.tar",
        [{"__key__": f"key{n:05d}", "emb.json": "[" if n == 7 else f"[{n}]"} for n in range(5, 10)],
    )
    joined = samples.join(right(companions)).to_tuple("cls", "emb.json")
    with pytest.raises(webds.DecodeError) as caught:
        list(joined.build())
    assert (caught.value.key, caught.value.url) == ("key00007", str(tmp_path / "c" / "1.tar"))
    assert list(joined.on_error("skip").build()) == WHOLE[:7] + WHOLE[8:]


def test_several_of_one_key_are_an_error(samples: Builder, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="several companions have the key"):
        _values(samples.join(_companions(tmp_path / "c", range(14, -1, -1), [7]).indexed()))
    twice = webds.MemorySource([{"__key__": "key00001"}] * 2)
    with pytest.raises(SampleError, match="several companions have the key"):
        _values(samples.join(twice, missing="keep"))


def test_what_is_held_is_bounded_and_nobody_is_taken_for_missing(samples: Builder, tmp_path: Path) -> None:
    stage = samples.join(_companions(tmp_path / "c", *[shard[::-1] for shard in _thirds()])).plan.stages[0]
    assert isinstance(stage, Join)
    for held, is_found in ((1 << 20, True), (300, False)):
        small = Join(left=stage.left, source=stage.source, stages=stage.stages, by=None, missing="keep",
                     collision="raise", resolve=stage.resolve, held=held)  # fmt: skip
        dataset = webds.DatasetBuilder.of(samples.plan.then(small)).build()
        if is_found:
            assert len(list(dataset)) == 15
        else:
            with pytest.raises(SampleError, match=r"not in step.*300 bytes.*indexed"):
                list(dataset)


def test_what_is_passed_is_let_go_when_samples_are_dropped_before(samples: Builder, tmp_path: Path) -> None:
    few = samples.decode().filter(lambda sample: sample["cls"] % 4 == 0)
    joined = few.join(_companions(tmp_path / "c", *_thirds()))
    assert list(joined.to_tuple("cls", "emb.json").build()) == [(n, [n]) for n in (0, 4, 8, 12)]


def test_a_companion_that_is_dropped_is_missing(samples: Builder, tmp_path: Path) -> None:
    companions = _companions(tmp_path / "c", *_thirds()).filter(lambda sample: sample["emb.json"] != [7])
    assert _values(samples.join(companions, missing="keep")) == [*WHOLE[:7], (b"7", None), *WHOLE[8:]]
    assert _values(samples.join(companions, missing="skip")) == [*WHOLE[:7], *WHOLE[8:]]


def test_in_step_the_order_must_be_that_of_the_shards(samples: Builder, tmp_path: Path) -> None:
    companions = _companions(tmp_path / "c", *_thirds())
    with pytest.raises(TypeError, match="shuffle changes the order"):
        samples.shuffle(5).join(companions)
    with pytest.raises(SplitError, match="in the order of their shards"):
        samples.indexed().join(companions).shuffle(0, window_shards=2).build()
    with pytest.raises(UrlError, match="3 shards have 1 companion shards"):
        samples.join(_companions(tmp_path / "d", range(15))).build()
    for other in (companions.shuffle(0), companions.batch(2), companions.decode(threads=1), companions.prefetch()):
        with pytest.raises(TypeError, match="has no meaning"):
            samples.join(other)


@pytest.mark.parametrize("right", ways)
@pytest.mark.parametrize("workers", [0, 2])
def test_it_goes_on_where_it_was(right: Any, workers: int, samples: Builder, tmp_path: Path) -> None:
    companions = right(_companions(tmp_path / "c", range(1, 5), [5, 6, 8, 9], range(10, 15)))
    builder = samples.join(companions, missing="skip").to_tuple("cls", "emb.json").batch(2, collate=list).repeat(2)
    whole = list(Rank(builder, workers=workers))
    assert len(list(itertools.chain(*whole))) == 26
    for stop in range(len(whole) + 1):
        rank = Rank(builder, workers=workers)
        assert list(itertools.islice(rank, stop)) == whole[:stop]
        assert list(Rank(builder, workers=workers, state=rank.state())) == whole[stop:]


def test_in_workers_and_by_number(samples: Builder, tmp_path: Path) -> None:
    joined = samples.indexed().join(_companions(tmp_path / "c", *_thirds()).indexed()).to_tuple("cls", "emb.json")
    assert sorted(joined.loader(num_workers=2, multiprocessing_context="spawn")) == sorted(WHOLE)
    dataset = pickle.loads(pickle.dumps(joined.map_style()))
    assert dataset["key00007"] == WHOLE[7]
    assert [dataset[i] for i in (14, 0, 3)] == [WHOLE[i] for i in (14, 0, 3)]
    with pytest.raises(TypeError, match="join"):
        samples.indexed().join(_companions(tmp_path / "d", *_thirds())).map_style()
    assert len(joined.build()) == 15
    mixed = webds.concat([joined, joined])
    assert list(mixed.build()) == WHOLE * 2


def test_fields_that_nobody_looks_at_are_not_read(samples: Builder, tmp_path: Path) -> None:
    bad = write_members(
        tmp_path / "c.tar", [(f"key{n:05d}.{ext}", b"[1]") for n in range(15) for ext in ("emb.json", "npy")]
    )
    joined = samples.join(webds.DatasetBuilder(bad).indexed().decode()).to_tuple("cls", "emb.json")
    assert list(joined.build()) == [(cls, [1]) for cls, _ in WHOLE], "npy would not decode"


def test_all_without_a_companion_is_an_error(samples: Builder, tmp_path: Path) -> None:
    others = _companions(tmp_path / "c", [50], [51], [52])
    for builder in (samples, samples.repeat()):
        with pytest.raises(EmptyDatasetError, match="join"):
            list(builder.join(others, missing="skip").repeat().build())


def test_what_is_no_sample_is_refused(samples: Builder, tmp_path: Path) -> None:
    companions = _companions(tmp_path / "c", *_thirds())
    numbers: Any = companions.map(len)
    with pytest.raises(FieldError, match="companions that are samples"):
        _values(samples.join(numbers))
    bare: Any = samples.map(len)
    with pytest.raises(FieldError, match="wants samples with a __key__"):
        list(bare.join(companions).build())
