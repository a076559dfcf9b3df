"""Decoding in threads: what comes out is what comes out without them; what was started is gone afterwards."""

from __future__ import annotations

import pickle
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import attrs
import pytest
from expecting import raises
from hypothesis import given, strategies as st
from in_workers import refuse_seven
from running import Ran, plan_of, run_stages
from shards import numbered_shards
from typing_extensions import override

import webds
from webds.abc import Decoder
from webds.errors import DecodeError, EmptyDatasetError, place_of
from webds.order.epochs import EpochClock, Turn
from webds.policy import Guard, Ledger
from webds.stages.base import Item, Run, Stage
from webds.stages.fields import Decode
from webds.stages.flow import Repeat, Take
from webds.stages.functions import Filter, Map
from webds.stages.threads import run_in_threads
from webds.typing import Buffer

THREADS = (0, 1, 3)


@attrs.frozen
class _Number(Decoder[int]):
    """Decodes a number, the larger the slower; "bad" is a DecodeError, "worse" somebody else's exception."""

    @override
    def decode(self, data: Buffer, field: str) -> int:
        text = bytes(data).decode()
        if text == "bad":
            raise DecodeError("no number")
        if text == "worse":
            raise LookupError("no number at all")
        time.sleep(int(text) / 1000)
        return int(text)


@attrs.frozen
class _Calls(Decoder[Any]):
    """Calls a function of the bytes."""

    f: Callable[[bytes], Any]

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        return self.f(bytes(data))


def samples(*texts: str) -> list[dict[str, Any]]:
    return [{"__key__": f"k{i}", "cls": text.encode()} for i, text in enumerate(texts)]


def numbers(n: int) -> list[dict[str, Any]]:
    return samples(*map(str, range(n)))


def decoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("webds-decode")]


def refuse(sample: dict[str, Any]) -> dict[str, Any]:
    """Raise for what is called "refused": a stage before decoding that fails."""
    if sample["cls"] == b"refused":
        raise ArithmeticError("refused")
    return sample


def outcome(values: list[dict[str, Any]], *stages: Stage, **options: Any) -> Any:
    """Return everything that can be seen of a run: values, origins and losses, or the error and where it was."""
    try:
        ran: Ran = run_stages(values, *stages, decoders={"cls": _Number()}, **options)
    except Exception as error:
        return type(error), str(error), getattr(error, "__notes__", []), place_of(error), repr(error.__cause__)
    return ran.values, ran.origins, ran.losses


BEFORE: tuple[tuple[Stage, ...], ...] = ((), (Repeat(n=2),), (Take(n=5),))
AFTER: tuple[tuple[Stage, ...], ...] = ((), (Filter(predicate=lambda sample: sample["cls"] == 1),), (Take(n=3),))


@given(
    st.lists(st.sampled_from(["0", "1", "2", "bad", "worse"]), max_size=20),
    st.sampled_from(BEFORE),
    st.sampled_from(AFTER),
    st.sampled_from(["raise", "skip", "stop"]),
    st.sampled_from([None, 0, 1, 3]),
)
def test_values_order_errors_and_losses_are_those_without_threads(
    texts: list[str], before: tuple[Stage, ...], after: tuple[Stage, ...], policy: str, max_errors: int | None
) -> None:
    plain, *threaded = (
        outcome(samples(*texts), *before, Decode(threads=threads), *after, policy=policy, max_errors=max_errors)
        for threads in THREADS
    )
    for found in threaded:
        assert found == plain


@given(st.lists(st.sampled_from(["0", "2", "bad", "refused"]), max_size=20), st.sampled_from(["raise", "skip", "stop"]))
def test_errors_of_earlier_stages_come_after_the_values_before_them(texts: list[str], policy: str) -> None:
    plain, *threaded = (
        outcome(samples(*texts), Map(f=refuse), Decode(threads=threads), policy=policy) for threads in THREADS
    )
    for found in threaded:
        assert found[:2] == plain[:2]
        # Upstream is ahead, so that its losses are counted earlier, and where the iteration stops, some more of them.
        assert Counter(plain[2]) <= Counter(found[2])
        assert policy == "stop" or Counter(plain[2]) == Counter(found[2])


def test_what_came_before_an_error_of_an_earlier_stage_is_delivered() -> None:
    run = iterate(samples("1", "5", "0", "refused", "1"), Map(f=refuse), Decode(threads=3))
    assert [next(run)["cls"] for _ in range(3)] == [1, 5, 0]
    with pytest.raises(ArithmeticError, match="refused"):
        next(run)
    assert decoding_threads() == []
    assert list(run) == []


