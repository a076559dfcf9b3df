"""Tasks of tools on a Ray cluster: many hosts, or the processors of this one."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias, final

from typing_extensions import TypeVar, override

from webds.errors import MissingExtraError, OpenError, WorkerError
from webds.tools.engine import Elsewhere, Engine, Report, call, portable

__all__ = ["RayEngine"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_GRACE: Final = 10.0
"""Seconds that tasks have to remove what they had not finished."""

_Answer: TypeAlias = "tuple[Literal['done'], Any, int] | tuple[Literal['error'], tuple[Exception, str], int]"
"""What became of a task, and how much it had reported."""


@final
class RayEngine(Engine):
    """Does tasks on a Ray cluster, each where there is a processor for it.

    A task whose process, or host, came to an end is begun again elsewhere; an exception that it raises is not. What
    tasks read and write, local paths included, has to be the same on all hosts, and so do Python, webds and the modules
    of functions that are called by name.

    This process is connected to Ray at the first work, unless it is already, and stays so. What tasks print is in Ray's
    logs then, so that it does not get into what this process writes.

    Args:
        address: of the cluster, as `ray.init` takes it, such as ``"auto"`` or ``"head:6379"``, where this process is
            not connected yet. None is that of the environment variable ``RAY_ADDRESS``; or one that was started on this
            host; or else one that is started for the work, on this host alone.
        jobs: how many tasks at once, at most; None for as many as the cluster has processors.
        retries: how often a task is begun again whose process came to an end.

    Raises:
        MissingExtraError: Ray is not installed.
        ValueError: a number that cannot be.
    """

    def __init__(self, address: str | None = None, *, jobs: int | None = None, retries: int = 3) -> None:
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs={jobs}: expected a number from 1")
        if retries < 0:
            raise ValueError(f"retries={retries}: expected a number from 0")
        _imported()
        self.address: str | None = address
        self.jobs: int | None = jobs
        self.retries: int = retries

    @override
    def at_once(self) -> int:
        if self.jobs is not None:
            return self.jobs
        return _processors(self._connected())

    @override
    def run(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], heard: Report | None = None
    ) -> Generator[ResultT]:
        ray = self._connected()
        remote = ray.remote(num_cpus=1, max_retries=self.retries, retry_exceptions=False)(_work)
        known = ray.put(_pickled(function))
        begun: deque[tuple[str, Any]] = deque()
        waiting = iter(tasks)
        try:
            self._begin(ray, remote, known, waiting, begun)
            while begun:
                name, reference = begun[0]
                answer = _answer(ray, name, reference, self.retries)
                begun.popleft()
                if heard is not None and answer[2]:
                    heard(answer[2])
                if answer[0] == "error":
                    error, text = answer[1]
                    error.__cause__ = error.__cause__ or Elsewhere(text)
                    raise error
                self._begin(ray, remote, known, waiting, begun)
                yield answer[1]
        finally:
            _end(ray, [reference for _, reference in begun])

    def _begin(self, ray: Any, remote: Any, known: Any, waiting: Iterator[Any], begun: deque[tuple[str, Any]]) -> None:
        """Begin as many tasks as there is room for; twice as many are under way, so that nobody waits for this process.

        Those in front may be done already. They count: results are held in the cluster until they are asked for.
        """
        most = self.jobs or 2 * _processors(ray)
        while len(begun) < most:
            try:
                task = next(waiting)
            except StopIteration:
                return
            begun.append((str(task), remote.remote(known, _pickled(task), os.getcwd(), sys.path)))

    def _connected(self) -> Any:
        """Return the module `ray`, connected to the cluster from now on."""
        ray = _imported()
        if ray.is_initialized():
            return ray
        if self.address is None and "RAY_ADDRESS" not in os.environ:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is started here tells nobody
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # tips of Ray's for its next versions
                ray.init(self.address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = "here" if self.address is None else f"at {self.address!r}"
            raise OpenError(f"cannot connect to Ray {where}: {error}", stage="ray") from error
        # It would tell of processes that ended on standard output, and has no other way to be asked not to.
        ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
        return ray


def _imported() -> Any:
    try:
        import ray  # noqa: PLC0415  # an extra, and slow
    except ImportError as error:
        raise MissingExtraError.of("ray", "ray", "working on a Ray cluster") from error
    return ray


def _processors(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _pickled(value: Any) -> bytes:
    """Pickle as Ray does, to be read when the process knows where modules are."""
    from ray import cloudpickle  # noqa: PLC0415  # an extra, and slow

    data: bytes = cloudpickle.dumps(value)  # type: ignore[no-untyped-call]
    return data


def _work(function: bytes, task: bytes, folder: str, modules: Sequence[str]) -> _Answer:
    """Do a task, in a process of Ray's; relative paths are those of the process that gave it, and so are modules."""
    amount = 0
    with contextlib.suppress(OSError):  # a host that has no such folder may need none
        os.chdir(folder)
    sys.path += [place for place in modules if place not in sys.path]

    def add(more: int) -> None:
        nonlocal amount
        amount += more

    try:
        return "done", call(pickle.loads(function), pickle.loads(task), add), amount  # noqa: S301  # from the process above
    except Exception as error:
        return "error", (portable(error), traceback.format_exc()), amount


def _answer(ray: Any, name: str, reference: Any, retries: int) -> _Answer:
    """Wait for a task."""
    try:
        answer: _Answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # before or after the task itself: it does not pickle, for example
        raise WorkerError(f"Ray could not do {name}: {error.cause}") from error
    except ray.exceptions.RayError as error:
        times = "" if not retries else f", {retries + 1} times" if retries > 1 else ", twice"
        reason = str(error).strip().partition("\n")[0]
        raise WorkerError(f"the process that worked on {name} came to an end before that{times}: {reason}") from error
    return answer


def _end(ray: Any, references: list[Any]) -> None:
    """End tasks that nobody waits for any more, and wait until they have tidied up."""
    if not references:
        return
    for reference in references:
        ray.cancel(reference)
    _, stubborn = ray.wait(references, num_returns=len(references), timeout=_GRACE)
    for reference in stubborn:
        ray.cancel(reference, force=True)
