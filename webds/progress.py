"""How far one place has come in an iteration: what a resumed one has to know."""

from __future__ import annotations

from typing import Any, final

import attrs

__all__ = ["Progress"]


@final
@attrs.define
class Progress:
    """A position that can be taken up again: what came before has been handed out, and what comes after has not.

    It is counted behind the last stage that holds values back, or where there is none, at the source.

    Attributes:
        passes: of each repetition around that, which pass it is.
        shard: the number of the shard, among those of this place, that is being read; 0 where no shards are counted.
        read: how many samples of it, or how many values, have been handed out.
        taken: of each `take` behind that, by its number in the plan, how many values went through.
        done: whether the iteration is at its end.
        members: of each source of a mix, by its name, how far it is; then ``shard`` and ``read`` are the round and the
            turn in it.
    """

    passes: tuple[int, ...] = ()
    shard: int = 0
    read: int = 0
    taken: dict[str, int] = attrs.field(factory=dict[str, int])
    done: bool = False
    members: dict[str, Progress] = attrs.field(factory=dict[str, "Progress"])

    def copy(self) -> Progress:
        """Return one that stays as this one is now."""
        members = {name: member.copy() for name, member in self.members.items()}
        return attrs.evolve(self, taken=dict(self.taken), members=members)

    def follow(self, other: Progress) -> None:
        """Take over what another one knows, and keep what it does not."""
        self.passes, self.shard, self.read, self.members = other.passes, other.shard, other.read, other.members
        self.taken.update(other.taken)

    def dump(self) -> dict[str, Any]:
        """Return it for JSON."""
        state: dict[str, Any] = {**attrs.asdict(self, recurse=False), "passes": list(self.passes)}
        members = {name: member.dump() for name, member in state.pop("members").items()}
        return state | ({"members": members} if members else {})

    @classmethod
    def parse(cls, state: dict[str, Any]) -> Progress:
        """Return what `dump` was called of."""
        members = {name: cls.parse(member) for name, member in state.get("members", {}).items()}
        return cls(tuple(state["passes"]), state["shard"], state["read"], dict(state["taken"]), state["done"], members)
