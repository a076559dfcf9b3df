"""Ranks of a real training: processes that torch.distributed connects, and a model that they train together."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import torch
import torch.distributed

import webds

__all__ = ["Killed", "train", "train_until_killed"]

_PATIENCE: Final = 200
"""Seconds for a whole training; a rank that waits for others that are done would take for ever."""


_IMPORTED: Final = ["pytest", "torch.distributed", "torch._dynamo", "webds.datasets.loader"]
"""What each rank would import for itself, which takes longer than the training."""


class Killed(NamedTuple):
    """What a training left behind that was killed.

    Attributes:
        batches: the batches that each rank had got by the last checkpoint.
        state: the loader's state in it.
    """

    batches: list[list[list[str]]]
    state: Any


def train(
    builder: webds.DatasetBuilder[Any],
    folder: Path,
    world_size: int,
    workers: int,
    state: Any = None,
    start: Literal["fork", "spawn"] = "fork",
) -> list[list[list[str]]]:
    """Train for an epoch, and return the batches of keys that each rank got.

    Args:
        builder: makes batches that are lists of keys.
        folder: where the ranks leave their files; it is made.
        world_size: number of ranks.
        workers: number of DataLoader workers of each.
        state: where all of them go on; None for the beginning.
        start: how DataLoader workers are started.
    """
    ends = _run(builder, folder, world_size, workers, state, start, None)
    assert ends == [0] * world_size, "a rank failed, or waits for others: see what it wrote"
    return _batches(folder, world_size)


def train_until_killed(
    builder: webds.DatasetBuilder[Any], folder: Path, world_size: int, workers: int, steps: int
) -> Killed:
    """Train until rank 1 is killed in the middle of a step, which is the end of the others too.

    Rank 0 saves the state after every second step.

    Args:
        builder: makes batches that are lists of keys.
        folder: where the ranks leave their files; it is made.
        world_size: number of ranks.
        workers: number of DataLoader workers of each.
        steps: how many steps rank 1 finishes.
    """
    ends = _run(builder, folder, world_size, workers, None, "fork", steps)
    assert ends[1] == -signal.SIGKILL
    checkpoint = json.loads((folder / "checkpoint").read_text())
    batches = _batches(folder, world_size)
    assert min(map(len, batches)) >= checkpoint["steps"] > 0
    return Killed([rank[: checkpoint["steps"]] for rank in batches], checkpoint["state"])


def _run(
    builder: webds.DatasetBuilder[Any], folder: Path, world_size: int, workers: int, state: Any, start: str,
    killed_after: int | None,
) -> Sequence[int | None]:  # fmt: skip
    """Return how each rank ended."""
    folder.mkdir()
    # From a process that has run nothing: one that has trained itself cannot be forked to train.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    arguments = (builder, folder, world_size, workers, state, start, killed_after)
    processes = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(world_size)]
    for process in processes:
        process.start()
    until = time.monotonic() + _PATIENCE
    waiting = processes[1] if killed_after is not None else processes[0]
    waiting.join(_PATIENCE)
    if killed_after is None:
        for process in processes:
            process.join(max(0, until - time.monotonic()))
    ends = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return ends


def _batches(folder: Path, world_size: int) -> list[list[list[str]]]:
    lines = [(folder / f"rank-{rank}").read_text().splitlines() for rank in range(world_size)]
    return [[line.split() for line in rank] for rank in lines]


def _rank(
    rank: int, builder: webds.DatasetBuilder[Any], folder: Path, world_size: int, workers: int, state: Any, start: str,
    killed_after: int | None,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    where = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=world_size)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
    options: Any = {"multiprocessing_context": start} if workers else {}
    with open(folder / f"rank-{rank}", "w", encoding="utf-8") as file:
        loader = builder.loader(num_workers=workers, **options)
        if state is not None:
            loader.load_state_dict(state)
        for step, batch in enumerate(loader):
            if rank == 1 and step == killed_after:
                os.kill(os.getpid(), signal.SIGKILL)
            model(torch.ones(len(batch), 1)).sum().backward()  # waits for all ranks: hangs where one has fewer steps
            file.write(" ".join(batch) + "\n")
            file.flush()
            if step % 2:
                torch.distributed.barrier()
                if rank == 0:
                    checkpoint = {"steps": step + 1, "state": loader.state_dict()}
                    (folder / "new").write_text(json.dumps(checkpoint))
                    (folder / "new").replace(folder / "checkpoint")
    _end(rank, folder, world_size)


def _end(rank: int, folder: Path, world_size: int) -> None:
    """End this process when all ranks are done, as none may go while another waits for what it has sent.

    Nothing is torn down: the destructor of torch's gloo group waits for a thread, and keeps the interpreter's lock that
    the thread, if it is about to let go of the last collective, waits for.
    """
    (folder / f"done-{rank}").touch()
    deadline = time.monotonic() + _PATIENCE
    while not all((folder / f"done-{other}").exists() for other in range(world_size)):
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.01)
    os._exit(0)
