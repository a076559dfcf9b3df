"""Where the parts of long work are done: in this process, or in several of this host.

A tool cuts its work into tasks, usually one a shard, and gives a function that does one of them. Both are pickled, and
a task may be begun more than once: what it writes appears when it is whole, under a name that depends on nothing but
the task. So any engine may do it again after a failure, and a tool that is called again finds what is there already.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import ContextVar
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Final, NoReturn, TypeAlias, final

from typing_extensions import TypeVar, override

from webds.errors import WorkerError, place_of

__all__ = ["Elsewhere", "Engine", "ProcessEngine", "Report", "SerialEngine", "call", "engine_of", "portable", "report"]

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
Report: TypeAlias = Callable[[int], object]
"""What hears how much more is done."""

_INTERVAL: Final = 0.1
"""Seconds between two reports of one process."""

_GRACE: Final = 10.0
"""Seconds that a process has to remove what it had not finished."""

_listener: Final[ContextVar[Report | None]] = ContextVar("webds.tools.report", default=None)


def report(amount: int) -> None:
    """Say, inside of a task, that so much more of it is done; in the unit that the tool counts in."""
    listener = _listener.get()
    if listener is not None:
        listener(amount)


class Engine(ABC):
    """Does tasks, each by itself.

    Must hold: every task is done, or `run` raises what one of them raised, and lets go of the others as soon as
    possible; what they had not finished by then is given up as by any exception. Not promised: where, how many at
    once, in which order they begin, or that none is begun twice.
    """

    @abstractmethod
    def run(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], heard: Report | None = None
    ) -> Generator[ResultT]:
        """Yield what ``function`` returns for each task, in the order of the tasks.

        Closing the generator ends the work; see `contextlib.closing`.

        Args:
            function: can be pickled, and so can what it returns.
            tasks: likewise; taken one by one as they can be begun. ``str`` of one is how errors name it.
            heard: called, in this process, with what the tasks `report`, at the latest when they are done.

        Raises:
            WorkerError: a process came to an end before its task.
            Exception: what ``function`` raised.
        """

    def at_once(self) -> int:
        """Return how many tasks are under way at the same time, at most, and share the memory that is given to all."""
        return 1


@final
class SerialEngine(Engine):
    """Does one task after the other, in this process."""

    @override
    def run(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], heard: Report | None = None
    ) -> Generator[ResultT]:
        for task in tasks:
            yield call(function, task, heard)


def call(function: Callable[[TaskT], ResultT], task: TaskT, heard: Report | None) -> ResultT:
    """Do a task here, with ``heard`` for what it reports."""
    token = _listener.set(heard)
    try:
        return function(task)
    finally:
        _listener.reset(token)


@final
class ProcessEngine(Engine):
    """Does tasks in processes of this host.

    They are spawned, so that they inherit no threads and no locks: a script that uses them calls its work under
    ``if __name__ == "__main__":``. Ctrl-C reaches this process alone, which ends the others; should this one be
    killed, they end by themselves.

    Args:
        jobs: how many processes at most.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise ValueError(f"jobs={jobs}: expected a number from 1")
        self.jobs: int = jobs

    @override
    def at_once(self) -> int:
        return self.jobs

    @override
    def run(
        self, function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], heard: Report | None = None
    ) -> Generator[ResultT]:
        code = pickle.dumps(function)
        numbered = enumerate(tasks)
        workers: list[_Worker] = []
        done: dict[int, ResultT] = {}
        turn = 0
        finished = False
        try:
            while _feed(workers, numbered, code, self.jobs):
                for worker in _ready(workers):
                    worker.receive(done, heard)
                while turn in done:
                    yield done.pop(turn)
                    turn += 1
            finished = True
        finally:
            _end(workers, gently=finished)


def engine_of(jobs: int) -> Engine:
    """Return what does ``jobs`` tasks at once on this host; 1 is this process."""
    return SerialEngine() if jobs == 1 else ProcessEngine(jobs)


