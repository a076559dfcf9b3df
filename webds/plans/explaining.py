"""What a plan says of itself, line by line, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from webds.plans.plan import ComposedSource, Plan
from webds.policy import Policy
from webds.redaction import redact
from webds.stages.batch import Batch
from webds.stages.flow import Repeat, Take
from webds.stages.functions import name_of

__all__ = ["DescribedSource", "explained"]


@runtime_checkable
class DescribedSource(Protocol):
    """A source that has more to say of what it does than its shards."""

    def describe(self) -> Sequence[tuple[str, str]]:
        """Return lines for `explained`: a word, and what there is to say."""
        ...


def explained(plan: Plan) -> str:
    """Return, line by line, what an iteration of a plan will do."""
    shards = plan.source.shards()
    first, last = (redact(shards[0]), redact(shards[-1])) if shards else ("", "")
    rows = [("shards", f"{len(shards)}: {first}" + (f" … {last}" if len(shards) > 1 else ""))]
    order = "as listed" if plan.shard_seed is None else f"permuted anew each epoch, by seed {plan.shard_seed}"
    if isinstance(plan.source, ComposedSource):
        rows.append(("mix", plan.source.how))
    if plan.by_sample is not None:
        rows += plan.by_sample.describe(order)
    elif isinstance(plan.source, ComposedSource):
        why = plan.source.obstacle or "shards are divided by a splitter"
        rows.append(("order", f"each worker mixes what it reads, so that it depends on their number: {why}"))
    else:
        axes = " and ".join(sorted(plan.splitter.axes)) or "nothing"
        rows.append(("order", f"{order}; split over {axes} by {name_of(plan.splitter)}"))  # type: ignore[arg-type]
    if plan.fields is None:
        rows.append(("read", "all fields"))
    else:
        named = ", ".join(sorted(name for name in plan.fields if not name.startswith("__")))
        rows.append(("read", f"{named or 'no field'}; other fields are passed over"))
    rows += plan.access.items()
    if isinstance(plan.source, DescribedSource):
        rows += plan.source.describe()
    rows += [(stage.name, stage.describe()) for stage in plan.stages]
    if plan.path is None or plan.policy != Policy():  # else it is that of the mix
        rows.append(("on error", name_of(plan.policy.handler) + plan.policy.limits()))
    rows += _ends(plan)
    if plan.path is None:
        rows.append(("resume", _resuming(plan)))
    if plan.measured:
        rows.append(("measure", "values and seconds of each stage, each in a loop of its own"))
    lines = [f"{name:<10} {text}" for name, text in rows]
    for name, member in plan.source.plans.items() if isinstance(plan.source, ComposedSource) else ():
        lines += ["", f"of {name}:", *(f"  {line}" if line else line for line in explained(member).split("\n"))]
    return "\n".join(lines)


def _ends(plan: Plan) -> list[tuple[str, str]]:
    """Say what may make the numbers of batches unequal that are to be equal."""
    if plan.by_sample is None or plan.remainder == "uneven":
        return []
    reasons = [
        f"{stage.name}({stage.describe()}) may make any number of values of those it gets"
        for stage in plan.stages
        if not isinstance(stage, Batch | Repeat | Take) and stage.length(1) is None
    ]
    if not plan.raises or any(stage.policy is not None and not stage.policy.raises for stage in plan.stages):
        reasons.append("an error that is let pass leaves a sample out")
    if not reasons:
        return []
    return [("unequal", f"ranks may end with unequal numbers of batches all the same: {'; '.join(reasons)}")]


def _resuming(plan: Plan) -> str:
    """Say where an iteration can be gone on with, and what is read for it."""
    if plan.is_elastic(2, 2):
        return "at any number of ranks and workers, with the next sample"
    how = "at as many ranks and workers"
    if isinstance(plan.source, ComposedSource) and plan.replayed:
        holds = plan.stages[plan.replayed - 1]
        return (
            f"{how}; what {holds.name}({holds.describe()}) holds back came out of a mix, so that the pass is read "
            "from its beginning, and what was handed out is left out"
        )
    if plan.replayed:
        unknown = next(stage for stage in plan.stages if not stage.recalls)
        return (
            f"{how}; what {unknown.name}({unknown.describe()}) holds back is not known, so that the pass is read "
            "from its beginning, and what was handed out is left out"
        )
    if any(stage.holds for stage in plan.stages):
        return f"{how}, with the next sample; of those before, only what is held back is read again"
    return f"{how}, with the next sample"
