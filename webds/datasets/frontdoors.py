"""The older system's second front door, and its iterator over one open tar stream."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal, TypeAlias, final, overload

import attrs
from typing_extensions import Unpack, override

from webds.abc import Opener, Source
from webds.datasets.dataset import BaseDataset, resolve_decoders
from webds.datasets.older import AnyDecoder, DecoderSpec, OlderOptions, Selection, decoding, keeping, older_plan
from webds.openers.schemes import OpenerLike, reader
from webds.plans.plan import Plan
from webds.policy import Guard, Handler, Ledger, Policy, reraise_exception
from webds.redaction import redact
from webds.sources.tar import TarShards, Urls
from webds.splitters import NoSplit
from webds.stages.base import Run
from webds.stages.fields import Associate, ToTuple
from webds.stages.functions import MapTuple, Pipe
from webds.stages.shuffle import Shuffle
from webds.tar import MissingEnd, ReadStats, base_plus_ext, read_samples
from webds.typing import KeyFunction, Readable, Sample, U, ValueT_co

__all__ = ["WebDataset", "WebDatasetOptions", "tariterator"]

_Extensions: TypeAlias = str | Sequence[str | Sequence[str]]
_Transforms: TypeAlias = Sequence[Callable[[Any], Any] | None]
_Table: TypeAlias = Callable[[str], Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]


@final
class WebDatasetOptions(OlderOptions, total=False):
    """Arguments of `WebDataset` that make no difference to the type of its values."""

    verbose: bool
    shuffle: int
    associate: _Table | None


_log = logging.getLogger("webds")


@attrs.frozen
class _LoggingOpener(Opener):
    """Logs each shard that is opened."""

    opener: Opener

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        _log.info("opening %s", redact(url))
        return self.opener.open(url, mode)


@final
class WebDataset(BaseDataset[ValueT_co]):
    """A dataset of tar shards that decodes, and makes tuples, as its arguments say.

    Args:
        urls: a brace expression, a glob, a path, or a list of these.
        extensions: the fields of each tuple: ``"png;jpg cls"``, or a list of lists of alternatives. None yields
            whole samples.
        decoder: name of an image specification; True for ``"rgb"``; False or None for nothing; a function of
            the whole sample; or a dict from extension to function.
        transforms: a function for each element of the tuple, None to leave it as it is; a list that is shorter
            begins again from its start.
        pipeline: a function of the whole iterator that returns another, such as one that makes batches.
        epochs: how many passes over the shards one iteration makes.
        keys: member path → (key, field), or (None, None) to pass the member over.
        opener: an `Opener`, a function from URL to stream, or a shell command template with ``{url}``.
        verbose: whether to log each shard that is opened, at level INFO of the logger ``webds``.
        shuffle: above 0, the shards are shuffled; above 1, samples too, in a buffer of that size.
        associate: a function from key to dict, or a dict of dicts: merged into the sample.
        prepare_for_worker: as in `Dataset`.
        length: what ``len`` returns.
        handler: what to do about errors of any stage.

    Raises:
        UrlError: nothing matches ``urls``.
    """

    @overload
    def __init__(
        self: WebDataset[Sample], urls: Urls, *, extensions: None = ..., decoder: DecoderSpec = ...,
        transforms: None = ..., pipeline: None = ..., **options: Unpack[WebDatasetOptions],
    ) -> None: ...  # fmt: skip
    @overload
    def __init__(
        self: WebDataset[tuple[Any, ...]], urls: Urls, *, extensions: _Extensions, decoder: AnyDecoder = ...,
        transforms: _Transforms | None = ..., pipeline: None = ..., **options: Unpack[WebDatasetOptions],
    ) -> None: ...  # fmt: skip
    @overload
    def __init__(
        self: WebDataset[U], urls: Urls, *, extensions: None = ..., decoder: Callable[[Sample], U],
        transforms: None = ..., pipeline: None = ..., **options: Unpack[WebDatasetOptions],
    ) -> None: ...  # fmt: skip
    @overload
    def __init__(
        self: WebDataset[U], urls: Urls, *, extensions: _Extensions | None = ..., decoder: AnyDecoder = ...,
        transforms: _Transforms | None = ..., pipeline: Callable[[Iterator[Any]], Iterable[U]],
        **options: Unpack[WebDatasetOptions],
    ) -> None: ...  # fmt: skip
    def __init__(
        self,
        urls: Urls,
        *,
        extensions: _Extensions | None = None,
        decoder: AnyDecoder = "rgb",
        transforms: _Transforms | None = None,
        pipeline: Callable[[Iterator[Any]], Iterable[Any]] | None = None,
        epochs: int = 1,
        keys: KeyFunction = base_plus_ext,
        opener: OpenerLike = reader,
        verbose: bool = False,
        shuffle: int = 0,
        associate: _Table | None = None,
        prepare_for_worker: bool | Callable[[], object] = True,
        length: int | None = None,
        handler: Handler = reraise_exception,
        missing_end: MissingEnd = "error",
    ) -> None:
        plan = older_plan(urls, keys, epochs, opener, handler, missing_end)
        raw = len(plan.stages)
        if verbose and isinstance(plan.source, TarShards):
            # What the URLs stand for was found out by the opener itself, which may know more than to open one.
            shards = plan.source.shards()
            logging_source = plan.source.with_shards(shards, _LoggingOpener(plan.source.opener))
            plan = attrs.evolve(plan, source=logging_source)
        if shuffle < 0:
            raise ValueError(f"shuffle={shuffle}: expected a number from 0")
        if shuffle > 0:
            plan = attrs.evolve(plan, shard_seed=0)
        if shuffle > 1:
            plan = plan.then(Shuffle(size=shuffle, seed=0))
        plan = functools.reduce(Plan.then, decoding(decoder), plan)
        if associate is not None:
            plan = plan.then(Associate(table=associate))
        if extensions is not None:
            plan = plan.then(ToTuple(fields=_fields(extensions)))
        if transforms:
            plan = plan.then(MapTuple(fs=tuple(transforms), cycles=True))
        if pipeline is not None:
            plan = plan.then(Pipe(stage=pipeline))
        super().__init__(plan, Selection(prepare_for_worker, None, length, raw))


def _fields(extensions: _Extensions) -> tuple[str, ...]:
    """Return the fields of a tuple, with alternatives separated by ";"."""
    if isinstance(extensions, str):
        return tuple(extensions.split())
    return tuple(names if isinstance(names, str) else ";".join(names) for names in extensions)


@overload
def tariterator(
    fileobj: Readable, keys: KeyFunction = ..., decoder: DecoderSpec = ..., suffixes: Collection[str] | None = ...,
    tar_errors: Handler = ..., decode_errors: Handler = ..., *, missing_end: MissingEnd = ...,
) -> Iterator[Sample]: ...  # fmt: skip
@overload
def tariterator(
    fileobj: Readable, keys: KeyFunction = ..., *, decoder: Callable[[Sample], U],
    suffixes: Collection[str] | None = ..., tar_errors: Handler = ..., decode_errors: Handler = ...,
    missing_end: MissingEnd = ...,
) -> Iterator[U]: ...  # fmt: skip
@overload
def tariterator(
    fileobj: Readable, keys: KeyFunction, decoder: Callable[[Sample], U], suffixes: Collection[str] | None = ...,
    tar_errors: Handler = ..., decode_errors: Handler = ..., *, missing_end: MissingEnd = ...,
) -> Iterator[U]: ...  # fmt: skip
def tariterator(
    fileobj: Readable,
    keys: KeyFunction = base_plus_ext,
    decoder: AnyDecoder = True,
    suffixes: Collection[str] | None = None,
    tar_errors: Handler = reraise_exception,
    decode_errors: Handler = reraise_exception,
    *,
    missing_end: MissingEnd = "error",
) -> Iterator[Any]:
    """Iterate over the samples of one open tar stream.

    Args:
        fileobj: the stream, seekable or not; it is left open.
        keys: member path → (key, field), or (None, None) to pass the member over.
        decoder: what to decode, as in `WebDataset`; True is ``"rgb"``.
        suffixes: keep only these fields.
        tar_errors: what to do about an archive that is damaged.
        decode_errors: what to do about a sample that cannot be decoded.
        missing_end: what of an archive without end blocks: ``"error"`` or ``"accept"``.

    Yields:
        Samples.
    """
    source = _StreamSource(fileobj, keys, missing_end)
    plan = Plan(source=source, splitter=NoSplit(), policy=Policy(tar_errors), checks_empty=False)
    if suffixes is not None:
        plan = plan.then(keeping(suffixes))
    plan = functools.reduce(Plan.then, decoding(decoder, Policy(decode_errors)), plan)
    run = Run(guard=Guard(plan.policy, Ledger()), checks_empty=False)
    for _, sample in plan.bound(functools.partial(resolve_decoders, {})).run(run):
        yield sample


class _StreamSource(Source[Sample]):
    """One stream that is open already, as a source that can be read once."""

    def __init__(self, stream: Readable, keys: KeyFunction, missing_end: MissingEnd) -> None:
        self._stream = stream
        self._keys = keys
        self._missing_end: MissingEnd = missing_end
        self._name = str(getattr(stream, "name", "") or "an open stream")

    @override
    def shards(self) -> Sequence[str]:
        return [self._name]

    @override
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[Sample]:
        return self.read_on(shard, fields, start)

    def read_on(
        self,
        shard: str,
        fields: Collection[str] | None = None,
        start: int = 0,
        *,
        on_error: Callable[[Exception], bool] | None = None,
        stats: ReadStats | None = None,
    ) -> Iterator[Sample]:
        """Read like `read`; see `webds.plans.byshard.RecoveringSource`."""
        return read_samples(
            self._stream,
            url=shard,
            keys=self._keys,
            fields=fields,
            start=start,
            missing_end=self._missing_end,
            on_error=on_error,
            stats=stats,
        )
