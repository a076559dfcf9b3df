"""What an epoch over shards will be, for so many ranks and workers."""

from __future__ import annotations

from typing import Any, final

import attrs

from webds.datasets.builder import DatasetBuilder
from webds.order.dealing import Remainder
from webds.plans.planning import EpochPlan
from webds.sources.tar import Urls

__all__ = ["Training", "plan_training"]


@final
@attrs.frozen(kw_only=True)
class Training:
    """What reads the shards.

    Attributes:
        world_size: number of ranks.
        workers: DataLoader workers of each; 0 for none.
        nodes: number of nodes that the ranks are on.
        own: whether each node keeps to samples of its own, in all epochs.
        batch: samples in a batch of one rank; 0 for single samples.
        remainder: what becomes of samples that do not fill a step; None where shards are divided, and not samples.
        shuffle: samples in the shuffle buffer of each worker; 0 for none.
        window: shards that are shuffled together; None for none.
        seed: of the order.
        epoch: which.
    """

    world_size: int = 1
    workers: int = 0
    nodes: int = 1
    own: bool = False
    batch: int = 0
    remainder: Remainder | None = "drop"
    shuffle: int = 0
    window: int | None = None
    seed: int = 0
    epoch: int = 0


def plan_training(urls: Urls, training: Training) -> EpochPlan:
    """Return what an epoch will be; see `webds.DatasetBuilder.plan_for`.

    Args:
        urls: the shards.
        training: what reads them.

    Raises:
        LengthError: it is not known how many samples the shards have.
        SplitError: they cannot be divided like that.
        ValueError: numbers that do not fit.
    """
    builder: DatasetBuilder[Any] = DatasetBuilder(urls)
    if training.remainder is not None:
        builder = builder.indexed()
        if training.own:
            builder = builder.split(remainder=training.remainder, nodes=training.nodes)
        else:
            builder = builder.split(remainder=training.remainder)
    builder = builder.shuffle(training.shuffle, seed=training.seed, window_shards=training.window)
    return builder.plan_for(
        world_size=training.world_size, workers=training.workers, nodes=training.nodes, epoch=training.epoch,
        batch_size=training.batch or None,
    )  # fmt: skip
