"""Every example runs as its user would run it, and prints what it should."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import attrs
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@attrs.frozen
class Example:
    """How an example is run, and what it prints.

    Attributes:
        prints: a pattern of a line, with groups for what is measured.
        arguments: of the command line.
        warnings: what it makes of warnings.
        above: what the first group, a number, has to be above.
        needs: the package without which it cannot run.
        extra: what installs that package.
    """

    prints: str
    arguments: tuple[str, ...] = ()
    warnings: str = "error"
    above: float | None = None
    needs: str | None = None
    extra: str = "examples"


RUNS: Final = {
    "audio_classification.py": Example(r"test accuracy (\d\.\d+)", above=0.85, needs="soundfile"),
    "digits.py": Example(r"test accuracy (\d\.\d+)", ("shards", "--epochs", "8"), above=0.95, needs="sklearn"),
    "distributed_evaluation.py": Example(
        r"1797 of 1797 samples came exactly once; (\d+) are right, \1 by one process", above=1500, needs="sklearn"
    ),
    "embeddings_joined.py": Example(
        "1779 of 1797 images have an embedding, 18 have none; 1779 are that of their image", needs="sklearn"
    ),
    "image_text_pairs.py": Example(
        r"(\d\.\d+) of 297 images find a caption with the right word", above=0.8, needs="sklearn"
    ),
    # Lightning does what others call outdated.
    "lightning_module.py": Example(
        "70 batches, then 68; the same as 138 without a stop: True", warnings="default", needs="lightning"
    ),
    # That package leaves files open for the garbage collector.
    "migrate_from_webdataset.py": Example(
        "shards of the new writer: the older front door equal: True; the builder: True",
        warnings="ignore::ResourceWarning",
        needs="webdataset",
    ),
    "new_format.py": Example("64 of 64 tiles came back as they were; the highest mountain is in n0/w4, 1199 m"),
    # Older releases tell of what later ones will do.
    "prepare_with_ray.py": Example(
        r"118 of 120 photographs in 4 shards\nbatches of \(16, 3, 32, 32\) and \(16,\), in .*",
        ("shards",),
        warnings="ignore::FutureWarning",
        needs="ray",
        extra="ray",
    ),
    "resume_after_kill.py": Example(
        "2 batches were done again; same batches: True; same network: True", needs="sklearn"
    ),
}


def run(name: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, str(EXAMPLES / name), *RUNS[name].arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_each_example_is_run_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_the_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    example = RUNS[name]
    if example.needs is not None:
        pytest.importorskip(example.needs)
    if example.needs == "ray":
        monkeypatch.setenv("RAY_ADDRESS", request.getfixturevalue("ray_address"))
    result = run(name, tmp_path, "-W", example.warnings)
    assert result.returncode == 0, result.stdout + result.stderr
    found = re.search(f"^{example.prints}$", result.stdout, re.MULTILINE)
    assert found is not None, result.stdout
    if example.above is not None:
        assert float(found[1]) > example.above
    if name == "digits.py":
        assert sorted(path.name for path in (tmp_path / "shards").iterdir())[:2] == ["test-0000.tar", "test-0001.tar"]


@pytest.mark.parametrize("name", RUNS)
def test_an_example_says_what_it_needs_and_how_it_is_run(name: str) -> None:
    """Each package that is not one of webds itself is imported so that its error names the extra."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree) or ""
    assert f"python examples/{name}" in docstring
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {re.split("[>=]", requirement)[0].replace("-", "_") for requirement in project["dependencies"]} | {"PIL"}
    plain = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert plain <= own | {"webds", *sys.stdlib_module_names}
    guarded = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Try)]
    if RUNS[name].needs is not None:
        (guard,) = guarded
        assert f" {RUNS[name].needs}" in guard
        assert f"pip install 'webds[{RUNS[name].extra}]'" in guard
        assert f"pip install 'webds[{RUNS[name].extra}]'" in docstring


def test_without_its_packages_the_error_names_the_extra(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.modules['soundfile'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", code, str(EXAMPLES / "audio_classification.py")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.strip() == "this example needs soundfile: pip install 'webds[examples]'"


def test_the_format_that_is_added_keeps_to_the_contract(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "new_format.py")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert re.search(r"\b(\d\d) passed", result.stdout), result.stdout
