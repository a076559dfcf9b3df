"""Every error names its place, reads as a sentence, and comes back whole from pickles and from worker processes."""

from __future__ import annotations

import copy
import json
import pickle
import tarfile
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st
from torch.utils.data import DataLoader, IterableDataset
from typing_extensions import override

from webds import errors
from webds.errors import (
    DecodeError,
    EmptyDatasetError,
    EncodeError,
    FieldError,
    MissingExtraError,
    OpenError,
    UntrustedDataError,
    WebdsError,
    annotate,
    place_of,
)

CLASSES: list[type[WebdsError]] = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, WebdsError) and value is not WebdsError
    ),
    key=lambda cls: cls.__name__,
)

STANDARD: dict[str, tuple[type[Exception], ...]] = {
    "BatchError": (ValueError,),
    "DecodeError": (ValueError,),
    "EmptyDatasetError": (ValueError,),
    "EncodeError": (ValueError,),
    "ErrorBudgetError": (RuntimeError,),
    "WorkerError": (RuntimeError,),
    "FieldError": (KeyError, ValueError),
    "LengthError": (TypeError,),
    "MissingExtraError": (ImportError,),
    "OpenError": (OSError,),
    "SampleError": (ValueError,),
    "SplitError": (ValueError,),
    "StaleIndexError": (ValueError,),
    "StateError": (ValueError,),
    "TarFormatError": (tarfile.ReadError,),
    "UntrustedDataError": (DecodeError, PermissionError, ValueError),
    "UrlError": (ValueError,),
    "WriteError": (ValueError,),
}

PLACE: dict[str, Any] = {"url": "data/a.tar", "key": "b/0001", "field": "seg.png", "offset": 512, "stage": "decode"}


def place(error: WebdsError) -> dict[str, Any]:
    return {name: getattr(error, name) for name in PLACE}


def test_the_classes_are_these_and_the_module_draws_their_tree() -> None:
    assert {cls.__name__ for cls in CLASSES} == set(STANDARD)
    assert set(STANDARD) | {"WebdsError", "annotate", "place_of"} == set(errors.__all__)
    assert errors.__doc__ is not None
    for name in STANDARD:
        assert f"── {name} " in errors.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_leaves_are_also_the_standard_type_that_a_caller_expects(cls: type[WebdsError]) -> None:
    for standard in STANDARD[cls.__name__]:
        with pytest.raises(standard, match="went wrong"):
            raise cls("it went wrong")


@pytest.mark.parametrize("cls", [WebdsError, *CLASSES])
def test_an_error_reads_as_a_sentence_with_its_place(cls: type[WebdsError]) -> None:
    error = cls("it went wrong", **PLACE)
    assert str(error) == f"it went wrong [webds: {json.dumps(PLACE)}]"
    assert error.message == "it went wrong"
    assert place(error) == PLACE
    assert str(cls("it went wrong")) == "it went wrong"
    assert place(cls("it went wrong")) == dict.fromkeys(PLACE)
    assert str(cls()) == ""


# --- from one string ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [WebdsError, *CLASSES])
def test_an_error_comes_back_from_its_text(cls: type[WebdsError]) -> None:
    again = cls(str(cls("it went wrong", **PLACE)))
    assert type(again) is cls
    assert again.message == "it went wrong"
    assert place(again) == PLACE
    assert str(again) == str(cls("it went wrong", **PLACE))


def raising(error: BaseException, cause: BaseException | None = None, *notes: str) -> str:
    """Return the text that a worker process sends, made the way that torch does it."""
    for note in notes:
        error.add_note(note)
    with pytest.raises(type(error)) as caught:
        raise error from cause
    text = "".join(traceback.format_exception(caught.value))
    return f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal {text}"


@pytest.mark.parametrize("cls", [WebdsError, *CLASSES])
def test_an_error_comes_back_from_the_traceback_of_a_worker(cls: type[WebdsError]) -> None:
    again = cls(raising(cls("it went wrong", **PLACE)))
    assert place(again) == PLACE
    assert again.message.startswith("Caught")
    assert again.message.endswith("it went wrong")
    assert place(cls(str(again))) == PLACE


