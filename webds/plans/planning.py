"""What an iteration will be, for a number of ranks and workers, as it is known before any data is read.

All follows from the numbers of samples and bytes of the shards. Nobody's order is worked out: windows are looked at as
intervals of positions, and so are the parts of ranks, in numpy.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol, final, runtime_checkable

import attrs
import numpy as np
from typing_extensions import override

from webds.abc import IndexedSource
from webds.errors import LengthError
from webds.index.manifest import ListedShard
from webds.order.dealing import Positions
from webds.order.displacement import Displacement, of_both
from webds.plans.bysample import BySample, buffered
from webds.plans.plan import ComposedSource, Plan
from webds.plans.reckoning import Amounts, Units, amounts_dealt, bytes_of_nodes, bytes_together
from webds.stages.batch import Batch
from webds.stages.flow import Repeat
from webds.typing import Place
from webds.urls import local_path

__all__ = ["EpochPlan", "ListingSource", "plan_epoch"]

_PREFETCHED: Final = 2
"""Batches that torch's DataLoader asks each worker for ahead, unless it is told otherwise."""


@runtime_checkable
class ListingSource(Protocol):
    """A source of files of which more may be known than their names."""

    def listing(self) -> Sequence[ListedShard]:
        """Return what is known of each of its shards, in their order."""
        ...


@final
@attrs.frozen(kw_only=True)
class EpochPlan:
    """One iteration, as it will be; what `DatasetBuilder.plan_for` returns. It prints itself.

    Attributes:
        epoch: its number.
        world_size: number of ranks.
        workers: number of DataLoader workers of each rank; 0 for none.
        nodes: number of nodes that the ranks are on.
        batch_size: samples in a batch; None where there are no batches.
        shards: number of shards.
        samples: number of samples in the shards.
        passes: how many times they are gone through.
        batches: of each rank, how many batches it gets, or other values, if there are no batches.
        delivered: of each rank, how many samples are in these.
        dropped: how many samples nobody gets, in all passes: what does not fill a step, or was cut off by `take`.
        padded: how many samples there are more, to fill the last step up.
        bytes_per_node: of each node, how many bytes the shards have that it gets samples of in a pass: what a cache on
            it has in the end. With windows it is that of all shards in those windows, which may be a few more. A shard
            counts as a whole, though without a cache only the samples' part of an indexed one is read. None where the
            sizes are not known: no manifest says them, and the shards are not local files.
        cache_per_node: how many bytes a cache on a node needs so that no shard is fetched twice in a pass, as long as
            its ranks are in step, and workers at most two batches ahead, as torch has it. None as above.
        shards_open: how many shards one process, such as a worker, has open at once, at most.
        displacement: how far shuffling moves samples, in places of the order of all places that share one, or where
            shards are divided, of what one process reads. Several buffers are taken for one.
    """

    epoch: int
    world_size: int
    workers: int
    nodes: int
    batch_size: int | None
    shards: int
    samples: int
    passes: int
    batches: tuple[int, ...] = attrs.field(repr=False)
    delivered: tuple[int, ...] = attrs.field(repr=False)
    dropped: int
    padded: int
    bytes_per_node: tuple[int, ...] | None = attrs.field(repr=False)
    cache_per_node: int | None
    shards_open: int
    displacement: Displacement

    @property
    def steps(self) -> int:
        """How many batches the rank has that has the most."""
        return max(self.batches)

    @override
    def __str__(self) -> str:
        """Return it in lines, for people."""
        workers = f"{_counted(self.workers, 'worker')} each" if self.workers else "no workers"
        whole = f"{self.samples} in {_counted(self.shards, 'shard')}"
        size = "values" if self.batch_size is None else f"batches of {self.batch_size}"
        processes = self.world_size * max(1, self.workers)
        held, cache = "not known", "not known"
        if self.bytes_per_node is not None and self.cache_per_node is not None:
            held, cache = _span(self.bytes_per_node, _bytes), _bytes(self.cache_per_node)
        rows = [
            ("places", f"{_counted(self.world_size, 'rank')} on {_counted(self.nodes, 'node')}, {workers}"),
            ("samples", whole if self.passes == 1 else f"{whole}, {self.passes} times"),
            ("per rank", f"{_span(self.batches, str)} {size}, of {_span(self.delivered, str)} samples"),
            ("remainder", f"{self.dropped} samples dropped, {self.padded} padded"),
            ("per node", f"{held} of shards; a cache of {cache} fetches none twice in a pass"),
            ("open", f"{_counted(self.shards_open, 'shard')} at once in each of {_counted(processes, 'process')}"),
            ("shuffled", str(self.displacement)),
        ]
        return "\n".join(f"{name:<10} {text}" for name, text in rows)


