from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from running import Everything, plan_of
from shards import numbered_shards, write_members, write_shard
from typing_extensions import override

from webds.abc import Source
from webds.errors import EmptyDatasetError, LengthError, SampleError, TarFormatError
from webds.openers.schemes import default_opener
from webds.order.epochs import EpochClock, Turn
from webds.plans.explaining import explained
from webds.plans.plan import Plan
from webds.policy import Guard, Ledger, Policy
from webds.sources.memory import MemorySource
from webds.sources.tar import TarSource
from webds.splitters import SplitByNodeAndWorker
from webds.stages.base import Run, Stage
from webds.stages.batch import Batch
from webds.stages.fields import Associate, Decode, Rename, Select, ToTuple
from webds.stages.flow import Repeat, Take
from webds.stages.functions import Filter, Map, MapDict, Pipe
from webds.stages.shuffle import Shuffle
from webds.typing import Place


@attrs.define
class Watched(Source[Any]):
    """Notes which fields it is asked for, and whether its iterators were closed."""

    fails_at: str | None = None
    asked: list[Any] = attrs.field(factory=list)
    closed: list[str] = attrs.field(factory=list)

    @override
    def shards(self) -> Sequence[str]:
        return ["s0", "s1", "s2"]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Any]:
        self.asked.append(fields)
        try:
            for number in range(2):
                yield {"__key__": f"{shard}/{number}", "cls": number}
                if shard == self.fails_at:
                    raise SampleError("this sample is unsound")
        finally:
            self.closed.append(shard)