def test_the_place_of_a_cause_is_not_taken_for_that_of_the_error() -> None:
    cause = DecodeError("inner", url="inner.tar", key="x")
    with_place = WebdsError(raising(WebdsError("outer", url="outer.tar"), cause))
    assert place(with_place) == dict.fromkeys(PLACE) | {"url": "outer.tar"}
    assert "inner" in with_place.message
    without = WebdsError(raising(WebdsError("outer, the last word"), cause))
    assert place(without) == dict.fromkeys(PLACE)
    assert "outer, the last word" in without.message
    assert "inner.tar" in without.message


def test_notes_stay_when_an_error_comes_back_from_a_traceback() -> None:
    again = WebdsError(raising(WebdsError("it went wrong", **PLACE), None, "first note", "second note"))
    assert place(again) == PLACE
    assert again.message.endswith("it went wrong\nfirst note\nsecond note")
    assert place(WebdsError(str(again))) == PLACE


hard_texts = st.text(max_size=30) | st.sampled_from(
    ["a]b", "[webds: {", "}]", '[webds: {"key": "forged"}]', "a\nb", 'a"b\\]', "\\u005d"]
)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=20), hard_texts, hard_texts, st.integers())
def test_any_key_and_field_come_back(message: str, key: str, field: str, offset: int) -> None:
    error = DecodeError(message, key=key, field=field, offset=offset)
    again = DecodeError(str(error))
    assert (again.key, again.field, again.offset) == (key, field, offset)
    assert str(again) == str(error)
    wrapped = DecodeError(raising(error))
    assert (wrapped.key, wrapped.field, wrapped.offset) == (key, field, offset)


@pytest.mark.parametrize(
    "text",
    [
        "[webds: {oops}]",
        "[webds: {}]",
        "[webds: [1]]",
        '[webds: {"key": 5}]',
        '[webds: {"locate": "x"}]',
        '[webds: {"args": []}]',
        "[webds: {" + '"a":[' * 5000 + "}]",
        "[webds: {",
        "}] [webds:",
    ],
)
def test_a_text_that_only_looks_like_a_place_is_a_text(text: str) -> None:
    error = DecodeError(f"bad value {text} here")
    assert error.message == f"bad value {text} here"
    assert place(error) == dict.fromkeys(PLACE)
    assert callable(error.locate)
    located = error.locate(key="k")
    assert DecodeError(str(located)).key == "k"


def test_what_is_known_beside_a_text_wins_and_the_text_fills_in() -> None:
    error = DecodeError(str(EncodeError("inner", key="inner", field="cls", offset=3)), key="outer", url="u")
    assert (error.url, error.key, error.field, error.offset) == ("u", "outer", "cls", 3)
    assert error.message == "inner"


class Failing(IterableDataset[int]):
    def __init__(self, make: Callable[[], Exception]) -> None:
        super().__init__()
        self.make = make

    @override
    def __iter__(self) -> Iterator[int]:
        raise self.make()
        yield 0  # makes this a generator


def from_a_worker(make: Callable[[], Exception]) -> BaseException:
    """Return what a DataLoader raises for what its worker raised.

    Without the frames, which would keep the loader and its worker alive.
    """
    try:
        list(DataLoader(Failing(make), num_workers=1, multiprocessing_context="fork"))
    except Exception as error:
        return error.with_traceback(None)
    raise AssertionError("the worker's error got lost")


@pytest.mark.parametrize("cls", [FieldError, OpenError, UntrustedDataError, MissingExtraError])
def test_an_error_crosses_from_a_real_worker_with_its_place(cls: type[WebdsError]) -> None:
    """The types with constructors of their own: KeyError, OSError, ImportError."""
    error = from_a_worker(lambda: cls("it went wrong", **PLACE))
    assert isinstance(error, WebdsError)
    assert type(error) is cls
    assert place(error) == PLACE
    assert "it went wrong" in error.message


