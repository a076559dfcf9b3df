from __future__ import annotations

import dataclasses
import pickle
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import attrs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from running import run_stages
from typing_extensions import override

from webds.abc import Decoder
from webds.errors import DecodeError, FieldError
from webds.stages.into import FieldSpec, Into, field, matches
from webds.typing import UNREAD, Buffer

SAMPLE = {"__key__": "k", "png": b"P", "cls": b"7", "txt": b"words", "raw": b"R"}


@attrs.define
class _Makes(Decoder[Any]):
    """Makes a value of the bytes by a function."""

    f: Any

    @override
    def decode(self, data: Buffer, field: str) -> Any:
        try:
            return self.f(bytes(data))
        except ValueError as error:
            raise DecodeError(str(error)) from error


DECODERS: dict[str, Decoder[Any]] = {"cls": _Makes(int), "txt": _Makes(bytes.decode), "png": _Makes(lambda _: 0.5)}


@attrs.frozen
class WithAttrs:
    image: Annotated[float, field("jpg;png")]
    label: Annotated[int, field("cls")]
    txt: str
    note: Annotated[str, field("absent")] = "none"


@dataclasses.dataclass
class WithDataclass:
    image: Annotated[float, field("jpg;png")]
    label: Annotated[int, field("cls")]
    txt: str
    note: Annotated[str, field("absent")] = "none"
    many: Annotated[list[int], field("absent2")] = dataclasses.field(default_factory=list)
    later: int = dataclasses.field(init=False, default=3)


class WithNamedTuple(NamedTuple):
    image: Annotated[float, field("jpg;png")]
    label: Annotated[int, field("cls")]
    txt: str
    note: Annotated[str, field("absent")] = "none"


def _into(cls: type[Any], sample: dict[str, Any] = SAMPLE, **options: Any) -> Any:
    (value,) = run_stages([sample], Into(cls=cls), decoders=DECODERS, **options).values
    return value


@pytest.mark.parametrize("cls", [WithAttrs, WithDataclass, WithNamedTuple])
def test_an_instance_is_made_of_the_fields_that_the_annotations_name(cls: type[Any]) -> None:
    assert _into(cls) == cls(image=0.5, label=7, txt="words")
    assert _into(cls, SAMPLE | {"absent": "there"}).note == "there"


@pytest.mark.parametrize("cls", [WithAttrs, WithDataclass, WithNamedTuple])
def test_a_missing_field_names_key_shard_and_the_fields_that_are_there(cls: type[Any]) -> None:
    sample = {name: value for name, value in SAMPLE.items() if name != "png"}
    with pytest.raises(FieldError, match=r"'jpg;png'.*cls, raw, txt") as caught:
        _into(cls, sample)
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == ("mem", "k", "jpg;png", "into")


def test_a_field_that_was_not_read_is_missing() -> None:
    with pytest.raises(FieldError, match="jpg;png"):
        _into(WithAttrs, SAMPLE | {"png": UNREAD})


@pytest.mark.parametrize("value", [b"seven", "7"])
def test_a_value_of_another_type_names_attribute_field_and_types(value: Any) -> None:
    table = {**DECODERS, "cls": _Makes(bytes.decode)}
    with pytest.raises(FieldError, match=r"WithAttrs\.label is declared as int.*'cls'.*str") as caught:
        run_stages([SAMPLE | {"cls": value}], Into(cls=WithAttrs), decoders=table)
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == ("mem", "k", "cls", "into")


def test_an_undecodable_field_is_located() -> None:
    with pytest.raises(DecodeError) as caught:
        _into(WithAttrs, SAMPLE | {"cls": b"x"})
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == ("mem", "k", "cls", "into")


def test_what_is_decoded_already_is_taken_as_it_is() -> None:
    assert _into(WithAttrs, SAMPLE | {"cls": 9, "png": 0.25}) == WithAttrs(0.25, 9, "words")


