"""Several builders in one: mixed by weight or number, in turn, or one after the other."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

from webds.abc import IndexedSource, Source
from webds.datasets.builder import DatasetBuilder
from webds.datasets.dataset import BaseDataset, resolve_decoders
from webds.order.dealing import Remainder
from webds.order.turns import EXHAUSTED, Concatenated, Exhausted, InRow, Interleaved
from webds.plans.mixture import Member, mixture_of
from webds.plans.plan import Plan
from webds.splitters import BY_DEFAULT
from webds.typing import U

__all__ = ["Exhausted", "Mixable", "Mixables", "Shares", "concat", "mix", "round_robin"]

Mixable: TypeAlias = "DatasetBuilder[U] | BaseDataset[U] | Source[U]"
"""What can be mixed: a builder, a dataset, of which the builder is meant, or a source."""

Mixables: TypeAlias = "Mapping[str, Mixable[U]] | Sequence[Mixable[U]]"
"""By their names, by which errors, ledgers and explanations call them; a list's are "0", "1", …."""

Shares: TypeAlias = "Mapping[str, float] | Sequence[float]"
"""Numbers of sources, by the names, or in the order, of these."""


@overload
def mix(
    sources: Mixables[U], *, weights: Shares | Literal["size"], exhausted: Exhausted, seed: int = ...
) -> DatasetBuilder[U]: ...
@overload
def mix(
    sources: Mixables[U], *, cycle: Mapping[str, int] | Sequence[int], exhausted: Exhausted, seed: int = ...
) -> DatasetBuilder[U]: ...
@overload
def mix(sources: Mixables[U], *, counts: Mapping[str, int] | Sequence[int], seed: int = ...) -> DatasetBuilder[U]: ...
def mix(
    sources: Mixables[U],
    *,
    weights: Shares | Literal["size"] | None = None,
    cycle: Mapping[str, int] | Sequence[int] | None = None,
    counts: Mapping[str, int] | Sequence[int] | None = None,
    exhausted: Exhausted | None = None,
    seed: int = 0,
) -> DatasetBuilder[U]:
    """Mix several sources: their values take turns.

    Each source keeps its own order, stages, cache, error policy and ledger. What it was not told, the mix may say for
    all: `shuffle` of shards, `split`, `on_error`. What is to become of all values alike goes behind the mix.

    Where the samples of all sources are known (see `DatasetBuilder.indexed`) and their stages make one value of each,
    the whole mix is one row that is dealt out to ranks and workers: the order, the length and the state do not depend
    on their number. Elsewhere each worker mixes what it reads itself; `explain` says why. Either way every rank keeps
    the weights, and whose turn it is depends on the seed alone.

    Example:
        >>> import webds
        >>> web, books = webds.DatasetBuilder("web-{000..099}.tar"), webds.DatasetBuilder("books-{000..009}.tar")
        >>> train = webds.mix(
        ...     {"web": web.shuffle(1000), "books": books.shuffle(1000).repeat(2)},
        ...     weights={"web": 0.7, "books": 0.3},
        ...     exhausted="stop",
        ... )

    Args:
        sources: builders, datasets or sources, by their names or in a list.
        weights: the proportions in which values come, at any time, give or take one value of each source; ``"size"``:
            those of the numbers of samples, which takes indexes.
        cycle: how many values of each source there are in each cycle, which has as many as these are together: batches
            of that size all hold just these numbers.
        counts: how many values of each source there are in one iteration, over all ranks. They come in these
            proportions; a source that has fewer begins again, one that has more is cut off.
        exhausted: what happens when a source runs dry: ``"stop"``: the mix ends; ``"continue"``: it goes on with the
            rest, so that every sample comes once; ``"repeat"``: the source begins again, shuffled anew, until all have
            been gone through. Where each worker mixes by itself, that is a matter of what it reads; that a stream is
            at its end shows when the next value is asked for.
        seed: of the turns.

    Raises:
        TypeError: not just one of ``weights``, ``cycle`` and ``counts`` is given, or ``exhausted`` is missing.
        ValueError: a weight that is not above 0, or names that do not fit.
        SplitError: when it is built: what is asked for takes an index that a source does not have. While iterating: a
            worker has nothing to read of a source.
    """
    given = {name: value for name, value in (("weights", weights), ("cycle", cycle), ("counts", counts))
             if value is not None}  # fmt: skip
    if len(given) != 1:
        raise TypeError(f"mix() takes one of weights, cycle and counts, and got {' and '.join(given) or 'none'}")
    if counts is not None and exhausted is not None:
        raise TypeError("mix(counts=…) says how many values of each there are, so that none runs dry: no exhausted=")
    if counts is None and exhausted is None:
        raise TypeError('mix() has to know what happens when a source runs dry: exhausted="stop", "continue", "repeat"')
    members = _members("mix", sources)
    ((method, shares),) = given.items()
    if weights == "size":
        return _mixed(members, Interleaved(shares=None, in_cycles=False, exhausted=_checked(exhausted), seed=seed))
    named = _shares(method, shares, [member.name for member in members], whole=weights is None)
    return _mixed(
        members,
        Interleaved(shares=named, in_cycles=cycle is not None, exhausted=exhausted and _checked(exhausted), seed=seed),
    )


