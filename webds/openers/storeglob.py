"""Globs of object stores: which keys match, by the rules of local ones."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from webds.urls import has_glob

__all__ = ["folder_of", "is_deep", "matches"]

_ANY: Final = "**"


def folder_of(pattern: str) -> str:
    """Return the folder that all matches are in; empty for the whole bucket."""
    parts = pattern.split("/")[:-1]
    fixed = next((n for n, part in enumerate(parts) if has_glob(part)), len(parts))
    return "/".join(parts[:fixed])


def is_deep(pattern: str) -> bool:
    """Return whether matches may be in folders of `folder_of`, and not only in itself."""
    folder = folder_of(pattern)
    rest = pattern[len(folder) + 1 :] if folder else pattern
    return "/" in rest or rest == _ANY


def matches(key: str, pattern: str) -> bool:
    """Return whether a key matches: ``*``, ``?`` and ``[…]`` within a name, ``**`` for any folders.

    As for local files, wildcards take no dot at the beginning of a name.
    """
    return _match(key.split("/"), pattern.split("/"))


def _match(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns or not names:
        return not patterns and not names
    if patterns == [_ANY]:
        return not any(name.startswith(".") for name in names)
    first, rest = patterns[0], patterns[1:]
    if first != _ANY:
        hidden = names[0].startswith(".") and has_glob(first) and not first.startswith(".")
        return not hidden and fnmatchcase(names[0], first) and _match(names[1:], rest)
    if rest[:1] == [_ANY]:
        return _match(names, rest)
    return _match(names, rest) or (not names[0].startswith(".") and _match(names[1:], patterns))