def _plan(source: Source[Any], *stages: Stage, policy: str = "raise", **options: Any) -> Plan:
    return Plan(source=source, splitter=Everything(), stages=stages, policy=Policy.of(policy), **options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a policy's name


def _run(plan: Plan, ledger: Ledger | None = None) -> list[Any]:
    guard = Guard(plan.policy, Ledger() if ledger is None else ledger)
    run = Run(guard, Place(), Turn(0), EpochClock(), checks_empty=plan.checks_empty)
    return [value for _, value in plan.bound(lambda spec: {}).run(run)]


@pytest.mark.parametrize(
    ("stages", "fields"),
    [
        ([], None),
        ([Decode()], None),
        ([ToTuple(fields=("jpg;png", "cls"))], {"jpg", "png", "cls"}),
        ([Decode(), Shuffle(size=2, seed=0), ToTuple(fields=("cls",)), Batch(n=2)], {"cls"}),
        ([Rename(fields={"image": "jpg;png", "label": "cls"}), ToTuple(fields=("image",))], {"jpg", "png", "cls"}),
        ([Select(fields=("cls", "txt")), Map(f=len)], {"cls", "txt"}),
        ([Map(f=dict), ToTuple(fields=("cls",))], None),
        ([Filter(predicate=bool), ToTuple(fields=("cls",))], None),
        ([Pipe(stage=iter), ToTuple(fields=("cls",))], None),
        ([ToTuple(fields=("cls",)), Filter(predicate=bool)], {"cls"}),
        ([MapDict(fs={"txt": len}), ToTuple(fields=("cls",))], {"txt", "cls"}),
        ([Associate(table={}), Take(n=1), Repeat(), ToTuple(fields=("__key__", "cls"))], {"__key__", "cls"}),
    ],
)
def test_only_the_fields_that_some_stage_looks_at_are_wanted(stages: list[Stage], fields: set[str] | None) -> None:
    assert plan_of([], *stages).fields == (None if fields is None else frozenset(fields))


def test_the_source_is_asked_for_the_wanted_fields() -> None:
    source = Watched()
    _run(_plan(source, ToTuple(fields=("cls", "__key__"))))
    assert source.asked == [frozenset({"cls", "__key__"})] * 3
    source = Watched()
    _run(_plan(source, Map(f=dict)))
    assert source.asked == [None] * 3


def test_every_value_has_the_place_where_it_comes_from() -> None:
    plan = _plan(Watched())
    origins = [origin for origin, _ in plan.run(Run(Guard(plan.policy, Ledger())))]
    assert origins == [(f"s{s}", i, f"s{s}/{i}") for s in range(3) for i in range(2)]


def test_the_url_is_there_for_whoever_names_it() -> None:
    assert _run(_plan(Watched(), ToTuple(fields=("__url__", "cls"))))[:3] == [("s0", 0), ("s0", 1), ("s1", 0)]
    assert "__url__" not in _run(_plan(Watched()))[0]


def test_shards_are_permuted_anew_each_epoch_and_pass_and_then_split() -> None:
    source = MemorySource({f"s{i}": [i] for i in range(12)})
    plan = Plan(source=source, splitter=SplitByNodeAndWorker(), shard_seed=5)
    orders = {key: tuple(plan.by_shard.shards(key, Place())) for key in [(0,), (1,), (0, 0), (0, 1)]}
    assert len(set(orders.values())) == 4
    assert all(sorted(order) == sorted(source.shards()) for order in orders.values())
    places = [Place(rank, 2, worker, 3) for rank in range(2) for worker in range(3)]
    parts = [plan.by_shard.shards((0,), place) for place in places]
    assert sorted(shard for part in parts for shard in part) == sorted(source.shards())
    assert all([shard for shard in orders[0,] if shard in part] == list(part) for part in parts)


def test_without_a_seed_the_order_is_the_source_s() -> None:
    source = MemorySource({f"s{i}": [i] for i in (3, 1, 2)})
    assert _run(Plan(source=source, splitter=Everything())) == [3, 1, 2]


def test_an_error_of_the_source_ends_the_shard_and_the_policy_says_how_to_go_on() -> None:
    source = Watched(fails_at="s1")
    with pytest.raises(SampleError) as caught:
        _run(_plan(source))
    assert (caught.value.url, caught.value.stage) == ("s1", "read")

    ledger = Ledger()
    values = _run(_plan(source, policy="skip"), ledger)
    assert [value["__key__"] for value in values] == ["s0/0", "s0/1", "s1/0", "s2/0", "s2/1"]
    assert [(loss.stage, loss.url) for loss in ledger.losses()] == [("read", "s1")]

    ledger = Ledger()
    values = _run(_plan(source, policy="stop"), ledger)
    assert [value["__key__"] for value in values] == ["s0/0", "s0/1", "s1/0"]
    assert len(ledger) == 1


def test_iterators_of_the_source_are_closed_when_an_iteration_ends_early() -> None:
    source = Watched()
    plan = _plan(source, Map(f=dict), Shuffle(size=1, seed=0), Pipe(stage=iter))
    items = plan.run(Run(Guard(plan.policy, Ledger())))
    next(iter(items))
    assert source.closed == []
    del items
    assert source.closed == ["s0"]


def test_a_shard_is_closed_before_the_next_one_is_opened() -> None:
    source = Watched()
    plan = _plan(source)
    for i, _ in enumerate(plan.run(Run(Guard(plan.policy, Ledger())))):
        assert len(source.asked) - len(source.closed) <= 1, i


def test_samples_behind_an_unsound_one_of_a_tar_are_read(tmp_path: Path) -> None:
    members = [("a.cls", b"1"), ("a.cls", b"2"), ("b.cls", b"3")]
    urls = [write_members(tmp_path / f"{i}.tar", members) for i in range(2)]
    plan = _plan(TarSource(urls, default_opener()), policy="skip")
    ledger = Ledger()
    assert [value["__key__"] for value in _run(plan, ledger)] == ["b", "b"]
    assert [(loss.stage, loss.url, loss.key, loss.field) for loss in ledger.losses()] == [
        ("read", url, "a", "cls") for url in urls
    ]


def test_samples_that_duplicates_leaves_out_are_counted(tmp_path: Path) -> None:
    """They are no errors, and so no policy is asked; but nothing is lost silently."""
    members = [("a.cls", b"1"), ("a.cls", b"2"), ("b.cls", b"3"), ("c.cls", b"1"), ("c.cls", b"2")]
    url = write_members(tmp_path / "x.tar", members)
    ledger = Ledger()
    plan = _plan(TarSource(url, default_opener(), duplicates="skip"))
    assert [value["__key__"] for value in _run(plan, ledger)] == ["b"]
    assert ledger.counts() == {"read": {url: 2}}


def test_a_rule_for_keys_that_fits_no_member_is_an_error(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=2)
    plan = _plan(TarSource(urls, default_opener(), keys=_nothing))
    with pytest.raises(EmptyDatasetError, match=r"dropped all 20 .*key00000\.cls") as caught:
        _run(plan)
    assert caught.value.stage == "read"
    assert _run(attrs.evolve(plan, checks_empty=False)) == []


def _nothing(path: str) -> tuple[str | None, str | None]:
    return None, None


def test_a_rule_that_fits_some_members_and_an_archive_without_any_are_no_error(tmp_path: Path) -> None:
    some = write_members(tmp_path / "a.tar", [("readme", b""), ("a.cls", b"1")])
    assert len(_run(_plan(TarSource(some, default_opener())))) == 1
    empty = write_shard(tmp_path / "b.tar", [])
    assert _run(_plan(TarSource(empty, default_opener()))) == []


def test_a_shard_that_failed_says_nothing_of_the_rule_for_keys(tmp_path: Path) -> None:
    path = Path(write_members(tmp_path / "a.tar", [("readme", b"x" * 600), ("a.cls", b"1")]))
    path.write_bytes(path.read_bytes()[:1024])
    plan = _plan(TarSource(str(path), default_opener()), policy="skip")
    ledger = Ledger()
    assert _run(plan, ledger) == []
    assert len(ledger) == 1
    with pytest.raises(TarFormatError):
        _run(attrs.evolve(plan, policy=Policy()))


def test_bound_plans_have_decoders_for_what_is_wanted_after_each_stage() -> None:
    plan = plan_of([], Decode(spec="a"), ToTuple(fields=("cls",)))
    asked: list[Any] = []

    def resolve(spec: Any) -> dict[str, Any]:
        asked.append(spec)
        return {}

    bound = plan.bound(resolve)
    assert asked == ["a"]
    decode = bound.stages[0]
    assert isinstance(decode, Decode)
    assert decode.fields == frozenset({"cls"})
    assert bound.is_bound
    assert not plan.is_bound


def test_lengths_of_sources_that_know_theirs() -> None:
    values = list(range(10))
    assert plan_of(values).length(Place()) == 10
    assert plan_of(values, Map(f=str), Shuffle(size=3, seed=0), Take(n=4), Repeat(n=2)).length(Place()) == 8
    divided = Plan(source=MemorySource(values, shards=5), splitter=SplitByNodeAndWorker())
    assert [divided.length(Place(rank, 2, 0, 3)) for rank in range(2)] == [6, 4]


@pytest.mark.parametrize(
    "stage", [Filter(predicate=bool), Batch(n=2), Repeat(), Pipe(stage=iter), Select(fields=("a",))]
)
def test_an_unknown_length_is_a_type_error_that_names_the_stage(stage: Stage) -> None:
    with pytest.raises(LengthError, match=stage.name) as caught:
        plan_of([1, 2], stage).length(Place())
    assert isinstance(caught.value, TypeError)


def test_a_stream_s_length_is_unknown() -> None:
    with pytest.raises(LengthError, match="not known before"):
        _plan(Watched()).length(Place())


def test_a_plan_pickles() -> None:
    plan = plan_of(range(3), Map(f=str), Shuffle(size=2, seed=1), Batch(n=2))
    copy: Plan = pickle.loads(pickle.dumps(plan))
    assert _run(copy) == _run(plan)
    assert explained(copy) == explained(plan)


def test_explain_says_what_is_read_by_whom_and_what_becomes_of_it() -> None:
    source = MemorySource({f"s{i}": [i] for i in range(12)})
    plan = Plan(
        source=source,
        splitter=SplitByNodeAndWorker(),
        shard_seed=3,
        stages=(Select(fields=("cls",)), Batch(n=2)),
        policy=Policy.of("skip", 7),
    )
    lines = explained(plan).splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines[:3]] == ["shards", "order", "read"]
    assert "12: s0 … s11" in lines[0]
    assert all(part in lines[1] for part in ("seed 3", "rank and worker", "SplitByNodeAndWorker"))
    assert lines[2].split(maxsplit=1) == ["read", "cls; other fields are passed over"]
    assert lines[3].startswith("select")
    assert lines[4].startswith("batch")
    assert "ignore_and_continue" in lines[5]
    assert lines[6].startswith("resume")
    assert "7" in lines[5]
    plain = explained(Plan(source=MemorySource([]), splitter=Everything()))
    assert "as listed" in plain
    assert "nothing by Everything" in plain
    assert "all fields" in plain


def test_explain_shows_no_secret() -> None:
    secrets = ["https://user:hunter2@host/a.tar", "https://host/b.tar?X-Signature=hunter2"]
    text = explained(Plan(source=MemorySource({url: [1] for url in secrets}), splitter=Everything()))
    assert "hunter2" not in text
    assert "host/a.tar" in text


def test_the_length_of_a_rank_that_changes_with_the_epoch_is_unknown() -> None:
    unequal = Plan(source=MemorySource({"a": [1] * 8, "b": [2]}), splitter=SplitByNodeAndWorker(), shard_seed=1)
    assert unequal.length(Place()) == 9
    with pytest.raises(LengthError, match="changes with the epoch"):
        unequal.length(Place(0, 2))
    equal = Plan(source=MemorySource({"a": [1] * 8, "b": [2] * 8}), splitter=SplitByNodeAndWorker(), shard_seed=1)
    assert equal.length(Place(0, 2)) == 8
