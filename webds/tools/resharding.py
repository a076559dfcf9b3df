"""Shards into other shards: cut otherwise, put together, shuffled, sorted, filtered, their members put side by side."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Literal, TypeAlias, final

import attrs
from typing_extensions import override

from webds.errors import SampleError, annotate
from webds.index import replace_file
from webds.openers.schemes import OpenerLike
from webds.openers.streams import open_error
from webds.order.draws import draws
from webds.redaction import redact
from webds.sinks.pattern import ShardPattern
from webds.sources.tar import TarSource, Urls
from webds.tar import MissingEnd, base_plus_ext, is_metadata, read_members
from webds.tar.header import shown
from webds.tools.engine import Engine, report
from webds.tools.functions import identity_of
from webds.tools.jobs import Job, job_url, running
from webds.tools.mapping import convert
from webds.tools.outputs import Output, Written, raw_encoder, refuse_reading, write_stream
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import (
    Passed,
    Selection,
    check_names,
    engine_for,
    identity,
    measured,
    samples_of,
    source_of,
    total_size,
    weight,
)
from webds.tools.sorting import Order, Run, RunWriter, grouped, merged
from webds.typing import Sample
from webds.urls import local_path

__all__ = ["Arrangement", "Resharded", "reshard"]

Arrangement: TypeAlias = Literal["keep", "shuffle", "sort", "regroup"]
"""In which order samples are written: as they come; at random; by key, or by what a function says; by key, each put
together from all members that have it, wherever these lie."""

_MEMORY: Final = 1 << 28
_LEAST_MEMORY: Final = 1 << 20


@final
@attrs.define
class Resharded:
    """What came of it.

    Attributes:
        written: what was written.
        passed: what was read, and is not part of it.
    """

    written: Written = attrs.field(factory=Written)
    passed: Passed = attrs.field(factory=Passed)


def reshard(
    urls: Urls,
    output: Output,
    arrangement: Arrangement = "keep",
    *,
    seed: int = 0,
    by: Callable[[Sample], Any] | None = None,
    keys: str | None = None,
    selection: Selection | None = None,
    memory: int = _MEMORY,
    scratch: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    engine: Engine | None = None,
    opener: OpenerLike | None = None,
    missing_end: MissingEnd = "error",
    progress: Progress | None = None,
) -> Resharded:
    """Write the samples of shards into other shards. The contents of their fields stay as they are, byte for byte.

    With an output of one shard for each that is read (a folder), each is written anew by itself, compressed or selected
    as asked for. Otherwise all samples make one sequence, which is cut into shards of the size that is asked for.

    Where the order changes, samples are put aside on the disk, sorted as many at a time as memory holds, and then read
    side by side: that takes as much room there as the samples do, and the memory that is given, whatever their number.
    The order of a shuffle is decided by the seed and by the shards, in the order in which they are given, alone.

    Work that was broken off goes on where it was, if it is repeated as it was; see `webds.tools.jobs`.

    Args:
        urls: the shards, as `webds.DatasetBuilder` takes them; ``-`` for standard input.
        output: where the samples go.
        arrangement: see `Arrangement`.
        seed: of the shuffle.
        by: for ``sort``: called with each sample, its values the bytes of the shard; returns the number or text that
            decides on its place. Those that are equal keep their order. None for the key.
        keys: what samples are called from now on: a template of ``{key}``, ``{shard}`` (the name of the shard that was
            read, without folder and suffix), ``{number}`` (of the sample in the result), such as ``"{shard}/{key}"`` or
            ``"{number:09d}"``. None leaves them. Shards put together often have the same keys.
        selection: which samples and fields are taken.
        memory: bytes that samples may take in all processes together, at least 1 MiB; a single larger sample may, too.
        scratch: an existing local folder for what is put aside; by default a hidden one beside the output, where that
            is local, so that the first half of the work is not lost if the second is broken off.
        jobs: how many processes read and sort; one writes.
        engine: does this, in place of these.
        opener: opens what is read; None for the default.
        missing_end: what of an archive without end blocks.
        progress: hears how many bytes have been read, and written.

    Raises:
        WebdsError: a shard cannot be read or written; two samples of one shard have the same key; members of one
            sample have the same field.
        ValueError: arguments that do not go together.
        Exception: what ``where`` or ``by`` raised, with a note of where.
    """
    if memory < _LEAST_MEMORY:
        raise ValueError(f"memory={memory}: expected {_LEAST_MEMORY} bytes at least")
    if by is not None and arrangement != "sort":
        raise ValueError(f"by= is for arrangement='sort', not {arrangement!r}")
    source = source_of(urls, opener, missing_end)
    shards = source.shards()
    runs = engine_for(shards, engine, jobs)
    if not output.is_pattern and (output.target.endswith("/") or os.path.isdir(local_path(output.target) or "")):
        if arrangement != "keep" or keys is not None:
            raise ValueError(
                "one shard for each that is read keeps order and keys: name the output by a pattern, such as x-%06d.tar"
            )
        done = convert(None, source, output, {}, "reshard", selection, runs, progress)
        return Resharded(done.written, done.passed)
    tells = progress or NoProgress()
    work = _Work(source, output, arrangement, seed, by, keys, selection, memory, tells, measured(source))
    refuse_reading(shards, [str(name) for name in _names_written(output)])
    folder = None if scratch is None else os.fspath(scratch)
    with running(
        output.target,
        "reshard",
        work.parameters(),
        opener=output.opens,
        existing=output.existing,
        overwrite=output.overwrite,
    ) as job:
        if arrangement == "keep":
            return Resharded(_written(work, work.in_order(), job), work.passed)
        with _scratch(output, folder, job) as aside:
            return Resharded(_written(work, work.rearranged(job, aside, runs), job), work.passed)


def _written(work: _Work, samples: Generator[tuple[str, Sample]], job: Job) -> Written:
    with contextlib.closing(samples):
        return write_stream(work.named(samples), work.output, job, raw_encoder())


def _names_written(output: Output) -> list[str]:
    """Return the local names that may be written over while shards are read."""
    if output.is_stream or not output.is_pattern:
        return [output.target]
    return list(ShardPattern(output.target, output.opener).existing().values()) if output.overwrite else []


@final
@attrs.define
class _Work:
    """One call of `reshard`."""

    source: TarSource
    output: Output
    arrangement: Arrangement
    seed: int
    by: Callable[[Sample], Any] | None
    keys: str | None
    selection: Selection | None
    memory: int
    progress: Progress
    sizes: list[int | None]
    passed: Passed = attrs.field(factory=Passed)

    def parameters(self) -> dict[str, Any]:
        """Return all that decides on the result."""
        selection = self.selection
        return {
            "output": self.output.parameters(),
            "input": identity(self.source, self.sizes),
            "arrangement": [self.arrangement, self.seed, identity_of(self.by), self.keys],
            "selection": selection
            and [
                selection.fields and sorted(selection.fields),
                sorted(selection.without),
                identity_of(selection.where),
            ],
        }

    def in_order(self) -> Generator[tuple[str, Sample]]:
        """Yield the samples of one shard after the other, each with its shard."""
        self.progress.begin("reshard", total_size(self.source, self.sizes), "bytes")
        for shard in self.source.shards():
            read = samples_of(self.source, shard, self.passed, self.selection)
            with contextlib.closing(read):
                for _, sample in read:
                    self.progress.advance(weight(sample))
                    yield shard, sample

    def named(self, samples: Iterator[tuple[str, Sample]]) -> Generator[Sample]:
        """Yield the samples under the keys that they are to have."""
        if self.keys is None:
            for _, sample in samples:
                yield sample
            return
        for number, (shard, sample) in enumerate(samples):
            try:
                name = self.keys.format(key=sample["__key__"], shard=_stem(shard), number=number)
            except (KeyError, IndexError, ValueError) as error:
                what = "expected a template of {key}, {shard} and {number}, such as '{shard}/{key}'"
                raise ValueError(f"keys={self.keys!r}: {what} ({error})") from error
            yield {**sample, "__key__": name}

    def rearranged(self, job: Job, folder: str, engine: Engine) -> Generator[tuple[str, Sample]]:
        """Yield the samples in another order, each with its shard; ``folder`` holds what is put aside."""
        shards = self.source.shards()
        memory = max(_LEAST_MEMORY, self.memory // engine.at_once())
        scatter = _Scatter(self.source, self.arrangement, self.seed, self.by, self.selection, folder, memory)
        tasks = [_Task(number, shard) for number, shard in enumerate(shards)]
        self.progress.begin(
            "shuffle" if self.arrangement == "shuffle" else "sort", total_size(self.source, self.sizes), "bytes"
        )
        runs: list[Run] = []
        try:
            with contextlib.closing(engine.run(scatter, tasks, self.progress.advance)) as done:
                for found, passed in done:
                    runs += found
                    self.passed.add(passed)
        finally:  # what workers have noted counts, also where nobody has heard of it yet
            job.has_begun = any(os.path.exists(scatter.note_of(task)) for task in tasks)
        self.progress.begin("write", sum(os.path.getsize(run.path) for run in runs), "bytes")
        records = merged(runs, folder, self.memory)
        if self.arrangement == "regroup":
            yield from self._put_together(records)
            return
        for order, sample in records:
            self.progress.advance(weight(sample))
            yield shards[_shard_of(order)], sample

    def _put_together(self, records: Iterator[tuple[Order, Sample]]) -> Generator[tuple[str, Sample]]:
        """Yield samples, each out of all members that have its key."""
        shards = self.source.shards()
        for key, group in grouped(records):
            whole: Sample = {"__key__": key}
            shard = shards[_shard_of(group[0][0])]
            for order, sample in group:
                self.progress.advance(weight(sample))
                for field, value in sample.items():
                    if field in whole and field != "__key__":
                        shard = shards[_shard_of(order)]
                        raise SampleError(f"sample {shown(key)} has the field {shown(field)} twice",
                                          url=shard, key=key, field=field, stage="regroup")  # fmt: skip
                    whole[field] = value
            taken = whole if self.selection is None else _selected(self.selection, whole, shard)
            if taken is None:
                self.passed.samples += 1
            else:
                check_names(taken, shard)
                yield shard, taken


def _shard_of(order: Order) -> int:
    """Return the number of the shard that a sample was in."""
    number: int = order[1]
    return number


def _selected(selection: Selection, sample: Sample, shard: str) -> Sample | None:
    """Return what is kept of a sample that was put together."""
    if selection.fields is not None:
        sample = {name: value for name, value in sample.items() if name == "__key__" or name in selection.fields}
    try:
        return selection.take(sample)
    except Exception as error:
        annotate(error, url=shard, key=sample["__key__"], stage="where")
        raise


def _stem(url: str) -> str:
    """Return the name of a shard without folder and suffix."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2].partition(".")[0] or "shard"


