"""`SinkSuite` passes a right sink, and each of its checks catches a wrong one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO, TypeAlias, cast

import pytest
from typing_extensions import override

from webds.abc import Sink
from webds.errors import EncodeError, WriteError
from webds.testing import SinkSuite, Suite
from webds.typing import Sample

Failures: TypeAlias = Callable[[type[Suite], Collection[str]], dict[str, str]]


class LineSink(Sink[Sample]):
    """A right sink: a line of JSON for each sample, in a file that gets its name when it is finished."""

    def __init__(self, folder: Path) -> None:
        self.name = folder / "samples.jsonl"
        self.file: TextIO | None = open(f"{self.name}.part", "w", encoding="utf-8")  # noqa: SIM115  # closed by close

    def encode(self, sample: Sample) -> str:
        try:
            return json.dumps(sample) + "\n"
        except TypeError as error:
            raise EncodeError("not JSON", key=sample["__key__"]) from error

    @override
    def write(self, sample: Sample) -> int:
        if self.file is None:
            raise WriteError("is closed")
        if "__key__" not in sample:
            raise WriteError("a sample without a key")
        return self.file.write(self.encode(sample))

    @override
    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            os.replace(self.file.name, self.name)
            self.file = None

    @override
    def abort(self) -> None:
        if self.file is not None:
            self.file.close()
            os.unlink(self.file.name)
            self.file = None


class TestLineSink(SinkSuite[Sample]):
    sink: ClassVar[type[Sink[Sample]]] = LineSink

    @override
    def make_sink(self, folder: Path) -> Sink[Sample]:
        return cast("Callable[[Path], Sink[Sample]]", self.sink)(folder)

    @override
    def samples(self) -> Sequence[Sample]:
        return [{"__key__": key, "a": key * 2, "b": [1]} for key in "xyz"]

    @override
    def refused(self) -> Sequence[Sample]:
        return [{"a": 1}, {"__key__": "w", "a": 1, "b": object()}]

    @override
    def read_back(self, folder: Path) -> Sequence[Sample]:
        return [json.loads(line) for line in (folder / "samples.jsonl").read_text().split("\n") if line]


class FewSamples(TestLineSink):
    @override
    def samples(self) -> Sequence[Sample]:
        return super().samples()[:2]


class NoneRefused(TestLineSink):
    @override
    def refused(self) -> Sequence[Sample]:
        return []


class NoSink:
    __init__ = cast("Any", LineSink.__init__)
    abort = LineSink.abort


class LosingTheLast(LineSink):
    last: Sample | None = None

    @override
    def write(self, sample: Sample) -> int:
        size = super().write(sample) if self.last is None else super().write(self.last)
        self.last = sample
        return size


class Uncounted(LineSink):
    @override
    def write(self, sample: Sample) -> int:
        return cast("int", cast("object", super().write(sample) and None))


class Negative(LineSink):
    @override
    def write(self, sample: Sample) -> int:
        return super().write(sample) - 1000


class NeverFinishing(LineSink):
    @override
    def close(self) -> None:
        self.abort()


class PoppingKeys(LineSink):
    @override
    def write(self, sample: Sample) -> int:
        size = super().write(sample)
        sample.pop("__key__")
        return size


class Piecewise(LineSink):
    """Writes as it encodes."""

    @override
    def write(self, sample: Sample) -> int:
        if self.file is None or "__key__" not in sample:
            raise WriteError("cannot be")
        try:
            pieces = json.JSONEncoder().iterencode(sample)
            return sum(map(self.file.write, pieces)) + self.file.write("\n")
        except TypeError as error:
            raise EncodeError("not JSON") from error


class Padding(LineSink):
    """A failure leaves a trace that no reader sees."""

    @override
    def write(self, sample: Sample) -> int:
        try:
            return super().write(sample)
        except EncodeError:
            cast("TextIO", self.file).write("\n")
            raise


class Spoilt(LineSink):
    """A failure ends it."""

    @override
    def write(self, sample: Sample) -> int:
        try:
            return super().write(sample)
        except (EncodeError, WriteError):
            self.close()
            raise


class Frank(LineSink):
    @override
    def encode(self, sample: Sample) -> str:
        return json.dumps(sample) + "\n"


class Lenient(LineSink):
    @override
    def encode(self, sample: Sample) -> str:
        return json.dumps(sample, default=str) + "\n"


class LeavingKeys(LineSink):
    """What is refused is there by its key."""

    @override
    def encode(self, sample: Sample) -> str:
        try:
            return super().encode(sample)
        except EncodeError:
            cast("TextIO", self.file).write(super().encode({"__key__": sample["__key__"]}))
            raise


class ClosingOnce(LineSink):
    @override
    def close(self) -> None:
        if self.file is None:
            raise ValueError("is closed")
        super().close()


class AbortAlways(LineSink):
    """An abort takes away what was finished."""

    @override
    def abort(self) -> None:
        super().abort()
        self.name.unlink(missing_ok=True)


class AbortingOnce(LineSink):
    @override
    def abort(self) -> None:
        os.unlink(cast("TextIO", self.file).name)
        cast("TextIO", self.file).close()
        self.file = None


class FinalName(LineSink):
    """Writes under the final name, and an abort only closes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.rename(f"{self.name}.part", self.name)

    @override
    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    @override
    def abort(self) -> None:
        self.close()