def iterate(values: list[dict[str, Any]], *stages: Stage, decoder: Decoder[Any] | None = None) -> Iterator[Any]:
    """Return an iterator over the values of a plan."""
    plan = plan_of(values, *stages).bound(lambda spec: {"cls": decoder or _Number()})
    run = Run(Guard(plan.policy, Ledger()), turn=Turn(0), clock=EpochClock())
    return (value for _, value in plan.run(run))


# What runs where, and how much at once


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_as_many_samples_as_threads_are_decoded_at_once(threads: int) -> None:
    together = threading.Barrier(threads, timeout=60)
    where: set[str] = set()

    def meet(data: bytes) -> int:
        together.wait()  # passes when all are here, and breaks if fewer threads work
        where.add(threading.current_thread().name)
        return int(data)

    found = list(iterate(numbers(4 * threads), Decode(threads=threads), decoder=_Calls(meet)))
    assert [sample["cls"] for sample in found] == list(range(4 * threads))
    assert len(where) == threads
    assert all(name.startswith("webds-decode") for name in where)


@pytest.mark.parametrize("threads", THREADS)
def test_everything_but_decoding_stays_in_the_thread_of_the_caller(threads: int) -> None:
    before: set[int] = set()
    decoding: set[int] = set()

    def note(data: bytes) -> bytes:
        decoding.add(threading.get_ident())
        return data

    def seen(sample: dict[str, Any]) -> dict[str, Any]:
        before.add(threading.get_ident())
        return sample

    run = iterate(numbers(9), Map(f=seen), Decode(threads=threads), Map(f=seen), decoder=_Calls(note))
    assert len(list(run)) == 9
    assert before == {threading.get_ident()}
    assert (threading.get_ident() in decoding) == (threads == 0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_at_most_twice_as_many_samples_as_threads_are_under_way(threads: int) -> None:
    taken = 0
    lead: list[int] = []

    def take(sample: dict[str, Any]) -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return sample

    for delivered, _ in enumerate(iterate(numbers(30), Map(f=take), Decode(threads=threads))):
        lead.append(taken - delivered)
    assert max(lead) == 2 * threads
    assert min(lead[: 30 - 2 * threads]) >= threads


# Nothing is left


@pytest.mark.parametrize("threads", [1, 3])
def test_no_thread_is_left_after_an_end_of_any_kind(threads: int) -> None:
    stage = Decode(threads=threads)
    assert len(list(iterate(numbers(7), stage))) == 7
    assert decoding_threads() == []
    for value in iterate(numbers(20), stage):
        assert value["cls"] == 0
        assert len(decoding_threads()) == threads
        break
    assert decoding_threads() == []
    assert len(list(iterate(numbers(20), stage, Take(n=3)))) == 3
    assert decoding_threads() == []
    with pytest.raises(DecodeError):
        list(iterate(samples("1", "bad", *"1111"), stage))
    assert decoding_threads() == []
    with pytest.raises(ZeroDivisionError):
        list(iterate(numbers(9), stage, Map(f=lambda sample: 1 / sample["cls"])))
    assert decoding_threads() == []
    assert outcome(samples("1", "bad", *"1111"), stage, policy="stop")[0] == [{"__key__": "k0", "cls": 1}]
    assert decoding_threads() == []


def test_an_early_end_does_not_wait_for_what_has_not_begun() -> None:
    begun: list[bytes] = []

    def note(data: bytes) -> bytes:
        begun.append(data)
        time.sleep(0.2)
        return data

    run = iterate(numbers(20), Decode(threads=1), decoder=_Calls(note))
    next(run)
    del run
    assert decoding_threads() == []
    assert begun == [b"0", b"1"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_before_is_closed_too_also_while_somebody_holds_the_error(fails: bool) -> None:
    closed: list[bool] = []

    def upstream(run: Run) -> Iterator[Item]:
        try:
            for i in range(10):
                yield ("mem", i, None), i
        finally:
            closed.append(True)

    def work(value: int) -> float:
        return 1 / (value - 2) if fails else value

    run = Run(Guard(plan_of([]).policy, Ledger()))
    if fails:
        with pytest.raises(ZeroDivisionError) as caught:
            list(run_in_threads(work, "decode", 2, run.guard, upstream, run))
        assert closed == [True]
        assert caught.value is not None
    else:
        for _ in run_in_threads(work, "decode", 2, run.guard, upstream, run):
            break
        assert closed == [True]


@pytest.mark.parametrize("texts", [("1", "bad", "1", "1"), ("1", "refused", "1")])
def test_an_error_and_what_raised_it_do_not_hold_one_another(texts: tuple[str, ...]) -> None:
    with pytest.raises((ArithmeticError, DecodeError)) as caught:
        list(iterate(samples(*texts), Map(f=refuse), Decode(threads=2)))
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_code.co_filename == run_in_threads.__code__.co_filename]
    assert ours
    for frame in ours:
        assert not any(isinstance(held, (Exception, Future)) for held in frame.f_locals.values())


def test_the_garbage_collector_may_close_it_in_one_of_its_own_threads() -> None:
    """An iterator that nobody holds any more is closed by whichever thread happens to collect."""
    delivered, done = threading.Event(), threading.Event()
    errors: list[BaseException] = []
    held: list[Any] = []

    def work(value: int) -> int:
        if value == 3:
            delivered.wait(60)
            try:
                held.pop().close()
            except BaseException as error:
                errors.append(error)
            done.set()
        return value

    def upstream(run: Run) -> Iterator[Item]:
        return ((("mem", i, None), i) for i in range(10))

    run = Run(Guard(plan_of([]).policy, Ledger()))
    held.append(run_in_threads(work, "decode", 2, run.guard, upstream, run))
    assert next(held[0]) == (("mem", 0, None), 0)
    delivered.set()
    assert done.wait(60)
    assert errors == []
    for thread in decoding_threads():
        thread.join(60)
    assert decoding_threads() == []


@pytest.mark.parametrize("threads", THREADS)
def test_epochs_that_end_early_leave_nothing_running(tmp_path: Path, threads: int) -> None:
    dataset = webds.DatasetBuilder(numbered_shards(tmp_path)).decode(threads=threads).build()
    before = threading.active_count()
    for _ in range(20):
        for sample in dataset:
            assert sample["cls"] == 0
            break
        assert threading.active_count() == before


# Repetitions: a filter behind them must know when it has seen a whole pass


@pytest.mark.parametrize("threads", THREADS)
def test_a_filter_that_keeps_the_last_sample_of_a_pass_only_has_kept_something(threads: int) -> None:
    stages = Repeat(n=2), Decode(threads=threads), Filter(predicate=lambda sample: sample["cls"] == 4)
    assert [sample["cls"] for sample in iterate(numbers(5), *stages)] == [4, 4]


@pytest.mark.parametrize("threads", THREADS)
def test_a_filter_that_drops_all_of_an_endless_repetition_is_an_error(threads: int) -> None:
    stages = Repeat(), Decode(threads=threads), Filter(predicate=lambda sample: False)
    with pytest.raises(EmptyDatasetError, match="dropped all 5"):
        list(iterate(numbers(5), *stages))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("texts", [("bad", "1"), ("1", "bad"), ("bad", "bad", "1", "bad", "bad")])
def test_what_could_not_be_decoded_does_not_hold_up_the_end_of_a_pass(texts: tuple[str, ...], threads: int) -> None:
    stages = Repeat(), Decode(threads=threads), Filter(predicate=lambda sample: False)
    with pytest.raises(EmptyDatasetError, match="dropped all 1 "):
        run_stages(samples(*texts), *stages, decoders={"cls": _Number()}, policy="skip")


# As part of a dataset


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_decode_in_threads_of_their_own(tmp_path: Path, start: str) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path)).decode(threads=2).to_tuple("__key__", "cls")
    loader = builder.loader(num_workers=2, multiprocessing_context=start, persistent_workers=True)
    for _ in range(2):
        assert sorted(loader) == [(f"key{i:05d}", i) for i in range(20)]


def test_an_error_in_a_thread_of_a_worker_says_where_it_was(tmp_path: Path) -> None:
    builder = webds.DatasetBuilder(numbered_shards(tmp_path)).decode(threads=2).with_decoder("cls", refuse_seven)
    with raises(LookupError, match=r'(?s)seven is taken.*"stage": "decode".*"key": "key00007", "field": "cls"'):
        list(builder.loader(num_workers=2))


def test_samples_keep_their_order_through_shuffle_and_batch(tmp_path: Path) -> None:
    def epoch(threads: int) -> list[Any]:
        builder = webds.DatasetBuilder(numbered_shards(tmp_path)).shuffle(7, seed=3).decode(threads=threads)
        return [batch["cls"].tolist() for batch in builder.batch(4).build()]

    assert epoch(0) == epoch(1) == epoch(3)


def test_the_stage_pickles_and_says_how_many_threads_it_has() -> None:
    for threads, said in ((0, "rgb; every"), (1, "rgb; in 1 thread; every"), (3, "rgb; in 3 threads; every")):
        stage = Decode(spec="rgb", threads=threads)
        assert pickle.loads(pickle.dumps(stage)) == stage
        assert stage.describe().startswith(said)
        assert stage.fuses == (threads == 0)
