"""The suite of `webds.abc.Splitter`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence

from webds.abc import Splitter
from webds.errors import SplitError
from webds.testing.suite import Suite, global_seeds, pickled
from webds.typing import Place

__all__ = ["SplitterSuite"]


def _places(world_size: int, num_workers: int) -> Iterator[Place]:
    for rank in range(world_size):
        for worker in range(num_workers):
            yield Place(rank, world_size, worker, num_workers)


class SplitterSuite(Suite, ABC):
    """What every `Splitter` must keep to."""

    @abstractmethod
    def make_splitter(self) -> Splitter:
        """Return a new splitter, equal to any other that this returns."""

    def shard_lists(self) -> Sequence[Sequence[str]]:
        """Return the lists of shards to try: by default, of several lengths, and some with a shard twice."""
        names = [f"shard-{number * 7 % 97:03d}.tar" for number in range(97)]
        return [[], names[:1], names[:5], names[:12], names, ["a.tar", "b.tar", "a.tar", "a.tar", "c.tar", "b.tar"]]

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Return the (world_size, num_workers) to try."""
        return [(1, 1), (1, 3), (2, 1), (2, 2), (3, 4), (4, 1)]

    def together(self, shards: Sequence[str]) -> Sequence[str]:
        """Return what the parts of all places make up: all ``shards``, by default.

        To be defined for a splitter that is made to leave out some, such as one of an explicit part.
        """
        return shards

    def _parts(self, shards: Sequence[str], size: tuple[int, int]) -> dict[Place, Sequence[str]] | None:
        """Return the part of each place, None if the splitter refuses this division."""
        splitter = self.make_splitter()
        parts: dict[Place, Sequence[str]] = {}
        refused: list[Place] = []
        for place in _places(*size):
            try:
                parts[place] = splitter.split(shards, place)
            except SplitError:
                refused.append(place)
            except Exception as error:
                raise AssertionError(f"split raises nothing but SplitError; at {place} it raised {error!r}") from error
        message = "a SplitError is raised at every place alike, so that no rank waits for one that failed"
        assert not (parts and refused), f"{message}: {len(shards)} shards were refused at {refused} alone"
        return None if refused else parts

    def _divisions(self) -> Iterator[tuple[Sequence[str], dict[Place, Sequence[str]]]]:
        for shards in self.shard_lists():
            for size in self.sizes():
                parts = self._parts(shards, size)
                if parts is not None:
                    yield shards, parts

    def test_axes_are_those_of_a_place(self) -> None:
        splitter = self.make_splitter()
        assert isinstance(splitter, Splitter), "make_splitter returns an instance of webds.abc.Splitter"
        assert isinstance(splitter.axes, frozenset), "axes is a frozenset"
        assert splitter.axes <= {"rank", "worker"}, f"axes are among 'rank' and 'worker': {set(splitter.axes)}"

    def test_some_division_succeeds(self) -> None:
        assert any(parts for _, parts in self._divisions()), "a splitter refuses what cannot be divided, not everything"

    def test_refusals_are_the_same_at_every_place(self) -> None:
        for shards in self.shard_lists():
            for size in self.sizes():
                self._parts(shards, size)

    def test_parts_are_disjoint_and_complete_over_the_axes(self) -> None:
        axes = self.make_splitter().axes
        for shards, parts in self._divisions():
            groups: dict[tuple[int, int], Counter[str]] = {}
            for place, part in parts.items():
                # One group for each setting of the foreign coordinates; within it, one part for each of the others.
                foreign = (0 if "rank" in axes else place.rank, 0 if "worker" in axes else place.worker)
                groups.setdefault(foreign, Counter()).update(part)
            expected = Counter(self.together(shards))
            for total in groups.values():
                lost, twice = sorted((expected - total).elements()), sorted((total - expected).elements())
                assert not lost, f"over its axes {set(axes)} the parts are complete: {lost[:5]} of {len(shards)} lost"
                assert not twice, f"over its axes {set(axes)} the parts are disjoint: {twice[:5]} read more than once"

    def test_foreign_axes_make_no_difference(self) -> None:
        axes = self.make_splitter().axes
        seen: dict[tuple[object, ...], list[str]] = {}
        for shards, parts in self._divisions():
            for place, part in parts.items():
                rank = (place.rank, place.world_size) if "rank" in axes else None
                worker = (place.worker, place.num_workers) if "worker" in axes else None
                first = seen.setdefault((*shards, rank, worker), list(part))
                assert list(part) == first, f"a coordinate not among the axes {set(axes)} makes no difference: {place}"

    def test_the_order_of_the_shards_is_kept(self) -> None:
        for shards, parts in self._divisions():
            for place, part in parts.items():
                rest = iter(shards)
                assert all(shard in rest for shard in part), f"the order of the shards is kept: {place} has {part}"

    def test_equal_arguments_give_equal_parts(self) -> None:
        splitter = self.make_splitter()
        copies = [splitter, self.make_splitter(), pickled(splitter, "splitter")]
        for shards in self.shard_lists():
            before = list(shards)
            for size in self.sizes():
                parts = self._parts(shards, size) or {}
                assert list(shards) == before, "split does not change the list that it is given"
                for place, part in parts.items():
                    assert isinstance(part, Sequence), "split returns a sequence, not something to iterate over once"
                    for seed, again in enumerate(copies):
                        with global_seeds(seed):
                            found = list(again.split(tuple(shards), place))
                        assert found == list(part), f"split depends on nothing but its arguments: {place}"