def round_robin(sources: Mixables[U], *, exhausted: Exhausted) -> DatasetBuilder[U]:
    """Take a value of each source in turn, in their order; see `mix`."""
    members = _members("round_robin", sources)
    shares = (1,) * len(members)
    return _mixed(members, Interleaved(shares=shares, in_cycles=True, exhausted=_checked(exhausted), seed=None))


def concat(sources: Mixables[U]) -> DatasetBuilder[U]:
    """Go through one source after the other; see `mix` for what they keep.

    To shuffle shards of several lists as one, give all of them to one builder instead.
    """
    return _mixed(_members("concat", sources), Concatenated())


def _mixed(members: Sequence[Member], in_row: InRow) -> DatasetBuilder[Any]:
    source = mixture_of(members, in_row)
    if isinstance(in_row, Interleaved) and in_row.shares is None and not isinstance(source, IndexedSource):
        obstacle = next(filter(None, (member.obstacle for member in members)))
        raise TypeError(f'mix(weights="size") has to know how many samples there are: {obstacle}')
    remainder: Remainder | None = "uneven" if isinstance(source, IndexedSource) else None
    return DatasetBuilder[Any].of(Plan(source=source, splitter=BY_DEFAULT, remainder=remainder))


def _checked(exhausted: Exhausted | None) -> Exhausted:
    if exhausted not in EXHAUSTED:
        raise ValueError(f"exhausted={exhausted!r}: expected one of {', '.join(map(repr, EXHAUSTED))}")
    return exhausted


def _members(function: str, sources: Mixables[Any]) -> list[Member]:
    named = sources if isinstance(sources, Mapping) else {str(i): source for i, source in enumerate(sources)}
    if not named:
        raise ValueError(f"{function}() got no sources")
    return [_member(function, str(name), source) for name, source in named.items()]


def _member(function: str, name: str, source: object) -> Member:
    if isinstance(source, Source):
        source = DatasetBuilder[Any](source)
    if isinstance(source, BaseDataset):
        source = source.builder
    if not isinstance(source, DatasetBuilder):
        raise TypeError(f"{function}(): {name!r} is {source!r}: expected a builder, such as webds.DatasetBuilder(urls)")
    plan: Plan = source.plan
    if plan.remainder in ("drop", "pad"):
        raise ValueError(
            f'{function}(): {name!r} says split(remainder="{plan.remainder}"), which is about the batches of all '
            "together: say it of the mix"
        )
    resolve = functools.partial(resolve_decoders, dict(plan.decoders))
    return Member(name=name, plan=plan, resolve=resolve, splits=plan.splitter != BY_DEFAULT)


def _shares(parameter: str, shares: Any, names: Sequence[str], *, whole: bool) -> tuple[float, ...]:
    """Return the numbers of the sources, in their order."""
    if isinstance(shares, Mapping):
        if set(shares) != set(names):
            raise ValueError(f"mix({parameter}=…) is of {', '.join(map(repr, shares))}; the sources are "
                             f"{', '.join(map(repr, names))}")  # fmt: skip
        shares = [shares[name] for name in names]
    if len(shares) != len(names):
        raise ValueError(f"mix({parameter}=…) has {len(shares)} numbers for {len(names)} sources")
    for name, share in zip(names, shares, strict=True):
        if not (share > 0 and math.isfinite(share) and (not whole or share == int(share))):
            kind = "a whole number from 1" if whole else "a number above 0"
            raise ValueError(f"mix({parameter}=…): {share!r} of {name!r}; expected {kind}, or leave the source out")
    return tuple(shares)
