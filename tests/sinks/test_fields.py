from __future__ import annotations

import enum
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, strategies as st
from typing_extensions import override

from webds.abc import Encoder
from webds.errors import EncodeError, WriteError
from webds.sinks.fields import EncoderSpec, SampleEncoder
from webds.tar.naming import base_plus_ext
from webds.typing import UNREAD, Sample


def encoded(sample: Mapping[str, Any], encoder: EncoderSpec = True, **options: bool) -> dict[str, bytes]:
    _, members = SampleEncoder(encoder, **options).encode(sample)
    return {field: bytes(data) for field, data in members}


def test_values_are_encoded_by_extension_and_sorted_by_field() -> None:
    sample = {"txt": "é", "__key__": "a/b", "cls": 7, "json": {"x": [1, None]}}
    key, members = SampleEncoder().encode(sample)
    assert key == "a/b"
    assert [field for field, _ in members] == ["cls", "json", "txt"]
    assert dict(members)["cls"] == b"7"
    assert dict(members)["txt"] == "é".encode()


@pytest.mark.parametrize("value", [b"raw", bytearray(b"raw"), memoryview(b"raw"), memoryview(b"-r-a-w")[1::2]])
@pytest.mark.parametrize("field", ["jpg", "cls", "no-such-extension", "pyd"])
@pytest.mark.parametrize("encoder", [True, False, {"jpg": str.encode}, dict])
def test_bytes_are_stored_as_they_are_under_any_field(value: Any, field: str, encoder: EncoderSpec) -> None:
    assert encoded({"__key__": "a", field: value}, encoder) == {field: b"raw"}


def test_a_memoryview_of_numbers_is_stored_with_all_its_bytes() -> None:
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    _, members = SampleEncoder(False).encode({"__key__": "a", "bin": memoryview(cast("Any", array))})
    assert bytes(members[0][1]) == array.tobytes()
    assert memoryview(members[0][1]).nbytes == len(memoryview(members[0][1])) == 48


def test_arrays_are_not_taken_for_bytes() -> None:
    with pytest.raises(EncodeError, match="ndarray"):
        encoded({"__key__": "a", "bin": np.zeros(3, np.uint8)}, False)


def test_a_dict_of_encoders_comes_before_the_default_ones() -> None:
    class Upper(Encoder[str]):
        @override
        def encode(self, value: str, field: str) -> bytes:
            return f"{field}:{value}".upper().encode()

    sample = {"__key__": "a", "txt": "text", "seg.txt": "text", "cls": 3, "flac": "x"}
    assert encoded(sample, {"txt": Upper(), "FLAC": lambda value: memoryview(value.encode())}) == {
        "cls": b"3",
        "flac": b"x",
        "seg.txt": b"SEG.TXT:TEXT",
        "txt": b"TXT:TEXT",
    }


def test_an_encoder_of_whole_samples_gets_a_copy_and_may_name_the_key() -> None:
    sample: Sample = {"__key__": "a", "x": 1, "y": 2}

    def rewrite(sample: Sample) -> Sample:
        total = sample.pop("x") + sample.pop("y")
        return {"__key__": sample["__key__"] + "2", "sum": str(total).encode()}

    key, members = SampleEncoder(rewrite).encode(sample)
    assert (key, members) == ("a2", [("sum", b"3")])
    assert sample == {"__key__": "a", "x": 1, "y": 2}
    assert SampleEncoder(lambda _: {"x": b"1"}).encode(sample)[0] == "a"


def test_what_an_encoder_returns_must_be_bytes() -> None:
    with pytest.raises(EncodeError, match="returned 'T', not bytes") as caught:
        encoded({"__key__": "a", "txt": "t"}, cast("Any", {"txt": str.upper}))
    assert (caught.value.key, caught.value.field, caught.value.stage) == ("a", "txt", "write")
    with pytest.raises(EncodeError, match="holds a int, not bytes"):
        encoded({"__key__": "a", "txt": "t"}, lambda _: {"txt": 1})
    with pytest.raises(EncodeError, match="returned a list"):
        encoded({"__key__": "a", "txt": "t"}, cast("Any", lambda sample: [sample]))


def test_values_that_cannot_be_encoded_are_errors_that_name_key_and_field() -> None:
    for sample, field in (
        ({"__key__": "k", "txt": "good", "unknown": object()}, "unknown"),
        ({"__key__": "k", "cls": "good", "json": object()}, "json"),
        ({"__key__": "k", "npy": None}, "npy"),
    ):
        with pytest.raises(EncodeError) as caught:
            encoded(sample)
        assert (caught.value.key, caught.value.field, caught.value.stage) == ("k", field, "write")


