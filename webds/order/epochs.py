"""Which epoch an iteration is: counted for all processes that iterate over copies of a dataset."""

from __future__ import annotations

import json
import os
from typing import Any, Final, final

import attrs
from typing_extensions import override

from webds.shared import SharedFile
from webds.typing import Place

__all__ = ["EpochClock", "Turn"]

_RUNS_KEPT: Final = 16


@final
@attrs.frozen
class Turn:
    """One iteration, as all workers that take part in it see it.

    Attributes:
        epoch: its number, from 0.
        run: which record of the clock it is; None for an iteration without workers.
        number: how many iterations began before it.
    """

    epoch: int
    run: int | None = None
    number: int = attrs.field(default=0, eq=False)


@final
class EpochClock:
    """Counts the iterations of a dataset, also those that DataLoader workers do on copies of it.

    The count lives in a file that worker processes share. The workers of one DataLoader iterator, told by the
    base seed that torch draws for it, have their runs in common: the first time a worker iterates belongs to the
    first of these runs, the second time (a persistent worker) to the second, whichever worker comes first, and a
    run that is not there yet is opened. So each iteration has one number for all workers, under fork and spawn,
    with persistent workers, after an early end, and with workers that are slow to start.
    """

    def __init__(self) -> None:
        self._file = SharedFile(
            json.dumps({"next": 0, "opened": 0, "begun": 0, "by_workers": False, "runs": []}).encode()
        )
        self._pid = os.getpid()
        self._last: dict[tuple[int, int | None], tuple[int, int]] = {}

    def set(self, epoch: int) -> None:
        """Make the next iteration that begins, in any process, epoch ``epoch``."""
        if epoch < 0:
            raise ValueError(f"epoch {epoch}: expected a number from 0")
        with self._file.locked():
            self._save(self._load() | {"next": int(epoch)})

    def look(self) -> tuple[int, int, bool]:
        """Return the next epoch, how many iterations have begun, and whether workers began the last one."""
        state = self._load()
        return state["next"], state["begun"], state["by_workers"]

    def begin(
        self, worker: int | None = None, base_seed: int | None = None, resumed: tuple[int, int | None] | None = None
    ) -> Turn:
        """Return the turn of an iteration that begins now.

        Args:
            worker: the DataLoader worker that begins; None in a process that reads by itself.
            base_seed: torch's seed of the DataLoader iterator that the worker belongs to.
            resumed: an epoch to go on with, in place of the next one, and how many iterations have begun before that
                one, None for any number.
        """
        with self._file.locked():
            state = self._load()
            epoch, number = state["next"], state["begun"]
            if resumed is not None and resumed[1] in (None, number):
                epoch = resumed[0]
            if worker is None:
                self._save(state | {"next": epoch + 1, "begun": number + 1, "by_workers": False})
                return Turn(epoch, None, number)
            run = self._join(state, worker, base_seed, epoch)
            self._save(state)
            return Turn(run["epoch"], run["id"], run["number"])

    def _join(self, state: dict[str, Any], worker: int, base_seed: int | None, epoch: int) -> dict[str, Any]:
        """Return the run that a worker begins, entered in it; ``first`` is that of its iterator, ``n`` counts on.

        One that is not there yet is opened, as epoch ``epoch``.
        """
        if self._pid != os.getpid():
            self._pid, self._last = os.getpid(), {}
        last = self._last.get((worker, base_seed))
        first, n = (None, 0) if last is None else (last[0], last[1] + 1)
        found: dict[str, Any] | None = None
        for run in reversed(state["runs"]):
            if run["seed"] == base_seed and run["n"] == n and first in (None, run["first"]):
                # Whoever seeds torch before each epoch gives several iterators one seed: then it is the newest.
                found = None if worker in run["seen"] else run
                break
        if found is None:
            opened = state["opened"]
            first = opened if first is None else first
            found = {"id": opened, "seed": base_seed, "first": first, "n": n, "epoch": epoch, "seen": []}
            found |= {"flow": {}, "number": state["begun"]}
            state["runs"] = [*state["runs"], found][-_RUNS_KEPT:]
            state |= {"opened": opened + 1, "next": epoch + 1}
            state |= {"begun": state["begun"] + 1, "by_workers": True}
        found["seen"].append(worker)
        self._last[worker, base_seed] = (found["first"], n)
        return found

    def once(self, what: str) -> bool:
        """Return whether nobody has asked this with ``what`` before, in any process."""
        with self._file.locked():
            state = self._load()
            said: list[str] = state.get("said", [])
            if what not in said:
                self._save(state | {"said": [*said, what]})
            return what not in said

    def gather(
        self, turn: Turn, stage: str, place: Place, kept: int, dropped: int, names: list[str]
    ) -> list[Any] | None:
        """Add up what the workers of one iteration kept and dropped at one stage.

        Args:
            turn: the iteration.
            stage: the stage, told apart from others of its kind.
            place: who reports.
            kept: how many values went on.
            dropped: how many did not.
            names: what the dropped ones looked like, for an error's text.

        Returns:
            ``[kept, dropped, names]`` of all workers once the last of them has reported; None before.
        """
        if turn.run is None:
            return [kept, dropped, names]
        with self._file.locked():
            state = self._load()
            run = next((run for run in state["runs"] if run["id"] == turn.run), None)
            if run is None:
                return None
            flow = run["flow"].setdefault(stage, {"workers": [], "sums": [0, 0, []]})
            if place.worker in flow["workers"]:
                return None
            flow["workers"].append(place.worker)
            sums = flow["sums"]
            flow["sums"] = [sums[0] + kept, sums[1] + dropped, sorted({*sums[2], *names})[:20]]
            self._save(state)
            return flow["sums"] if len(flow["workers"]) == place.num_workers else None

    def _load(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._file.read())
        return state

    def _save(self, state: dict[str, Any]) -> None:
        self._file.replace(json.dumps(state).encode())

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}(next epoch {self._load()['next']})"
