"""States: the rest of an iteration is what was not handed out, on the same places or others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, strategies as st
from in_workers import has_even_hash, is_odd, label, pairs_of
from places import Rank, of_ranks, steps
from shards import numbered_shards

import webds
from webds.errors import StateError
from webds.order.dealing import REMAINDERS, Remainder
from webds.typing import Place

Chain: TypeAlias = Callable[[webds.DatasetBuilder[Any]], webds.DatasetBuilder[Any]]


def _numbers(counts: list[int]) -> webds.DatasetBuilder[int]:
    starts = [0, *itertools.accumulate(counts)]
    shards = {f"s{i}": range(starts[i], starts[i + 1]) for i in range(len(counts))}
    return webds.DatasetBuilder(webds.MemorySource(shards))


topologies = st.sampled_from(((1, 0), (1, 2), (2, 1), (2, 2), (4, 2), (4, 0)))


@given(
    counts=st.lists(st.integers(0, 30), min_size=1, max_size=5), window=st.sampled_from((None, 2)),
    remainder=st.sampled_from(REMAINDERS), before=topologies, after=topologies, stop=st.integers(0, 9),
    passes=st.sampled_from((None, 2)), behind=st.booleans(),
)  # fmt: skip
def test_the_rest_of_a_row_can_be_dealt_out_to_others(
    counts: list[int], window: int | None, remainder: Remainder, before: tuple[int, int], after: tuple[int, int],
    stop: int, passes: int | None, behind: bool,
) -> None:  # fmt: skip
    """Every rank stops after as many steps, and rank 0's state is loaded on all ranks of another number."""

    def chain(world_size: int) -> webds.DatasetBuilder[Any]:
        builder: webds.DatasetBuilder[Any] = _numbers(counts).shuffle(0, seed=2, window_shards=window)
        builder = builder.split(remainder=remainder)
        if passes and not behind:
            builder = builder.repeat(passes)
        builder = builder.batch(8 // world_size, collate=list)
        return builder.repeat(passes) if passes and behind and remainder != "uneven" else builder

    whole = steps(of_ranks(chain(1), 1, 0))
    ranks = [Rank(chain(before[0]), rank, *before) for rank in range(before[0])]
    first = steps([list(itertools.islice(rank, stop)) for rank in ranks])
    state = ranks[0].state()
    rest = steps([list(Rank(chain(after[0]), rank, *after, state)) for rank in range(after[0])])
    assert first + rest == whole
    assert len(json.dumps(state)) < 4096


@given(stops=st.lists(st.tuples(topologies, st.integers(0, 4)), min_size=2, max_size=4), behind=st.booleans())
def test_a_run_can_be_stopped_again_and_again(stops: list[tuple[tuple[int, int], int]], behind: bool) -> None:
    def chain(world_size: int) -> webds.DatasetBuilder[Any]:
        builder = _numbers([7, 9, 5]).shuffle(0, window_shards=2).split(remainder="pad")
        if behind:
            return builder.batch(8 // world_size, collate=list).repeat(4)
        return builder.repeat(4).batch(8 // world_size, collate=list)

    found: list[list[int]] = []
    state = None
    for (world_size, workers), stop in [*stops, ((1, 0), 99)]:
        ranks = [Rank(chain(world_size), rank, world_size, workers, state) for rank in range(world_size)]
        found += steps([list(itertools.islice(rank, stop)) for rank in ranks])
        state = ranks[-1].state()
    assert found == steps(of_ranks(chain(1), 1, 0))


STREAMED: dict[str, Chain] = {
    "plain": lambda b: b,
    "batch": lambda b: b.batch(3, collate=list),
    "shuffle": lambda b: b.shuffle(7),
    "shuffle, batch, repeat": lambda b: b.shuffle(7).batch(3, collate=list).repeat(2),
    "repeat, shuffle": lambda b: b.repeat(2).shuffle(7).batch(3, collate=list),
    "shuffle, repeat": lambda b: b.shuffle(7).repeat(3).batch(3, collate=list),
    "filter": lambda b: b.filter(is_odd).batch(2, collate=list),
    "take": lambda b: b.take(13).batch(2, collate=list),
    "take, repeat": lambda b: b.filter(is_odd).take(5).repeat(2).batch(2, collate=list),
    "repeat, take": lambda b: b.repeat().take(50).shuffle(5).filter(is_odd).take(20),
    "unbatch": lambda b: b.batch(4, collate=list).unbatch().batch(3, collate=list),
    "pipe": lambda b: b.pipe(lambda values: (value for value in values if value % 3)).take(9),
    "batch, shuffle": lambda b: b.batch(2, collate=list).shuffle(4),
    "batch, repeat, shuffle": lambda b: b.batch(3, collate=list).repeat(2).shuffle(6).map(tuple),
    "unbatch, shuffle": lambda b: b.batch(4, collate=list).unbatch().filter(is_odd).shuffle(5).batch(2, collate=list),
    "unbatch twice": lambda b: (
        b.shuffle(4).batch(2, collate=list).batch(2, collate=list).unbatch().unbatch().shuffle(9)
    ),
    "shuffles": lambda b: b.shuffle(6).filter(is_odd).shuffle(5, initial=2).repeat(2).shuffle(3),
    "ramping up": lambda b: b.shuffle(20, initial=2),
    "bytes": lambda b: b.map(str).shuffle(9, max_bytes=400).map(len),
    "shuffle, pipe": lambda b: b.shuffle(5).pipe(pairs_of).shuffle(4).map(tuple),
    "everything": lambda b: b.shuffle(5).filter(is_odd).batch(2, collate=list).repeat(3).take(11),
}


@pytest.mark.parametrize(("indexed", "workers"), [(False, 0), (False, 2), (True, 0), (True, 3)])
@pytest.mark.parametrize("kind", STREAMED)
def test_at_the_same_places_the_rest_is_identical(kind: str, indexed: bool, workers: int, tmp_path: Path) -> None:
    tar = webds.DatasetBuilder(numbered_shards(tmp_path, shards=4, samples=7))
    builder = STREAMED[kind]((tar.indexed() if indexed else tar).map(label))
    whole = list(Rank(builder, workers=workers, epoch=3))
    for stop in {0, 1, 2, *range(3, len(whole), 4 if workers else 2), len(whole)}:
        rank = Rank(builder, workers=workers, epoch=3)
        assert list(itertools.islice(rank, stop)) == whole[:stop]
        again = Rank(builder, workers=workers, state=rank.state())
        middle = list(itertools.islice(again, 2))
        assert middle == whole[stop : stop + 2]
        assert list(Rank(builder, workers=workers, state=again.state())) == whole[stop + 2 :]


_LINKS: list[st.SearchStrategy[Chain]] = [
    st.builds(lambda n, initial: lambda b: b.shuffle(n, seed=n, initial=initial), st.integers(1, 12),
              st.none() | st.integers(1, 4)),
    st.builds(lambda n: lambda b: b.batch(n, collate=list), st.integers(1, 4)),
    st.builds(lambda n: lambda b: b.repeat(n), st.integers(1, 3)),
    st.builds(lambda n: lambda b: b.take(n), st.integers(0, 40)),
    st.just(lambda b: b.filter(has_even_hash)),
    st.just(lambda b: b.map(lambda value: [value]).unbatch()),
    st.just(lambda b: b.batch(3, collate=list).unbatch()),
]  # fmt: skip


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=4), links=st.lists(st.one_of(_LINKS), max_size=5),
    by_sample=st.booleans(), workers=st.sampled_from((0, 2)), stops=st.tuples(st.integers(0, 40), st.integers(0, 9)),
)  # fmt: skip
def test_any_chain_goes_on_where_it_was(
    counts: list[int], links: list[Chain], by_sample: bool, workers: int, stops: tuple[int, int]
) -> None:
    builder: webds.DatasetBuilder[Any] = _numbers(counts)
    if not by_sample:
        builder = builder.split(webds.SplitByWorker())
    for link in links:
        builder = link(builder)
    whole = list(itertools.islice(Rank(builder, workers=workers), 200))
    found: list[Any] = []
    state = None
    for stop in (*stops, 200):
        rank = Rank(builder, workers=workers, state=state)
        found += itertools.islice(rank, stop)
        state = rank.state()
    assert found[:200] == whole


@pytest.mark.parametrize("chain", [
    lambda b: b.decode(threads=2).map(label).repeat(2),
    lambda b: b.shuffle(4).decode(threads=2).map(label).repeat(2).shuffle(3),
    lambda b: b.repeat(2).decode(threads=3).shuffle(7).map(label).batch(2, collate=list),
])  # fmt: skip
def test_decoding_in_threads_does_not_run_ahead_of_the_state(chain: Chain, tmp_path: Path) -> None:
    builder = chain(webds.DatasetBuilder(numbered_shards(tmp_path, shards=3)))
    whole = list(builder.build())
    for stop in {0, 1, 4, 13, len(whole) - 1, len(whole)}:
        dataset = builder.build()
        assert list(itertools.islice(dataset, stop)) == whole[:stop]
        resumed = builder.build()
        resumed.load_state_dict(dataset.state_dict())
        assert list(resumed) == whole[stop:]


def test_a_state_describes_the_last_started_iteration_and_epochs_go_on() -> None:
    builder = _numbers([5, 6]).shuffle(4, seed=1)
    plain = builder.build()
    epochs = [list(plain) for _ in range(4)]
    dataset = builder.build()
    fresh = dataset.state_dict()
    assert list(dataset) == epochs[0]
    assert list(itertools.islice(dataset, 3)) == epochs[1][:3]
    state = dataset.state_dict()
    other = builder.build()
    other.load_state_dict(state)
    assert other.state_dict() == state
    iterator = iter(other)
    assert other.state_dict() == state, "before the first value"
    assert list(iterator) == epochs[1][3:]
    ended = other.state_dict()
    assert list(other) == epochs[2]
    other.load_state_dict(ended)
    assert list(other) == []
    assert list(other) == epochs[2]
    other.load_state_dict(fresh)
    assert list(other) == epochs[0]
    other.load_state_dict(state)
    other.set_epoch(3)
    assert list(other) == epochs[3], "another epoch than that of the state"


@pytest.mark.parametrize(("change", "named"), [
    (lambda b: b.shuffle(0, seed=5), "shard_seed was 1, and is 5"),
    (lambda b: b.shuffle(0, seed=1, window_shards=3), "window was None"),
    (lambda b: b.map(str), "stages"),
    (lambda b: b.split(remainder="drop"), "remainder was 'uneven', and is 'drop'"),
    (lambda b: b.split(webds.SplitByNode()), "split was 'by sample', and is 'SplitByNode'"),
])  # fmt: skip
def test_a_state_that_does_not_fit_is_refused_with_the_difference(change: Chain, named: str) -> None:
    state = _numbers([3, 4]).shuffle(0, seed=1).build().state_dict()
    with pytest.raises(StateError, match=named):
        change(_numbers([3, 4]).shuffle(0, seed=1)).build().load_state_dict(state)


def _all_of_them(shards: Sequence[str], place: Place) -> Sequence[str]:
    return shards


def _those_of_the_rank(shards: Sequence[str], place: Place) -> Sequence[str]:
    return shards[place.rank :: place.world_size]


@pytest.mark.parametrize(("there", "here", "named"), [
    (webds.SplitExplicit(0, 2), webds.SplitExplicit(1, 2), r"SplitExplicit\(index=0, total=2\).*index=1"),
    (_all_of_them, _those_of_the_rank, "'_all_of_them', and is '_those_of_the_rank'"),
])  # fmt: skip
def test_a_state_of_another_part_is_refused(there: Any, here: Any, named: str) -> None:
    state = _numbers([3, 4]).split(there).build().state_dict()
    _numbers([3, 4]).split(there).build().load_state_dict(state)
    with pytest.raises(StateError, match=named):
        _numbers([3, 4]).split(here).build().load_state_dict(state)


def test_the_same_shards_with_other_secrets_are_the_same() -> None:
    builders = [webds.DatasetBuilder([f"https://x/a.tar?sig={secret}", "https://x/b.tar"]) for secret in "ab"]
    builders[1].build().load_state_dict(builders[0].build().state_dict())


def _by_length(path: str) -> tuple[str | None, str | None]:
    return path[:1], path[1:]


def _is_first(info: webds.SampleInfo) -> bool:
    return info.ordinal == 0


def _is_last(info: webds.SampleInfo) -> bool:
    return info.ordinal == 4


def test_a_state_of_other_samples_of_the_same_shards_is_refused(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    state = webds.DatasetBuilder(urls).build().state_dict()
    assert not {"keys", "duplicates", "selected"} & state["plan"].keys()
    others = {
        "keys was None, and is '_by_length'": webds.DatasetBuilder(urls, keys=_by_length),
        "duplicates was None, and is 'last'": webds.DatasetBuilder(urls, duplicates="last"),
    }
    for named, other in others.items():
        with pytest.raises(StateError, match=named):
            other.build().load_state_dict(state)
    indexed = webds.DatasetBuilder(urls).indexed()
    state = indexed.select_samples(_is_first).build().state_dict()
    with pytest.raises(StateError, match=r"selected was '4 .*, and is '4 "):
        indexed.select_samples(_is_last).build().load_state_dict(state)
    with pytest.raises(StateError, match=r"selected was '4 .*, and is None|samples was"):
        indexed.build().load_state_dict(state)
    by_shard = indexed.split(webds.SplitByNode())
    state = by_shard.select_samples(_is_first).build().state_dict()
    with pytest.raises(StateError, match=r"selected was '4 .*, and is None"):
        by_shard.build().load_state_dict(state)


def test_a_damaged_state_is_refused() -> None:
    dataset = _numbers([9]).shuffle(5).build()
    next(iter(dataset))
    state = dataset.state_dict()
    state["workers"]["0"]["held"]["0"]["items"] = "AAAA"
    with pytest.raises(StateError, match="damaged"):
        _numbers([9]).shuffle(5).build().load_state_dict(state)


def test_other_shards_other_places_and_what_is_no_state_are_refused(tmp_path: Path) -> None:
    state = _numbers([3, 4]).shuffle(5).batch(2).build().state_dict()
    with pytest.raises(StateError, match=r"samples was '7 .*, and is '8"):
        _numbers([3, 5]).shuffle(5).batch(2).build().load_state_dict(state)
    with pytest.raises(StateError, match=r"shards was '2 .*, and is '3"):
        _numbers([3, 4, 0]).shuffle(5).batch(2).build().load_state_dict(state)
    with pytest.raises(StateError, match=r"batch was \[2\], and is \[3\]"):
        _numbers([3, 4]).shuffle(5).batch(3).build().load_state_dict(state)
    with pytest.raises(StateError, match="1 workers, and this is rank 0 of 1 with 2: only the order of an indexed"):
        _numbers([3, 4]).shuffle(5).batch(2).loader(num_workers=2).load_state_dict(state)
    with pytest.raises(StateError, match="version 9"):
        _numbers([3]).build().load_state_dict(state | {"version": 9})
    with pytest.raises(StateError, match="no state"):
        _numbers([3]).build().load_state_dict({"epoch": 1})


def test_going_on_reads_only_what_is_left(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=4)
    dataset = webds.DatasetBuilder(urls).map(label).build()
    assert list(itertools.islice(dataset, 13)) == list(range(13))
    state = dataset.state_dict()
    for url in urls[:2]:
        Path(url).write_bytes(b"")
    resumed = webds.DatasetBuilder(urls).map(label).build()
    resumed.load_state_dict(state)
    assert list(resumed) == list(range(13, 20))
