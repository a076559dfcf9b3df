"""Line 23: every stage and dataset pickles and runs in spawned workers; an unknown length is a TypeError."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch.utils.data
from in_workers import Number, Several, as_is, fails_on_three, is_odd, label, numbers_of, refuse_seven
from shards import numbered_shards

import webds
from webds.codecs.tables import default_decoders
from webds.errors import LengthError
from webds.stages import batch, fields, flow, functions, into, shuffle
from webds.stages.base import EachStage, Stage
from webds.testing import same

SAMPLES: webds.MemorySource[webds.Sample] = webds.MemorySource([{"__key__": "a", "cls": b"1"}])
STAGES: list[Stage] = [
    batch.Batch(n=2),
    batch.Unbatch(),
    fields.Associate(table={"key00000": {"a": 1}}),
    fields.Decode(spec="rgb"),
    fields.Rename(fields={"a": "b;c"}),
    fields.Select(fields=("a", "b;c")),
    fields.ToTuple(fields=("a", "b;c"), missing=None),
    flow.Repeat(n=2),
    flow.Take(n=3),
    functions.Filter(predicate=is_odd),
    functions.Map(f=label),
    functions.MapDict(fs={"cls": int}),
    functions.MapTuple(fs=(int, None)),
    functions.Pipe(stage=numbers_of),
    into.Into(cls=Number),
    webds.DatasetBuilder(SAMPLES).join(SAMPLES, by=str.lower, missing="keep").plan.stages[0],
    shuffle.Shuffle(size=3, seed=1),
]


def _below(kind: type[object]) -> Iterator[type[object]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def test_23_the_list_of_stages_is_complete() -> None:
    # attrs makes classes with slots anew, and the first of each may still be there: names count.
    names = {kind.__name__ for kind in _below(Stage) if kind.__module__.startswith("webds.")}
    assert {type(stage).__name__ for stage in STAGES} == names - {EachStage.__name__}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_23_every_stage_pickles(stage: Stage) -> None:
    bound = stage.bound(lambda spec: default_decoders(), frozenset({"a"}))
    for one in (stage, bound):
        copy: Stage = pickle.loads(pickle.dumps(one))
        assert type(copy) is type(one)
        assert copy.describe() == one.describe()
        assert copy.wants(frozenset({"a"})) == one.wants(frozenset({"a"}))


def _every_kind(urls: list[str]) -> list[torch.utils.data.IterableDataset[Any]]:
    """Return datasets that have all stages, policies, splitters and front doors among them."""
    raw = webds.DatasetBuilder(urls, keys=webds.base_plus_ext, opener=webds.FileOpener(), on_error="skip")
    table = {f"key{n:05d}": {"weight": n} for n in range(20)}
    builders: list[webds.DatasetBuilder[Any]] = [
        raw,
        webds.DatasetBuilder(urls)
        .shuffle(4, seed=3, initial=2, max_bytes=10**6)
        .decode("rgb", threads=2)
        .associate(table)
        .rename(number="cls")
        .map_dict(txt=len)
        .select("number", "txt", "weight")
        .to_tuple("number", "txt", "weight", missing=0)
        .map_tuple(as_is, str, float)
        .repeat(2)
        .take(30)
        .batch(4)
        .unbatch(),
        raw.with_decoder("cls", int).into(Number).pipe(numbers_of).filter(is_odd),
        raw.split(webds.SplitByWorker()).map(label).map(fails_on_three).batch(2, collate=refuse_seven),
        webds.DatasetBuilder(webds.MemorySource(range(20), shards=4)).shuffle(3),
        webds.DatasetBuilder([f"pipe:cat {url}" for url in urls]).with_opener("pipe", webds.PipeOpener()),
    ]
    older = [
        webds.Dataset(urls, shuffle=True, handler=webds.ignore_and_continue).decode().map(label),
        webds.WebDataset(urls, extensions="cls txt", transforms=[as_is, len], shuffle=5, epochs=2),
    ]
    return [*(builder.build() for builder in builders), *older]


def test_23_every_dataset_pickles_and_yields_the_same(tmp_path: Path) -> None:
    for dataset in _every_kind(numbered_shards(tmp_path)):
        copy = pickle.loads(pickle.dumps(dataset))
        expected = list(dataset)
        assert expected
        assert same(list(copy), expected), dataset


def test_23_every_dataset_runs_in_spawned_workers(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)

    def run(start: str) -> list[Any]:
        together = Several(_every_kind(urls))
        return list(
            torch.utils.data.DataLoader(
                together, batch_size=None, num_workers=2, multiprocessing_context=start, collate_fn=as_is
            )
        )

    forked, spawned = run("fork"), run("spawn")
    assert {number for number, _ in spawned} == set(range(8))
    assert same(spawned, forked)


def test_23_builders_and_loaders_pickle(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path)).decode().to_tuple("cls").shuffle(5)
    copy: webds.DatasetBuilder[Any] = pickle.loads(pickle.dumps(builder))
    assert list(copy.build()) == list(builder.build())
    loader: webds.Loader[Any] = pickle.loads(pickle.dumps(builder.loader(num_workers=2)))
    assert list(loader) == list(builder.loader(num_workers=2))


def test_23_a_plain_pickle_takes_its_losses_along(tmp_path: Path) -> None:
    dataset = webds.DatasetBuilder(numbered_shards(tmp_path), on_error="skip").map(fails_on_three).build()
    list(dataset)
    copy: webds.Dataset[Any] = pickle.loads(pickle.dumps(dataset))
    assert copy.stats() == dataset.stats()
    list(copy)
    assert len(copy.stats().losses) == 2
    assert len(dataset.stats().losses) == 1


UNKNOWN: dict[str, Any] = {
    "streamed": webds.DatasetBuilder,
    "filtered": lambda urls: webds.DatasetBuilder(webds.MemorySource(range(9))).filter(is_odd),
    "batched": lambda urls: webds.DatasetBuilder(webds.MemorySource(range(9))).split(webds.NoSplit()).batch(2),
    "piped": lambda urls: webds.DatasetBuilder(webds.MemorySource(range(9))).pipe(iter),
    "endless": lambda urls: webds.DatasetBuilder(webds.MemorySource(range(9))).repeat(),
    "skipping": lambda urls: webds.DatasetBuilder(webds.MemorySource([{"a": 1}])).to_tuple("a", missing="skip"),
    "selected": lambda urls: webds.DatasetBuilder(webds.MemorySource([{"a": 1}])).select("a"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_23_an_unknown_length_is_a_type_error(tmp_path: Path, kind: str) -> None:
    builder = UNKNOWN[kind](numbered_shards(tmp_path))
    for sized in (builder.build(), builder.loader(), builder.loader(num_workers=2)):
        with pytest.raises(TypeError, match="known") as caught:
            len(sized)
        assert type(caught.value) is LengthError
    assert list(builder.take(4).build()), "what asks for a length in passing goes on without"


def test_23_the_older_front_doors_have_the_length_that_they_were_given(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    for front_door in (webds.Dataset, webds.WebDataset):
        assert len(front_door(urls, length=7)) == 7
        with pytest.raises(TypeError, match="length="):
            len(front_door(urls))


@attrs.frozen
class _Local:
    value: int


def test_23_what_cannot_be_pickled_says_so_where_it_is_given_to_workers(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path)).map(lambda sample: sample)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(builder.build())
