"""Code blocks of Markdown pages, and a run of all those of a page that are Python."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import runpy
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

__all__ = ["OUTPUT", "Block", "Page", "blocks_of", "unlike"]

OUTPUT = "output"
"""The title of a block that shows what the Python block before it prints."""

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n)?"
    r"^(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]*)"')


@attrs.frozen
class Block:
    """A fenced block of a page.

    Attributes:
        language: the first word of the fence.
        line: number of the line that the code begins at.
        code: the code.
        title: what the fence says is its title: the name of a file, or `OUTPUT`.
        reason: why it is not run, where it is not.
    """

    language: str
    line: int
    code: str
    title: str | None = None
    reason: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is Python that runs."""
        return self.language == "python" and self.reason is None


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        title = _TITLE.search(match["info"])
        language = match["info"].split(maxsplit=1)[0] if match["info"].strip() else ""
        yield Block(language, line, match["code"], title and title[1], match["reason"])


def unlike(actual: str, shown: str) -> str | None:
    """Return the first line that is shown otherwise than it is printed; None if there is none.

    In what is shown, ``…`` stands for any characters, and alone in a line for any number of lines.
    """
    pattern = "".join(
        "(?:.*\n)*?" if line.strip() == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + "[ \t]*\n"
        for line in shown.splitlines()
    )
    if re.fullmatch(pattern, actual):
        return None
    printed = actual.splitlines()
    for line in shown.splitlines():
        if not any(re.fullmatch(".*".join(map(re.escape, line.rstrip().split("…"))), one.rstrip()) for one in printed):
            return line
    return f"(another order or number of lines)\n{actual}"


class Page:
    """A page that is run, block by block, in one module, so that each goes on from the earlier ones.

    A block whose title is the name of a file is written to it; then it is run as a program, if it can be one, or
    imported, and the page's next blocks can import it. Files of tests are handed to ``test``. What a block
    prints is compared with the block after it that shows this.

    Args:
        path: the page.
        folder: where it runs, the working directory.
        test: runs the tests of a file.
    """

    def __init__(self, path: Path, folder: Path, test: Callable[[Path], None]) -> None:
        self._path = path
        self._folder = folder
        self._test = test
        self._module = types.ModuleType("__main__")  # what it defines can be pickled as that of a program can

    def run(self) -> None:
        """Run the page."""
        program = sys.modules["__main__"]
        sys.modules["__main__"] = self._module
        for block in blocks_of(self._path.read_text()):
            if block.title is not None:
                sys.modules.pop(Path(block.title).stem, None)  # another page, or a test, had one of this name
        sys.path.insert(0, str(self._folder))
        importlib.invalidate_caches()
        printed = ""
        try:
            for block in blocks_of(self._path.read_text()):
                if block.runs:
                    with contextlib.redirect_stdout(io.StringIO()) as output:
                        self._run(block)
                    printed = output.getvalue()
                elif block.title == OUTPUT:
                    line = unlike(printed, block.code)
                    assert line is None, (
                        f"{self._path}, line {block.line}: not what is printed:\n{line}\n---\n{printed}"
                    )
        finally:
            sys.path.remove(str(self._folder))
            sys.modules["__main__"] = program
            for name, module in list(sys.modules.items()):
                if (getattr(module, "__file__", None) or "").startswith(str(self._folder)):
                    del sys.modules[name]

    def _run(self, block: Block) -> None:
        # Empty lines in front make the numbers of lines in a traceback those of the page.
        code = "\n" * (block.line - 1) + block.code
        if block.title is None:
            exec(compile(code, str(self._path), "exec"), self._module.__dict__)
            return
        file = self._folder / block.title
        file.write_text(code)
        if file.name.startswith("test_"):
            self._test(file)
        elif 'if __name__ == "__main__":' in code:
            runpy.run_path(str(file), run_name="__main__")
        else:
            importlib.invalidate_caches()
            importlib.import_module(file.stem)