def test_an_attribute_declared_as_bytes_gets_them_as_they_are() -> None:
    @attrs.frozen
    class Raw:
        txt: bytes
        label: Annotated[bytes, field("cls", int)]

    with pytest.raises(FieldError, match="declared as bytes"):
        run_stages([SAMPLE], Into(cls=Raw), decoders=DECODERS)

    @attrs.frozen
    class JustBytes:
        txt: bytes

    assert _into(JustBytes) == JustBytes(b"words")


def test_key_and_url_are_fields_for_whoever_names_them() -> None:
    @attrs.frozen
    class Where:
        key: Annotated[str, field("__key__")]
        url: Annotated[str, field("__url__")]

    assert _into(Where) == Where("k", "mem")


def test_a_private_attribute_is_given_by_the_name_that_its_constructor_takes() -> None:
    @attrs.frozen
    class Private:
        _label: Annotated[int, field("cls")]
        text: Annotated[str, field("txt")] = attrs.field(alias="words")

        @property
        def label(self) -> int:
            return self._label

    made = _into(Private)
    assert (made.label, made.text) == (7, "words")


def test_an_exception_of_the_constructor_is_located() -> None:
    @attrs.frozen
    class Strict:
        label: Annotated[int, field("cls")] = attrs.field(validator=attrs.validators.lt(5))

    with pytest.raises(ValueError, match="label") as caught:
        _into(Strict)
    notes = "".join(caught.value.__notes__)
    assert all(part in notes for part in ('"k"', '"into"', '"mem"'))


def test_other_classes_are_refused_at_once() -> None:
    class Plain:
        label: int

    for cls in (Plain, dict, tuple, int):
        with pytest.raises(TypeError, match=f"into\\({cls.__name__}\\).*dataclass"):
            Into(cls=cls)


class _Sized(Protocol):
    def __len__(self) -> int: ...


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int, True),
        ("1", int, False),
        (1, float, True),
        (True, float, False),
        (1.5, int, False),
        (None, int | None, True),
        (None, None, True),
        (0, None, False),
        ("x", int | str, True),
        (b"x", int | str, False),
        ([1], list[int], True),
        ((1,), list[int], False),
        ({}, dict[str, int], True),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (5, Any, True),
        (torch.zeros(1), torch.Tensor, True),
        (np.zeros(1), torch.Tensor, False),
        (np.zeros(1), NDArray[np.float32], True),
        (5, _Sized, True),
        (5, Annotated[int, "positive"], True),
        ("5", Annotated[int, "positive"], False),
        (5, "int", True),
    ],
)
def test_types_are_compared_as_far_as_that_can_be_seen(value: Any, hint: Any, expected: bool) -> None:
    assert matches(value, hint) is expected


def test_field_refuses_an_empty_name() -> None:
    with pytest.raises(ValueError, match="jpg;png"):
        field("jpg;")
    assert field("jpg", "rgb") == FieldSpec("jpg", "rgb")


def test_only_the_fields_named_are_wanted() -> None:
    stage = Into(cls=WithAttrs)
    named = frozenset({"jpg", "png", "cls", "txt", "absent"})
    assert stage.wants(None) == stage.wants(frozenset({"x"})) == stage.named() == named
    assert stage.length(3) == 3


def test_it_pickles_with_its_decoders() -> None:
    bound = Into(cls=WithNamedTuple).bound(lambda spec: {"cls": _Int()}, None)
    copy: Into = pickle.loads(pickle.dumps(bound))
    assert copy.describe() == bound.describe() == (
        "WithNamedTuple: image from jpg;png, label from cls, txt from txt, note from absent"
    )  # fmt: skip
    assert copy.function()(SAMPLE | {"png": 0.5, "txt": "t"}) == WithNamedTuple(0.5, 7, "t")


class _Int(Decoder[int]):
    @override
    def decode(self, data: Buffer, field: str) -> int:
        return int(bytes(data))