class Reviving(LineSink):
    """A close after an abort makes a file after all."""

    @override
    def close(self) -> None:
        super().close()
        if not self.name.exists():
            self.name.write_text('{"__key__": "x"}\n')


class NotAborting(LineSink):
    """Has its own idea of what to do when a block ends in an exception."""

    @override
    def abort(self) -> None:
        self.close()


class Swallowing(LineSink):
    @override
    def abort(self) -> None:
        super().abort()
        raise ValueError("aborted")


class WritingOn(LineSink):
    """Takes samples after the end, and loses them."""

    @override
    def write(self, sample: Sample) -> int:
        return 0 if self.file is None else super().write(sample)


class Reopening(LineSink):
    """Refuses after the end, but has touched the file."""

    @override
    def write(self, sample: Sample) -> int:
        if self.file is None:
            with self.name.open("a") as file:
                file.write(self.encode(sample))
        return super().write(sample)


class Picklable(LineSink):
    @override
    def __reduce__(self) -> tuple[object, ...]:
        return Path, (str(self.name),)


class Leaking(LineSink):
    leaked: ClassVar[list[TextIO]] = []

    @override
    def close(self) -> None:
        self.leaked.append(open(os.devnull))  # noqa: SIM115  # that is the mistake
        super().close()


WRONG: list[tuple[type[object], str, str]] = [
    (NoSink, "test_the_samples_are_enough_to_test_with", "webds.abc.Sink"),
    (LosingTheLast, "test_what_was_written_is_there_after_close", "close finishes what was written"),
    (Uncounted, "test_what_was_written_is_there_after_close", "number of payload bytes, not None"),
    (Negative, "test_what_was_written_is_there_after_close", "number of payload bytes, not -"),
    (LosingTheLast, "test_leaving_the_with_block_closes", "leaving the with block closes"),
    (PoppingKeys, "test_write_does_not_change_the_sample", "does not change the sample"),
    (Piecewise, "test_a_failed_write_leaves_no_trace", "the sink goes on: what is there cannot be read back"),
    (Spoilt, "test_a_failed_write_leaves_no_trace", "the sink goes on: the next write raised WriteError"),
    (Padding, "test_a_failed_write_leaves_no_trace", "the files differ"),
    (LeavingKeys, "test_a_failed_write_leaves_no_trace", "has written nothing of its sample"),
    (Frank, "test_a_failed_write_leaves_no_trace", "nothing but WriteError and EncodeError, not TypeError"),
    (Lenient, "test_a_failed_write_leaves_no_trace", "refuses with WriteError or EncodeError; it took"),
    (LeavingKeys, "test_nothing_but_failed_writes_is_nothing", "1 samples can be read"),
    (ClosingOnce, "test_close_may_be_called_again", "close after close does nothing; it raised"),
    (AbortAlways, "test_close_may_be_called_again", "abort after close does nothing; it changed the files"),
    (FinalName, "test_abort_leaves_nothing_that_looks_good", "could be taken for a good result"),
    (AbortingOnce, "test_abort_may_be_called_again", "abort after abort does nothing; it raised"),
    (ClosingOnce, "test_abort_may_be_called_again", "close after abort does nothing; it raised"),
    (Reviving, "test_abort_may_be_called_again", "close after abort does nothing; it changed the files"),
    (NotAborting, "test_an_exception_that_leaves_the_block_aborts", "leaves the with block aborts"),
    (Swallowing, "test_an_exception_that_leaves_the_block_aborts", "the exception passes as it is"),
    (WritingOn, "test_write_after_the_end_is_refused", "it took"),
    (Reopening, "test_write_after_the_end_is_refused", "a write after close is refused; it changed the files"),
    (Picklable, "test_an_open_sink_cannot_be_pickled", "cannot be pickled; it was"),
    (Leaking, "test_an_ended_sink_leaves_nothing_open", "leave no file open"),
]
CASES: list[tuple[type[Suite], str, str]] = [
    *((type("Wrong", (TestLineSink,), {"sink": sink}), check, text) for sink, check, text in WRONG),
    (FewSamples, "test_the_samples_are_enough_to_test_with", "three or more"),
    (NoneRefused, "test_the_samples_are_enough_to_test_with", "one or more"),
]


@pytest.fixture(autouse=True)
def no_leaked_file_outlives_its_test() -> None:
    while Leaking.leaked:
        Leaking.leaked.pop().close()


@pytest.mark.parametrize(("suite", "check", "sentence"), CASES)
def test_a_wrong_sink_is_caught(suite: type[Suite], check: str, sentence: str, failures: Failures) -> None:
    assert sentence in failures(suite, [check])[check]


def test_every_check_is_proven(every_check_fails: Callable[[type[Suite], Collection[str]], None]) -> None:
    every_check_fails(SinkSuite, {check for _, check, _ in CASES})
