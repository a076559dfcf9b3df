"""A bar on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Generator
from typing import Final, final

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text
from typing_extensions import override

from webds.cli.output import size_text
from webds.tools.progress import NoProgress, Progress, Unit

__all__ = ["progress"]

_INTERVAL: Final = 0.1
"""Seconds between two pictures."""


@contextlib.contextmanager
def progress(*, hidden: bool = False) -> Generator[Progress]:
    """Show how far work is, as long as the block lasts; only on a terminal, and above what is printed there.

    Args:
        hidden: show nothing all the same.
    """
    if hidden or not sys.stderr.isatty():
        yield NoProgress()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), _Done(), _Rate(), TimeRemainingColumn())
    # Without a thread of its own, which processes that are forked would not have. What goes to standard output stands
    # above the bar if it is the terminal, too, and is left alone otherwise.
    shared = sys.stdout.isatty()
    bars = Bars(*columns, console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=shared)
    with bars:
        yield _Bar(bars)


@final
class _Bar:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._shown = 0.0

    def begin(self, what: str, total: int | None, unit: Unit) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(what, total=total, unit=unit)
        self._bars.refresh()

    def advance(self, amount: int) -> None:
        if self._task is None:
            return
        self._bars.advance(self._task, amount)
        now = time.monotonic()
        if now - self._shown >= _INTERVAL:
            self._shown = now
            self._bars.refresh()


def _amount(task: Task, number: float) -> str:
    unit = str(task.fields["unit"])
    return size_text(int(number)) if unit == "bytes" else f"{number:,.0f} {unit}"


@final
class _Done(TextColumn):
    """How much is done, of how much."""

    def __init__(self) -> None:
        super().__init__("")

    @override
    def render(self, task: Task) -> Text:
        done = _amount(task, task.completed)
        return Text(done if task.total is None else f"{done} of {_amount(task, task.total)}")


@final
class _Rate(TextColumn):
    """How much a second."""

    def __init__(self) -> None:
        super().__init__("")

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{_amount(task, speed)}/s")
