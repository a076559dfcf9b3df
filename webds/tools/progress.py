"""How far long work is."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, final

__all__ = ["NoProgress", "Progress", "Unit"]

Unit: TypeAlias = Literal["bytes", "shards", "samples", "files"]
"""What is counted."""


class Progress(Protocol):
    """What long work tells how far it is. Called by one thread of one process."""

    def begin(self, what: str, total: int | None, unit: Unit) -> None:
        """Say what is done now, in one or two words; how much of it there is, if that is known; and in which unit."""
        ...

    def advance(self, amount: int) -> None:
        """Say that so much more is done."""
        ...


@final
class NoProgress:
    """Nobody wants to know."""

    def begin(self, what: str, total: int | None, unit: Unit) -> None:
        """Do nothing."""

    def advance(self, amount: int) -> None:
        """Do nothing."""