def _counted(number: int, thing: str) -> str:
    """Return a number with its thing: ``1 rank``, ``2 processes``."""
    return f"{number} {thing}{'' if number == 1 else 'es' if thing.endswith('s') else 's'}"


def _span(values: tuple[int, ...], text: Callable[[int], str]) -> str:
    low, high = min(values), max(values)
    return text(low) if low == high else f"{text(low)} to {text(high)}"


def _bytes(value: int) -> str:
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


def plan_epoch(
    plan: Plan, *, world_size: int, workers: int, batch_size: int | None, nodes: int | None, epoch: int, ahead: int
) -> EpochPlan:
    """Return what an iteration of ``plan`` will be; see `DatasetBuilder.plan_for`.

    Args:
        plan: what is iterated over.
        world_size: number of ranks.
        workers: number of DataLoader workers of each; 0 for none.
        batch_size: samples in a batch, in place of what the plan says; None for that.
        nodes: number of nodes; None for what the plan says.
        epoch: which iteration.
        ahead: how many shards are opened ahead, where shards are read as streams.

    Raises:
        LengthError: not all numbers of samples are known, or how many values a stage makes of them.
        SplitError: the samples or shards cannot be divided like that.
        ValueError: the nodes cannot have equal numbers of ranks, or are not as many as the plan says.
    """
    if isinstance(plan.source, ComposedSource):
        raise LengthError("plan_for() is of one source, and this is a mix of several: ask each of them by itself")
    nodes = plan.nodes if nodes is None else nodes
    if world_size % nodes or plan.nodes not in (1, nodes):
        asked = f"; the samples are split over {plan.nodes}" if plan.nodes > 1 else ""
        raise ValueError(f"plan_for(nodes={nodes}): {world_size} ranks are not evenly on as many nodes{asked}")
    plan = _with_batches(plan, batch_size)
    plan.check_division()
    topology = _Topology(world_size, max(1, workers), nodes, epoch, 1 if workers == 0 else _PREFETCHED * workers)
    division = plan.by_sample
    counts, sizes = _counts(plan), _sizes(plan)
    found = _split(plan, topology, counts, sizes, ahead) if division is None else _dealt(division, topology, sizes)
    passes = math.prod(stage.n or 1 for stage in plan.stages if isinstance(stage, Repeat))
    delivered = found.amounts.samples.sum(1)
    return EpochPlan(
        epoch=epoch,
        world_size=world_size,
        workers=workers,
        nodes=nodes,
        batch_size=next((stage.n for stage in plan.stages if isinstance(stage, Batch)), None),
        shards=len(counts),
        samples=int(counts.sum()),
        passes=passes,
        batches=tuple(found.amounts.values.sum(1).tolist()),
        delivered=tuple(delivered.tolist()),
        dropped=found.read * passes - int(found.amounts.fresh.sum()),
        padded=int((found.amounts.samples - found.amounts.fresh).sum()),
        bytes_per_node=found.bytes_per_node,
        cache_per_node=found.cache_per_node,
        shards_open=found.shards_open,
        displacement=found.displacement,
    )


@final
@attrs.frozen
class _Topology:
    """Who reads: numbers of ranks, of workers of each, and of nodes; in which epoch, and how many batches ahead."""

    world_size: int
    workers: int
    nodes: int
    epoch: int
    ahead: int


@final
@attrs.frozen(eq=False, kw_only=True)
class _Found:
    """What is different for samples that are dealt out and shards that are divided; ``read`` samples in each pass."""

    amounts: Amounts
    read: int
    bytes_per_node: tuple[int, ...] | None
    cache_per_node: int | None
    shards_open: int
    displacement: Displacement


def _with_batches(plan: Plan, batch_size: int | None) -> Plan:
    """Return the plan with batches of another size; where there are none, at its end."""
    if batch_size is None:
        return plan
    for i, stage in enumerate(plan.stages):
        if isinstance(stage, Batch):
            changed = attrs.evolve(stage, n=batch_size)
            return attrs.evolve(plan, stages=(*plan.stages[:i], changed, *plan.stages[i + 1 :]))
    return plan.then(Batch(n=batch_size))


def _counts(plan: Plan) -> Positions:
    """Return the number of samples of each shard."""
    if isinstance(plan.source, IndexedSource):
        return np.asarray(plan.source.counts(), np.int64)
    listed = plan.source.listing() if isinstance(plan.source, ListingSource) else ()
    counts = [shard.samples for shard in listed if shard.samples is not None]
    if not listed or len(counts) < len(listed):
        raise LengthError(
            "it is not known how many samples the shards have: call indexed(), or read by a manifest that says it, "
            "which build_index and ShardWriter make"
        )
    return np.array(counts, np.int64)


