"""Every Python code block of README.md and docs/ runs; blocks go on from the earlier ones of their page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<fence>`{3,}|~{3,})(?P<language>[^`\n]*)\n(?P<code>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)
OTHERS = {"", "text", "sh", "bash", "console", "toml", "json", "yaml", "mermaid"}


@attrs.frozen
class Block:
    """A fenced block of a page.

    Attributes:
        language: what the fence says.
        line: number of the line that the code begins at.
        code: the code.
    """

    language: str
    line: int
    code: str


def blocks_of(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield Block(match["language"].strip(), line, match["code"])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_python_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if page.name == "ray.md":
        request.getfixturevalue("local_ray")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for block in blocks_of(page.read_text()):
        if block.language == "python":
            # Empty lines in front make the numbers of lines in a traceback those of the page.
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_of_a_page_goes_by_another_name_for_python(page: Path) -> None:
    """A misspelt language would not be run."""
    assert {block.language for block in blocks_of(page.read_text())} <= {"python", *OTHERS}


def test_the_front_page_has_code() -> None:
    assert [block.language for block in blocks_of((ROOT / "README.md").read_text())].count("python") >= 1


def test_blocks_are_found_with_their_lines() -> None:
    text = "# A page\n\n```python\nx = 1\ny = 2\n```\n\ntext\n\n~~~sh\nls\n~~~\n\n```python\nprint(x)\n```\n"
    assert list(blocks_of(text)) == [
        Block("python", 4, "x = 1\ny = 2\n"),
        Block("sh", 11, "ls\n"),
        Block("python", 15, "print(x)\n"),
    ]
