"""The suite of `webds.abc.Sink`."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic

from webds.abc import Sink
from webds.errors import EncodeError, WriteError
from webds.testing.comparison import same
from webds.testing.suite import Suite, open_files, settled
from webds.typing import T

__all__ = ["SinkSuite"]


def _snapshot(folder: Path) -> dict[str, bytes]:
    """Return name and content of every file."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class SinkSuite(Suite, ABC, Generic[T]):
    """What every `Sink` must keep to."""

    @abstractmethod
    def make_sink(self, folder: Path) -> Sink[T]:
        """Return a new sink that writes into ``folder``, which is empty."""

    @abstractmethod
    def samples(self) -> Sequence[T]:
        """Return at least three samples that can be written: new but equal ones at each call.

        A sink that finishes shards on its way is to be made so that these fit into one.
        """

    @abstractmethod
    def refused(self) -> Sequence[T]:
        """Return samples that `write` must refuse.

        Let the last field that is written be the one that is at fault, so that the others come before it.
        """

    @abstractmethod
    def read_back(self, folder: Path) -> Sequence[T]:
        """Return all samples of whatever in ``folder`` could be taken for a good result.

        An error for what is there but is plainly no good result is as good as nothing.
        """

    def same(self, actual: T, expected: T) -> bool:
        """Return whether two samples are the same; by default, `webds.testing.same`."""
        return same(actual, expected)

    def _folder(self, tmp_path: Path, name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return folder

    def _check(self, folder: Path, expected: Sequence[T], message: str) -> None:
        try:
            found = self.read_back(folder)
        except Exception as error:
            raise AssertionError(f"{message}: what is there cannot be read back: {error!r}") from error
        assert len(found) == len(expected), f"{message}: {len(found)} samples in place of {len(expected)}"
        for value, right in zip(found, expected, strict=True):
            assert self.same(value, right), f"{message}: {value!r} in place of {right!r}"

    def _check_nothing(self, folder: Path, message: str) -> None:
        try:
            found = self.read_back(folder)
        except Exception:
            return
        assert not found, f"{message}; {len(found)} samples can be read from {sorted(_snapshot(folder))}"

    def _refuse(self, sink: Sink[T], sample: T) -> None:
        try:
            sink.write(sample)
        except (WriteError, EncodeError):
            return
        except Exception as error:
            raise AssertionError(f"write raises nothing but WriteError and EncodeError, not {error!r}") from error
        raise AssertionError(f"write refuses with WriteError or EncodeError; it took {sample!r}")

    def test_the_samples_are_enough_to_test_with(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        sink.abort()
        assert isinstance(sink, Sink), "make_sink returns an instance of webds.abc.Sink"
        assert len(self.samples()) >= 3, "samples() has three or more"
        assert self.refused(), "refused() has one or more"

    def test_what_was_written_is_there_after_close(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        for sample in self.samples():
            size: object = sink.write(sample)
            assert isinstance(size, int), f"write returns the number of payload bytes, not {size!r}"
            assert size >= 0, f"write returns the number of payload bytes, not {size!r}"
        sink.close()
        self._check(tmp_path, self.samples(), "close finishes what was written")

    def test_leaving_the_with_block_closes(self, tmp_path: Path) -> None:
        with self.make_sink(tmp_path) as sink:
            for sample in self.samples():
                sink.write(sample)
        self._check(tmp_path, self.samples(), "leaving the with block closes")

    def test_write_does_not_change_the_sample(self, tmp_path: Path) -> None:
        samples = self.samples()
        with self.make_sink(tmp_path) as sink:
            for sample, fresh in zip(samples, self.samples(), strict=True):
                sink.write(sample)
                assert self.same(sample, fresh), f"write does not change the sample: {sample!r}, was {fresh!r}"

    def test_a_failed_write_leaves_no_trace(self, tmp_path: Path) -> None:
        clean = [self._folder(tmp_path, name) for name in ("clean", "again")]
        for folder in clean:
            with self.make_sink(folder) as sink:
                for sample in self.samples():
                    sink.write(sample)
        snapshots = [_snapshot(folder) for folder in clean]
        for number, refused in enumerate(self.refused()):
            folder = self._folder(tmp_path, f"refused-{number}")
            message = "a write that fails has written nothing of its sample, and the sink goes on"
            with self.make_sink(folder) as sink:
                for sample in self.samples():
                    self._refuse(sink, refused)
                    try:
                        sink.write(sample)
                    except Exception as error:
                        raise AssertionError(f"{message}: the next write raised {error!r}") from error
                self._refuse(sink, refused)
            self._check(folder, self.samples(), message)
            if snapshots[0] == snapshots[1]:  # samples alone decide the bytes
                assert _snapshot(folder) == snapshots[0], f"{message}: the files differ from those without the failure"

    def test_nothing_but_failed_writes_is_nothing(self, tmp_path: Path) -> None:
        with self.make_sink(tmp_path) as sink:
            for refused in self.refused():
                self._refuse(sink, refused)
        self._check_nothing(tmp_path, "a write that fails has written nothing of its sample")

    def test_close_may_be_called_again(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        for sample in self.samples():
            sink.write(sample)
        sink.close()
        before = _snapshot(tmp_path)
        for again in (sink.close, sink.abort, sink.close):
            try:
                again()
            except Exception as error:
                raise AssertionError(f"{again.__name__} after close does nothing; it raised {error!r}") from error
            assert _snapshot(tmp_path) == before, f"{again.__name__} after close does nothing; it changed the files"

    def test_abort_leaves_nothing_that_looks_good(self, tmp_path: Path) -> None:
        for count in range(len(self.samples()) + 1):
            folder = self._folder(tmp_path, str(count))
            sink = self.make_sink(folder)
            for sample in self.samples()[:count]:
                sink.write(sample)
            sink.abort()
            self._check_nothing(folder, "abort leaves nothing that could be taken for a good result")

    def test_abort_may_be_called_again(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        for sample in self.samples():
            sink.write(sample)
        sink.abort()
        before = _snapshot(tmp_path)
        for again in (sink.close, sink.abort, sink.close):
            try:
                again()
            except Exception as error:
                raise AssertionError(f"{again.__name__} after abort does nothing; it raised {error!r}") from error
            assert _snapshot(tmp_path) == before, f"{again.__name__} after abort does nothing; it changed the files"
        self._check_nothing(tmp_path, "close after abort does nothing")

    def test_an_exception_that_leaves_the_block_aborts(self, tmp_path: Path) -> None:
        for number, crash in enumerate((ValueError("crash"), KeyboardInterrupt("crash"))):
            folder = self._folder(tmp_path, str(number))
            try:
                with self.make_sink(folder) as sink:
                    for sample in self.samples():
                        sink.write(sample)
                    raise crash  # noqa: TRY301  # this is the crash
            except BaseException as error:
                if error is not crash:
                    raise AssertionError(f"the exception passes as it is; it became {error!r}") from error
            self._check_nothing(folder, "an exception that leaves the with block aborts")

    def test_write_after_the_end_is_refused(self, tmp_path: Path) -> None:
        for name in ("close", "abort"):
            folder = self._folder(tmp_path, name)
            sink = self.make_sink(folder)
            sink.write(self.samples()[0])
            getattr(sink, name)()
            before = _snapshot(folder)
            self._refuse(sink, self.samples()[1])
            sink.close()
            assert _snapshot(folder) == before, f"a write after {name} is refused; it changed the files"

    def test_an_open_sink_cannot_be_pickled(self, tmp_path: Path) -> None:
        sink = self.make_sink(tmp_path)
        sink.write(self.samples()[0])
        try:
            pickle.dumps(sink)
        except TypeError:
            pass
        else:
            raise AssertionError("an open sink cannot be pickled; it was")
        finally:
            sink.abort()

    def test_an_ended_sink_leaves_nothing_open(self, tmp_path: Path) -> None:
        sinks: list[Sink[T]] = []
        before, rounds = open_files(), 8
        for number in range(rounds):
            sinks.append(self.make_sink(self._folder(tmp_path, str(number))))
            sinks[-1].write(self.samples()[0])
            if number % 2:
                sinks[-1].close()
            else:
                sinks[-1].abort()
        assert settled(lambda: open_files() < before + rounds // 2), "close and abort leave no file open"
