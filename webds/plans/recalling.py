"""Values that stages held back, made again: only their samples are read, and go through the stages once more."""

from __future__ import annotations

import copy
import itertools
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeAlias, final

import attrs

from webds.abc import IndexedSource, Source
from webds.errors import StateError
from webds.order.origins import PartOrigin
from webds.plans.byshard import opened, reading
from webds.stages.base import DROP, Fields, Item, Recall, Run, Stage
from webds.streams.observing import observing
from webds.typing import Origin

__all__ = ["Recalling"]

_Sample: TypeAlias = tuple[str, int]
"""Shard and ordinal."""


@final
@attrs.frozen(kw_only=True)
class Recalling:
    """What is needed to make values of a plan again.

    Attributes:
        source: where the samples are.
        stages: all stages of the plan.
        fields: the fields that somebody will look at; None for all.
        names_url: whether the samples are to have their shard's URL as a field.
    """

    source: Source[Any]
    stages: tuple[Stage, ...]
    fields: Fields
    names_url: bool

    def recall(self, run: Run, number: str, origins: Sequence[Origin]) -> list[Item]:
        """Return the items that came to a stage, in their order, without those that an error policy now lets go.

        Each shard is opened once, and read no further than to the last sample that is wanted.

        Args:
            run: the iteration.
            number: of the stage.
            origins: of the items.

        Raises:
            StateError: a shard has no such sample any more.
        """
        kept: dict[_Sample, Any] = {}
        keys: dict[_Sample, object] = {}
        again = self._through(int(number), kept, run)
        needed = [_needed(origin) for origin in origins]
        uses = Counter(sample for samples in needed for sample in samples)
        waiting: defaultdict[_Sample, list[int]] = defaultdict(list)
        missing = [len(set(samples)) for samples in needed]
        for item, samples in enumerate(needed):
            for sample in set(samples):
                waiting[sample].append(item)
        found: dict[int, Item] = {}
        for at, sample in self._read(uses, run):
            kept[at] = sample
            keys[at] = sample.get("__key__") if isinstance(sample, dict) else None
            for item in waiting[at]:
                missing[item] -= 1
                if missing[item] == 0:  # at once, so that no more samples are in memory than have to be
                    value = again(origins[item])
                    if value is not DROP:
                        found[item] = _named(origins[item], keys), value
                    uses.subtract(needed[item])
                    for one in set(needed[item]):
                        if uses[one] == 0:
                            del kept[one]
        return [found[item] for item in sorted(found)]

    def _through(self, count: int, kept: dict[_Sample, Any], run: Run) -> Recall:
        def begin(origin: Origin) -> Any:
            sample = kept[origin[0], origin[1]]
            # A copy, since stages may change a sample, and it may be wanted for something else too.
            return copy.copy(sample) if isinstance(sample, dict) else sample

        again: Recall = begin
        for stage in self.stages[:count]:
            again = stage.recalling(again, run.guard)
        return again

    def _read(self, wanted: Counter[_Sample], run: Run) -> Iterator[tuple[_Sample, Any]]:
        """Yield samples by shard and ordinal; `DROP` in place of one that an error policy let go."""
        of_shards: defaultdict[str, list[int]] = defaultdict(list)
        for shard, ordinal in sorted(wanted):
            of_shards[shard].append(ordinal)
        with reading(self.source, list(of_shards), run) as source:
            for shard, ordinals in of_shards.items():
                samples = self._of_shard(source, shard, ordinals, run)
                yield from zip(((shard, ordinal) for ordinal in ordinals), samples, strict=True)

    def _of_shard(self, source: Source[Any], shard: str, ordinals: Sequence[int], run: Run) -> Generator[Any]:
        """Yield the samples of a shard at ordinals that ascend."""
        begun: tuple[Iterator[int], Iterator[Any]] | None = None
        try:
            for done, wanted in enumerate(ordinals):
                try:
                    with observing(run.observer):
                        begun = begun or self._begin(source, shard, ordinals, run)
                        numbered = zip(*begun, strict=False)
                        sample = next((sample for ordinal, sample in numbered if ordinal == wanted), DROP)
                except Exception as error:
                    run.guard.handle(error, "read", url=shard)
                    yield from [DROP] * (len(ordinals) - done)
                    return
                if sample is DROP:
                    text = f"a stage held back sample {wanted} of this shard, which has no such sample any more"
                    raise StateError(text, url=shard)
                if self.names_url and isinstance(sample, dict):
                    sample["__url__"] = shard
                yield sample
        finally:
            close = None if begun is None else getattr(begun[1], "close", None)
            if close is not None:
                close()

    def _begin(
        self, source: Source[Any], shard: str, ordinals: Sequence[int], run: Run
    ) -> tuple[Iterator[int], Iterator[Any]]:
        """Begin to read a shard; return the ordinals of the samples that come, and these."""
        if isinstance(source, IndexedSource):
            return iter(ordinals), iter(source.read_at(shard, ordinals, self.fields))
        on_error = None if run.guard.policy.raises else _known
        return itertools.count(ordinals[0]), opened(source, shard, self.fields, ordinals[0], on_error)


def _known(error: Exception) -> bool:
    """Let pass the error of a sample: it was dealt with when it was read for the first time."""
    return True


def _needed(origin: Origin) -> list[_Sample]:
    """Return the samples that are needed to make a value again: all of a batch for one part of it."""
    if isinstance(origin, PartOrigin):
        return _needed(origin.whole)
    if isinstance(origin[0], tuple):
        return [sample for one in origin for sample in _needed(one)]
    return [(origin[0], origin[1])]


def _named(origin: Origin, keys: dict[_Sample, object]) -> Origin:
    """Return the origin with the keys of its samples, which a state does not have."""
    if isinstance(origin, PartOrigin):
        return PartOrigin.of(_named(tuple(origin), keys), _named(origin.whole, keys), origin.part)
    if isinstance(origin[0], tuple):
        return tuple(_named(one, keys) for one in origin)
    return (origin[0], origin[1], keys[origin[0], origin[1]])
