"""A function over every sample of every shard: each shard that is read gives one that is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, cast, final

import attrs
from typing_extensions import override

from webds.abc import Decoder
from webds.codecs.tables import default_decoders
from webds.errors import WriteError, annotate
from webds.openers.schemes import OpenerLike
from webds.redaction import redact
from webds.sinks.fields import SampleEncoder
from webds.sources.tar import TarSource, Urls
from webds.tar import MissingEnd, by_extension
from webds.tools.engine import Engine
from webds.tools.functions import identity_of
from webds.tools.jobs import Job, running
from webds.tools.outputs import Output, ShardFile, Written, complete, raw_encoder, remove_shards
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import Passed, Selection, engine_for, identity, measured, samples_of, source_of, total_size
from webds.typing import Sample

__all__ = ["Mapped", "OnError", "SampleFunction", "convert", "map_shards"]

SampleFunction: TypeAlias = Callable[[Sample], "Mapping[str, Any] | Iterable[Mapping[str, Any]] | None"]
"""From a sample to what takes its place: a sample, several, or None for nothing."""

OnError: TypeAlias = Literal["raise", "skip"]
"""What becomes of a sample at which a function fails: the end of the work, or nothing, but that it is counted."""

_SHOWN: Final = 10


@final
@attrs.define
class Mapped:
    """What came of a function over shards.

    Attributes:
        written: what was written.
        passed: what was read, and is not part of it.
        failed: number of samples at which the function failed, and which were left out.
        errors: what went wrong with the first of these.
    """

    written: Written = attrs.field(factory=Written)
    passed: Passed = attrs.field(factory=Passed)
    failed: int = 0
    errors: list[str] = attrs.field(factory=list)

    def add(self, other: Mapped) -> None:
        """Add what came of another shard."""
        self.written.shards += other.written.shards
        self.written.samples += other.written.samples
        self.written.kept += other.written.kept
        self.passed.add(other.passed)
        self.failed += other.failed
        self.errors = (self.errors + other.errors)[:_SHOWN]


def map_shards(
    function: SampleFunction,
    urls: Urls,
    output: Output,
    *,
    decode: bool | Collection[str] = False,
    images: str | None = None,
    on_error: OnError = "raise",
    selection: Selection | None = None,
    jobs: int = 1,
    engine: Engine | None = None,
    opener: OpenerLike | None = None,
    missing_end: MissingEnd = "error",
    progress: Progress | None = None,
) -> Mapped:
    """Call a function for every sample, and write what it returns: one shard for each that is read.

    Fields that are not decoded come as the bytes of the shard, and whatever the function leaves as bytes is written as
    it is. What it returns otherwise is encoded by the extension of its field, as `webds.TarWriter` does; so is what was
    decoded, changed or not: decode no more than you need, above all no jpg.

    Work that was broken off goes on with the shards that are missing, if it is repeated as it was.

    Args:
        function: from a sample to a sample, to an iterable of samples, or to None, which drops it. A sample that comes
            back without ``__key__`` has that of the one that went in. Where there are several processes it has to be
            picklable, such as a function of a module or a `webds.tools.functions.NamedFunction`.
        urls: the shards, as `webds.DatasetBuilder` takes them.
        output: where the results go; a pattern, or a folder for shards of the same names.
        decode: the fields, or their extensions, that the function gets decoded; True for all that have a decoder.
        images: how images are decoded, a name of `webds.IMAGE_SPECS`; None leaves them as bytes.
        on_error: what becomes of a sample at which the function, or a decoder, fails.
        selection: which samples and fields the function gets; the others are dropped.
        jobs: how many processes.
        engine: does the work, in place of these.
        opener: opens what is read; None for the default.
        missing_end: what of an archive without end blocks.
        progress: hears how many bytes have been read.

    Raises:
        WebdsError: a shard cannot be read, or a result not be written.
        Exception: what the function raised, with a note of where.
    """
    source = source_of(urls, opener, missing_end)
    if not isinstance(decode, bool):
        decode = frozenset(name.lower().removeprefix(".") for name in decode)
    table = {} if decode is False else default_decoders(images)
    parameters = {
        "function": identity_of(function),
        "decode": decode if isinstance(decode, bool) else sorted(decode),
        "images": images,
        "on_error": on_error,
    }
    work = _Function(function, table, decode, on_error)
    return convert(
        work, source, output, parameters, "map", selection, engine_for(source.shards(), engine, jobs), progress
    )


def convert(
    function: _Function | None,
    source: TarSource,
    output: Output,
    parameters: Mapping[str, Any],
    tool: str,
    selection: Selection | None,
    engine: Engine,
    progress: Progress | None,
) -> Mapped:
    """Write one shard for each of a source; see `map_shards`. Without a function, samples stay as they are."""
    tells = progress or NoProgress()
    shards = source.shards()
    sizes = measured(source)
    output.prepare()
    names = output.names_for(shards)
    selected = None if selection is None else attrs.evolve(selection, where=None)
    everything = {
        **parameters,
        "output": output.parameters(),
        "input": identity(source, sizes),
        "selection": [attrs.asdict(selected) if selected else None, identity_of(selection and selection.where)],
    }
    result = Mapped()
    with running(
        output.target,
        tool,
        everything,
        opener=output.opens,
        existing=lambda: output.existing(None if output.is_pattern else names),
        overwrite=output.overwrite,
    ) as job:
        tells.begin(tool, total_size(source, sizes), "bytes")
        work = _Convert(function, source, output, job, selection)
        tasks = [_Task(shard, name) for shard, name in zip(shards, names, strict=True)]
        with contextlib.closing(engine.run(work, tasks, tells.advance)) as done:
            for one in done:
                result.add(one)
        if output.overwrite and output.is_pattern:
            remove_shards(set(output.existing()) - set(names), output)
    return result


@final
@attrs.frozen
class _Task:
    """One shard to be read, and the name of what is written."""

    url: str
    name: str

    @override
    def __str__(self) -> str:
        return redact(self.url)


@final
@attrs.frozen
class _Convert:
    """Does one shard."""

    function: _Function | None
    source: TarSource
    output: Output
    job: Job
    selection: Selection | None

    def __call__(self, task: _Task) -> Mapped:
        if self.job.resumed and self.output.is_there(task.name):
            return Mapped(Written(1, complete(task.name, self.output), 1))
        result = Mapped()
        encoder = raw_encoder() if self.function is None else SampleEncoder(encoder=True, keep_meta=True)
        samples = samples_of(self.source, task.url, result.passed, self.selection)
        with contextlib.closing(samples), ShardFile(task.name, self.output, encoder) as sink:
            for _, sample in samples:
                if self.function is None:
                    sink.write(sample)
                    continue
                for value in self.function.values(sample, task.url, result):
                    sink.write(value)
        result.written = Written(1, sink.count)
        return result


@final
@attrs.frozen
class _Function:
    """A user's function, with what is decoded before it."""

    function: SampleFunction
    table: Mapping[str, Decoder[Any]]
    decode: bool | frozenset[str]
    on_error: OnError

    def values(self, sample: Sample, url: str, result: Mapped) -> list[Sample]:
        """Return what takes the place of a sample."""
        key = sample["__key__"]
        stage = "decode"
        try:
            value = self._decoded(sample)
            stage = "map"
            values = _several(self.function(value), key)
        except Exception as error:
            annotate(error, url=url, key=key, stage=stage)
            if self.on_error == "raise":
                raise
            result.failed += 1
            if len(result.errors) < _SHOWN:
                result.errors.append(redact(f"{url}: key {key!r}: {type(error).__name__}: {error}"))
            return []
        if not values:
            result.passed.samples += 1
        return values

    def _decoded(self, sample: Sample) -> Sample:
        if self.decode is False:
            return sample
        decoded: Sample = {}
        for field, value in sample.items():
            wanted = self.decode is True or field in self.decode or field.rpartition(".")[2] in self.decode
            decoder = by_extension(self.table, field) if wanted and field != "__key__" else None
            try:
                decoded[field] = value if decoder is None else decoder.decode(value, field)
            except Exception as error:
                annotate(error, key=sample["__key__"], field=field, stage="decode")
                raise
        return decoded


def _several(result: object, key: str) -> list[Sample]:
    """Return what a function returned as samples."""
    if result is None:
        return []
    if isinstance(result, Mapping):
        return [{"__key__": key, **cast("Mapping[str, Any]", result)}]
    if not isinstance(result, Iterable) or isinstance(result, str | bytes | bytearray):
        raise WriteError(f"the function returned a {type(result).__name__}: expected a sample, several, or None")
    samples: list[Sample] = []
    given: Iterator[object] = iter(cast("Iterable[object]", result))
    for one in given:
        if not isinstance(one, Mapping):
            raise WriteError(f"the function returned a {type(one).__name__} among several samples: expected a dict")
        samples.append({"__key__": key, **cast("Mapping[str, Any]", one)})
    keys = [sample["__key__"] for sample in samples]
    if len(set(keys)) < len(keys):
        raise WriteError("the function returned several samples with one key: give each a '__key__' of its own")
    return samples