# --- pickling and copying ----------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("cls", [WebdsError, *CLASSES])
def test_errors_are_pickled_and_copied(cls: type[WebdsError], again: Callable[[WebdsError], WebdsError]) -> None:
    error = cls("it went wrong", **PLACE)
    error.add_note("a note")
    other = again(error)
    assert type(other) is cls
    assert str(other) == str(error)
    assert place(other) == PLACE
    assert other.__notes__ == ["a note"]
    assert not hasattr(again(cls("without a note")), "__notes__")


# --- locate, annotate, place_of ----------------------------------------------------------------------------


def test_locate_fills_in_what_is_not_known_and_returns_the_same_error() -> None:
    error = DecodeError("it went wrong", field="cls")
    assert error.locate(url="data/a.tar", field="jpg", key="0001") is error
    assert (error.url, error.key, error.field, error.stage) == ("data/a.tar", "0001", "cls", None)
    assert error.locate(url="b.tar", stage="map", offset=0).url == "data/a.tar"
    assert (error.stage, error.offset) == ("map", 0)
    assert place(DecodeError(str(error))) == place(error)
    assert error.args == (str(error),)


def test_a_key_that_is_no_text_is_shown_as_one() -> None:
    key: Any = complex(1, 2)
    assert str(DecodeError("it went wrong", key=key)) == 'it went wrong [webds: {"key": "(1+2j)"}]'


@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, StopIteration])
def test_an_error_of_somebody_else_keeps_its_type_and_gets_a_note(kind: type[Exception]) -> None:
    error = kind("theirs")
    annotate(error, url="https://u:p@host/a.tar?sig=x", key="0001", stage="map")
    assert error.args == ("theirs",)
    expected = {"stage": "map", "url": "https://***@host/a.tar?***", "key": "0001"}
    assert place_of(error) == expected
    assert error.__notes__ == [f"[webds: {json.dumps(expected)}]"]
    assert json.dumps(expected) in "".join(traceback.format_exception(error))


def test_the_innermost_word_counts_in_notes_too() -> None:
    error = ValueError("theirs")
    error.add_note("[webds: {their own note}]")
    annotate(error, key="inner", stage="map")
    annotate(error, key="outer", url="a.tar", stage="batch")
    assert place_of(error) == {"stage": "map", "key": "inner", "url": "a.tar"}
    assert len(error.__notes__) == 2
    assert error.__notes__[0] == "[webds: {their own note}]"


def test_an_error_of_ours_is_located_in_place_of_a_note() -> None:
    error = DecodeError("ours", key="inner")
    annotate(error, url="a.tar", key="outer", field="jpg", stage="decode")
    assert place_of(error) == {"url": "a.tar", "key": "inner", "field": "jpg", "stage": "decode"}
    assert not hasattr(error, "__notes__")


def test_nothing_is_known_of_an_error_that_nobody_located() -> None:
    assert place_of(ValueError("theirs")) == {}
    assert place_of(DecodeError("ours")) == {}


# --- secrets, extras ---------------------------------------------------------------------------------------


def test_no_secret_shows_in_an_error() -> None:
    error = OpenError("GET https://u:hunter2@host/a?sig=hunter2 failed", url="https://u:hunter2@host/a?sig=hunter2")
    error.locate(key="0001")
    for text in (str(error), repr(error), error.message, str(error.url), str(error.args), str(pickle.dumps(error))):
        assert "hunter2" not in text
    assert error.url == "https://***@host/a?***"
    later = OpenError("failed").locate(url="s3://key:hunter2@bucket/a.tar")
    assert "hunter2" not in str(later)
    assert later.url == "s3://***@bucket/a.tar"


def test_a_missing_extra_names_what_to_install() -> None:
    error = MissingExtraError.of("soundfile", "media", "decoding flac")
    assert type(error) is MissingExtraError
    assert str(error) == (
        "decoding flac needs the package 'soundfile', which is not installed: pip install 'webds[media]'"
    )


def test_an_error_without_a_text_has_one_place() -> None:
    error = EmptyDatasetError(url="a.tar")
    assert EmptyDatasetError(str(error)).url == "a.tar"
    assert error.message == ""
