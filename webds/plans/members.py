"""The members of a mix: each a plan of its own, which the mix tells what it was not told itself."""

from __future__ import annotations

from typing import final

import attrs

from webds.errors import SplitError, WebdsError
from webds.plans.bysample import BySample
from webds.plans.plan import Plan
from webds.policy import Policy
from webds.stages.base import EachStage, Resolver
from webds.typing import Origin

__all__ = ["Member", "none_of", "tagged"]


@final
@attrs.frozen(kw_only=True, slots=False)
class Member:
    """One of the plans that are mixed.

    Attributes:
        name: its name in the mix.
        plan: what it reads, and what becomes of it.
        resolve: finds its decoders.
        splits: whether it has a splitter of its own.
    """

    name: str
    plan: Plan
    resolve: Resolver
    splits: bool

    @property
    def obstacle(self) -> str | None:
        """Why its samples are not known one by one before they are read; None if they are."""
        division = self.plan.by_sample
        if division is None:
            return f"{self.name!r} is not divided by sample (see indexed() and split(remainder=…))"
        for i, stage in enumerate(self.plan.stages):
            if i in division.passed_over:
                continue
            if i >= division.known or not isinstance(stage, EachStage) or not stage.fuses:
                return f"{self.name!r} has the stage {stage.name}({stage.describe()}), which belongs behind the mix"
        return None

    @property
    def division(self) -> BySample:
        """How its samples are divided."""
        division = self.plan.by_sample
        assert division is not None  # else it has an obstacle
        return division

    @property
    def path(self) -> str:
        """Its name, with those of the mixes around."""
        return self.plan.path or self.name

    @property
    def policy(self) -> Policy | None:
        """Its policy; None for that of the mix."""
        return None if self.plan.policy == Policy() else self.plan.policy

    def bound(self, mix: Plan, *, by_shard: bool) -> Member:
        """Return the member that is run: what it was not told itself, ``mix`` says.

        Args:
            mix: the plan around it.
            by_shard: whether that says that shards are to be divided.
        """
        plan = self.plan
        if mix.by_sample is not None and plan.nodes not in (1, mix.nodes):
            raise SplitError(
                f"split(nodes={plan.nodes}) of one source of a mix: say it of the mix, for the ranks of a node get "
                "samples of all its sources",
                stage="split", source=self.path,
            )  # fmt: skip
        plan = attrs.evolve(
            plan,
            shard_seed=mix.shard_seed if plan.shard_seed is None else plan.shard_seed,
            window=mix.window if plan.window is None else plan.window,
            nodes=mix.nodes if mix.by_sample is not None else plan.nodes,
            splitter=plan.splitter if self.splits else mix.splitter,
            remainder=plan.remainder if self.splits or not by_shard else None,
            path=self.name if mix.path is None else f"{mix.path}/{self.name}",
            wanted=mix.fields,
            url_wanted=mix.names_url,
        )
        try:
            return attrs.evolve(self, plan=plan.bound(self.resolve))
        except WebdsError as error:
            raise error.locate(source=plan.path)  # noqa: B904  # the same error


def tagged(origin: Origin, path: str) -> Origin:
    """Return the origin with the name of the source; of a batch, those of its samples."""
    if origin and isinstance(origin[0], tuple):
        return tuple(tagged(one, path) for one in origin)
    return (*origin, path) if len(origin) == 3 else origin


def none_of(member: Member) -> SplitError:
    """Return the error of a member that cannot hand out a number of samples, for it has none."""
    return SplitError(
        f"mix(counts=…): {member.name!r} has no samples here, of which so many are to be handed out", stage="split",
        source=member.path,
    )  # fmt: skip
