from __future__ import annotations

from typing import Any

import attrs
import pytest
from running import run_stages
from typing_extensions import override

from webds.abc import Decoder
from webds.errors import DecodeError, EmptyDatasetError, FieldError
from webds.stages.base import Fields
from webds.stages.fields import Associate, Decode, Rename, Select, ToTuple
from webds.typing import UNREAD, Buffer

SAMPLE = {"__key__": "k", "jpg": b"J", "cls": b"1", "seg.png": b"S"}


@attrs.define
class _Shows(Decoder[str]):
    """Shows what it was asked to decode."""

    name: str = "shows"
    seen: list[str] = attrs.field(factory=list)

    @override
    def decode(self, data: Buffer, field: str) -> str:
        self.seen.append(field)
        return f"{self.name} {field} {bytes(data)!r}"


class _Fails(Decoder[str]):
    @override
    def decode(self, data: Buffer, field: str) -> str:
        raise DecodeError("no such value")


def _run(stage: Any, sample: dict[str, Any] = SAMPLE, **options: Any) -> Any:
    (value,) = run_stages([sample], stage, **options).values
    return value


def test_decode_goes_by_the_last_component_of_the_field() -> None:
    png, jpg = _Shows("png"), _Shows("jpg")
    decoded = _run(Decode(), decoders={"png": png, "jpg": jpg})
    assert decoded == SAMPLE | {"jpg": "jpg jpg b'J'", "seg.png": "png seg.png b'S'"}


def test_decode_prefers_a_decoder_for_just_that_field() -> None:
    decoded = _run(Decode(), decoders={"png": _Shows("png"), "seg.png": _Shows("seg")})
    assert decoded["seg.png"] == "seg seg.png b'S'"


def test_decode_leaves_alone_what_has_no_decoder_what_is_no_bytes_and_the_key() -> None:
    sample = SAMPLE | {"cls": 7, "txt": UNREAD, "__meta__": b"M"}
    shows = _Shows()
    assert _run(Decode(), sample, decoders={"cls": shows, "txt": shows, "__meta__": shows, "__key__": shows}) == sample
    assert shows.seen == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decode_takes_any_bytes_like_value(kind: type[Any]) -> None:
    assert _run(Decode(), {"__key__": "k", "txt": kind(b"x")}, decoders={"txt": _Shows()})["txt"] == "shows txt b'x'"


def test_decode_works_for_the_fields_that_are_wanted_after_it_only() -> None:
    shows = _Shows()
    stages = Decode(), ToTuple(fields=("cls",))
    assert run_stages([SAMPLE], *stages, decoders={"cls": shows, "jpg": shows}).values == [("shows cls b'1'",)]
    assert shows.seen == ["cls"]


def test_decode_does_not_change_the_sample_that_came_in() -> None:
    sample = dict(SAMPLE)
    Decode(table={"cls": _Shows()}).function()(sample)
    assert sample == SAMPLE


def test_decode_locates_an_error_of_its_decoder() -> None:
    with pytest.raises(DecodeError) as caught:
        _run(Decode(), decoders={"jpg": _Fails()})
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == ("mem", "k", "jpg", "decode")


def test_decode_counts_an_undecodable_field_by_its_name() -> None:
    (loss,) = run_stages([SAMPLE], Decode(), decoders={"jpg": _Fails()}, policy="skip").losses
    assert (loss.stage, loss.url, loss.key, loss.field) == ("decode", "mem", "k", "jpg")


def test_decode_says_which_decoder_does_what() -> None:
    stage = Decode(spec="rgb", table={"jpg": _Shows(), "cls": _Fails()}, fields=frozenset({"jpg", "other", "__key__"}))
    assert stage.describe() == "rgb; jpg by _Shows"
    assert "every field" in Decode().describe()
    assert "no field" in Decode(fields=frozenset({"other"})).describe()


def test_select_keeps_the_key_and_the_fields_named() -> None:
    assert _run(Select(fields=("cls", "absent"))) == {"__key__": "k", "cls": b"1"}


def test_select_takes_the_first_alternative_that_is_there() -> None:
    assert _run(Select(fields=("png;jpg;cls",))) == {"__key__": "k", "jpg": b"J"}
    assert _run(Select(fields=("png;jpg;cls",)), SAMPLE | {"jpg": UNREAD}) == {"__key__": "k", "cls": b"1"}


def test_select_gives_the_url_to_whoever_names_it() -> None:
    assert _run(Select(fields=("cls", "__url__"))) == {"__key__": "k", "cls": b"1", "__url__": "mem"}
    assert "__url__" not in _run(Select(fields=("cls",)))


def test_select_drops_samples_without_any_of_the_fields() -> None:
    samples = [SAMPLE, {"__key__": "l", "other": b""}]
    assert [sample["__key__"] for sample in run_stages(samples, Select(fields=("cls",))).values] == ["k"]
    with pytest.raises(EmptyDatasetError, match=r"dropped all 2.*cls, jpg, other, seg\.png"):
        run_stages(samples, Select(fields=("txt",)))


def test_rename_keeps_the_other_fields_under_their_names() -> None:
    assert _run(Rename(fields={"image": "png;jpg"})) == {
        "__key__": "k", "image": b"J", "cls": b"1", "seg.png": b"S",
    }  # fmt: skip


