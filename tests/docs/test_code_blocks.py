"""Every Python code block of README.md and docs/ runs; blocks go on from the earlier ones of their page."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest

ROOT = Path(__file__).parents[2]
NEEDS: Final = {
    "dali.md": "nvidia.dali",
    "huggingface.md": "datasets",
    "lightning.md": "lightning",
    "ray.md": "ray",
    "torchdata.md": "torchdata",
    "webdataset.md": "webdataset",
}
"""The pages of docs/integrations, each with the package that it is about."""
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


def python_of(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each block of Python."""
    return ((block.line, block.code) for block in blocks_of(page.read_text()) if block.language == "python")


IN_PROCESS = [page for page in PAGES if page.parent != ROOT / "docs" / "integrations"]
INTEGRATIONS = [page for page in PAGES if page.parent == ROOT / "docs" / "integrations"]


def test_there_is_a_page_for_each_package() -> None:
    assert [page.name for page in INTEGRATIONS] == sorted(NEEDS)


@pytest.mark.parametrize("page", INTEGRATIONS, ids=name_of)
def test_the_python_code_of_a_page_about_another_package_runs(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In a process of its own: some of these packages change much of the one that they run in, and warn."""
    try:
        found = importlib.util.find_spec(NEEDS[page.name])
    except ModuleNotFoundError:  # not even what it is in
        found = None
    if found is None:
        pytest.skip(f"needs {NEEDS[page.name]}")
    script = ""
    for line, code in python_of(page):
        script += "\n" * (line - 1 - script.count("\n")) + code  # lines keep their numbers
    (tmp_path / "page.py").write_text(script)
    more = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    if page.name == "ray.md":
        more["RAY_ADDRESS"] = request.getfixturevalue("ray_address")
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env={**os.environ, **more}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", IN_PROCESS, ids=name_of)
def test_the_python_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__page__"}
    for line, code in python_of(page):
        # Empty lines in front make the numbers of lines in a traceback those of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)


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