def _sizes(plan: Plan) -> Positions | None:
    """Return the number of bytes of each shard; None if one is not known without asking a server."""
    if not isinstance(plan.source, ListingSource):
        return None
    sizes: list[int] = []
    for shard in plan.source.listing():
        size, path = shard.size, local_path(shard.url)
        if size is None and path is not None:
            with contextlib.suppress(OSError):
                size = os.stat(path).st_size
        if size is None:
            return None
        sizes.append(size)
    return np.array(sizes, np.int64)


def _dealt(division: BySample, topology: _Topology, sizes: Positions | None) -> _Found:
    """Return what there is to know where samples are dealt out one by one."""
    world_size, workers = topology.world_size, topology.workers
    dealt = amounts_dealt(division, world_size, workers)
    stages = [stage for i, stage in enumerate(division.stages) if i not in division.passed_over]
    key = (topology.epoch, 0) if division.repeats else (topology.epoch,)
    ranks = division.on_node(Place(0, world_size)).world_size
    known = np.zeros(len(division.counts), np.int64) if sizes is None else sizes
    lengths: list[Positions] = []
    held: list[int] = []
    cached, at_once = 0, 0
    for first in range(0, world_size, ranks):
        place = Place(first, world_size)
        order = division.plain_order_at(place).of_pass(key)
        units = Units.of(order, division.window, known)
        if division.window is not None:
            lengths.append(np.diff(order.bounds))
        at_once = max(at_once, int(units.shards.max(initial=0)))
        _, dealing = division.dealing(place)
        steps = topology.ahead * ranks * division.block
        if division.nodes > 1:
            end = sum(dealing.samples(rank, ranks) or 0 for rank in range(ranks))
            held.append(int(units.before(min(end, dealing.total or 0)).sizes.sum()))
            cached = max(cached, min(held[-1], bytes_together(units, steps)))
        else:
            held = bytes_of_nodes(units, dealing, world_size, topology.nodes).tolist()
            cached = min(max(held), bytes_together(units, steps))
    return _Found(
        amounts=dealt.through(stages),
        read=division.samples,
        bytes_per_node=None if sizes is None else tuple(held),
        cache_per_node=None if sizes is None else cached,
        shards_open=at_once,
        displacement=_displacement(
            buffered(division.stages), np.concatenate([np.empty(0, np.int64), *lengths]), dealt.samples, ranks * workers
        ),
    )


def _split(plan: Plan, topology: _Topology, counts: Positions, sizes: Positions | None, ahead: int) -> _Found:
    """Return what there is to know where shards are divided."""
    world_size, workers = topology.world_size, topology.workers
    is_repeated = any(isinstance(stage, Repeat) for stage in plan.stages)
    if is_repeated and plan.shard_seed is not None and plan.splitter.axes and len(set(counts.tolist())) > 1:
        raise LengthError("each place has in each pass other shards, which are unequal: plan one, without repeat()")
    shards = plan.source.shards()
    number = {shard: i for i, shard in enumerate(shards)}
    part_of = plan.by_shard.parts((topology.epoch,))
    samples = np.zeros((world_size, workers), np.int64)
    held: list[int] = []
    cached = 0
    for node in range(topology.nodes):
        mine: set[int] = set()
        ranks = range(node * world_size // topology.nodes, (node + 1) * world_size // topology.nodes)
        for rank, worker in itertools.product(ranks, range(workers)):
            part = [number[shard] for shard in part_of(Place(rank, world_size, worker, workers))]
            samples[rank, worker] = counts[part].sum()
            mine.update(part)
        if sizes is not None:
            in_order = np.sort(sizes[list(mine)])
            held.append(int(in_order.sum()))
            cached = max(cached, int(in_order[-len(ranks) * workers * (1 + ahead) :].sum()))
    return _Found(
        amounts=Amounts(samples, samples, samples).through(plan.stages),
        read=int(samples.sum()),
        bytes_per_node=None if sizes is None else tuple(held),
        cache_per_node=None if sizes is None else cached,
        shards_open=1 + ahead,
        displacement=_displacement(buffered(plan.stages), np.empty(0, np.int64), samples, 1),
    )


def _displacement(held: int, windows: Positions, samples: Positions, places: int) -> Displacement:
    """Return what windows and a buffer do together.

    Args:
        held: how many samples the buffer of each place holds.
        windows: how many samples are permuted together in each window; none for no windows.
        samples: how many each place gets.
        places: how many places share an order.
    """
    each = int(samples.max(initial=0))
    if not len(windows):
        windows = np.ones(each * places, np.int64)
    return of_both(windows, held, each, places)
