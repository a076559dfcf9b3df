"""Running stages by themselves: the values that come out, where they came from, and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from typing_extensions import override

from webds.abc import Decoder, Splitter
from webds.order.epochs import EpochClock, Turn
from webds.plans.plan import Plan
from webds.policy import Guard, Ledger, Loss, Policy, PolicyLike
from webds.sources.memory import MemorySource
from webds.stages.base import Run, Stage
from webds.typing import Origin, Place

__all__ = ["Everything", "Ran", "plan_of", "run_stages"]


class Everything(Splitter):
    """Every place reads all shards."""

    axes = frozenset()

    @override
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        return shards


@attrs.frozen
class Ran:
    """What came of a run: values, their origins, and what was left out."""

    values: list[Any]
    origins: list[Origin]
    losses: list[Loss]


def plan_of(
    values: Iterable[Any],
    *stages: Stage,
    policy: PolicyLike = "raise",
    max_errors: int | None = None,
    checks_empty: bool = True,
) -> Plan:
    """Return the plan that hands ``values``, of a shard "mem", to ``stages``."""
    return Plan(
        source=MemorySource({"mem": list(values)}),
        splitter=Everything(),
        stages=stages,
        policy=Policy.of(policy, max_errors),
        checks_empty=checks_empty,
    )


def run_stages(
    values: Iterable[Any],
    *stages: Stage,
    policy: PolicyLike = "raise",
    max_errors: int | None = None,
    checks_empty: bool = True,
    place: Place = Place(),
    epoch: int = 0,
    decoders: Mapping[str, Decoder[Any]] | None = None,
) -> Ran:
    """Run ``stages`` over ``values``, which are those of a shard "mem".

    Args:
        values: what goes in.
        *stages: what it goes through.
        policy: what to do about errors.
        max_errors: of these, how many may pass.
        checks_empty: whether it is an error if everything is dropped.
        place: who reads.
        epoch: number of the iteration.
        decoders: the table that stages get for any specification.
    """
    plan = plan_of(values, *stages, policy=policy, max_errors=max_errors, checks_empty=checks_empty)
    ledger = Ledger()
    run = Run(Guard(plan.policy, ledger), place, Turn(epoch), EpochClock(), (), checks_empty)
    items = list(plan.bound(lambda spec: decoders or {}).run(run))
    return Ran([value for _, value in items], [origin for origin, _ in items], ledger.losses())