def test_a_user_functions_own_exception_keeps_its_type_and_is_located() -> None:
    def fail(value: object) -> bytes:
        raise KeyError("no such thing")

    with pytest.raises(KeyError, match="no such thing") as caught:
        encoded({"__key__": "k", "txt": "t"}, {"txt": fail})
    assert '"field": "txt"' in str(caught.value.__notes__)
    with pytest.raises(KeyError):
        encoded({"__key__": "k", "txt": "t"}, fail)  # type: ignore[arg-type]  # a function of the sample


def test_a_field_that_was_not_read_is_not_written() -> None:
    with pytest.raises(WriteError, match="left out") as caught:
        encoded({"__key__": "k", "pyd": UNREAD})
    assert caught.value.field == "pyd"


@pytest.mark.parametrize(
    "key",
    ["a", "a/b", "a.b/c", "./a", "a/./b", "with space", "日本/語", "-", "__a", "__a__", "a//b", "a..b/c", "\\"],
)
def test_keys_that_come_back_as_they_are_are_taken(key: str) -> None:
    assert SampleEncoder().encode({"__key__": key, "txt": "t"})[0] == key
    assert base_plus_ext(f"{key}.txt") == (key, "txt")


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("a.b", r"read|key 'a'"),
        ("dir.x/a.b", "dot in its last part"),
        (".hidden", "no sample at all"),
        ("..", "no sample at all"),
        ("a/.", "no sample at all"),
        ("", "names no file"),
        ("a/", "names no file"),
        ("/a", "leads out"),
        ("../a", "leads out"),
        ("a/../b", "leads out"),
        ("a\0b", "NUL"),
        ("a\nb", "line break"),
        ("a\rb", "line break"),
        ("__m__/a", "passed over"),
        (7, "must be a str, not 7"),
        (b"a", "must be a str"),
        (None, "no '__key__'"),
    ],
)
def test_keys_that_would_not_come_back_are_refused(key: object, why: str) -> None:
    with pytest.raises(WriteError, match=why) as caught:
        encoded({"__key__": key, "txt": "t"})
    assert caught.value.key == (key if isinstance(key, str) else None)


@pytest.mark.parametrize("field", ["", "a/b", "JPG", "seg.PNG", "É", "a\0", "a\nb", 3, None])
def test_fields_that_would_not_come_back_are_refused(field: Any) -> None:
    with pytest.raises(WriteError):
        encoded({"__key__": "a", "txt": "t", field: b"x"})


def test_a_member_that_readers_would_take_for_metadata_is_refused() -> None:
    assert base_plus_ext("__a.b__") == (None, None)
    with pytest.raises(WriteError, match="passed over"):
        encoded({"__key__": "__a", "b__": b""})
    assert encoded({"__key__": "__a", "b__c": b""}) == {"b__c": b""}


@pytest.mark.parametrize("sample", [{"__key__": "a"}, {"__key__": "a", "__url__": "x", "__json__": b"1"}])
def test_a_sample_without_fields_is_refused(sample: Sample) -> None:
    with pytest.raises(WriteError, match="no field to write"):
        encoded(sample)


@pytest.mark.parametrize("sample", [{}, {"txt": "t"}])
def test_a_sample_without_key_is_refused(sample: Sample) -> None:
    with pytest.raises(WriteError, match="no '__key__'"):
        encoded(sample)


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(WriteError, match="not a tuple"):
        encoded(("a", b""))  # type: ignore[arg-type]  # what is tested  # pyright: ignore[reportArgumentType]


def test_double_underscore_fields_are_never_written() -> None:
    assert encoded({"__key__": "a", "txt": "t", "__url__": object(), "__x__": b"1"}, keep_meta=True) == {"txt": b"t"}


def test_metadata_is_kept_as_utf8_on_demand() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encoded({"__key__": "a", "txt": "t", "_origin": "Zürich", "_raw": b"\xff"}, keep_meta=True) == {
            "_origin": "Zürich".encode(),
            "_raw": b"\xff",
            "txt": b"t",
        }


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("value", [7, None, ["a"], {"a": 1}])
def test_metadata_must_be_text(keep: bool, value: object) -> None:
    with pytest.raises(WriteError, match=r"'_meta'.*must be a str") as caught:
        encoded({"__key__": "a", "txt": "t", "_meta": value}, keep_meta=keep)
    assert (caught.value.key, caught.value.field) == ("a", "_meta")