@contextlib.contextmanager
def _scratch(output: Output, scratch: str | None, job: Job) -> Generator[str]:
    """Make a folder for what is put aside; it is removed unless work can go on from what is in it."""
    local = local_path(output.target)
    temporary = scratch is not None or output.is_stream or local is None
    try:
        if temporary or local is None:
            folder = tempfile.mkdtemp(prefix="webds-", dir=scratch)
        else:
            folder = os.path.splitext(job_url(local))[0] + ".scratch"
            if not job.resumed:
                shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise open_error("cannot put samples aside", scratch or output.target, error) from None
    try:
        yield folder
    except BaseException as error:
        interrupted = not isinstance(error, Exception)
        if temporary or not (output.existing() or (interrupted and job.has_begun)):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


@final
@attrs.frozen
class _Task:
    """One shard whose samples are put aside."""

    number: int
    url: str

    @override
    def __str__(self) -> str:
        return redact(self.url)


@final
@attrs.frozen
class _Scatter:
    """Puts the samples of one shard aside, in sorted files. What was done for a shard is noted, and not done again."""

    source: TarSource
    arrangement: Arrangement
    seed: int
    by: Callable[[Sample], Any] | None
    selection: Selection | None
    folder: str
    memory: int

    def note_of(self, task: _Task) -> str:
        """Return the path of the note that a shard is done."""
        return os.path.join(self.folder, f"shard-{task.number}.json")

    def __call__(self, task: _Task) -> tuple[list[Run], Passed]:
        note = self.note_of(task)
        with contextlib.suppress(FileNotFoundError):
            with open(note, encoding="utf-8") as file:
                found = json.load(file)
            return [Run(**run) for run in found["runs"]], Passed(**found["passed"])
        writer = RunWriter(self.folder, self.memory)
        passed = Passed()
        records = self._members(task, passed) if self.arrangement == "regroup" else self._samples(task, passed)
        with contextlib.closing(records):
            for order, sample in records:
                writer.add(order, sample)
        runs = writer.finish()
        text = json.dumps({"runs": [attrs.asdict(run) for run in runs], "passed": attrs.asdict(passed)})
        replace_file(note, text.encode())
        return runs, passed

    def _samples(self, task: _Task, passed: Passed) -> Generator[tuple[Order, Sample]]:
        random = draws(self.seed, (task.number,), "reshard")
        samples = samples_of(self.source, task.url, passed, self.selection)
        with contextlib.closing(samples):
            for ordinal, sample in samples:
                place: int | float | str
                if self.arrangement == "shuffle":
                    place = next(random)
                elif self.by is None:
                    place = sample["__key__"]
                else:
                    place = self._asked(sample, task.url)
                yield (place, task.number, ordinal), sample

    def _asked(self, sample: Sample, shard: str) -> int | float | str:
        """Return what the user's function says of the place of a sample."""
        assert self.by is not None
        try:
            return _checked_place(self.by(sample))
        except Exception as error:
            annotate(error, url=shard, key=sample["__key__"], stage="sort")
            raise

    def _members(self, task: _Task, passed: Passed) -> Generator[tuple[Order, Sample]]:
        """Yield each member as a sample of one field."""
        with self.source.open(task.url) as stream:
            members = read_members(stream, url=task.url, missing_end=self.source.missing_end)
            for number, (member, data) in enumerate(members):
                key, field = base_plus_ext(member.name)
                if key is None or field is None:
                    if not is_metadata(member.name):
                        passed.add(Passed(1, [member.name]))
                    continue
                if field == "__key__":
                    raise SampleError(f"sample {shown(key)} has a field {field!r}, and that name is taken",
                                      url=task.url, key=key, field=field, offset=member.offset)  # fmt: skip
                assert data is not None
                sample: Sample = {"__key__": key, field: data}
                report(weight(sample))
                yield (key, task.number, number), sample


def _checked_place(place: object) -> int | float | str:
    if isinstance(place, int | float | str) and place == place:  # noqa: PLR0124  # a NaN is nowhere
        return place
    raise TypeError(f"the function that samples are sorted by returned {place!r}: expected a number or a text")
