"""Numbered names of shards, such as ``train-%06d.tar``, and the files that have such names."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from typing import Final, final

import attrs

from webds.abc import Opener
from webds.openers.schemes import OpenerLike
from webds.sinks.stores import opener_for, tells
from webds.sinks.targets import PARTIAL_GLOB
from webds.urls import local_path

__all__ = ["ShardPattern", "is_pattern"]

_PERCENT: Final = re.compile(r"%(?P<conversion>%|[-+ #0]*\d*(?:(?:\.\d+)?[diuxXo]|s))?")
_MARK: Final = "0number0of0the0shard0"
_BASES: Final = {"x": 16, "X": 16, "o": 8}


def is_pattern(name: str) -> bool:
    """Return whether a name has anything that may be a place for a number; `ShardPattern` says whether it is one."""
    return any(match["conversion"] not in ("%", None) for match in _PERCENT.finditer(name))


@final
@attrs.frozen
class ShardPattern:
    """A name with one place for the shard's number.

    Attributes:
        pattern: a name or URL for the ``%`` operator, with exactly one conversion (``%06d``); ``%%`` is a
            percent sign.
        opener: opens names that are not local; None for the default opener.
        store: what opens them, if it can tell what is there; None for local names.

    Raises:
        ValueError: there is no conversion, or more than one, or it is none for whole numbers.
    """

    pattern: str
    opener: OpenerLike | None = None
    store: Opener | None = attrs.field(init=False, default=None, eq=False)
    _base: int = attrs.field(init=False, default=10, repr=False, eq=False)
    _around: tuple[str, str] | None = attrs.field(init=False, default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        found = [match for match in _PERCENT.finditer(self.pattern) if match["conversion"] != "%"]
        if len(found) != 1 or not found[0]["conversion"]:
            raise ValueError(
                f"the pattern {self.pattern!r} must have one place for the shard's number, such as "
                "'train-%06d.tar'; a percent sign that is none is written %%"
            )
        conversion = found[0]
        local = local_path(self.name(0)) is not None
        if not local:
            store = opener_for(self.name(0), self.opener)
            if not tells(store):
                return
            object.__setattr__(self, "store", store)
        before, after = (part.replace("%%", "%") for part in _halves(self.pattern, conversion))
        path = local_path(before + _MARK + after) if local else before + _MARK + after
        if path is None or path.count(_MARK) != 1:
            raise ValueError(f"the pattern {self.pattern!r} has the shard's number where a URL has none")
        head, tail = path.split(_MARK)
        object.__setattr__(self, "_around", (head, tail))
        object.__setattr__(self, "_base", _BASES.get(conversion[0][-1], 10))

    @property
    def is_local(self) -> bool:
        """Whether the names are those of local files."""
        return self.tells and self.store is None

    @property
    def tells(self) -> bool:
        """Whether it can be told which of the names are taken."""
        return self._around is not None

    def name(self, number: int) -> str:
        """Return the name of a shard."""
        return self.pattern % number

    def existing(self, start: int = 0) -> dict[int, str]:
        """Return the files that have a number from ``start`` on: number → path, sorted by number."""
        found: dict[int, str] = {}
        for path in self._taken():
            number = self._number(path)
            if number is not None and number >= start:
                found[number] = path
        return dict(sorted(found.items()))

    def _taken(self) -> Iterable[str]:
        if not self.tells:
            return ()
        return glob.iglob(self._glob()) if self.store is None else self.store.list(self._glob())

    def partial(self, start: int = 0) -> list[str]:
        """Return the temporary files of unfinished shards whose numbers are from ``start`` on, sorted."""
        if not self.is_local:
            return []
        folder, name = os.path.split(self._glob())
        found: list[str] = []
        for path in glob.iglob(os.path.join(folder, PARTIAL_GLOB.format(name=name))):
            final_name = os.path.basename(path)[1:].rsplit(".", 2)[0]
            number = self._number(os.path.join(os.path.dirname(path), final_name))
            if number is not None and number >= start:
                found.append(path)
        return sorted(found)

    def _glob(self) -> str:
        assert self._around is not None
        head, tail = self._around
        return f"{glob.escape(head)}*{glob.escape(tail)}"

    def _number(self, path: str) -> int | None:
        """Return the number of which ``path`` is the name, None if there is none."""
        assert self._around is not None
        head, tail = self._around
        digits = path[len(head) : len(path) - len(tail)]
        try:
            number = int(digits, self._base)
        except ValueError:
            return None
        # Python reads more spellings of a number than the pattern writes.
        name = self.name(number) if number >= 0 else None
        return number if name is not None and path == (local_path(name) if self.is_local else name) else None


def _halves(pattern: str, conversion: re.Match[str]) -> tuple[str, str]:
    return pattern[: conversion.start()], pattern[conversion.end() :]