def test_metadata_that_is_no_utf8_is_an_error() -> None:
    with pytest.raises(EncodeError, match="UTF-8"):
        encoded({"__key__": "a", "txt": "t", "_meta": "\ud800"}, keep_meta=True)


@pytest.mark.parametrize("encoder", [7, "rgb", [1], {"txt": True}, {"txt": "utf8"}])
def test_an_encoder_that_is_none_is_refused(encoder: Any) -> None:
    with pytest.raises(TypeError, match="encoder"):
        SampleEncoder(encoder)


def test_no_encoder_is_the_same_as_none() -> None:
    assert encoded({"__key__": "a", "x": b"1"}, None) == {"x": b"1"}
    with pytest.raises(EncodeError, match="encoder=False takes nothing but bytes"):
        encoded({"__key__": "a", "txt": "text"}, None)


VALUES = st.one_of(
    st.binary(max_size=5),
    st.integers(-3, 3),
    st.text("a7é\ud800", max_size=3),
    st.sampled_from([None, True, 1.5, UNREAD, bytearray(b"raw"), memoryview(b"raw"), np.int64(7), {"a": 1}]),
)
RAW_SAMPLES = st.dictionaries(
    st.sampled_from(["__key__", "txt", "cls", "json", "bin", "TXT", "seg.txt", "a/b", "_meta", "__url__", "b__"]),
    VALUES,
    max_size=4,
).flatmap(
    lambda sample: st.sampled_from(["a", "b/c", "a.b", "__a", "/a", "x\n", "ü", "d.e/f"]).map(
        lambda key: {"__key__": key, **sample} if len(sample) % 4 else sample
    )
)


def outcome(encoder: SampleEncoder, sample: Sample) -> object:
    try:
        key, members = encoder.encode(sample)
    except (WriteError, EncodeError, TypeError) as error:  # len, as an encoder, raises the last one for a number
        return type(error), str(error)
    return key, [(field, bytes(data)) for field, data in members]


@given(st.lists(RAW_SAMPLES, max_size=8), st.sampled_from([True, False, {"txt": len}]), st.booleans())
def test_a_sample_is_encoded_the_same_after_others_with_its_names(
    samples: list[Sample], spec: Any, keep_meta: bool
) -> None:
    encoder = SampleEncoder(spec, keep_meta=keep_meta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in samples * 2:
            assert outcome(encoder, sample) == outcome(SampleEncoder(spec, keep_meta=keep_meta), sample)


@given(st.text("a./_\0\n\r é-", max_size=6), st.sampled_from(["txt", "b__", "x__y"]))
def test_a_key_is_judged_the_same_after_others_with_the_same_fields(key: str, field: str) -> None:
    encoder = SampleEncoder()
    encoder.encode({"__key__": "first", field: b"1"})
    sample: Sample = {"__key__": key, field: b"2"}
    assert outcome(encoder, sample) == outcome(SampleEncoder(), sample)


def test_samples_with_ever_new_fields_are_encoded_in_bounded_memory() -> None:
    encoder = SampleEncoder()
    for number in range(1500):
        assert encoder.encode({"__key__": "a", f"f{number}": b"x"})[1] == [(f"f{number}", b"x")]
    assert len(encoder._layouts) == 1000


def test_metadata_is_checked_and_left_out_of_every_sample() -> None:
    encoder = SampleEncoder()
    with pytest.warns(RuntimeWarning, match="'_origin' is metadata"):
        encoder.encode({"__key__": "a", "txt": "t", "_origin": "here"})
    assert encoder.encode({"__key__": "b", "txt": "t", "_origin": "here"}) == ("b", [("txt", b"t")])
    with pytest.raises(WriteError, match="must be a str"):
        encoder.encode({"__key__": "c", "txt": "t", "_origin": 7})


def test_a_key_of_a_type_derived_from_str_is_the_text_that_it_is() -> None:
    class Key(str, enum.Enum):  # noqa: UP042  # unlike a StrEnum it is shown as something else
        A = "train/a"

    for key in (Key.A, np.str_("train/a")):
        encoder = SampleEncoder()
        for _ in range(2):
            found = encoder.encode({"__key__": key, "txt": b"t"})[0]
            assert type(found) is str
            assert found == "train/a"


def test_bytes_with_a_length_of_their_own_are_stored_whole() -> None:
    class Odd(bytes):
        @override
        def __len__(self) -> int:
            return 2

    for value in (Odd(b"hello"), np.bytes_(b"hello")):
        _, members = SampleEncoder().encode({"__key__": "a", "bin": value})
        assert [(len(data), bytes(data)) for _, data in members] == [(5, b"hello")]
