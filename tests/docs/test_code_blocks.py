"""Every Python code block of README.md and docs/ runs; blocks go on from the earlier ones of their page."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from codeblocks import OUTPUT, Block, Page, blocks_of, unlike

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
OTHERS = {"", "text", "sh", "bash", "console", "toml", "json", "yaml", "mermaid"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


IN_PROCESS = [page for page in PAGES if page.parent != ROOT / "docs" / "integrations"]
INTEGRATIONS = [page for page in PAGES if page.parent == ROOT / "docs" / "integrations"]


class Outcomes:
    """A plugin that keeps what became of tests."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed
        self.failed += [report.longreprtext] if report.failed else []


def run_tests(file: Path) -> None:
    """Run the tests of a file by a pytest of their own, in this process: torch is there already."""
    outcomes = Outcomes()
    without = ("cacheprovider", "faulthandler", "timeout", "xdist")
    options = [option for plugin in without for option in ("-p", f"no:{plugin}")]
    status = pytest.main(["-q", "--assert=plain", "--capture=no", "-W", "error", *options, str(file)], [outcomes])
    assert not outcomes.failed, "\n".join(outcomes.failed)
    assert status == 0
    assert outcomes.passed > 0


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
    for block in blocks_of(page.read_text()):
        assert block.title is None, "files, and output that is compared, are for the pages that run in this process"
        if block.runs:
            script += "\n" * (block.line - 1 - script.count("\n")) + block.code  # lines keep their numbers
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
    Page(page, tmp_path, run_tests).run()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_of_a_page_goes_by_another_name_for_python(page: Path) -> None:
    """A misspelt language would not be run."""
    assert {block.language for block in blocks_of(page.read_text())} <= {"python", *OTHERS}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_that_does_not_run_says_why(page: Path) -> None:
    blocks = list(blocks_of(page.read_text()))
    assert all(block.language == "python" and len(block.reason) > 10 for block in blocks if block.reason is not None)
    shown = [before.runs for before, block in itertools.pairwise(blocks) if block.title == OUTPUT]
    assert all(shown), "a block shows the output of one that does not run"


def test_the_front_page_has_code() -> None:
    assert [block.language for block in blocks_of((ROOT / "README.md").read_text())].count("python") >= 1


def test_blocks_are_found_with_their_lines() -> None:
    text = """# A page

```python
x = 1
y = 2
```

text

~~~sh
ls
~~~

<!-- not run: it needs a GPU -->
```python title="a.py" linenums="1"
print(x)
```

```text title="output"
1
```
"""
    assert list(blocks_of(text)) == [
        Block("python", 4, "x = 1\ny = 2\n"),
        Block("sh", 11, "ls\n"),
        Block("python", 16, "print(x)\n", "a.py", "it needs a GPU"),
        Block("text", 20, "1\n", "output"),
    ]


def test_output_that_is_shown_is_compared() -> None:
    printed = "epoch 0  loss 2.31\nepoch 1  loss 1.07\ndone\n"
    assert unlike(printed, "epoch 0  loss …\n…\ndone\n") is None
    assert unlike(printed, "epoch 0  loss …\ndone\n") is not None
    assert unlike(printed, "epoch 0  loss 2.32\n…\n") == "epoch 0  loss 2.32"
    assert unlike("", "anything\n") == "anything"


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    tested: list[str] = []
    page, folder = tmp_path / "page.md", tmp_path / "folder"
    page.write_text(text)
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    Page(page, folder, lambda file: tested.append(file.name)).run()
    return tested


def test_a_page_runs_files_tests_and_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
```python title="mine.py"
import pathlib
pathlib.Path("ran").touch()
NUMBER = 3
```

```python title="test_mine.py"
```

```python
import mine, pickle
class Thing: ...
pickle.loads(pickle.dumps(Thing()))
print(mine.NUMBER, __import__("os").path.exists("ran"))
```

```text title="output"
3 True
```
"""
    assert run(tmp_path, monkeypatch, text) == ["test_mine.py"]


@pytest.mark.parametrize("wrong", ["raise ValueError", "print(4)", "print(3)\nprint(3)"])
def test_a_page_that_is_wrong_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        run(tmp_path, monkeypatch, f'```python\n{wrong}\n```\n\n```text title="output"\n3\n```\n')
