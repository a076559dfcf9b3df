"""Ranks of a real training: processes that torch.distributed connects, with a collective in each step."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import torch
import torch.distributed

import webds

__all__ = ["train"]


def train(
    builder: webds.DatasetBuilder[Any], folder: Path, world_size: int, workers: int, state: Any = None
) -> list[list[list[str]]]:
    """Return the batches of keys that each rank got.

    Args:
        builder: makes batches that are lists of keys.
        folder: an empty folder.
        world_size: number of ranks.
        workers: number of DataLoader workers of each.
        state: where all of them go on; None for the beginning.
    """
    context = multiprocessing.get_context("fork")
    arguments = (builder, folder, world_size, workers, state)
    processes = [context.Process(target=_rank, args=(rank, *arguments)) for rank in range(world_size)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        if process.exitcode != 0:
            for other in processes:
                other.kill()
            raise AssertionError(f"a rank ended with {process.exitcode}: None waits for the others")
    lines = [(folder / f"rank-{rank}").read_text().splitlines() for rank in range(world_size)]
    return [[line.split() for line in rank] for rank in lines]


def _rank(
    rank: int, builder: webds.DatasetBuilder[Any], folder: Path, world_size: int, workers: int, state: Any
) -> None:
    torch.set_num_threads(1)
    where = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=world_size)
    with open(folder / f"rank-{rank}", "w", encoding="utf-8") as file:
        loader = builder.loader(num_workers=workers)
        if state is not None:
            loader.load_state_dict(state)
        for batch in loader:
            sizes = torch.tensor([len(batch)])
            torch.distributed.all_reduce(sizes)  # waits for all ranks: hangs where one has fewer steps
            file.write(" ".join(batch) + "\n")
    torch.distributed.destroy_process_group()
