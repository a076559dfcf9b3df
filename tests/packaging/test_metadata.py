"""What pyproject.toml declares, the constraint files and .ci/run agree."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements() -> dict[str, str]:
    """Return name → lowest version, of all dependencies and extras."""
    extras = PROJECT["optional-dependencies"].values()
    found: dict[str, str] = {}
    for requirement in [*PROJECT["dependencies"], *(one for extra in extras for one in extra)]:
        if not requirement.startswith("webds["):
            name, version = re.split(">=|==", requirement)
            found[name.partition("[")[0].lower()] = version  # a constraint has no extras
    return found


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "tests" / "constraints" / name).read_text(encoding="utf-8").splitlines()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines) if version}


def padded(version: str) -> list[int]:
    numbers = [int(part) for part in version.split(".")]
    return numbers + [0] * (4 - len(numbers))


def test_the_oldest_versions_are_those_declared() -> None:
    declared, oldest = requirements(), pins("oldest.txt")
    del declared["torch"]  # one torch is tested, any from the lowest declared one is welcome
    assert oldest.keys() == declared.keys()
    wrong = {name: version for name, version in oldest.items() if padded(version) != padded(declared[name])}
    assert wrong == {}


def test_the_torch_that_is_tested_is_pinned_for_tests_alone() -> None:
    lowest, tested = requirements()["torch"], pins("torch.txt")["torch"]
    assert "torch==" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert padded(lowest) < padded(tested)


def test_the_script_for_ci_runs_the_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    command = re.search(r"^tests='(.*)'$", script.read_text(encoding="utf-8"), re.MULTILINE)
    assert command is not None
    assert f"\n    {command[1]}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
