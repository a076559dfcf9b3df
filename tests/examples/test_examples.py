"""Every example runs as its user would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ARGUMENTS = {"digits.py": ["shards", "--epochs", "8"]}


def test_each_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *ARGUMENTS[name]]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    if name == "digits.py":
        accuracy = re.search(r"^test accuracy (\d\.\d+)$", result.stdout, re.MULTILINE)
        assert accuracy is not None
        assert float(accuracy[1]) > 0.95
        assert sorted(path.name for path in (tmp_path / "shards").iterdir())[:2] == ["test-0000.tar", "test-0001.tar"]
