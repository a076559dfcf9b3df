"""Where the time of an iteration goes: seconds and values of each stage, summed over all processes of a dataset.

An iterator works while somebody asks it for its next value, and asks the one before it in turn. A `Meter` keeps one
clock, and notes whenever another one takes over to whom the time since then belongs: each row gets the time of its
own, without that of what it waited for.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Iterator
from time import perf_counter_ns
from typing import BinaryIO, Final, cast, final

from typing_extensions import TypeVar, override

from webds.shared import SharedFile
from webds.streams.passing import PassingReader

__all__ = ["CONSUMER", "FIRST_STAGE", "IO", "SOURCE", "Meter", "Metrics"]

V = TypeVar("V")

CONSUMER: Final = 0
"""The row of whoever iterates: the time until it asked for the next value."""

IO: Final = 1
"""The row of opening and reading streams; its values are bytes."""

SOURCE: Final = 2
"""The row of making samples of these bytes."""

FIRST_STAGE: Final = 3
"""The row of the first stage; the others follow."""

_FLUSH: Final = 1024  # samples after which the sums are handed on


@final
class Metrics:
    """The sums of all iterations of a dataset, in all its processes; shared and copied like a `SharedFile`.

    Args:
        stages: how many stages there are behind the source.
    """

    def __init__(self, stages: int) -> None:
        self._rows = FIRST_STAGE + stages
        self._file = SharedFile(bytes(self._zeros()))

    def _zeros(self) -> array[int]:
        return array("q", bytes(16 * self._rows))

    def add(self, numbers: array[int]) -> None:
        """Add what `Meter` counted: values and nanoseconds of each row in turn."""
        with self._file.locked():
            sums = array("q", self._file.read())
            self._file.replace(bytes(array("q", map(int.__add__, sums, numbers))))

    def rows(self) -> list[tuple[int, float]]:
        """Return values and seconds of each row."""
        sums = array("q", self._file.read())
        return [(sums[2 * row], sums[2 * row + 1] / 1e9) for row in range(self._rows)]

    def meter(self) -> Meter:
        """Return the meter of an iteration that begins."""
        return Meter(self, self._zeros())


@final
class Meter:
    """The clock of one iteration in one process. Its iterators and streams are used by one thread at a time.

    Args:
        metrics: where the sums go.
        numbers: values and nanoseconds of each row in turn: zeros.
    """

    def __init__(self, metrics: Metrics, numbers: array[int]) -> None:
        self._metrics = metrics
        self._numbers = numbers
        self._row = CONSUMER
        self._since = perf_counter_ns()

    def switch(self, row: int) -> int:
        """Let the time from now on be that of ``row``, and return whose it was."""
        now = perf_counter_ns()
        self._numbers[2 * self._row + 1] += now - self._since
        self._since = now
        before, self._row = self._row, row
        return before

    def timed(self, row: int, values: Iterator[V]) -> Generator[V]:
        """Yield ``values``, as those of ``row``."""
        numbers, switch = self._numbers, self.switch
        passing: list[V] = []  # so that no variable holds what was handed on
        while True:
            before = switch(row)
            try:
                passing.append(next(values))
            except StopIteration:
                return
            finally:
                switch(before)
            numbers[2 * row] += 1
            if row == SOURCE and not numbers[2 * row] % _FLUSH:
                self.flush()
            yield passing.pop()

    def opened(self, opening: Callable[[], BinaryIO]) -> BinaryIO:
        """Return what ``opening`` returns, as a stream whose reads are timed."""
        before = self.switch(IO)
        try:
            stream = opening()
        finally:
            self.switch(before)
        return cast("BinaryIO", _TimedReader(stream, self))

    def count(self, row: int, values: int) -> None:
        """Add to the values of ``row``."""
        self._numbers[2 * row] += values

    def flush(self) -> None:
        """Hand on the sums, and begin again from zero."""
        self.switch(self._row)
        self._metrics.add(self._numbers)
        for i in range(len(self._numbers)):
            self._numbers[i] = 0


@final
class _TimedReader(PassingReader):
    """A stream the reads of which are the time of the row `IO`."""

    def __init__(self, stream: BinaryIO, meter: Meter) -> None:
        super().__init__(stream)
        self._meter = meter

    @override
    def passed(self, read: Callable[[int], bytes], size: int) -> bytes:
        before = self._meter.switch(IO)
        try:
            data = read(size)
        finally:
            self._meter.switch(before)
        self._meter.count(IO, len(data))
        return data

    @override
    def seek(self, offset: int, whence: int = 0, /) -> int:
        before = self._meter.switch(IO)
        try:
            return super().seek(offset, whence)
        finally:
            self._meter.switch(before)
