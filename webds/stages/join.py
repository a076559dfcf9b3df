"""Companion shards: what they have for a sample's key is put into the sample, without writing anything anew."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias, final, runtime_checkable

import attrs
from typing_extensions import override

from webds.abc import IndexedSource, Source
from webds.errors import FieldError, SampleError, UrlError, annotate
from webds.redaction import redact
from webds.stages.base import DROP, EachStage, Fields, Item, Labels, Resolver, Run, Stage, Upstream, fields_there
from webds.stages.functions import name_of
from webds.stages.shuffle import bytes_held
from webds.streams.observing import observing
from webds.typing import Origin, Sample

__all__ = ["COLLISIONS", "MISSING", "Collision", "Join", "Joiner", "KeyedSource", "Missing"]

Missing: TypeAlias = Literal["raise", "skip", "keep"]
"""What becomes of a sample without a companion: an error; it is left out, and that is written down; or it stays as it
is."""

Collision: TypeAlias = Literal["raise", "left", "right"]
"""What becomes of a field that both have: an error; that of the sample stays; that of its companion takes its place."""

MISSING: Final[tuple[Missing, ...]] = ("raise", "skip", "keep")
COLLISIONS: Final[tuple[Collision, ...]] = ("raise", "left", "right")

_HELD: Final = 1 << 26
"""So many bytes of companions are held, in case that their samples come later."""


@runtime_checkable
class KeyedSource(Protocol):
    """An indexed source that finds samples by their keys."""

    def find(self, key: str) -> list[tuple[str, int]]:
        """Return shard and ordinal of every sample of this key."""
        ...

    def key(self, shard: str, ordinal: int) -> str | None:
        """Return the key of a sample; None where there is no such sample."""
        ...


@final
@attrs.frozen(kw_only=True)
class Join(Stage):
    """Puts the fields of companions into samples.

    Attributes:
        left: the shards of the samples; each has its companion shard at the same place in ``source``.
        source: where the companions are.
        stages: what becomes of a companion before it is joined.
        by: from the key of a sample to that of its companion; None for the same.
        missing: what becomes of a sample without one.
        collision: what becomes of a field that both have.
        resolve: finds the decoders of ``stages``.
        fields: the fields of companions that somebody looks at; None for all.
        held: how many bytes of companions may be held, where they are read in step.
    """

    name: ClassVar[str] = "join"
    left: Source[Any]
    source: Source[Any]
    stages: tuple[EachStage, ...]
    by: Callable[[str], str] | None
    missing: Missing
    collision: Collision
    resolve: Resolver
    fields: Fields = None
    held: int = _HELD

    @property
    @override
    def drops(self) -> bool:
        return self.missing == "skip"

    @property
    @override
    def in_step(self) -> bool:
        return not isinstance(self.source, KeyedSource)

    def joiner(self, *, streams: bool = True) -> Joiner:
        """Return what joins the samples of one iteration.

        Args:
            streams: whether streams may stay open between samples.
        """
        return Joiner(self, streams=streams)

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        guard = run.guard.using(self.policy)
        label = f"{self.name} {self.describe()}"
        kept = skipped = 0
        names: set[str] = set()

        def judge() -> None:
            run.check_not_empty(label, f"{self.name}(missing={self.missing!r})", kept, skipped, names)

        with contextlib.closing(self.joiner()) as joiner:
            for origin, sample in upstream(run.watched_by(judge, *run.watchers)):
                try:
                    with observing(run.observer):
                        joined = joiner.joined(origin, sample)
                except Exception as error:
                    if not guard.handle(error, self.name, origin):
                        return
                    continue
                if joined is None:
                    skipped += 1
                    names.update(fields_there(sample))
                    guard.skipped(self.without(origin), self.name, origin)
                    continue
                kept += 1
                yield origin, joined
            judge()

    def without(self, origin: Origin) -> SampleError:
        """Return the error of a sample that has no companion."""
        shards = self.source.shards()
        where = f"the {len(shards)} companion shards"
        if self.in_step:
            where = redact(shards[list(self.left.shards()).index(origin[0])])
        return SampleError(f"there is no companion of this sample in {where}")

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields if fields is None else fields | {"__key__"}

    @override
    def bound(self, resolve: Resolver, fields: Fields) -> Join:
        if self.in_step and len(self.left.shards()) != len(self.source.shards()):
            raise UrlError(
                f"join: {len(self.left.shards())} shards have {len(self.source.shards())} companion shards, and "
                "without an index each needs its own, at the same place of the list: call indexed() on the companions",
                stage=self.name,
            )
        stages: list[EachStage] = []
        for stage in reversed(self.stages):
            bound = stage.bound(self.resolve, fields)
            assert isinstance(bound, EachStage)
            stages.append(bound)
            fields = stage.wants(fields)
        return attrs.evolve(self, stages=tuple(reversed(stages)), fields=fields)

    @override
    def length(self, n: int) -> int | None:
        return None if self.drops else n

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def describe(self) -> str:
        shards = self.source.shards()
        how = "read in step" if self.in_step else "by index"
        key = "" if self.by is None else f" that {name_of(self.by)} makes"
        what = "".join(f", {stage.name}({stage.describe()})" for stage in self.stages)
        fate = {"raise": "is an error", "skip": "is left out", "keep": "stays as it is"}[self.missing]
        both = {"raise": "an error", "left": "that of the sample", "right": "that of the companion"}[self.collision]
        first = f"{redact(shards[0])}{' …' if len(shards) > 1 else ''}" if shards else "none"
        return (
            f"{len(shards)} companion shards ({first}){what}, {how}, by the key{key}; a sample without one {fate}; of "
            f"a field that both have: {both}"
        )


@final
class Joiner:
    """Joins samples, one after the other. It may hold streams open until it is closed.

    Args:
        stage: says how.
        streams: whether it may.
    """

    def __init__(self, stage: Join, *, streams: bool) -> None:
        self._stage = stage
        self._functions = [(each.name, each.function()) for each in stage.stages]
        source = stage.source
        self._companions: _Companions
        if isinstance(source, KeyedSource) and isinstance(source, IndexedSource):
            self._companions = _ByIndex(source, source, stage, streams=streams)
        else:
            self._companions = _InStep(stage)

    def joined(self, origin: Origin, sample: Any) -> Sample | None:
        """Return the sample with the fields of its companion; None if it is to be left out, having none.

        Raises:
            SampleError: there is no companion, and that is an error; or several; or they are out of step.
            FieldError: both have a field of the same name.
        """
        stage = self._stage
        if not isinstance(sample, Mapping) or "__key__" not in sample:
            raise FieldError(f"join wants samples with a __key__, and got a {type(sample).__name__}")
        key = str(sample["__key__"])
        wanted = key if stage.by is None else stage.by(key)
        found = self._companions.find(origin, wanted)
        if found is not None:
            shard, companion = found
            try:
                companion = self._made_of(companion)
                if companion is not DROP:
                    return self._merged(sample, companion)
            except Exception as error:
                annotate(error, url=shard, key=wanted)
                raise
        if stage.missing == "raise":
            raise stage.without(origin)
        return None if stage.missing == "skip" else dict(sample)

    def _made_of(self, companion: Any) -> Any:
        """Return what becomes of a companion; `DROP` for one that is left out."""
        for name, function in self._functions:
            try:
                companion = function(companion)
            except Exception as error:
                annotate(error, stage=name)
                raise
            if companion is DROP:
                break
        return companion

    def _merged(self, sample: Mapping[str, Any], companion: Any) -> Sample:
        if not isinstance(companion, Mapping):
            raise FieldError(f"join wants companions that are samples, and got a {type(companion).__name__}")
        merged: Sample = dict(sample)
        for name, value in companion.items():
            if name.startswith("__"):
                continue
            if name in sample:
                if self._stage.collision == "raise":
                    raise FieldError(
                        "the sample and its companion both have this field: rename() one of them, select() others, or "
                        'say join(collision="left") or "right"', field=name,
                    )  # fmt: skip
                if self._stage.collision == "left":
                    continue
            merged[name] = value
        return merged

    def close(self) -> None:
        """Let go of all streams."""
        self._companions.close()


class _Companions(ABC):
    """Finds companions."""

    def __init__(self) -> None:
        self._samples: Iterator[Any] | None = None

    @abstractmethod
    def find(self, origin: Origin, key: str) -> tuple[str, Any] | None:
        """Return the companion of that key, and its shard; None if there is none."""

    def close(self) -> None:
        """Let go of what is open."""
        close = getattr(self._samples, "close", None)
        self._samples = None
        if close is not None:
            close()


@final
class _ByIndex(_Companions):
    """Companions that are reached by an index; those that follow one another are read as a stream."""

    def __init__(self, keys: KeyedSource, source: IndexedSource[Any], stage: Join, *, streams: bool) -> None:
        super().__init__()
        self._keys = keys
        self._source = source
        self._fields = stage.fields
        self._streams = streams
        left, right = stage.left.shards(), source.shards()
        self._pairs = dict(zip(reversed(left), reversed(right), strict=True)) if len(left) == len(right) else {}
        self._last: tuple[str, int] | None = None

    @override
    def find(self, origin: Origin, key: str) -> tuple[str, Any] | None:
        place = self._place(origin, key)
        if place is None:
            return None
        shard, ordinal = place
        follows = self._streams and self._last == (shard, ordinal - 1)
        if not follows:
            self.close()
        self._last = None  # unless all goes well
        try:
            if follows:
                if self._samples is None:
                    self._samples = iter(self._source.read(shard, self._fields, ordinal))
                sample = next(self._samples)
            else:
                with contextlib.closing(_Closable(self._source.read_at(shard, (ordinal,), self._fields))) as samples:
                    sample = next(samples.samples)
        except Exception as error:
            self.close()
            annotate(error, url=shard, key=key)
            raise
        self._last = place
        return shard, sample

    def _place(self, origin: Origin, key: str) -> tuple[str, int] | None:
        """Return where the companion is: where it would be in step, if it is there, so that nothing is searched."""
        guesses = [] if self._last is None else [(self._last[0], self._last[1] + 1)]
        if (shard := self._pairs.get(origin[0])) is not None:
            guesses.append((shard, origin[1]))
        for guess in guesses:
            if self._keys.key(*guess) == key:
                return guess
        found = self._keys.find(key)
        if len(found) > 1:
            where = ", ".join(f"{ordinal} of {redact(shard)}" for shard, ordinal in found[:3])
            raise SampleError(f"several companions have the key {key!r}: {where}")
        return found[0] if found else None


@final
@attrs.frozen
class _Closable:
    """An iterator that may have no `close`."""

    samples: Iterator[Any]

    def close(self) -> None:
        close = getattr(self.samples, "close", None)
        if close is not None:
            close()


@final
class _InStep(_Companions):
    """Companions that are read as a stream, in step with the samples.

    Those that are passed are held, in case that their samples come later; the oldest are let go when they take too much
    memory. So a companion that was let go is not taken for one that is missing, whoever is not found then is an error.
    """

    def __init__(self, stage: Join) -> None:
        super().__init__()
        self._stage = stage
        self._pairs = dict(zip(reversed(stage.left.shards()), reversed(stage.source.shards()), strict=True))
        self._shard: str | None = None
        self._ordinal = -1
        self._start = 0
        self._held: dict[str, Any] = {}
        self._bytes = 0
        self._is_whole = True

    @override
    def find(self, origin: Origin, key: str) -> tuple[str, Any] | None:
        shard, ordinal = origin[0], origin[1]
        companions = self._pairs.get(shard)
        if companions is None:
            raise SampleError("it is not known which shard this is of, so that it has no companion shard: call join "
                              "before pipe, or indexed() on the companions")  # fmt: skip
        try:
            if shard != self._shard or ordinal <= self._ordinal:
                self._begin(shard, ordinal)
            self._ordinal = ordinal
            found = self._search(companions, key)
            if found is None and self._start > 0:  # in step, it would have been here; so it may be before
                self._begin(shard, 0)
                self._ordinal = ordinal
                found = self._search(companions, key)
        except Exception as error:
            self.close()
            self._shard = None
            annotate(error, url=companions, key=key)
            raise
        return None if found is None else (companions, found)

    def _begin(self, shard: str, start: int) -> None:
        self.close()
        self._shard, self._start = shard, start
        self._held, self._bytes, self._is_whole = {}, 0, True
        self._samples = iter(self._stage.source.read(self._pairs[shard], self._stage.fields, start))

    def _search(self, companions: str, key: str) -> Any | None:
        if key in self._held:
            sample = self._held.pop(key)
            self._bytes -= bytes_held(sample)
            return sample
        assert self._samples is not None
        for sample in self._samples:
            passed = str(sample["__key__"])
            if passed == key:
                return sample
            if passed in self._held:
                raise SampleError(f"several companions have the key {passed!r}", url=companions, key=passed)
            self._held[passed] = sample
            self._bytes += bytes_held(sample)
            while self._bytes > self._stage.held and len(self._held) > 1:
                self._bytes -= bytes_held(self._held.pop(next(iter(self._held))))
                self._is_whole = False
        if not self._is_whole:
            raise SampleError(
                f"this companion shard is not in step with its shard: more than {self._stage.held} bytes would have to "
                "be held until their samples come, or to know that there is none; call indexed() on the companions"
            )
        return None
