"""Docstrings become Markdown: names between single backticks are links to the reference, ``::`` opens no block."""

from __future__ import annotations

import re
from typing import Any

import griffe
from typing_extensions import override

CODE = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")


LITERAL = re.compile(r"(?<!:)::$", re.MULTILINE)


class Links(griffe.Extension):
    """Rewrites the docstrings of a package once it is loaded as a whole."""

    @override
    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of all modules of ``pkg``."""
        exports = pkg.exports or []
        self._public = {str(name): f"{pkg.path}.{name}" for name in exports}
        self._walk(pkg, set())

    def _walk(self, holder: griffe.Module | griffe.Class, seen: set[str]) -> None:
        if holder.path in seen:
            return
        seen.add(holder.path)
        self._rewrite(holder)
        for member in holder.members.values():
            if member.is_alias:
                continue
            if isinstance(member, (griffe.Module, griffe.Class)):
                self._walk(member, seen)
            else:
                self._rewrite(member)

    def _rewrite(self, of: griffe.Object | griffe.Alias) -> None:
        if of.docstring is not None:
            text = LITERAL.sub(lambda found: ":" if found.start() and found.string[found.start() - 1] != "\n" else "",
                               of.docstring.value)  # fmt: skip
            of.docstring.value = CODE.sub(lambda found: self._link(of, found[1]), text)

    def _link(self, of: griffe.Object | griffe.Alias, name: str) -> str:
        first, _, rest = name.removeprefix("webds.").partition(".")
        if first in self._public:
            identifier = self._public[first] + (f".{rest}" if rest else "")
        else:
            holder = of if isinstance(of, griffe.Class) else of.parent
            if not isinstance(holder, griffe.Class) or name not in holder.members:
                return f"`{name}`"
            identifier = f"{self._public.get(holder.name, holder.path)}.{name}"
        return f'<autoref identifier="{identifier}" optional><code>{name}</code></autoref>'
