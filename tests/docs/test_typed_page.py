"""The page about type checking shows code that is checked: test_36 runs mypy and pyright over the same files."""

from __future__ import annotations

from pathlib import Path

from codeblocks import blocks_of

ROOT = Path(__file__).parents[2]
BLOCKS = list(blocks_of((ROOT / "docs" / "how-to" / "type-checked.md").read_text()))


def test_the_code_that_is_right_is_that_of_the_typing_tests() -> None:
    (right,) = (block.code for block in BLOCKS if block.title == "photos.py")
    assert right == (ROOT / "tests" / "typing" / "good" / "photos.py").read_text()


def test_the_code_that_is_wrong_is_that_of_the_typing_tests() -> None:
    (wrong,) = (block.code for block in BLOCKS if block.language == "python" and not block.runs)
    assert wrong == (ROOT / "tests" / "typing" / "bad" / "photos.py").read_text()