def test_rename_drops_what_is_not_named_if_told_so() -> None:
    assert _run(Rename(fields={"image": "jpg", "same": "jpg"}, keeps_rest=False)) == {
        "__key__": "k", "image": b"J", "same": b"J",
    }  # fmt: skip


def test_rename_can_swap_two_fields_and_copy_one() -> None:
    assert _run(Rename(fields={"jpg": "cls", "cls": "jpg"}))["jpg"] == b"1"
    copied = _run(Rename(fields={"image": "jpg", "again": "jpg"}))
    assert (copied["image"], copied["again"]) == (b"J", b"J")


@pytest.mark.parametrize("stage", [Rename(fields={"x": "txt;text"}), ToTuple(fields=("cls", "txt;text"))])
def test_a_missing_field_names_the_key_the_shard_and_the_fields_that_are_there(stage: Any) -> None:
    with pytest.raises(FieldError, match=r"'txt;text'.*cls, jpg, seg\.png") as caught:
        _run(stage)
    error = caught.value
    assert (error.url, error.key, error.field, error.stage) == ("mem", "k", "txt;text", stage.name)
    assert isinstance(error, ValueError)


def test_associate_merges_what_the_table_has_for_the_key() -> None:
    assert _run(Associate(table={"k": {"label": 5, "cls": 9}})) == SAMPLE | {"label": 5, "cls": 9}
    assert _run(Associate(table=lambda key: {"name": key.upper()})) == SAMPLE | {"name": "K"}


def test_associate_names_a_key_that_the_table_does_not_have() -> None:
    with pytest.raises(FieldError, match="'k'") as caught:
        _run(Associate(table={}))
    assert (caught.value.key, caught.value.stage, caught.value.url) == ("k", "associate", "mem")


def test_to_tuple_takes_the_first_alternative_and_names_key_and_url() -> None:
    assert _run(ToTuple(fields=("png;jpg", "__key__", "__url__"))) == (b"J", "k", "mem")


def test_to_tuple_takes_a_field_that_is_none() -> None:
    """None is a value, and not the sign of a missing field."""
    assert _run(ToTuple(fields=("cls;jpg",)), SAMPLE | {"cls": None}) == (None,)


def test_to_tuple_skips_or_fills_in_what_is_missing() -> None:
    samples = [SAMPLE, {"__key__": "l", "jpg": b"L"}]
    skips = ToTuple(fields=("jpg", "cls"), missing="skip")
    assert run_stages(samples, skips).values == [(b"J", b"1")]
    for value in (None, -1, "absent", b""):
        fills = ToTuple(fields=("jpg", "cls"), missing=value)
        assert run_stages(samples, fills).values == [(b"J", b"1"), (b"L", value)]


def test_to_tuple_compares_no_array_with_a_word() -> None:
    import numpy as np

    filling = np.zeros(2)
    assert _run(ToTuple(fields=("absent",), missing=filling))[0] is filling
    assert "array" in ToTuple(fields=("absent",), missing=filling).describe()


@pytest.mark.parametrize(
    ("stage", "after", "before"),
    [
        (Decode(), None, None),
        (Decode(), {"jpg"}, {"jpg"}),
        (Select(fields=("a;b", "c")), None, {"a", "b", "c"}),
        (Select(fields=("a;b", "c")), {"c"}, {"a", "b", "c"}),
        (Rename(fields={"new": "a;b"}), None, None),
        (Rename(fields={"new": "a;b"}), {"new", "c"}, {"a", "b", "c"}),
        (Rename(fields={"new": "a;b"}), {"c"}, {"a", "b", "c"}),
        (Rename(fields={"a": "b", "b": "a"}), {"a"}, {"a", "b"}),
        (Rename(fields={"new": "a"}, keeps_rest=False), None, {"a"}),
        (Rename(fields={"new": "a"}, keeps_rest=False), {"new", "c"}, {"a"}),
        (Associate(table={}), None, None),
        (Associate(table={}), {"jpg"}, {"jpg"}),
        (ToTuple(fields=("a;b", "__key__")), None, {"a", "b", "__key__"}),
        (ToTuple(fields=("a",)), {"c"}, {"a"}),
    ],
)
def test_what_must_come_in_so_that_fields_can_go_out(
    stage: Any, after: set[str] | None, before: set[str] | None
) -> None:
    wanted: Fields = stage.wants(None if after is None else frozenset(after))
    assert wanted == (None if before is None else frozenset(before))


def test_lengths_are_known_unless_samples_may_be_dropped() -> None:
    keep = Decode(), Rename(fields={}), Associate(table={}), ToTuple(fields=("a",)), ToTuple(fields=("a",), missing=0)
    assert [stage.length(4) for stage in keep] == [4] * 5
    assert Select(fields=("a",)).length(4) is None
    assert ToTuple(fields=("a",), missing="skip").length(4) is None


def test_descriptions_tell_what_happens_to_the_fields() -> None:
    assert Select(fields=("a;b", "c")).describe() == "a;b, c"
    assert Rename(fields={"x": "a;b"}).describe() == "x=a;b"
    assert "dropped" in Rename(fields={"x": "a"}, keeps_rest=False).describe()
    assert "3 keys" in Associate(table={"a": {}, "b": {}, "c": {}}).describe()
    assert Associate(table=_nothing).describe() == "_nothing"
    assert ToTuple(fields=("a", "b;c")).describe() == "a, b;c"
    assert "-1" in ToTuple(fields=("a",), missing=-1).describe()


def _nothing(key: str) -> dict[str, Any]:
    return {}
