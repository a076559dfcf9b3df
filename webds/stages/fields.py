"""Stages that work on the fields of samples: decode, select, rename, associate, to_tuple."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, final

import attrs
from typing_extensions import override

from webds.abc import Decoder
from webds.errors import FieldError, annotate
from webds.stages.base import (
    DROP,
    EachStage,
    Fields,
    Item,
    Labels,
    Resolver,
    Run,
    Upstream,
    alternatives,
    fields_there,
    is_there,
)
from webds.stages.functions import name_of
from webds.stages.threads import run_in_threads
from webds.tar import by_extension
from webds.typing import UNREAD

__all__ = ["Associate", "Decode", "Rename", "Select", "ToTuple", "missing_field"]

_BYTES: Final = (bytes, bytearray, memoryview)


def missing_field(wanted: str, sample: Mapping[str, Any], stage: str) -> FieldError:
    """Return the error for a field that a sample does not have: it names the key and what is there."""
    there = ", ".join(fields_there(sample)) or "no fields at all"
    key = sample.get("__key__")
    return FieldError(f"the sample has no field {wanted!r}; it has {there}", key=key, field=wanted, stage=stage)


def _first(sample: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if is_there(sample, name)), None)


@final
@attrs.frozen(kw_only=True)
class Decode(EachStage):
    """Decodes the fields that are still bytes, each by the decoder of its extension.

    Attributes:
        spec: what the user asked for: the name of an image specification, with or without a size, a table, or None.
        table: extension → decoder; made of ``spec`` when the plan is bound.
        fields: the fields that somebody looks at afterwards; None for all.
        threads: how many threads decode, each a sample; 0 for the one that iterates.
    """

    name: ClassVar[str] = "decode"
    spec: Any = None
    table: Mapping[str, Decoder[Any]] = attrs.field(factory=dict[str, Decoder[Any]])
    fields: Fields = None
    threads: int = 0

    @property
    @override
    def fuses(self) -> bool:
        return self.threads == 0

    @override
    def run(self, upstream: Upstream, run: Run) -> Iterator[Item]:
        if self.fuses:
            return super().run(upstream, run)
        return run_in_threads(self.function(), self.name, self.threads, run.guard.using(self.policy), upstream, run)

    @override
    def function(self) -> Callable[[Any], Any]:
        fields = self.fields
        table = self.table
        known: dict[str, Decoder[Any] | None] = {}

        def decode(sample: Any) -> Any:
            result = sample.copy()
            for field, data in sample.items():
                if not isinstance(data, _BYTES) or (fields is not None and field not in fields):
                    continue
                try:
                    decoder = known[field]
                except KeyError:
                    decoder = known[field] = None if field.startswith("__") else by_extension(table, field)
                if decoder is not None:
                    try:
                        result[field] = decoder.decode(data, field)
                    except Exception as error:
                        annotate(error, key=sample.get("__key__"), field=field, stage=self.name)
                        raise
            return result

        return decode

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields

    @override
    def bound(self, resolve: Resolver, fields: Fields) -> Decode:
        return attrs.evolve(self, table=resolve(self.spec), fields=fields)

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        spec = "no images" if self.spec is None else "a table" if isinstance(self.spec, Mapping) else str(self.spec)
        if self.threads:
            spec += f"; in {self.threads} thread{'s' if self.threads > 1 else ''}"
        if self.fields is None:
            return f"{spec}; every field that has a decoder"
        decoders = ((field, by_extension(self.table, field)) for field in sorted(self.fields))
        shown = [f"{field} by {type(decoder).__name__}" for field, decoder in decoders if decoder is not None]
        return f"{spec}; {', '.join(shown) or 'no field that is looked at has a decoder'}"


@final
@attrs.frozen(kw_only=True)
class Select(EachStage):
    """Keeps some fields and drops the samples that have none of them."""

    name: ClassVar[str] = "select"
    fields: tuple[str, ...]

    @property
    @override
    def drops(self) -> bool:
        return True

    @override
    def function(self) -> Callable[[Any], Any]:
        choices = tuple(alternatives(field) for field in self.fields)

        def select(sample: Any) -> Any:
            result = {"__key__": sample["__key__"]} if "__key__" in sample else {}
            found = False
            for names in choices:
                name = _first(sample, names)
                if name is not None:
                    found = True
                    result[name] = sample[name]
            return result if found else DROP

        return select

    @override
    def wants(self, fields: Fields) -> Fields:
        # What nobody looks at later is still asked for: whether it is there decides if the sample is dropped.
        return self.named()

    @override
    def named(self) -> frozenset[str]:
        return frozenset(name for field in self.fields for name in alternatives(field))

    @override
    def describe(self) -> str:
        return ", ".join(self.fields)


@final
@attrs.frozen(kw_only=True)
class Rename(EachStage):
    """Makes samples of the fields named, under new names.

    Attributes:
        fields: new name → old name, or old names separated by ";", of which the first that is there counts.
        keeps_rest: whether the fields that are not named stay, under their old names.
    """

    name: ClassVar[str] = "rename"
    fields: Mapping[str, str]
    keeps_rest: bool = True

    @override
    def function(self) -> Callable[[Any], Any]:
        choices = tuple((new, old, alternatives(old)) for new, old in self.fields.items())

        def rename(sample: Any) -> Any:
            result = {name: value for name, value in sample.items() if self.keeps_rest or name == "__key__"}
            values: dict[str, Any] = {}
            for new, wanted, names in choices:
                old = _first(sample, names)
                if old is None:
                    raise missing_field(wanted, sample, self.name)
                values[new] = sample[old]
                result.pop(old, None)
            return result | values

        return rename

    @override
    def wants(self, fields: Fields) -> Fields:
        old = {new: frozenset(alternatives(names)) for new, names in self.fields.items()}
        if fields is None:
            return None if self.keeps_rest else frozenset[str]().union(*old.values())
        rest = (fields - frozenset(old)) if self.keeps_rest else frozenset[str]()
        # All that is renamed is asked for: a sample without it is an error, whoever looks at it later.
        return rest.union(*old.values())

    @override
    def named(self) -> frozenset[str]:
        return frozenset(name for names in self.fields.values() for name in alternatives(names))

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        rest = "" if self.keeps_rest else "; other fields are dropped"
        return ", ".join(f"{new}={old}" for new, old in self.fields.items()) + rest


@final
@attrs.frozen(kw_only=True)
class Associate(EachStage):
    """Merges into each sample what a table has for its key."""

    name: ClassVar[str] = "associate"
    table: Callable[[str], Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]

    @override
    def function(self) -> Callable[[Any], Any]:
        table = self.table

        def associate(sample: Any) -> Any:
            key = sample["__key__"]
            if callable(table):
                return {**sample, **table(key)}
            if key not in table:
                raise FieldError(f"the table given to associate has no entry for key {key!r}", key=key)
            return {**sample, **table[key]}

        return associate

    @override
    def wants(self, fields: Fields) -> Fields:
        return fields

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        return name_of(self.table) if callable(self.table) else f"a table of {len(self.table)} keys"


@final
@attrs.frozen(kw_only=True)
class ToTuple(EachStage):
    """Makes a tuple of some fields.

    Attributes:
        fields: one name, or alternatives such as ``"jpg;png"``, for each element.
        missing: ``"error"``, ``"skip"``, or the value that stands in for a missing field.
    """

    name: ClassVar[str] = "to_tuple"
    fields: tuple[str, ...]
    missing: Any = "error"

    @property
    @override
    def drops(self) -> bool:
        return isinstance(self.missing, str) and self.missing == "skip"

    @override
    def function(self) -> Callable[[Any], Any]:
        choices = tuple((field, alternatives(field)) for field in self.fields)
        missing, skips = self.missing, self.drops
        raises = isinstance(missing, str) and missing == "error"

        def to_tuple(sample: Any) -> Any:
            values: list[Any] = []
            for wanted, names in choices:
                for name in names:
                    if name in sample and (value := sample[name]) is not UNREAD:
                        values.append(value)
                        break
                else:
                    if raises:
                        raise missing_field(wanted, sample, self.name)
                    if skips:
                        return DROP
                    values.append(missing)
            return tuple(values)

        return to_tuple

    @override
    def wants(self, fields: Fields) -> Fields:
        return self.named()

    @override
    def named(self) -> frozenset[str]:
        return frozenset(name for field in self.fields for name in alternatives(field))

    @override
    def labels(self, labels: Labels) -> Labels:
        return self.fields

    @override
    def length(self, n: int) -> int | None:
        return None if self.drops else n

    @override
    def describe(self) -> str:
        raises = isinstance(self.missing, str) and self.missing == "error"
        return ", ".join(self.fields) + ("" if raises else f"; a missing field: {self.missing!r}")
