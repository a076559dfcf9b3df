"""Line 19: stop after some consumed batches, load the state, and get the identical remainder."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest
from in_workers import key_of
from places import Rank, of_ranks, steps
from ranks import train, train_until_killed
from shards import numbered_shards

import webds
from webds.errors import StateError

Chain: TypeAlias = Callable[[webds.DatasetBuilder[Any]], webds.DatasetBuilder[Any]]

CHAINS: dict[str, Chain] = {
    "streamed": lambda tar: tar.shuffle(9, seed=3).map(key_of).batch(4, collate=list),
    "indexed": lambda tar: tar.indexed().shuffle(window_shards=2, seed=3).map(key_of).batch(4, collate=list),
    "indexed, buffer": lambda tar: tar.indexed().shuffle(9).map(key_of).batch(4, collate=list).repeat(2),
}


@pytest.fixture
def tar(tmp_path: Path) -> webds.DatasetBuilder[webds.Sample]:
    """Five shards of seven samples."""
    return webds.DatasetBuilder(numbered_shards(tmp_path, shards=5, samples=7))


def _rest(
    builder: webds.DatasetBuilder[Any], workers: int, stop: int, **options: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """Return epoch 1 and 2, and the rest of epoch 1 after ``stop`` batches with the next epoch behind it."""
    plain = builder.loader(num_workers=workers)
    list(plain)
    whole, following = list(plain), list(plain)
    loader = builder.loader(num_workers=workers, **options)
    list(loader)
    assert list(itertools.islice(loader, stop)) == whole[:stop]
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = builder.loader(num_workers=workers, **options)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = list(resumed)
    assert list(resumed) == following, "the next epoch"
    return whole, following, rest


@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 3])
def test_19_the_rest_is_identical(kind: str, workers: int, stop: int, tar: webds.DatasetBuilder[Any]) -> None:
    whole, _, rest = _rest(CHAINS[kind](tar), workers, stop)
    assert rest == whole[stop:]


@pytest.mark.parametrize("kind", ["streamed", "indexed"])
@pytest.mark.parametrize(("start", "persistent"), [("spawn", False), ("fork", True)])
def test_19_however_workers_are_started_and_kept(
    kind: str, start: Literal["fork", "spawn"], persistent: bool, tar: webds.DatasetBuilder[Any]
) -> None:
    if start == "spawn":
        builder = tar.indexed() if kind == "indexed" else tar.shuffle(9)
        builder = builder.map(key_of).batch(4, collate=list)
        loader = builder.loader(num_workers=2, multiprocessing_context="spawn")
        whole = list(builder.loader(num_workers=2))
        assert list(itertools.islice(loader, 3)) == whole[:3]
        loader.load_state_dict(loader.state_dict())
        assert list(loader) == whole[3:]
        return
    whole, _, rest = _rest(CHAINS[kind](tar), 2, 4, persistent_workers=persistent)
    assert rest == whole[4:]


def test_19_the_end_is_a_state_too(tar: webds.DatasetBuilder[Any]) -> None:
    for workers in (0, 2):
        for chain in CHAINS.values():
            loader = chain(tar).loader(num_workers=workers)
            epochs = [list(loader), list(loader)]
            again = chain(tar).loader(num_workers=workers)
            list(again)
            again.load_state_dict(again.state_dict())
            assert list(again) == []
            assert list(again) == epochs[1]


def test_19_a_loader_of_another_number_of_workers_goes_on(tar: webds.DatasetBuilder[Any]) -> None:
    builder = CHAINS["indexed"](tar)
    whole = list(builder.build())
    state = builder.loader().state_dict()
    found: list[Any] = []
    for workers in (2, 0, 3, 1):
        loader = builder.loader(num_workers=workers)
        loader.load_state_dict(state)
        found += itertools.islice(loader, 2)
        state = loader.state_dict()
    dataset = builder.build()
    dataset.load_state_dict(state)
    assert found + list(dataset) == whole


def test_19_a_state_that_does_not_fit_is_refused_with_the_difference(tar: webds.DatasetBuilder[Any]) -> None:
    state = tar.shuffle(9, seed=3).build().state_dict()
    for other, difference in (
        (tar.shuffle(9, seed=4), "shard_seed was 3, and is 4"),
        (tar.shuffle(9, seed=3).take(4), "stages was .* and is"),
        (webds.DatasetBuilder(list(tar.plan.source.shards())[1:]).shuffle(9, seed=3), "shards was '5 .*, and is '4 "),
    ):
        for target in (other.build(), other.loader(num_workers=2)):
            with pytest.raises(StateError, match=difference):
                target.load_state_dict(state)


def test_19_the_dataset_refuses_what_its_workers_know(tar: webds.DatasetBuilder[Any]) -> None:
    import torch.utils.data

    dataset = tar.map(key_of).build()
    list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2))
    with pytest.raises(StateError, match=r"builder\.loader\(num_workers=…\)"):
        dataset.state_dict()
    list(dataset)
    assert dataset.state_dict()["epoch"] == 1


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", CHAINS)
def test_19_the_stateful_data_loader_of_torchdata(kind: str, workers: int, tar: webds.DatasetBuilder[Any]) -> None:
    torchdata: Any = importlib.import_module("torchdata.stateful_dataloader")

    def loader() -> Any:
        return torchdata.StatefulDataLoader(CHAINS[kind](tar).build(), batch_size=None, num_workers=workers)

    plain = loader()
    epochs = [list(plain), list(plain)]
    stopped = loader()
    assert list(itertools.islice(stopped, 3)) == epochs[0][:3]
    state = stopped.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    assert list(resumed) == epochs[0][3:]
    assert list(resumed) == epochs[1]


def test_19_lightning_keeps_the_state_in_its_checkpoints(tar: webds.DatasetBuilder[Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightning_fit", str(tmp_path / "checkpoint")]
    fits = subprocess.run(
        [*command, *tar.plan.source.shards()], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, check=True, timeout=300,
    )  # fmt: skip
    for whole, before, after in json.loads(fits.stdout):
        assert len(whole) == 27
        assert before + after == whole
        assert Counter(itertools.chain(*whole)) == {f"key{i:05d}": 3 for i in range(35)}


def test_19_killed_and_gone_on_with_on_other_ranks_every_key_is_accounted_for(
    tar: webds.DatasetBuilder[Any], tmp_path: Path
) -> None:
    """35 samples in steps of 8: what was done after the last checkpoint is done again, and nothing else."""
    keys = tar.indexed().shuffle(window_shards=2).split(remainder="drop").map(key_of)
    whole = [sorted(batch) for batch in keys.batch(8, collate=list).build()]

    def builder(world_size: int) -> webds.DatasetBuilder[Any]:
        return keys.batch(8 // world_size, collate=list)

    killed = train_until_killed(builder(2), tmp_path / "before", 2, 2, steps=3)
    ranks = train(builder(4), tmp_path / "after", 4, 0, state=killed.state)
    assert steps(killed.batches) == whole[:2]
    assert steps(ranks) == whole[2:]


def test_19_killed_with_a_shuffle_buffer_and_gone_on_with_at_the_same_places(
    tar: webds.DatasetBuilder[Any], tmp_path: Path
) -> None:
    builder = tar.indexed().shuffle(9).split(remainder="pad").map(key_of).batch(4, collate=list)
    whole = of_ranks(builder, 2, 1)
    killed = train_until_killed(builder, tmp_path / "before", 2, 1, steps=3)
    assert killed.batches[0] == whole[0][:2]
    # A state with a buffer is of one rank: that of rank 0 says nothing of what rank 1 holds.
    with pytest.raises(StateError, match="rank 0 of 2"):
        Rank(builder, 1, 2, 1, killed.state)
    assert list(Rank(builder, 0, 2, 1, killed.state)) == whole[0][2:]
