"""Pages are put together: one page of all change notes, and links from names of the library to the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTE = re.compile(r"\d{4}-.*\.md")
HEADING = re.compile(r"^#", re.MULTILINE)
NAME = re.compile(r"<code>(?P<text>(?P<name>webds(?:\.\w+)+)[^<]*)</code>")
METHOD = re.compile(r"<code>(?P<text>\.(?P<name>\w+)\([^<]*)</code>")
LINKED = re.compile(r"<pre.*?</pre>|<a\b.*?</a>|<h[1-6].*?</h[1-6]>", re.DOTALL)  # no place for another link
INTRODUCTION = "# Changes\n\nWhat a user can notice, the newest first.\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Make one page of docs/changes, the newest note first."""
    folder = Path(config.docs_dir) / "changes"
    notes = sorted((path for path in folder.iterdir() if NOTE.fullmatch(path.name)), reverse=True)
    text = "\n".join([INTRODUCTION, *(HEADING.sub("##", path.read_text(encoding="utf-8"), count=1) for path in notes)])
    files.append(File.generated(config, "changes.md", content=text))
    return files


def _reference(identifier: str, text: str) -> str:
    return f'<autoref identifier="{identifier}" optional><code>{text}</code></autoref>'


def on_page_content(html: str, **_: Any) -> str:
    """Let names such as ``webds.ShardWriter`` and ``.shuffle(…)`` lead to the reference."""
    parts: list[str] = []
    end = 0
    for block in [*LINKED.finditer(html), None]:
        text = html[end : len(html) if block is None else block.start()]
        text = NAME.sub(lambda found: _reference(found["name"], found["text"]), text)
        parts.append(METHOD.sub(lambda found: _reference(f"webds.DatasetBuilder.{found['name']}", found["text"]), text))
        if block is not None:
            parts.append(block[0])
            end = block.end()
    return "".join(parts)
