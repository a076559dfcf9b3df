"""A per-value stage whose function runs in threads, while values keep their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import attrs

from webds.order.progress import Changes, Progress
from webds.policy import Guard
from webds.stages.base import Item, Run, Upstream
from webds.typing import Origin

__all__ = ["run_in_threads"]


def run_in_threads(
    function: Callable[[Any], Any], name: str, threads: int, guard: Guard, upstream: Upstream, run: Run
) -> Iterator[Item]:
    """Run ``function`` over what comes from upstream, in ``threads`` threads.

    Values, errors and the end come out as they would without threads. What differs is that upstream is up to
    twice ``threads`` values ahead, so that it counts its own losses that much earlier. It runs in the thread of the
    caller, as everything does but ``function``. When the iteration ends in any way, no thread is left.

    Args:
        function: from value to value; it is called by several threads at once.
        name: the name of the stage, for errors.
        threads: how many.
        guard: what to call when the function fails.
        upstream: everything before the stage.
        run: the iteration.

    Yields:
        The items for which the function did not fail.
    """
    window: deque[tuple[Origin, Future[Any], Changes]] = deque()
    ahead = Progress()
    waiting = 0
    own: set[int] = set()

    def wait() -> None:
        """Note how much is under way at the end of a pass: the pass is over when the last of it has left."""
        nonlocal waiting
        waiting = len(window)
        if not waiting:
            run.pass_over()

    items = iter(upstream(attrs.evolve(run.watched_by(wait), progress=ahead)))
    pool = ThreadPoolExecutor(threads, f"webds-{name}", lambda: own.add(threading.get_ident()))
    failure: Exception | None = None
    more = True
    try:
        while True:
            while more and len(window) < 2 * threads:
                try:
                    origin, value = next(items)
                except StopIteration:
                    more = False
                except Exception as error:
                    failure, more = error, False  # its turn is after what came before it
                else:
                    window.append((origin, pool.submit(function, value), ahead.changes()))
            if not window:
                break
            origin = window[0][0]
            run.progress.follow(window[0][2])
            try:
                value = _result(window.popleft()[1])
            except Exception as error:
                if not guard.handle(error, name, origin):
                    return
            else:
                yield origin, value
            if waiting:
                waiting -= 1
                if not waiting:
                    run.pass_over()
        if failure is not None:
            raise failure
    finally:
        # The garbage collector may close this from any thread, and a thread cannot wait for itself.
        pool.shutdown(wait=threading.get_ident() not in own, cancel_futures=True)
        # An error on its way out holds this frame, which is to hold neither files nor that error.
        window.clear()
        del items, failure


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    finally:
        del future  # else it, its error and this frame would hold one another
