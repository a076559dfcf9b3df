"""The wheel holds the package, all of it, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.iterdir()
    return zipfile.Path(built)


def names(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def test_it_holds_every_module_of_the_package_its_types_and_the_parts_of_pages(wheel: zipfile.Path) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "webds").rglob("*.py")}
    assets = {f"webds/tools/report/assets/page.{suffix}" for suffix in ("html", "css", "js")}
    assert modules | assets | {"webds/py.typed"} == {name for name in names(wheel) if name.startswith("webds/")}
    assert "webds/testing/__init__.py" in names(wheel)


def test_it_holds_nothing_else_but_metadata_and_licence(wheel: zipfile.Path) -> None:
    others = {name for name in names(wheel) if not name.startswith("webds/")}
    (info,) = {name.partition("/")[0] for name in others}
    assert info.startswith("webds-")
    assert info.endswith(".dist-info")
    assert (wheel / info / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_its_metadata_describe_the_package(wheel: zipfile.Path) -> None:
    (name,) = (name for name in names(wheel) if name.endswith(".dist-info/METADATA"))
    metadata = HeaderParser().parsestr((wheel / name).read_text(encoding="utf-8"))
    assert metadata["Name"] == "webds"
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
