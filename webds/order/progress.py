"""How far one place has come in an iteration: what a resumed one has to know.

A progress changes with every value. Who needs one for each value, as for those that workers make ahead, asks for what
has changed since the last one, and lets another progress follow: so a buffer of thousands of items is copied once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, final

import attrs

from webds.order.origins import pack_origins, unpack_origins
from webds.typing import Origin

__all__ = ["Changes", "Held", "HeldChanges", "Progress"]

Move: TypeAlias = "Origin | int"
"""An item came in, of this origin, or the one at this place left."""


@final
@attrs.define
class Held:
    """Items that a stage holds back, and how it goes on with them.

    Attributes:
        items: the items, in their places. Who only follows knows their origins.
        left: how many have left, of a batch that is taken apart: how many of its samples.
        target: how many are to be held, of a buffer that still fills up while items leave.
    """

    items: list[tuple[Origin, Any]] = attrs.field(factory=list[tuple[Origin, Any]])
    left: int = 0
    target: int = 0
    _moves: list[Move] | None = attrs.field(default=None, init=False)

    def enter(self, item: tuple[Origin, Any]) -> None:
        """Put an item at the last place."""
        self.items.append(item)
        if self._moves is not None:
            self._moves.append(item[0])

    def leave(self, place: int) -> tuple[Origin, Any]:
        """Take out the item at a place in constant time: the last one moves there."""
        items = self.items
        item = items[place]
        items[place] = items[-1]
        items.pop()
        self.left += 1
        if self._moves is not None:
            self._moves.append(place)
        return item

    @property
    def origins(self) -> list[Origin]:
        """Where the items are from."""
        return [origin for origin, _ in self.items]

    def changes(self) -> HeldChanges:
        """Return what has changed since this was called last."""
        afresh, moves = self._moves is None, self._moves
        self._moves = []
        return HeldChanges(afresh, self.origins if moves is None else moves, self.left, self.target)

    def copy(self) -> Held:
        """Return one that stays as this one is now, and has no values."""
        return Held([(origin, None) for origin, _ in self.items], self.left, self.target)

    def dump(self, shards: Mapping[str, int]) -> dict[str, Any]:
        """Return it for JSON; see `Progress.dump`."""
        return {"left": self.left, "target": self.target, "items": pack_origins(self.origins, shards)}

    @classmethod
    def parse(cls, state: Mapping[str, Any], shards: Sequence[str]) -> Held:
        """Return what `dump` was called of."""
        origins = unpack_origins(state["items"], shards)
        return cls([(origin, None) for origin in origins], state["left"], state["target"])

    def follow(self, changes: HeldChanges) -> None:
        """Do what another one has done."""
        for move in changes.moves:
            if isinstance(move, int):
                self.leave(move)
            else:
                self.enter((move, None))
        self.left, self.target = changes.left, changes.target


@final
@attrs.frozen
class HeldChanges:
    """What has changed of what a stage holds.

    Attributes:
        afresh: whether that is all, from nothing on.
        moves: what came in, and what left.
        left: see `Held`.
        target: see `Held`.
    """

    afresh: bool
    moves: Sequence[Move]
    left: int
    target: int


@final
@attrs.frozen
class Changes:
    """What has changed of a progress. The attributes are those of `Progress`."""

    passes: tuple[int, ...]
    shard: int
    read: int
    taken: Mapping[str, int]
    held: Mapping[str, HeldChanges]
    done: bool
    members: Mapping[str, Changes]


@final
@attrs.define
class Progress:
    """A position that can be taken up again: what came before has been handed out or is held, and what comes after not.

    It is counted at the source, or behind the last stage that can only be gone on with by running all before it again.

    Attributes:
        passes: of each repetition around that, which pass it is.
        shard: the number of the shard, among those of this place, that is being read; 0 where no shards are counted.
        read: how many samples of it, or how many values, have come.
        taken: of each `take` behind that, by its number in the plan, how many values went through.
        held: of each stage behind that which holds items back, by its number in the plan, what it holds.
        done: whether the iteration is at its end.
        members: of each source of a mix, by its name, how far it is; then ``shard`` and ``read`` are the round and the
            turn in it.
    """

    passes: tuple[int, ...] = ()
    shard: int = 0
    read: int = 0
    taken: dict[str, int] = attrs.field(factory=dict[str, int])
    held: dict[str, Held] = attrs.field(factory=dict[str, Held])
    done: bool = False
    members: dict[str, Progress] = attrs.field(factory=dict[str, "Progress"])

    def changes(self) -> Changes:
        """Return what has changed since this was called last."""
        held = {number: held.changes() for number, held in self.held.items()}
        members = {name: member.changes() for name, member in self.members.items()}
        return Changes(self.passes, self.shard, self.read, dict(self.taken), held, self.done, members)

    def follow(self, changes: Changes) -> None:
        """Come as far as another one, and keep what that does not know."""
        self.passes, self.shard, self.read, self.done = changes.passes, changes.shard, changes.read, changes.done
        self.taken.update(changes.taken)
        for number, held in changes.held.items():
            if held.afresh:
                self.held[number] = Held()
            self.held[number].follow(held)
        for name, member in changes.members.items():
            self.members.setdefault(name, Progress()).follow(member)

    def copy(self) -> Progress:
        """Return one that stays as this one is now."""
        held = {number: held.copy() for number, held in self.held.items()}
        members = {name: member.copy() for name, member in self.members.items()}
        return attrs.evolve(self, taken=dict(self.taken), held=held, members=members)

    @property
    def holds(self) -> bool:
        """Whether a stage holds anything back, also of a source of a mix."""
        return bool(self.held) or any(member.holds for member in self.members.values())

    def dump(self, shards: Mapping[str, int]) -> dict[str, Any]:
        """Return it for JSON.

        Args:
            shards: shard → its number.
        """
        held = {number: held.dump(shards) for number, held in self.held.items() if held.items or held.left}
        position = {"passes": list(self.passes), "shard": self.shard, "read": self.read, "taken": dict(self.taken)}
        members = {name: member.dump(shards) for name, member in self.members.items()}
        return {**position, "held": held, "done": self.done, **({"members": members} if members else {})}

    @classmethod
    def parse(cls, state: Mapping[str, Any], shards: Sequence[str]) -> Progress:
        """Return what `dump` was called of.

        Raises:
            StateError: it is damaged.
        """
        held = {number: Held.parse(one, shards) for number, one in state["held"].items()}
        members = {name: cls.parse(member, shards) for name, member in state.get("members", {}).items()}
        passes, taken = tuple(state["passes"]), dict(state["taken"])
        return cls(passes, state["shard"], state["read"], taken, held, state["done"], members)
