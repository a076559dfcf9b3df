"""Several sources in one: which values come, what each source keeps, and where it goes on."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from counting import CountingOpener
from hypothesis import given, settings, strategies as st
from in_workers import as_is, is_odd, label
from places import Rank, of_ranks, steps
from shards import numbered_shards, write_members, write_shard
from typing_extensions import override

import webds
from webds.errors import EmptyDatasetError, LengthError, SplitError, StateError
from webds.order.dealing import REMAINDERS, Remainder
from webds.order.turns import EXHAUSTED, Exhausted

Builder = webds.DatasetBuilder[Any]


def _numbered(name: str, *counts: int) -> Builder:
    """Values such as "a0.3", the fourth of the first shard of a."""
    shards = {f"{name}{i}": [f"{name}{i}.{j}" for j in range(n)] for i, n in enumerate(counts)}
    return webds.DatasetBuilder(webds.MemorySource(shards))


A, B = _numbered("a", 6, 6), _numbered("b", 2, 2)


def _list(builder: Builder) -> list[Any]:
    return list(builder.build())


def _of(name: str, values: Sequence[str]) -> list[str]:
    return [value for value in values if value.startswith(name)]


def test_sources_are_builders_datasets_or_sources_by_name_or_in_a_list() -> None:
    forms: list[Any] = [A, A.build(), webds.MemorySource(_list(A))]
    expected = _list(webds.concat([A, B]))
    for form in forms:
        assert _list(webds.concat([form, B])) == _list(webds.concat({"x": form, "y": B})) == expected
    with pytest.raises(TypeError, match=r"'1' is 'b.tar'.*DatasetBuilder"):
        webds.concat([A, "b.tar"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no sources"):
        webds.concat([])


def test_weights_are_kept_at_any_time() -> None:
    big, small = _numbered("a", 700), _numbered("b", 300)
    values = _list(webds.mix([big, small], weights=[0.7, 0.3], exhausted="stop"))
    for n in range(1, len(values)):
        assert abs(len(_of("b", values[:n])) - 0.3 * n) < 3
    assert _of("a", values) == _list(big)[: len(_of("a", values))], "each keeps its own order"
    assert sorted(_list(webds.mix([A, B], weights="size", exhausted="continue"))) == sorted(_list(A) + _list(B))
    values = _list(webds.mix([big, small], weights="size", exhausted="stop"))
    assert abs(len(_of("b", values)) - 300) < 3


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("inf")], {"0": 1, "2": 1}])
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match="weights"):
        webds.mix([A, B], weights=weights, exhausted="stop")


def test_weights_by_size_take_an_index(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'1' is not divided by sample"):
        webds.mix([A, webds.DatasetBuilder(numbered_shards(tmp_path))], weights="size", exhausted="stop")


def test_cycle_is_what_each_batch_of_its_size_holds() -> None:
    mixed = webds.mix([A, B], cycle=[3, 1], exhausted="stop").batch(4, collate=list)
    for rank in of_ranks(mixed, 2, 2):
        assert [Counter(value[0] for value in batch) for batch in rank] == [{"a": 3, "b": 1}] * 2
    with pytest.raises(ValueError, match="whole number"):
        webds.mix([A, B], cycle=[1.5, 1], exhausted="stop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def test_counts_are_those_of_one_iteration() -> None:
    mixed = webds.mix({"a": A, "b": B}, counts={"a": 5, "b": 10})
    assert len(mixed.build()) == 15
    ranks = list(itertools.chain(*of_ranks(mixed, 3, 2)))
    assert Counter(_of("a", ranks)) == Counter(_list(A)[:5])
    assert Counter(_of("b", ranks)) == Counter([*_list(B) * 2, *_list(B)[:2]])
    many = {name: _numbered(name, *[2] * 8).filter(bool) for name in "ab"}
    streamed = webds.mix(many, counts={"a": 5, "b": 10})
    for world_size in (2, 4):  # with fewer of a than there are workers, some of these have none
        assert Counter(value[0] for value in itertools.chain(*of_ranks(streamed, world_size, 2))) == {"a": 5, "b": 10}
    assert Counter(value[0] for value in _list(streamed.repeat(3))) == {"a": 15, "b": 30}


@settings(max_examples=30)
@given(
    counts=st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=1, max_size=3),
    exhausted=st.sampled_from(EXHAUSTED), remainder=st.sampled_from(REMAINDERS), window=st.booleans(),
)  # fmt: skip
def test_nodes_keep_to_their_shares_of_each_source(
    counts: list[list[int]], exhausted: Exhausted, remainder: Remainder, window: bool
) -> None:
    members = [_numbered(f"m{i}.", *sizes) for i, sizes in enumerate(counts)]
    mixed = webds.mix(members, weights=[1] * len(members), exhausted=exhausted)
    builder = mixed.shuffle(0, seed=3, window_shards=2 if window else None).split(remainder=remainder, nodes=2)
    builder = builder.batch(2, collate=list)
    ranks = of_ranks(builder, 4, 2, 1)
    assert max(map(len, ranks)) - min(map(len, ranks)) <= (remainder == "uneven")
    for node in range(2):
        mine = {value for rank in ranks[2 * node : 2 * node + 2] for batch in rank for value in batch}
        for sizes, member in zip(counts, members, strict=True):
            n, values = sum(sizes), _list(member)
            assert mine & set(values) <= set(values[-(-n * node // 2) : -(-n * (node + 1) // 2)])
    assert steps(of_ranks(builder, 4, 0, 1)) == steps(ranks)
    with pytest.raises(SplitError, match=r"split\(nodes=3\) of one source of a mix"):
        webds.concat([A.split(nodes=3), B]).split(nodes=2).build()


def test_a_plan_for_an_epoch_is_of_one_source() -> None:
    with pytest.raises(LengthError, match="ask each of them"):
        webds.concat([A, B]).plan_for()


def test_of_one_that_is_empty_there_are_none_to_count() -> None:
    for empty in (_numbered("c", 0), _numbered("c", 0).filter(bool)):
        with pytest.raises(SplitError, match="'c' has no samples"):
            _list(webds.mix({"a": A, "c": empty}, counts=[3, 2]))


def test_just_one_way_to_share_out_is_said_and_what_happens_then() -> None:
    mix: Any = webds.mix
    twice, dry = {"weights": [1, 1], "cycle": [1, 1], "exhausted": "stop"}, {"counts": [1, 1], "exhausted": "stop"}
    for options in ({}, twice, dry, {"weights": [1, 1]}):
        with pytest.raises(TypeError, match="mix"):
            mix([A, B], **options)
    with pytest.raises(ValueError, match="exhausted='now'"):
        mix([A, B], weights=[1, 1], exhausted="now")


@pytest.mark.parametrize("streamed", [False, True])
def test_exhausted_is_what_happens_when_one_runs_dry(streamed: bool) -> None:
    a, b = (A.filter(bool), B.filter(bool)) if streamed else (A, B)
    found = {ends: _list(webds.mix([a, b], cycle=[1, 1], exhausted=ends)) for ends in EXHAUSTED}
    assert _of("b", found["stop"]) == _list(B)
    assert len(_of("a", found["stop"])) in (4, 5)
    assert sorted(found["continue"]) == sorted(_list(A) + _list(B))
    assert found["continue"][:8] == found["repeat"][:8] == found["stop"][:8]
    assert _of("a", found["repeat"])[:12] == _list(A)
    assert Counter(_of("b", found["repeat"]))["b0.0"] == 3
    assert len(found["repeat"]) - 24 in ((-1, 0, 1) if not streamed else (0, 1, 2))


def test_one_that_begins_again_is_shuffled_anew() -> None:
    mixed = webds.mix([_numbered("a", 60), B.shuffle(0, window_shards=2)], cycle=[5, 1], exhausted="repeat")
    b = _of("b", _list(mixed))
    assert b[:8] == list(B.shuffle(0, window_shards=2).repeat().take(8).build())
    assert sorted(b[:4]) == sorted(b[4:8])


def test_seed_is_the_order_of_the_turns() -> None:
    orders = [_list(webds.mix([A, B], weights=[2, 1], exhausted="stop", seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_round_robin_takes_one_of_each_in_turn() -> None:
    for a, b in ((A, B), (A.filter(bool), B.filter(bool))):
        values = _list(webds.round_robin([a, b], exhausted="continue"))
        assert values[:8] == [value for pair in zip(_list(A), _list(B), strict=False) for value in pair]
        assert values[8:] == _list(A)[4:]
        assert _list(webds.round_robin([a, b], exhausted="stop")) == values[:9]


def test_concat_goes_through_one_after_the_other() -> None:
    for a in (A, A.filter(bool)):
        mixed = webds.concat([a, B])
        assert _list(mixed) == _list(A) + _list(B)
        assert list(itertools.chain(*of_ranks(mixed.repeat(2), 1, 0))) == (_list(A) + _list(B)) * 2
    assert len(webds.concat([A, B]).batch(3).build()) == 6


sources = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=3)
topologies = st.sampled_from(((1, 0), (1, 2), (2, 1), (4, 2)))


@settings(max_examples=40)
@given(
    sources=sources, window=st.sampled_from((None, 2)), remainder=st.sampled_from(REMAINDERS), before=topologies,
    after=topologies, stop=st.integers(0, 5), passes=st.sampled_from((None, 2)), exhausted=st.sampled_from(EXHAUSTED),
    shares=st.lists(st.integers(1, 5), min_size=3, max_size=3), cycles=st.booleans(), nested=st.booleans(),
)  # fmt: skip
def test_a_mix_in_one_row_does_not_depend_on_the_places(
    sources: list[list[int]], window: int | None, remainder: Remainder, before: tuple[int, int],
    after: tuple[int, int], stop: int, passes: int | None, exhausted: Exhausted, shares: list[int], cycles: bool,
    nested: bool,
) -> None:  # fmt: skip
    """The global batches are the same; a state of some places is gone on with at others; and the length is right."""
    members = {f"m{i}": _numbered(f"m{i}.", *counts).map(as_is) for i, counts in enumerate(sources)}
    members["m0"] = members["m0"].repeat(2)
    named = dict(zip(members, shares, strict=False))
    if cycles:
        mixed = webds.mix(members, cycle=named, exhausted=exhausted)
    else:
        mixed = webds.mix(members, weights=named, exhausted=exhausted)
    if nested:
        mixed = webds.concat([mixed, A])

    def chain(world_size: int) -> Builder:
        builder = mixed.shuffle(0, seed=3, window_shards=window).split(remainder=remainder)
        return (builder.repeat(passes) if passes else builder).batch(8 // world_size, collate=list)

    whole = steps(of_ranks(chain(1), 1, 0))
    assert len(chain(1).build()) == len(whole)
    ranks = [Rank(chain(before[0]), rank, *before) for rank in range(before[0])]
    first = steps([list(itertools.islice(rank, stop)) for rank in ranks])
    state = ranks[0].state()
    rest = steps([list(Rank(chain(after[0]), rank, *after, state)) for rank in range(after[0])])
    assert first + rest == whole
    assert len(json.dumps(state)) < 4096


MEMBERS: dict[str, Any] = {
    "plain": lambda b: b,
    "shuffle": lambda b: b.shuffle(5),
    "filter": lambda b: b.filter(is_odd),
    "repeat": lambda b: b.shuffle(4).repeat(2),
    "take": lambda b: b.take(5),
    "batch": lambda b: b.batch(2, collate=list).unbatch(),
}
BEHIND: dict[str, Any] = {
    "nothing": lambda b: b,
    "batch, repeat": lambda b: b.batch(3, collate=list).repeat(2),
    "shuffle": lambda b: b.filter(is_odd).shuffle(4).batch(2, collate=list),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("kind", [*EXHAUSTED, "counts", "concat", "nested"])
def test_a_mix_at_each_place_goes_on_where_it_was(kind: Any, behind: str, workers: int, tmp_path: Path) -> None:
    tar = webds.DatasetBuilder(numbered_shards(tmp_path, shards=4, samples=3)).map(label)
    members = {name: chain(tar) for name, chain in MEMBERS.items()}
    if kind == "concat":
        mixed = webds.concat(members)
    elif kind == "counts":
        mixed = webds.mix(members, counts=dict.fromkeys(members, 6))
    elif kind == "nested":
        inner = webds.round_robin({name: members.pop(name) for name in ("filter", "shuffle")}, exhausted="continue")
        mixed = webds.mix({**members, "inner": inner}, weights=[1, 2, 3, 4, 5], exhausted="repeat")
    else:
        mixed = webds.mix(members, weights=[3, 1, 2, 1, 1, 2], exhausted=kind)
    builder = BEHIND[behind](mixed)
    whole = list(Rank(builder, workers=workers, epoch=1))
    assert whole
    for stop in range(0, len(whole) + 1, max(1, len(whole) // 4)):
        rank = Rank(builder, workers=workers, epoch=1)
        assert list(itertools.islice(rank, stop)) == whole[:stop]
        again = Rank(builder, workers=workers, state=rank.state())
        middle = list(itertools.islice(again, 2))
        assert middle == whole[stop : stop + 2]
        assert list(Rank(builder, workers=workers, state=again.state())) == whole[stop + 2 :]


def test_of_a_buffer_of_one_source_only_what_it_held_is_read_again(tmp_path: Path) -> None:
    shuffled = numbered_shards(tmp_path, shards=12, samples=6)
    opener = CountingOpener()
    other = webds.DatasetBuilder(webds.MemorySource(range(100, 136))).filter(bool)
    member = webds.DatasetBuilder(shuffled, opener=opener).map(label).shuffle(12, seed=2, shards=False)
    mixed = webds.round_robin([member, other], exhausted="continue")
    whole = list(mixed.build())
    rank = Rank(mixed)
    first = list(itertools.islice(rank, 60))
    read = 12 + 30 - 1  # by the buffer, before it handed out the thirtieth
    held = set(range(read)) - set(first)
    opener.opened.clear()
    assert list(Rank(mixed, state=json.loads(json.dumps(rank.state())))) == whole[60:]
    assert set(opener.opened) <= {shuffled[number // 6] for number in held | set(range(read - 1, 72))}
    behind = mixed.shuffle(5, shards=False)
    rank = Rank(behind)
    assert [*itertools.islice(rank, 60), *Rank(behind, state=rank.state())] == list(behind.build())
    assert "came out of a mix" in behind.explain()


def test_a_state_of_another_mix_is_refused_and_the_difference_named() -> None:
    state = webds.mix({"a": A, "b": B}, weights=[1, 2], exhausted="stop").build().state_dict()
    others = {
        "mix was": webds.mix({"a": A, "b": B}, weights=[1, 3], exhausted="stop"),
        "b: shards was": webds.mix({"a": A, "b": A}, weights=[1, 2], exhausted="stop"),
    }
    for text, other in others.items():
        with pytest.raises(StateError, match=text):
            other.build().load_state_dict(state)


def _in_workers(tmp_path: Path, *, streamed: bool) -> Builder:
    tar = webds.DatasetBuilder(numbered_shards(tmp_path, shards=4, samples=5))
    indexed = tar.indexed().map(label)
    member = tar.map(label).shuffle(3) if streamed else indexed.map(as_is)
    mixed = webds.mix([member, indexed], cycle=[1, 1], exhausted="continue").batch(4, collate=list)
    copied: Builder = pickle.loads(pickle.dumps(mixed))
    return copied


@pytest.mark.parametrize("streamed", [False, True])
def test_it_runs_in_workers_and_goes_on_there(streamed: bool, tmp_path: Path) -> None:
    mixed = _in_workers(tmp_path, streamed=streamed)
    whole = list(mixed.loader(num_workers=2))
    assert whole == list(itertools.chain(*of_ranks(mixed, 1, 2)))
    assert sorted(itertools.chain(*whole)) == sorted(list(range(20)) * 2)
    loader = mixed.loader(num_workers=2)
    iterator = iter(loader)
    assert list(itertools.islice(iterator, 3)) == whole[:3]
    state = json.loads(json.dumps(loader.state_dict()))
    del iterator
    loader = mixed.loader(num_workers=2)
    loader.load_state_dict(state)
    assert list(loader) == whole[3:]


def test_it_runs_in_workers_that_are_spawned(tmp_path: Path) -> None:
    mixed = webds.round_robin(
        [_in_workers(tmp_path, streamed=streamed) for streamed in (False, True)], exhausted="stop"
    )
    loader = mixed.loader(num_workers=1, multiprocessing_context="spawn")
    assert list(loader) == list(mixed.build())


def test_what_a_member_was_not_told_the_mix_says() -> None:
    own = A.shuffle(0, seed=5)
    mixed = webds.concat({"a": own, "b": _numbered("b", *[1] * 9)}).shuffle(0, seed=7)
    assert _list(mixed) == _list(own) + _list(_numbered("b", *[1] * 9).shuffle(0, seed=7))
    streamed = webds.concat([A.filter(bool), B]).split(webds.SplitExplicit(0, 2))
    assert _list(streamed) == [*_list(A)[:6], *_list(B)[:2]]


def test_a_remainder_takes_samples_that_are_known_one_by_one() -> None:
    mixed = webds.concat({"a": A, "b": B.filter(bool)})
    with pytest.raises(SplitError, match="'b' has the stage filter"):
        mixed.split(remainder="drop").build()
    with pytest.raises(ValueError, match="say it of the mix"):
        webds.concat([A.split(remainder="pad"), B])
    with pytest.raises(SplitError, match="drops values"):
        webds.concat([A, B]).filter(bool).split(remainder="pad").build()


def test_a_worker_without_a_shard_is_an_error_where_weights_are_to_be_kept(tmp_path: Path) -> None:
    few = webds.DatasetBuilder(numbered_shards(tmp_path, shards=2))
    many = webds.DatasetBuilder(numbered_shards(tmp_path, shards=4))
    mixed = webds.mix({"few": few, "many": many}, weights=[1, 1], exhausted="stop").map(label)
    assert len(list(Rank(mixed, workers=2))) > 1
    with pytest.raises(SplitError, match="2 shards leave worker 2") as caught:
        list(Rank(mixed, workers=3))
    assert caught.value.source == "few"
    rest = webds.mix({"few": few, "many": many}, weights=[1, 1], exhausted="continue").map(label)
    assert len(list(Rank(rest, workers=3))) == 30


def test_lengths_are_exact_where_they_are_known(tmp_path: Path) -> None:
    tar = webds.DatasetBuilder(numbered_shards(tmp_path))
    assert len(webds.concat([tar.indexed(), A]).build()) == 32
    assert len(webds.mix([A.shuffle(3), B], weights=[1, 1], exhausted="continue").build()) == 16
    for mixed in (webds.concat([tar, A]), webds.mix([A.shuffle(3), B], weights=[1, 1], exhausted="stop")):
        with pytest.raises(LengthError):
            len(mixed.build())
    with pytest.raises(TypeError, match="ConcatDataset"):
        webds.concat([A, B]).map_style()


def _refuse(name: str) -> Any:
    def refuse(value: str) -> str:
        if value == name:
            raise ValueError(f"not {name}")
        return value

    return refuse


@pytest.mark.parametrize("streamed", [False, True])
def test_errors_and_losses_name_the_source_and_policies_are_their_own(streamed: bool, tmp_path: Path) -> None:
    def member(name: str, bad: str) -> Builder:
        builder = _numbered(name, 6).map(_refuse(bad))
        return builder.filter(bool) if streamed else builder

    good = member("a", "a0.2").on_error("skip", ledger=tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match=r"not b0\.1") as caught:
        _list(webds.concat({"a": good, "b": member("b", "b0.1")}))
    assert '"source": "b"' in str(caught.value.__notes__)

    mixed = webds.concat({"a": good, "in": webds.concat({"b": member("b", "b0.1")})}).map(_refuse("a0.4"))
    dataset = mixed.on_error("skip", ledger=tmp_path / "mix.jsonl").build()
    assert len(list(dataset)) == 9
    losses = {(loss.source, loss.ordinal): loss.stage for loss in dataset.stats().losses}
    assert losses == {("a", 2): "map", ("a", 4): "map", ("in/b", 1): "map"}
    written = {name: [json.loads(line)["source"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
               for name in ("a", "mix")}  # fmt: skip
    assert sorted(written["a"]) == ["a", "a"]
    assert sorted(written["mix"]) == ["a", "in/b"]


def test_a_budget_of_a_source_is_its_own() -> None:
    bad = _numbered("a", 4).map(int)
    fine = webds.concat({"a": bad.on_error("skip", max_errors=4), "b": _numbered("b", 4).map(int)}).on_error("skip")
    assert _list(fine) == []
    with pytest.raises(webds.ErrorBudgetError) as caught:
        _list(webds.concat({"a": bad.on_error("skip", max_errors=3), "b": B}))
    assert caught.value.source == "a"
    with pytest.raises(webds.ErrorBudgetError) as caught:
        _list(webds.concat({"a": bad.on_error("skip", max_fraction=0.5), "b": _numbered("b", 900)}))
    assert caught.value.source == "a"


def test_a_policy_that_stops_ends_the_mix() -> None:
    for bad in (A.map(_refuse("a0.3")), A.map(_refuse("a0.3")).filter(bool)):
        assert _list(webds.concat({"a": bad.on_error("stop"), "b": B})) == _list(A)[:3]


def test_a_damaged_shard_is_that_of_its_source(tmp_path: Path) -> None:
    shard = write_members(tmp_path / "bad.tar", [("a.cls", b"1")])
    (tmp_path / "bad.tar").write_bytes(b"x" * 1024 + Path(shard).read_bytes())
    bad = webds.DatasetBuilder(shard)
    with pytest.raises(webds.TarFormatError) as caught:
        _list(webds.round_robin({"good": A, "bad": bad}, exhausted="continue"))
    assert (caught.value.source, caught.value.url) == ("bad", shard)
    dataset = webds.concat({"bad": bad.on_error("skip"), "good": A}).build()
    assert list(dataset) == _list(A)
    assert [loss.source for loss in dataset.stats().losses] == ["bad"]
    assert len(webds.replay(dataset.stats().losses, dataset).without_sample) == 1


def test_one_that_drops_everything_is_an_error_also_without_end() -> None:
    nothing = A.filter(lambda value: False)
    with pytest.raises(EmptyDatasetError) as caught:
        _list(webds.concat({"a": nothing, "b": B}))
    assert caught.value.source == "a"
    for mixed in (webds.concat([A, B]).repeat(), webds.round_robin([A.repeat(), B.repeat()], exhausted="stop"),
                  webds.round_robin([A.shuffle(2).repeat(), B.repeat()], exhausted="stop")):  # fmt: skip
        with pytest.raises(EmptyDatasetError):
            _list(mixed.filter(lambda value: False))


def test_fields_that_nobody_looks_at_are_not_read_and_the_url_is_there(tmp_path: Path) -> None:
    read: list[Any] = []

    class Noting(webds.Source[webds.Sample]):
        @override
        def shards(self) -> Sequence[str]:
            return ["s"]

        @override
        def read(self, shard: str, fields: Any = None, start: int = 0) -> Iterator[webds.Sample]:
            read.append(fields)
            return iter([{"__key__": "k", "a": b"1", "b": b"2"}])

    mixed = webds.concat([webds.DatasetBuilder(Noting()), webds.DatasetBuilder(Noting()).rename(a="b")])
    assert _list(mixed.to_tuple("a", "__url__")) == [(b"1", "s"), (b"2", "s")]
    assert [sorted(name for name in fields if not name.startswith("__")) for fields in read] == [["a"], ["b"]]
    indexed = webds.concat([webds.DatasetBuilder(numbered_shards(tmp_path, shards=1)).indexed()])
    assert {url for (url,) in _list(indexed.to_tuple("__url__"))} == {str(tmp_path / "shard-000000.tar")}


def test_decoders_and_caches_are_those_of_each_source(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", [{"__key__": "a", "x.num": "7"}])
    tar = webds.DatasetBuilder(shard)
    twice = (
        tar.cache(tmp_path / "cache", local=True).prefetch().decode().with_decoder("num", lambda data: int(data) * 2)
    )
    mixed = webds.concat([twice, tar.indexed().decode().with_decoder("num", lambda data: int(data) + 1)])
    assert _list(mixed.to_tuple("x.num")) == [(14,), (8,)]
    assert any((tmp_path / "cache").iterdir())


def test_time_is_measured_over_all_sources(tmp_path: Path) -> None:
    tar = webds.DatasetBuilder(numbered_shards(tmp_path))
    for mixed in (webds.concat([tar, A]), webds.concat([tar.indexed(), A])):
        dataset = mixed.map(as_is).measure().build()
        assert len(list(dataset)) == 32
        assert dataset.stats().samples == 32
        assert dataset.stats().bytes_read > 0


def test_it_explains_itself() -> None:
    mixed = webds.mix({"web": A, "books": B.map(as_is)}, weights={"web": 3, "books": 1}, exhausted="continue", seed=4)
    text = mixed.explain()
    assert "0.75 web, 0.25 books; turns shuffled by seed 4; goes on with the rest" in text
    assert "of books:\n" in text
    assert "  map        as_is" in text
    text = webds.concat({"web": A, "books": B.filter(bool)}).explain()
    assert "one after the other: web, books" in text
    assert "'books' has the stage filter" in text


def test_subset_is_of_one_source() -> None:
    with pytest.raises(ValueError, match="mix of several"):
        webds.concat([A, B]).build().subset = (0, 2)


@pytest.mark.parametrize("exhausted", EXHAUSTED)
def test_all_is_closed_when_it_ends_early_or_fails(exhausted: Exhausted, tmp_path: Path) -> None:
    streams: list[Any] = []

    def opener(url: str) -> Any:
        streams.append(Path(url).open("rb"))  # noqa: SIM115  # whoever asked closes it
        return streams[-1]

    tar = webds.DatasetBuilder(numbered_shards(tmp_path), opener=opener)
    other = tar.rename(other="cls").select("other")
    mixed = webds.mix([tar, tar.shuffle(3), tar.prefetch(), tar.join(other)], cycle=[1, 1, 1, 1], exhausted=exhausted)
    iterator = iter(mixed.build())
    assert len(list(itertools.islice(iterator, 9))) == 9
    del iterator
    assert len(streams) > 4
    assert all(stream.closed for stream in streams)
    with pytest.raises(ZeroDivisionError):
        list(mixed.map(lambda sample: 1 // 0).build())
    assert all(stream.closed for stream in streams)
