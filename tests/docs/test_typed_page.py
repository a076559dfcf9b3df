"""The page about type checking shows code that is checked: test_36 runs mypy and pyright over the same files."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path

from codeblocks import blocks_of

import webds

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "type-checked.md").read_text()
BLOCKS = list(blocks_of(PAGE))


def test_the_code_that_is_right_is_that_of_the_typing_tests() -> None:
    (right,) = (block.code for block in BLOCKS if block.title == "photos.py")
    assert right == (ROOT / "tests" / "typing" / "good" / "photos.py").read_text()


def test_the_code_that_is_wrong_is_that_of_the_typing_tests() -> None:
    (wrong,) = (block.code for block in BLOCKS if block.language == "python" and not block.runs)
    assert wrong == (ROOT / "tests" / "typing" / "bad" / "photos.py").read_text()


def _signatures(value: object) -> Iterator[tuple[str, object]]:
    """Yield what a public function, or class, has of functions and attributes: each with a name and its annotations."""
    if inspect.isfunction(value):
        yield "", value
    if not inspect.isclass(value):
        return
    public = {"__init__", "__call__", "__getitem__", "__iter__"}
    for name, member in vars(value).items():
        function = getattr(member, "__func__", getattr(member, "fget", member))
        if inspect.isfunction(function) and (not name.startswith("_") or name in public):
            yield f".{name}", function
    for name, annotation in inspect.get_annotations(value).items():
        if not name.startswith("_"):
            yield f".{name}", annotation


def _annotations(of: object) -> Iterator[str]:
    if not inspect.isfunction(of):
        yield str(of)
        return
    function = inspect.unwrap(of)
    for one in typing.get_overloads(function) or [function]:
        yield from (str(annotation) for name, annotation in one.__annotations__.items() if name != "self")


def test_each_any_that_is_left_is_explained() -> None:
    left = {
        f"{name}{rest}"
        for name in webds.__all__
        for rest, of in _signatures(getattr(webds, name))
        if any(re.search(r"\bAny\b", annotation) for annotation in _annotations(of))
    }
    section = PAGE.split("## Where `Any` is left")[1]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    explained = [name for _, where, why, _ in rows for name in re.findall(r"`([\w.]+)`", where) if why.strip()]
    assert sorted(explained) == sorted({*left, "webds.Sample"})
