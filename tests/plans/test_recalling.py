"""What stages held back is made again of the samples that it needs, and of no others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest
from counting import CountingOpener
from in_workers import fails_on_three, is_odd, label
from shards import numbered_shards

import webds
from webds.errors import OpenError, StateError

Chain: TypeAlias = Callable[[webds.DatasetBuilder[Any]], webds.DatasetBuilder[Any]]


def _stopped(builder: webds.DatasetBuilder[Any], n: int) -> tuple[list[Any], Any]:
    """Return the first values, and the state behind them."""
    dataset = builder.build()
    return list(itertools.islice(dataset, n)), json.loads(json.dumps(dataset.state_dict()))


def _resumed(builder: webds.DatasetBuilder[Any], state: Any) -> webds.Dataset[Any]:
    dataset = builder.build()
    dataset.load_state_dict(state)
    return dataset


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("size", [3, 12, 200])
def test_only_shards_are_opened_that_have_something_in_the_buffer_or_are_still_to_come(
    size: int, indexed: bool, tmp_path: Path
) -> None:
    urls = numbered_shards(tmp_path, shards=12, samples=6)
    opener = CountingOpener()
    builder = webds.DatasetBuilder(urls, opener=opener)
    chain = (builder.indexed() if indexed else builder).map(label).shuffle(size, shards=False)
    whole = list(chain.build())
    for stop in (1, 17, 40, 66, 71, 72):
        first, state = _stopped(chain, stop)
        read = min(72, size + stop - 1)
        held = set(range(read)) - set(first)
        opener.opened.clear()
        assert list(_resumed(chain, state)) == whole[stop:]
        needed = {urls[number // 6] for number in held | set(range(read, 72))}
        if read < 72:
            needed.add(urls[(read - 1) // 6])  # whether it has more samples is not known before one looks
        assert set(opener.opened) <= needed
        if not indexed:
            assert {urls[number // 6] for number in held | set(range(read, 72))} <= set(opener.opened)
            assert max(opener.opened.values(), default=0) <= 2, "once for the buffer, once to go on"


def test_of_a_batch_that_is_taken_apart_all_samples_are_read_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=8, samples=5)
    opener = CountingOpener()
    chain = webds.DatasetBuilder(urls, opener=opener).map(label).batch(5, collate=list).unbatch()
    whole = list(chain.build())
    first, state = _stopped(chain, 22)
    opener.opened.clear()
    assert first + list(_resumed(chain, state)) == whole
    assert set(opener.opened) == set(urls[4:])


def test_a_state_of_a_large_buffer_is_small_and_one_without_is_smaller(tmp_path: Path) -> None:
    source = webds.MemorySource(range(50_000), shards=50)
    builder = webds.DatasetBuilder(source).split(webds.NoSplit())
    _, state = _stopped(builder.shuffle(5000), 20_000)
    assert 5_000 < len(json.dumps(state)) < 30_000
    _, state = _stopped(builder.shuffle(0), 20_000)
    assert len(json.dumps(state)) < 1024


def test_a_state_has_no_secrets(tmp_path: Path) -> None:
    path = numbered_shards(tmp_path, shards=1)[0]
    urls = [f"pipe:cat {path} #password=hunter2"]
    _, state = _stopped(webds.DatasetBuilder(urls).shuffle(3), 2)
    assert "hunter2" not in json.dumps(state)
    assert len(list(_resumed(webds.DatasetBuilder(urls).shuffle(3), state))) == 3


def test_a_shard_that_has_no_such_sample_any_more_is_named(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=3, samples=6)
    chain = webds.DatasetBuilder(urls).shuffle(20, shards=False)
    _, state = _stopped(chain, 2)
    Path(urls[1]).write_bytes(Path(numbered_shards(tmp_path / "..", shards=1, samples=2)[0]).read_bytes())
    with pytest.raises(StateError, match=r"held back sample \d of this shard.*shard-000001"):
        list(_resumed(chain, state))


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("policy", ["raise", "skip", "stop"])
def test_a_shard_that_cannot_be_opened_any_more_is_an_error_like_any_other(
    policy: Literal["raise", "skip", "stop"], indexed: bool, tmp_path: Path
) -> None:
    urls = numbered_shards(tmp_path, shards=4, samples=6)
    builder = webds.DatasetBuilder(urls, on_error=policy)
    chain = (builder.indexed() if indexed else builder).map(label).shuffle(18, shards=False)
    first, state = _stopped(chain, 4)
    Path(urls[1]).unlink()
    dataset = _resumed(chain, state)
    if policy == "raise":
        with pytest.raises(OpenError, match="shard-000001"):
            list(dataset)
        return
    rest = list(dataset)
    lost = set(range(6, 12)) - set(first)
    if policy == "skip":
        assert sorted(first + rest) == sorted(set(range(24)) - lost)
    else:
        assert max(rest) < 24 - 1, "what is held back is all that comes"
        assert not lost & set(rest)
    losses = dataset.stats().losses
    assert {loss.url for loss in losses} == {urls[1]}
    assert losses[0].error.startswith("OpenError")


@pytest.mark.parametrize("indexed", [False, True])
def test_what_an_error_policy_let_go_before_is_not_missed(indexed: bool, tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path, shards=3, samples=6)
    builder = webds.DatasetBuilder(urls, on_error="skip")
    if indexed:
        builder = builder.indexed()
        assert len(builder.build()) == 18
    with open(urls[0], "r+b") as file:  # the header of the third sample's first member
        file.seek(2 * 2048)
        file.write(b"x" * 100)
    chain = builder.map(fails_on_three).map(label).shuffle(12)
    whole = list(chain.build())
    for stop in (1, 5, len(whole) - 1):
        _, state = _stopped(chain, stop)
        assert list(_resumed(chain, state)) == whole[stop:]


def test_stages_may_change_a_sample_that_the_buffer_has_twice(tmp_path: Path) -> None:
    def number(sample: dict[str, Any]) -> dict[str, Any]:
        sample["number"] = sample.get("number", 0) + int(sample["cls"])
        return sample

    urls = numbered_shards(tmp_path, shards=2, samples=3)
    chain = webds.DatasetBuilder(urls).map(number).repeat(4).shuffle(30).map(lambda sample: sample["number"])
    whole = list(chain.build())
    first, state = _stopped(chain, 2)
    assert first + list(_resumed(chain, state)) == whole
    assert sorted(whole) == sorted([*range(6)] * 4)


def test_errors_behind_the_buffer_still_name_the_sample(tmp_path: Path) -> None:
    shuffled = webds.DatasetBuilder(numbered_shards(tmp_path)).shuffle(30, seed=1)
    assert next(iter(shuffled.map(label).build())) != 3
    _, state = _stopped(shuffled.map(fails_on_three), 1)
    with pytest.raises(ArithmeticError) as caught:
        list(_resumed(shuffled.map(fails_on_three), state))
    assert "key00003" in "".join(caught.value.__notes__)


def test_urls_are_there_again(tmp_path: Path) -> None:
    urls = numbered_shards(tmp_path)
    chain = webds.DatasetBuilder(urls).to_tuple("__url__", "__key__").shuffle(9)
    whole = list(chain.build())
    _, state = _stopped(chain, 5)
    assert list(_resumed(chain, state)) == whole[5:]


def test_it_is_measured_too(tmp_path: Path) -> None:
    chain = webds.DatasetBuilder(numbered_shards(tmp_path)).map(label).shuffle(9).filter(is_odd).measure()
    whole = list(chain.build())
    _, state = _stopped(chain, 3)
    assert list(_resumed(chain, state)) == whole[3:]


def test_shards_are_read_ahead_too(tmp_path: Path) -> None:
    chain = webds.DatasetBuilder(numbered_shards(tmp_path, shards=6)).map(label).prefetch(shards=2).shuffle(12)
    whole = list(chain.build())
    for stop in (2, 15, 25, 30):
        _, state = _stopped(chain, stop)
        assert list(_resumed(chain, state)) == whole[stop:]


@pytest.mark.parametrize(("chain", "said"), [
    (lambda b: b.shuffle(9), "of those before, only what is held back is read again"),
    (lambda b: b.batch(2).unbatch(), "of those before, only what is held back is read again"),
    (lambda b: b.shuffle(9).pipe(iter), "what pipe(iter"),
    (lambda b: b.pipe(iter).shuffle(9), "the pass is read from its beginning"),
    (lambda b: b.filter(is_odd).batch(2), "at as many ranks and workers, with the next sample"),
    (lambda b: b.indexed().batch(2), "at any number of ranks and workers"),
    (lambda b: b.indexed().shuffle(3).batch(2), "at as many ranks and workers"),
])  # fmt: skip
def test_explain_says_how_it_goes_on(chain: Chain, said: str, tmp_path: Path) -> None:
    lines = dict(
        line.split(maxsplit=1) for line in chain(webds.DatasetBuilder(numbered_shards(tmp_path))).explain().splitlines()
    )
    assert said in lines["resume"]
