"""Typed samples: a class whose annotations name fields and choose decoders."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Protocol, TypeAlias, final

import attrs
from typing_extensions import TypeVar, override

from webds.abc import Decoder
from webds.errors import FieldError, annotate
from webds.stages.base import EachStage, Fields, Resolver, alternatives, is_there
from webds.stages.fields import missing_field
from webds.tar import by_extension

__all__ = ["FieldSpec", "Into", "Record", "RecordT", "field"]

_REQUIRED: Final = object()
_BYTES: Final = (bytes, bytearray, memoryview)


class _AttrsInstance(Protocol):
    __attrs_attrs__: ClassVar[Any]


class _DataclassInstance(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _NamedTuple(Protocol):
    @property
    def _fields(self) -> tuple[str, ...]: ...

    def _asdict(self) -> dict[str, Any]: ...


Record: TypeAlias = _AttrsInstance | _DataclassInstance | _NamedTuple
"""An instance of an attrs class, a dataclass or a NamedTuple."""

RecordT = TypeVar("RecordT", bound=Record)


@final
@attrs.frozen
class FieldSpec:
    """What `field` says of an attribute of a typed sample.

    Attributes:
        names: name of the field in the shard, or alternatives separated by ";".
        decoder: name of an image specification, a `Decoder`, a function of the bytes; None for the decoder
            of the field's extension.
    """

    names: str
    decoder: str | Decoder[Any] | Callable[[bytes], Any] | None = None


def field(names: str, decoder: str | Decoder[Any] | Callable[[bytes], Any] | None = None) -> FieldSpec:
    """Say, inside ``Annotated``, from which field an attribute of a typed sample comes, and by which decoder.

    Example:
        >>> from typing import Annotated
        >>> import attrs, torch, webds
        >>> @attrs.frozen
        ... class Photo:
        ...     image: Annotated[torch.Tensor, webds.field("jpg;png", "torchrgb8")]
        ...     label: Annotated[int, webds.field("cls")]

    Args:
        names: name of the field, or alternatives separated by ";", of which the first that is there counts.
        decoder: name of an image specification, a `Decoder`, or a function of the bytes; None for the decoder
            of the field's extension.
    """
    alternatives(names)
    return FieldSpec(names, decoder)


@attrs.frozen
class _Attribute:
    """One attribute of the class: from which field, by which decoders, of which type."""

    name: str
    parameter: str
    names: tuple[str, ...]
    type: Any
    decoder: Any
    required: bool
    table: Mapping[str, Decoder[Any]] = attrs.field(factory=dict[str, Decoder[Any]])


def _parameters(cls: type) -> list[tuple[str, str, bool]]:
    """Return, of the attributes that the constructor of ``cls`` takes: name, parameter, whether it must be given."""
    if attrs.has(cls):
        return [(a.name, a.alias or a.name, a.default is attrs.NOTHING) for a in attrs.fields(cls) if a.init]
    if dataclasses.is_dataclass(cls):
        missing = dataclasses.MISSING
        return [(f.name, f.name, f.default is f.default_factory is missing) for f in dataclasses.fields(cls) if f.init]
    names: Sequence[str] | None = getattr(cls, "_fields", None)
    if issubclass(cls, tuple) and names is not None:
        defaults: Mapping[str, Any] = getattr(cls, "_field_defaults", {})
        return [(name, name, name not in defaults) for name in names]
    raise TypeError(f"into({cls.__name__}): expected an attrs class, a dataclass or a NamedTuple")


def _attributes(cls: type) -> tuple[_Attribute, ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    found: list[_Attribute] = []
    for name, parameter, required in _parameters(cls):
        hint = hints.get(name, Any)
        spec = FieldSpec(name)
        if typing.get_origin(hint) is Annotated:
            spec = next((part for part in hint.__metadata__ if isinstance(part, FieldSpec)), spec)
            hint = hint.__origin__
        found.append(_Attribute(name, parameter, alternatives(spec.names), hint, spec.decoder, required))
    return tuple(found)


def matches(value: Any, hint: Any) -> bool:
    """Return whether ``value`` is of the annotated type, as far as that can be seen without looking inside."""
    origin = typing.get_origin(hint)
    if hint is Any or isinstance(hint, (typing.TypeVar, str)):
        return True
    if hint is None:
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, part) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is Annotated:
        return matches(value, hint.__origin__)
    kind = origin or hint
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return not isinstance(kind, type) or getattr(kind, "_is_protocol", False) or isinstance(value, kind)


@final
@attrs.frozen(kw_only=True)
class Into(EachStage):
    """Makes an instance of a class of each sample."""

    name: ClassVar[str] = "into"
    cls: type
    attributes: tuple[_Attribute, ...] = attrs.field(
        default=attrs.Factory(lambda self: _attributes(self.cls), takes_self=True)
    )

    @override
    def function(self) -> Callable[[Any], Any]:
        cls, attributes = self.cls, self.attributes

        def make(sample: Any) -> Any:
            values: dict[str, Any] = {}
            for attribute in attributes:
                value = self._value(sample, attribute)
                if value is not _REQUIRED:
                    values[attribute.parameter] = value
            return cls(**values)

        return make

    def _value(self, sample: Mapping[str, Any], attribute: _Attribute) -> Any:
        name = next((name for name in attribute.names if is_there(sample, name)), None)
        if name is None:
            if attribute.required:
                raise missing_field(";".join(attribute.names), sample, self.name)
            return _REQUIRED
        value = sample[name]
        if isinstance(value, _BYTES) and not name.startswith("__"):
            decoder = by_extension(attribute.table, name)
            if decoder is not None:
                try:
                    value = decoder.decode(value, name)
                except Exception as error:
                    annotate(error, key=sample.get("__key__"), field=name, stage=self.name)
                    raise
        if not matches(value, attribute.type):
            wanted = getattr(attribute.type, "__name__", None) or str(attribute.type)
            raise FieldError(
                f"{self.cls.__name__}.{attribute.name} is declared as {wanted}, but field {name!r} "
                f"holds a {type(value).__name__}",
                key=sample.get("__key__"),
                field=name,
            )
        return value

    @override
    def wants(self, fields: Fields) -> Fields:
        return self.named()

    @override
    def named(self) -> frozenset[str]:
        return frozenset(name for attribute in self.attributes for name in attribute.names)

    @override
    def bound(self, resolve: Resolver, fields: Fields) -> Into:
        return attrs.evolve(self, attributes=tuple(attrs.evolve(a, table=_table(a, resolve)) for a in self.attributes))

    @override
    def length(self, n: int) -> int | None:
        return n

    @override
    def describe(self) -> str:
        parts = (f"{a.name} from {';'.join(a.names)}" for a in self.attributes)
        return f"{self.cls.__name__}: {', '.join(parts)}"


def _table(attribute: _Attribute, resolve: Resolver) -> Mapping[str, Decoder[Any]]:
    """Return the decoders of one attribute: those of its specification, or its own for each of its fields.

    An attribute declared as bytes gets them as they are.
    """
    if attribute.decoder is None:
        return {} if attribute.type in (bytes, bytearray, memoryview) else resolve(None)
    if isinstance(attribute.decoder, str):
        return resolve(attribute.decoder)
    return resolve(dict.fromkeys(attribute.names, attribute.decoder))
