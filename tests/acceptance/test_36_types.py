"""Line 36: the types along a chain are right under mypy and pyright, and wrong calls are errors under both.

``tests/typing/good`` uses the whole public surface and asserts the type after every step; in ``tests/typing/bad``, each
line that ends in ``# error`` is one.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import webds

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "typing"
GOOD = sorted(FOLDER.glob("good/*.py"))
BAD = sorted(FOLDER.glob("bad/*.py"))

Lines = set[tuple[str, int]]
"""(name of the file, number of the line)"""


def run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def errors_of_mypy() -> Iterator[tuple[str, int, str]]:
    output = run("mypy", "--strict", "--output=json", *map(str, GOOD + BAD))
    for found in map(json.loads, output.splitlines()):
        if found["severity"] == "error":
            yield str(ROOT / found["file"]), found["line"], found["message"]


def errors_of_pyright() -> Iterator[tuple[str, int, str]]:
    output = run("pyright", "--outputjson", f"--project={FOLDER}", f"--pythonpath={sys.executable}")
    report = json.loads(output[output.index("{") :])
    assert report["summary"]["filesAnalyzed"] == len(GOOD + BAD)
    for found in report["generalDiagnostics"]:
        yield found["file"], found["range"]["start"]["line"] + 1, found["message"]


@pytest.fixture(scope="module", params=[errors_of_mypy, errors_of_pyright], ids=["mypy", "pyright"])
def errors(request: pytest.FixtureRequest) -> dict[tuple[str, int], str]:
    """What one of the checkers, strict, finds in the files: text by line."""
    checker = request.param.__name__.removeprefix("errors_of_")
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed here; tox -e types runs this")
    return {(file, line): text for file, line, text in request.param()}


def marked(files: list[Path]) -> Lines:
    lines = ((str(file), enumerate(file.read_text(encoding="utf-8").splitlines(), 1)) for file in files)
    return {(file, number) for file, numbered in lines for number, line in numbered if line.endswith("  # error")}


def test_36_code_that_is_right_has_no_error(errors: dict[tuple[str, int], str]) -> None:
    files = {str(file) for file in GOOD}
    assert {place: text for place, text in errors.items() if place[0] in files} == {}


def test_36_code_that_is_wrong_has_an_error_in_every_marked_line(errors: dict[tuple[str, int], str]) -> None:
    assert len(marked(BAD)) > 200
    assert marked(BAD) - errors.keys() == set()


def test_36_and_in_no_other_line(errors: dict[tuple[str, int], str]) -> None:
    assert {place: text for place, text in errors.items() if place not in marked(BAD)} == {}


class Pair(NamedTuple):
    number: int
    text: str


@pytest.mark.parametrize(
    ("value", "batch", "part"),
    [
        (True, torch.Tensor, torch.Tensor),
        (1, torch.Tensor, torch.Tensor),
        (1.5, torch.Tensor, torch.Tensor),
        (1j, torch.Tensor, torch.Tensor),
        (np.float32(1), torch.Tensor, torch.Tensor),
        (np.zeros(3), torch.Tensor, torch.Tensor),
        (torch.zeros(3), torch.Tensor, torch.Tensor),
        ("text", list, str),
        (b"data", list, bytes),
        (np.array("text"), list, str),
        (["text", 1], tuple, tuple),
        (np.array(["text"]), list, object),
        ((1, "text"), tuple, tuple),
        (Pair(1, "text"), tuple, tuple),
        ({"number": 1}, dict, dict),
    ],
)
def test_36_batches_are_what_their_types_say(value: Any, batch: type, part: type) -> None:
    """As `webds.DatasetBuilder.batch` and `unbatch` declare it, and ``good/batches.py`` asserts it."""
    builder = webds.DatasetBuilder(webds.MemorySource([value, value])).split(webds.NoSplit()).batch(2)
    (batched,) = builder.build()
    assert isinstance(batched, batch)
    parts = list(builder.unbatch().build())
    assert len(parts) == 2
    assert all(isinstance(one, part) for one in parts)


def test_36_what_has_no_type_as_a_batch_has_no_batch() -> None:
    builder: webds.DatasetBuilder[Any] = webds.DatasetBuilder(webds.MemorySource([object()]))
    with pytest.raises(webds.BatchError, match="collate="):
        list(builder.batch(1).build())


def attributes_used() -> set[str]:
    """Return the names of all attributes that the right code looks at, and of the methods that it defines."""
    names: set[str] = set()
    for file in GOOD:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
    return names


def public_methods(kind: type) -> set[str]:
    ours = [base for base in kind.__mro__ if base.__module__.startswith("webds")]
    return {name for base in ours for name, value in vars(base).items() if not name.startswith("_") and callable(value)}


def test_36_the_code_that_is_right_uses_every_public_name_and_method() -> None:
    used = attributes_used()
    public = {name: getattr(webds, name) for name in webds.__all__}
    assert set(public) - used == set()
    methods = {
        f"{name}.{method}" for name, kind in public.items() if inspect.isclass(kind) for method in public_methods(kind)
    }
    assert len(methods) > 100
    assert {method for method in methods if method.partition(".")[2] not in used} == set()
