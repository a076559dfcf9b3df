"""Every example runs as its user would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ARGUMENTS = {"digits.py": ["shards", "--epochs", "8"], "prepare_with_ray.py": ["shards"]}


def test_each_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(ARGUMENTS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_example_runs(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    environment = dict(os.environ)
    if name == "prepare_with_ray.py":
        environment["RAY_ADDRESS"] = request.getfixturevalue("ray_address")
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *ARGUMENTS[name]]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    if name == "digits.py":
        accuracy = re.search(r"^test accuracy (\d\.\d+)$", result.stdout, re.MULTILINE)
        assert accuracy is not None
        assert float(accuracy[1]) > 0.95
        assert sorted(path.name for path in (tmp_path / "shards").iterdir())[:2] == ["test-0000.tar", "test-0001.tar"]
    if name == "prepare_with_ray.py":
        assert result.stdout.splitlines()[0] == "118 of 120 photographs in 4 shards"
        assert result.stdout.splitlines()[1].startswith("batches of (16, 3, 32, 32) and (16,), in ")
