"""The table of older names: every name has a row, and what a row points to is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from older_names import CHECKS, CLASSES, FUNCTIONS, METHODS, TABLES, TENBIN, lines, named

import webds

PAGE = Path(__file__).parents[2] / "docs" / "older-names.md"
NAME = re.compile(r"`([A-Za-z_][\w.]*)")


def rows() -> list[tuple[str, str, str]]:
    """Return the cells of the table, without its head; a bar after a backslash is no border."""
    found: list[tuple[str, str, str]] = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            older, module, here = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            found.append((older, module, here))
    return found[1:]


def names_of(cell: str) -> list[str]:
    return NAME.findall(cell)


def resolve(dotted: str) -> object:
    value: object = webds
    for part in dotted.split(".")[1:]:
        if not hasattr(value, part):
            value = importlib.import_module(f"{getattr(value, '__name__', '')}.{part}")
        else:
            value = getattr(value, part)
    return value


def test_every_older_name_has_one_row() -> None:
    listed = [name for older, _, _ in rows() for name in names_of(older)]
    functions = (line for text in (CLASSES, FUNCTIONS, TENBIN, CHECKS) for line in lines(text))
    methods = (named(line).partition(".")[2] for line in lines(METHODS) if line.startswith("Dataset."))
    fluent = [method for method in methods if not method.startswith("__")]
    assert sorted(listed) == sorted([*map(named, functions), *TABLES, *fluent, "subset"])


@pytest.mark.parametrize("name", [name for older, _, _ in rows() for name in names_of(older)])
def test_every_older_name_is_there_under_its_own_name(name: str) -> None:
    holders = (webds, webds.Dataset)
    assert any(hasattr(holder, name) for holder in holders)


@pytest.mark.parametrize("row", rows(), ids=lambda row: names_of(row[0])[0])
def test_a_row_points_to_what_is_there(row: tuple[str, str, str]) -> None:
    _, module, here = row
    assert re.fullmatch(r"`webdataset\.\w+`", module)
    pointed = [name for name in names_of(here) if name.startswith("webds.")]
    for name in pointed:
        assert resolve(name) is not None
    assert pointed or "same" in here
