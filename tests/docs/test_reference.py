"""The reference has every public name once, and says of contracts what the how-to guides say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import webds
import webds.abc
import webds.testing

DOCS = Path(__file__).parents[2] / "docs"
DIRECTIVE = re.compile(r"^::: (webds[\w.]*)$", re.MULTILINE)
TABLE = re.compile(r"^\| \| \|\n\|---\|---\|\n(?:\|.*\n)+", re.MULTILINE)
NAMED = [name for page in sorted((DOCS / "reference").glob("*.md")) for name in DIRECTIVE.findall(page.read_text())]
CONTRACTS = (DOCS / "reference" / "contracts.md").read_text()


def documented(name: str) -> bool:
    if name in {"checks", "tenbin"}:  # modules, whose names are there one by one
        return all(f"webds.{name}.{one}" in NAMED or f"webds.{one}" in NAMED for one in getattr(webds, name).__all__)
    return f"webds.{name}" in NAMED or f"webds.tenbin.{name}" in NAMED


@pytest.mark.parametrize("name", webds.__all__)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert documented(name)


@pytest.mark.parametrize("name", webds.testing.__all__)
def test_a_name_of_webds_testing_is_in_the_reference(name: str) -> None:
    assert f"webds.testing.{name}" in NAMED


def test_no_name_is_there_twice() -> None:
    assert sorted(NAMED) == sorted(set(NAMED))


@pytest.mark.parametrize("contract", webds.abc.__all__)
def test_a_contract_has_a_row_that_names_its_methods(contract: str) -> None:
    index = (DOCS / "reference" / "index.md").read_text()
    row = next(line for line in index.splitlines() if line.startswith(f"| [`{contract}`]"))
    of_its_own = {"Codec": ["both"], "IndexedSource": ["`counts(", "`read_at("]}
    abstract = getattr(webds, contract).__abstractmethods__
    for text in of_its_own.get(contract, [f"`{name}(" for name in abstract]):
        assert text in row
    suite = getattr(webds.testing, f"{contract}Suite")
    assert f"`webds.testing.{suite.__name__}`" in CONTRACTS


@pytest.mark.parametrize("contract", webds.abc.__all__)
def test_the_classes_of_a_row_keep_to_its_contract(contract: str) -> None:
    index = (DOCS / "reference" / "index.md").read_text()
    row = next(line for line in index.splitlines() if line.startswith(f"| [`{contract}`]"))
    named = set(re.findall(r"`webds\.(\w+)`", row.rsplit("|", 2)[1]))
    kinds = {name: kind for name in webds.__all__ if inspect.isclass(kind := getattr(webds, name))}
    base = getattr(webds, contract)
    built_in = {name for name, kind in kinds.items() if issubclass(kind, base) and not inspect.isabstract(kind)}
    if contract in {"Source", "Decoder", "Encoder"}:  # those that are more stand in the row of what they are
        assert named < built_in or named == set()
    else:
        assert named == built_in


@pytest.mark.parametrize("page", ["add-a-codec", "add-a-sink", "add-a-source", "add-a-splitter", "add-an-opener"])
def test_how_to_guides_and_reference_say_the_same_of_a_contract(page: str) -> None:
    (table,) = [
        found
        for found in TABLE.findall((DOCS / "how-to" / f"{page}.md").read_text())
        if found.count("**Must**") and found.count("**May**") and found.count("**Must not**")
    ]
    assert table in CONTRACTS
