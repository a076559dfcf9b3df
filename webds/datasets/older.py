"""What the older front doors share: the plan they begin with, how they choose shards, how they are told to decode."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict, final

import attrs

from webds.codecs.tables import AnyDecoder as FieldDecoder
from webds.openers.schemes import OpenerLike, as_opener
from webds.plans.plan import Plan
from webds.policy import Handler, Policy
from webds.sources.tar import MemberSource, TarShards, TarSource, Urls
from webds.splitters import SplitByWorker
from webds.stages.base import Stage
from webds.stages.fields import Decode, Select
from webds.stages.flow import Repeat
from webds.stages.functions import Map
from webds.tar import MissingEnd
from webds.typing import KeyFunction

__all__ = [
    "AnyDecoder",
    "DatasetOptions",
    "DecoderSpec",
    "OlderOptions",
    "Selection",
    "decoding",
    "keeping",
    "older_plan",
]

DecoderSpec: TypeAlias = str | bool | Mapping[str, FieldDecoder] | None
"""How the older front doors are told to decode fields; see `decoding`."""

AnyDecoder: TypeAlias = DecoderSpec | Callable[[Any], Any]
"""The same, or a function of the whole sample."""


class OlderOptions(TypedDict, total=False):
    """Arguments that both older front doors have."""

    keys: KeyFunction
    length: int | None
    epochs: int
    opener: OpenerLike
    handler: Handler
    prepare_for_worker: bool | Callable[[], object]
    missing_end: MissingEnd


@final
class DatasetOptions(OlderOptions, total=False):
    """Arguments of `Dataset` that make no difference to the type of its values."""

    suffixes: Collection[str] | None
    shuffle: bool


@final
@attrs.define
class Selection:
    """How an older front door chooses shards.

    Attributes:
        prepare: as in `Dataset`; None where the plan's splitter decides.
        subset: (index, total), which wins over the worker's.
        length: what ``len`` returns.
        raw: how many of the plan's stages belong to reading, so that `webds.BaseDataset.raw_iter` has them too.
    """

    prepare: bool | Callable[[], object] | None = None
    subset: tuple[int, int] | None = None
    length: int | None = None
    raw: int = 0


def older_plan(
    urls: Urls,
    keys: KeyFunction,
    epochs: int,
    opener: OpenerLike,
    handler: Handler,
    missing_end: MissingEnd,
    suffixes: Collection[str] | None = None,
    initial_pipeline: Sequence[Callable[[Iterator[Any]], Iterable[Any]]] | None = None,
) -> Plan:
    """Return the plan with which both older front doors begin; the arguments are theirs."""
    if epochs < 1:
        raise ValueError(f"epochs={epochs}: expected a number from 1")
    how = as_opener(opener)
    kept = () if suffixes is None else (keeping(suffixes),)
    stages: tuple[Stage, ...] = (Repeat(n=epochs),) if epochs != 1 else ()
    source: TarShards[Any]
    if initial_pipeline is None:
        source = TarSource(urls, how, keys=keys, missing_end=missing_end)
        stages += kept
    else:
        only = kept[0].named() if kept else None
        steps = tuple(initial_pipeline)
        source = MemberSource(urls, how, stages=steps, keys=keys, suffixes=only, missing_end=missing_end)
    return Plan(source=source, splitter=SplitByWorker(), stages=stages, policy=Policy(handler), checks_empty=False)


def keeping(suffixes: Collection[str]) -> Select:
    """Return the stage that keeps just these fields; one text names several, separated by spaces."""
    return Select(fields=tuple(suffixes.split() if isinstance(suffixes, str) else suffixes))


def decoding(decoder: AnyDecoder, policy: Policy | None = None) -> tuple[Stage, ...]:
    """Return the stages that decode as an older front door was told to.

    Args:
        decoder: name of an image specification; True for ``"rgb"``; False or None for nothing; a function of the
            whole sample; or a dict from extension to function or `Decoder`.
        policy: what to do about a sample that cannot be decoded; None for the policy of the dataset.
    """
    if decoder is None or decoder is False:
        return ()
    if decoder is True:
        decoder = "rgb"
    if isinstance(decoder, (str, Mapping)):
        return (Decode(spec=decoder, policy=policy),)
    return (Map(f=decoder, keeps_key=True, policy=policy),)
