"""docs/acceptance.md has a line for each of the forty, and each has tests of its number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "acceptance.md").read_text(encoding="utf-8")
LINE = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TESTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/acceptance").glob("test_*.py"))}


def test_there_are_forty_lines_in_their_order() -> None:
    assert [int(number) for number, _, _ in LINE.findall(PAGE)] == [*range(1, 41)]
    assert PAGE.count("\n| ") - PAGE.count("\n| | ") == 40, "no line that this test does not see"


@pytest.mark.parametrize("number", range(1, 41))
def test_a_line_has_tests_of_its_number(number: int) -> None:
    of_it = {name: text for name, text in TESTS.items() if name.startswith(f"test_{number:02}_")}
    assert of_it
    for name, text in of_it.items():
        called = re.findall(r"^\s*(?:async )?def (test_\w+)\(", text, re.MULTILINE)
        assert called, name
        assert all(test.startswith(f"test_{number:02}_") for test in called), name


def test_no_file_of_tests_has_another_number() -> None:
    assert {int(name[5:7]) for name in TESTS} == {*range(1, 41)}