@final
class _Worker:
    """One process, as its parent sees it.

    Attributes:
        process: the process.
        connection: a pipe to it.
        task: number and name of the task that it has; None if it waits for one.
    """

    def __init__(self, code: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_work, args=(theirs, code), daemon=True)
        self.task: tuple[int, str] | None = None
        with _deaf():
            self.process.start()
        theirs.close()

    def give(self, number: int, task: object) -> None:
        self.task = number, str(task)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `receive` finds out
            self.connection.send((number, task))

    def receive(self, done: dict[int, Any], heard: Report | None) -> None:
        """Take what the process has said."""
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._fail()
        if kind == "report":
            if heard is not None:
                heard(value)
            return
        assert self.task is not None
        number, _ = self.task
        self.task = None
        if kind == "error":
            error, text = value
            error.__cause__ = error.__cause__ or Elsewhere(text)
            raise error
        done[number] = value

    def _fail(self) -> NoReturn:
        self.process.join()
        status = self.process.exitcode or 0
        how = f"with status {status}"
        if status < 0:
            how = f"killed by {_signal_name(-status)}"
        if status == -9:
            how += ", perhaps for lack of memory"
        name = "nothing" if self.task is None else self.task[1]
        raise WorkerError(f"the process that worked on {name} came to an end before that, {how}")


@final
class Elsewhere(Exception):  # noqa: N818  # it is what another process printed
    """The traceback of an exception in another process."""

    def __init__(self, text: str) -> None:
        super().__init__(f"in another process:\n{text}")


def _feed(workers: list[_Worker], numbered: Iterator[tuple[int, Any]], code: bytes, most: int) -> bool:
    """Give tasks to those who wait, and start processes for more; return whether anybody has one."""
    idle = [worker for worker in workers if worker.task is None]
    while idle or len(workers) < most:
        following = next(numbered, None)
        if following is None:
            break
        if not idle:
            idle.append(_Worker(code))
            workers.append(idle[0])
        idle.pop().give(*following)
    return any(worker.task is not None for worker in workers)


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Wait until processes with a task have said something, or ended; return these."""
    by_connection = {worker.connection: worker for worker in workers if worker.task is not None}
    return [by_connection[found] for found in wait(list(by_connection)) if isinstance(found, Connection)]


def _end(workers: list[_Worker], *, gently: bool) -> None:
    """End all processes, and wait for them."""
    for worker in workers:
        worker.connection.close()  # which ends those who wait for a task
        if not gently:
            worker.process.terminate()
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextlib.contextmanager
def _deaf() -> Generator[None]:
    """Let processes that are started here not hear Ctrl-C, not even before they can say so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, code: bytes) -> None:
    """Do the tasks that come, in a process of its own, until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    known: list[Callable[[Any], Any]] = []
    reports = _Reports(connection)
    try:
        while True:
            _, task = connection.recv()
            try:
                if not known:
                    known.append(pickle.loads(code))  # noqa: S301  # from the process that started this one
                answer = "done", call(known[0], task, reports.add)
                data = _pickled(answer)
            except Exception as error:
                data = _pickled(("error", (portable(error), traceback.format_exc())))
            reports.flush()
            connection.send_bytes(data)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


def _pickled(answer: tuple[str, Any]) -> bytes:
    return pickle.dumps(answer)  # what `Connection.recv` reads


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as by an exception, so that what is not finished is removed."""
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


@final
class _Reports:
    """What tasks report, a few times a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._amount = 0
        self._sent = time.monotonic()

    def add(self, amount: int) -> None:
        self._amount += amount
        if time.monotonic() - self._sent >= _INTERVAL:
            self.flush()

    def flush(self) -> None:
        if self._amount:
            self._connection.send(("report", self._amount))
            self._amount = 0
        self._sent = time.monotonic()


def portable(error: Exception) -> Exception:
    """Return an exception that another process can have: this one, or what it says."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # of the line itself
    except Exception:
        portable = WorkerError(f"{type(error).__name__}: {error}", **place_of(error))
        for note in getattr(error, "__notes__", ()):
            portable.add_note(note)
        return portable
    return error
