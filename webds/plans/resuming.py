"""States of iterations: what is saved, what it has to fit, and where an iteration goes on from it.

A state is a small dict for JSON. Where samples are dealt out one by one and nothing is held back, what was consumed is
the beginning of an order that all places share, and one number says how long that is: the rest can be dealt out to any
number of ranks and workers. Elsewhere a state has the progress of each worker, and goes on with as many of them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import attrs
import torch.utils.data

from webds.abc import Splitter
from webds.errors import StateError
from webds.order.epochs import EpochClock, Turn
from webds.order.progress import Changes, Progress
from webds.plans.plan import ComposedSource, IdentifiedSource, Plan, digest_of
from webds.splitters import FunctionSplitter
from webds.stages.base import Run, Stage
from webds.stages.batch import Batch
from webds.stages.functions import name_of
from webds.typing import Place

__all__ = ["Beginning", "Known", "Mark", "Report", "Resume", "Whereabouts", "fingerprint", "parse_state", "state_of"]

_VERSION: Final = 1
_SHOWN: Final = 60


@final
@attrs.frozen
class Resume:
    """Where an iteration goes on.

    Attributes:
        epoch: its number.
        ranks: rank and world size that the state is of; None where it is for any.
        workers: how many workers of a rank the state is of; 0 where it is for any.
        following: the worker whose turn is next.
        progress: worker → how far it has come; of a state for any places, that of the whole rank is that of "0".
        start: the position from which samples are dealt out; None in a state of places.
    """

    epoch: int
    ranks: tuple[int, int] | None
    workers: int
    following: int
    progress: Mapping[str, Progress]
    start: int | None

    def placed(self, place: Place) -> Place:
        """Return the place that goes on as this one: the worker whose turn is next becomes the first.

        Raises:
            StateError: the state is of other places.
        """
        if self.ranks is None:
            return place
        there = (*self.ranks, self.workers)
        if there != (place.rank, place.world_size, place.num_workers):
            raise StateError(
                f"the state is of rank {there[0]} of {there[1]} with {there[2]} workers, and this is rank {place.rank} "
                f"of {place.world_size} with {place.num_workers}: only the order of an indexed source, without a "
                "shuffle buffer, a pipe, or stages that drop values, can be gone on with elsewhere"
            )
        return place._replace(worker=(place.worker + self.following) % place.num_workers)

    def run(self, run: Run) -> Run:
        """Return ``run``, which goes on from here."""
        resumed = self.progress.get("0" if self.ranks is None else str(run.place.worker), Progress())
        # Of a position that all share, each place counts its own part from there on.
        progress = resumed.copy() if self.start is None else Progress(resumed.passes, done=resumed.done)
        return attrs.evolve(run, resumed=resumed, start=self.start, progress=progress, checks_empty=False)

    def beginning(self, place: Place) -> Beginning:
        """Return the marks with which a rank goes on from here; ``place`` is any of it."""
        if self.ranks is None:
            first = self.progress["0"]
            here = Mark(self.epoch, place._replace(worker=0), Progress(first.passes, done=first.done), self)
            return Beginning(self.epoch, {0: here}, 0, self)
        marks = {
            int(worker): Mark(self.epoch, place._replace(worker=int(worker)), progress, self)
            for worker, progress in self.progress.items()
        }
        return Beginning(self.epoch, marks, self.following, self)


@final
@attrs.frozen
class Mark:
    """How far one worker of an iteration had come when it handed out a value.

    Attributes:
        epoch: number of the iteration.
        place: who iterates.
        progress: how far.
        origin: where the iteration went on, if it did.
    """

    epoch: int
    place: Place
    progress: Progress
    origin: Resume | None = None


@final
@attrs.frozen
class Report:
    """What a worker says of itself with each value that it hands out.

    Attributes:
        epoch: number of its iteration.
        place: who it is.
        resumed: whether the iteration is one that went on from a state.
        changes: how much further it is than at its last report.
    """

    epoch: int
    place: Place
    resumed: bool
    changes: Changes


@final
@attrs.frozen
class Beginning:
    """Where an iteration of a rank begins.

    Attributes:
        epoch: its number.
        marks: worker → how far it is already.
        following: the worker whose turn is first.
        origin: where the iteration goes on; None for its beginning.
    """

    epoch: int
    marks: Mapping[int, Mark] = attrs.field(factory=dict[int, Mark])
    following: int = 0
    origin: Resume | None = None


def _text(stage: Stage) -> str:
    if isinstance(stage, Batch):
        return f"batch{'' if stage.partial else ' partial=False'} by {name_of(stage.collate)}"
    text = f"{stage.name}({stage.describe()})"
    if len(text) <= _SHOWN:
        return text
    return f"{text[: _SHOWN - 10]}… {_digest([text])}"


def _digest(parts: Sequence[object]) -> str:
    text = "\n".join(map(str, parts))
    return digest_of(text.encode("utf-8", "surrogateescape"))


def _of_splitter(splitter: Splitter) -> str:
    """Return the name of a splitter, with the numbers that it has been given."""
    if isinstance(splitter, FunctionSplitter):
        return name_of(splitter.function)
    kind: type[Any] = type(splitter)
    values = {field.name: getattr(splitter, field.name) for field in (attrs.fields(kind) if attrs.has(kind) else ())}
    given = [f"{name}={value}" for name, value in values.items() if isinstance(value, int | str)]
    return f"{kind.__name__}({', '.join(given)})" if given else kind.__name__


def fingerprint(plan: Plan) -> dict[str, Any]:
    """Return what a state has to fit: all that decides which samples come, and in which order."""
    found: dict[str, Any] = {}
    if isinstance(plan.source, ComposedSource):
        found["mix"] = plan.source.how
        for name, member in plan.source.plans.items():
            found |= {f"{name}: {what}": value for what, value in fingerprint(member).items()}
    found |= {
        "shards": plan.shards_told,
        "shard_seed": plan.shard_seed,
        "split": _of_splitter(plan.splitter) if plan.by_sample is None else "by sample",
        "stages": [_text(stage) for stage in plan.stages],
    }
    if isinstance(plan.source, IdentifiedSource):
        found |= plan.source.identity()
    if plan.by_sample is not None:
        counts = plan.by_sample.counts
        found["samples"] = f"{int(counts.sum())} {digest_of(counts.astype('<i8').tobytes())}"
        found["remainder"] = plan.by_sample.remainder
        found["window"] = None if plan.window is None else [plan.window.shards, plan.window.seed]
        found |= {"nodes": plan.nodes} if plan.nodes != 1 else {}
    return found


def _batches(plan: Plan) -> list[int]:
    return [stage.n for stage in plan.stages if isinstance(stage, Batch)]


def _position(plan: Plan, marks: Mapping[int, Mark], place: Place) -> dict[str, Any] | None:
    """Return what a state for any places says; None if what was consumed is no beginning of the common order."""
    division = plan.by_sample
    if division is None or not plan.is_elastic(place.world_size, place.num_workers):
        return None
    last = max((mark.progress.passes for mark in marks.values()), default=())
    origin = next((mark.origin for mark in marks.values()), None)
    first = None if origin is None else origin.progress.get("0")
    start, taken, done = 0, dict[str, int](), all(mark.progress.done for mark in marks.values()) and bool(marks)
    if origin is not None and origin.start is not None and first is not None and first.passes == last:
        start, taken = origin.start, dict(first.taken)
    here = [mark for mark in marks.values() if mark.progress.passes == last]
    _, dealing = division.dealing(place, start)
    n = sum(mark.progress.read for mark in here)
    steps = -(-n // dealing.block)
    position = start + steps * dealing.block * division.on_node(place).world_size
    if place.world_size == place.num_workers == 1:
        position = start + n
    if dealing.end is not None:
        position = min(position, dealing.end)
    for mark in here:
        for number, count in mark.progress.taken.items():
            taken[number] = taken.get(number, 0) + count
    return {"position": position, "passes": list(last), "taken": taken, "done": done}


def state_of(
    plan: Plan, epoch: int, place: Place, marks: Mapping[int, Mark], following: int, *, whole: bool
) -> dict[str, Any]:
    """Return the state of an iteration of one rank, for JSON.

    Args:
        plan: what is iterated over.
        epoch: number of the iteration.
        place: any place of the rank.
        marks: worker → how far it has come; without those that have not handed out anything.
        following: the worker whose turn is next.
        whole: whether these are all workers of the rank.
    """
    state: dict[str, Any] = {"version": _VERSION, "epoch": epoch, "plan": fingerprint(plan)}
    position = _position(plan, marks, place) if whole else None
    if position is not None:
        return state | position
    holding = any(mark.progress.holds for mark in marks.values())
    shards = {shard: number for number, shard in enumerate(plan.source.shards() if holding else ())}
    workers = {str(worker): mark.progress.dump(shards) for worker, mark in sorted(marks.items())}
    where = {"ranks": [place.rank, place.world_size], "num_workers": place.num_workers, "next": following}
    return state | {"batch": _batches(plan), **where, "workers": workers}


def parse_state(state: Any, plan: Plan) -> Resume:
    """Return where to go on.

    Raises:
        StateError: it is no state, or one of something else; the difference is named.
    """
    if not isinstance(state, dict) or "plan" not in state or "epoch" not in state:
        raise StateError(f"this is no state of a dataset or loader, but a {type(state).__name__} without its fields")
    if state.get("version") != _VERSION:
        raise StateError(f"the state is of version {state.get('version')!r}, and only {_VERSION} is known")
    here = fingerprint(plan)
    there = dict[str, Any](state["plan"])
    if "position" not in state:
        here, there = here | {"batch": _batches(plan)}, there | {"batch": state["batch"]}
    for name in [*here, *(name for name in there if name not in here)]:
        if here.get(name) != there.get(name):
            raise StateError(
                f"the state does not fit this dataset: {name} was {there.get(name)!r}, and is {here.get(name)!r}"
            )
    if "position" in state:
        progress = Progress(tuple(state["passes"]), taken=dict(state["taken"]), done=bool(state["done"]))
        return Resume(state["epoch"], None, 0, 0, {"0": progress}, state["position"])
    shards = plan.source.shards()
    workers = {worker: Progress.parse(one, shards) for worker, one in state["workers"].items()}
    rank, world_size = state["ranks"]
    return Resume(state["epoch"], (rank, world_size), state["num_workers"], state["next"], workers, None)


@final
@attrs.frozen
class _Loaded:
    """A state that was loaded, and not yet gone on from.

    Attributes:
        resume: where to go on.
        begun: how many iterations had begun by then; None in a worker, where its own next one is meant.
        state: what was loaded.
    """

    resume: Resume
    begun: int | None
    state: dict[str, Any]


@final
@attrs.define
class Known:
    """What a dataset knows of its iterations in this process.

    Attributes:
        loaded: a state that was loaded.
        mark: the iteration that was started last.
    """

    loaded: _Loaded | None = None
    mark: Mark | None = None


@final
class Whereabouts:
    """Where the iterations of one dataset are: that which was started last in this process, and what was loaded.

    A dataset makes one when it is asked, and holds what is known itself, so that it goes when nobody needs it any more.

    Args:
        known: what is known.
        clock: counts the iterations, also those of workers.
        here: returns the plan that is iterated over in this process, and its place.
    """

    def __init__(self, known: Known, clock: EpochClock, here: Callable[[], tuple[Plan, Place]]) -> None:
        self._clock = clock
        self._here = here
        self._known = known

    def begin(self) -> tuple[Turn, Resume | None]:
        """Begin an iteration in this process; return its turn, and where it goes on if it does."""
        info = torch.utils.data.get_worker_info()
        loaded, self._known.loaded = self._known.loaded, None
        asked = None if loaded is None else (loaded.resume.epoch, loaded.begun)
        if info is None:
            turn = self._clock.begin(resumed=asked)
        else:
            turn = self._clock.begin(info.id, info.seed - info.id, asked)
        # A copy in a worker may begin a later iteration than the one that was to be gone on with.
        is_meant = asked in ((turn.epoch, None), (turn.epoch, turn.number))
        return turn, loaded.resume if loaded is not None and is_meant else None

    def begun(self, mark: Mark) -> None:
        """Take note of the iteration that has begun; ``mark`` changes as it goes on."""
        self._known.mark = mark

    def report(self) -> Report | None:
        """Return what there is to say of the iteration that was started last in this process, since this was asked."""
        if (mark := self._known.mark) is None:
            return None
        return Report(mark.epoch, mark.place, mark.origin is not None, mark.progress.changes())

    def state(self) -> dict[str, Any]:
        """Return the state; see `webds.datasets.dataset.BaseDataset.state_dict`."""
        epoch, begun, by_workers = self._clock.look()
        is_worker = torch.utils.data.get_worker_info() is not None
        if self._known.loaded is not None and self._known.loaded.begun in (None, begun):
            return copy.deepcopy(self._known.loaded.state)
        if by_workers and not is_worker:
            raise StateError(
                "DataLoader workers iterated over this dataset, and only they know how far they are: make the loader "
                "by builder.loader(num_workers=…), and call its state_dict(), which counts what the training loop got"
            )
        plan, place = self._here()
        if self._known.mark is None:
            return state_of(plan, epoch, place, {}, 0, whole=not is_worker)
        marks = {self._known.mark.place.worker: self._known.mark}
        return state_of(plan, self._known.mark.epoch, place, marks, 0, whole=not is_worker)

    def state_of_rank(self, epoch: int, place: Place, marks: Mapping[int, Mark], following: int) -> dict[str, Any]:
        """Return the state of an iteration whose workers are known; see `state_of`."""
        return state_of(self._here()[0], epoch, place, marks, following, whole=True)

    def load(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration go on from ``state``."""
        resume = self.resume_of(state)
        begun = self._clock.look()[1] if torch.utils.data.get_worker_info() is None else None
        self._known.loaded = _Loaded(resume, begun, copy.deepcopy(dict(state)))

    def resume_of(self, state: Mapping[str, Any]) -> Resume:
        """Return where an iteration goes on from a state, which is checked."""
        return parse_state(state, self._here()[0])

    def next(self, place: Place) -> Beginning:
        """Return where the next iteration of a rank begins; ``place`` is any of it."""
        epoch, begun, _ = self._clock.look()
        if self._known.loaded is None or self._known.loaded.begun != begun:
            return Beginning(epoch)
        return self._known.loaded.resume.beginning(place)

    def forget(self, unless_of: int | None = None) -> None:
        """Let the next iteration be a whole one, unless what was loaded is of this epoch."""
        if self._known.loaded is not None and self._known.loaded.resume.epoch != unless_of:
            self._known.loaded = None
