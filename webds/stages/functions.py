"""Stages around a function of the user's: map, map_dict, map_tuple, filter, pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, final

import attrs
from typing_extensions import override

from webds.errors import FieldError, annotate
from webds.stages.base import DROP, EachStage, Fields, Item, Labels, Run, Stage, Upstream, fields_there

__all__ = ["AFTER_PIPE", "Filter", "Map", "MapDict", "MapTuple", "Pipe", "name_of"]

AFTER_PIPE: Final = "after pipe "
"""Stands for the URL in the origins of what comes out of `Pipe`, before the name of its function."""


def name_of(function: Callable[..., Any]) -> str:
    """Return the name under which a function is shown."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name)


@final
@attrs.frozen(kw_only=True)
class Map(EachStage):
    """Replaces each value by what a function makes of it."""

    name: ClassVar[str] = "map"
    f: Callable[[Any], Any]
    keeps_key: bool = False

    @override
    def function(self) -> Callable[[Any], Any]:
        f = self.f
        if not self.keeps_key:
            return f

        def keep_key(value: Any) -> Any:
            result = f(value)
            if isinstance(value, dict) and isinstance(result, dict) and "__key__" in value:
                return {"__key__": value["__key__"], **result}
            return result

        return keep_key

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        return name_of(self.f)


@final
@attrs.frozen(kw_only=True)
class Filter(EachStage):
    """Lets through the values for which a predicate is true."""

    name: ClassVar[str] = "filter"
    predicate: Callable[[Any], object]

    @property
    @override
    def drops(self) -> bool:
        return True

    @override
    def function(self) -> Callable[[Any], Any]:
        predicate = self.predicate
        return lambda value: value if predicate(value) else DROP

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def describe(self) -> str:
        return name_of(self.predicate)


@final
@attrs.frozen(kw_only=True)
class MapDict(EachStage):
    """Replaces fields of a sample by what functions make of them."""

    name: ClassVar[str] = "map_dict"
    fs: Mapping[str, Callable[[Any], Any]]

    @override
    def function(self) -> Callable[[Any], Any]:
        fs = tuple(self.fs.items())

        def map_fields(sample: Any) -> Any:
            result = dict(sample)
            for field, f in fs:
                if field not in result:
                    raise FieldError(
                        f"map_dict: the sample has no field {field!r}; it has {_listed(sample)}", field=field
                    )
                try:
                    result[field] = f(result[field])
                except Exception as error:
                    annotate(error, key=sample.get("__key__"), field=field, stage=self.name)
                    raise
            return result

        return map_fields

    @override
    def wants(self, fields: Fields) -> Fields:
        return None if fields is None else fields | frozenset(self.fs)

    @override
    def named(self) -> frozenset[str]:
        return frozenset(self.fs)

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        return ", ".join(f"{field}={name_of(f)}" for field, f in self.fs.items())


def _listed(sample: Mapping[str, Any]) -> str:
    return ", ".join(fields_there(sample)) or "none"


@final
@attrs.frozen(kw_only=True)
class MapTuple(EachStage):
    """Replaces the elements of a tuple, one function each; None leaves an element as it is."""

    name: ClassVar[str] = "map_tuple"
    fs: tuple[Callable[[Any], Any] | None, ...]
    cycles: bool = False
    known_labels: Labels = None

    @override
    def function(self) -> Callable[[Any], Any]:
        fs = self.fs

        def map_elements(values: Any) -> Any:
            if not isinstance(values, (tuple, list)):
                raise FieldError(f"map_tuple wants tuples, and got a {type(values).__name__}; call to_tuple before it")
            n = len(values)
            functions = tuple(fs[i % len(fs)] for i in range(n)) if self.cycles else fs
            if len(functions) != n:
                raise FieldError(f"map_tuple has {len(functions)} functions for tuples of {n} elements")
            results: list[Any] = []
            for i, (f, value) in enumerate(zip(functions, values, strict=True)):
                try:
                    results.append(value if f is None else f(value))
                except Exception as error:
                    known = self.known_labels
                    label = f"element {i}" if known is None or len(known) != n else known[i]
                    annotate(error, field=label, stage=self.name)
                    raise
            return tuple(results)

        return map_elements

    @override
    def labelled(self, labels: Labels) -> MapTuple:
        return attrs.evolve(self, known_labels=labels)

    @override
    def labels(self, labels: Labels) -> Labels:
        return labels

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        return ", ".join("as is" if f is None else name_of(f) for f in self.fs)


@final
@attrs.frozen(kw_only=True)
class Pipe(Stage):
    """Hands the values to a function of the whole iterator. What comes out is located as "after pipe"."""

    name: ClassVar[str] = "pipe"
    keeps_order: ClassVar[bool] = False
    holds: ClassVar[bool] = True
    stage: Callable[[Iterator[Any]], Iterable[Any]]

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        where = f"{AFTER_PIPE}{name_of(self.stage)}"
        last: list[Any] = [None]

        passing: list[Exception] = []

        def bare() -> Iterator[Any]:
            try:
                # How much the function holds back is not known, so no pass is reported to what comes after it.
                for origin, value in upstream(run.watched_by()):
                    last[0] = origin
                    yield value
            except Exception as error:
                passing.append(error)
                raise

        results: Iterator[Any] | None = None
        ordinal = 0
        while True:
            try:
                if results is None:
                    results = iter(self.stage(bare()))
                value = next(results)
            except StopIteration:
                return
            except Exception as error:
                if any(error is known for known in passing):
                    passing.clear()
                    raise  # it was dealt with where it happened
                run.guard.using(self.policy).handle(error, self.name, last[0])
                return  # a generator that raised is over: nothing more can come from it
            yield (where, ordinal, None), value
            ordinal += 1

    @override
    def describe(self) -> str:
        return f"{name_of(self.stage)} (the order from here on is up to this function)"
