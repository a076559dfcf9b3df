"""The samples that a ledger says were left out, once more, to be looked at."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Final, Generic, Protocol, TypeAlias, final, overload, runtime_checkable

import attrs
from typing_extensions import override

from webds.abc import Source
from webds.datasets.builder import DatasetBuilder
from webds.datasets.dataset import BaseDataset
from webds.errors import SampleError, UntrustedDataError, UrlError
from webds.openers.schemes import OpenerLike, as_opener, default_opener
from webds.plans.byshard import RecoveringSource
from webds.policy.ledger import Loss, Retry, read_ledger
from webds.redaction import redact
from webds.sources.tar import TarSource
from webds.stages.functions import AFTER_PIPE
from webds.typing import Sample, U, ValueT_co
from webds.urls import scheme_of

__all__ = ["LedgerLike", "Replay", "replay"]

LedgerLike: TypeAlias = "str | os.PathLike[str] | Iterable[Loss | Retry]"
"""The path of a ledger file, or losses, such as those of `Stats`."""

_READING: Final = ("open", "read")


@runtime_checkable
class _Closable(Protocol):
    def close(self) -> object: ...


@final
@attrs.define
class _Wanted:
    """The samples of one shard that are wanted, by their keys or, where they have none, by their ordinals."""

    keys: dict[str, Loss] = attrs.field(factory=dict[str, Loss])
    ordinals: dict[int, Loss] = attrs.field(factory=dict[int, Loss])

    def add(self, loss: Loss) -> None:
        if loss.key is not None:
            self.keys.setdefault(loss.key, loss)
        elif loss.ordinal is not None:
            self.ordinals.setdefault(loss.ordinal, loss)

    def take(self, ordinal: int, key: object) -> bool:
        """Return whether the sample is wanted, and do not want it any more."""
        by_key = None if key is None else self.keys.pop(str(key), None)
        return by_key is not None or self.ordinals.pop(ordinal, None) is not None

    def left(self) -> list[Loss]:
        return [*self.keys.values(), *self.ordinals.values()]


@final
class Replay(Generic[ValueT_co]):
    """The samples that were left out, as their source reads them; it can be iterated over any number of times.

    Each comes once, however often it was left out; shard by shard, in the order in which the ledger first names the
    shards, and within a shard in its own. A shard is read once, and only as far as needed.

    Attributes:
        losses: all losses of the ledger, in its order.
        without_sample: those of them to which no sample can be had: a shard that could not be opened or was cut
            short, a sample that could not be read, what went wrong after ``pipe``, and shards that the dataset does
            not have.
        retries: the retries of the ledger, in its order.
    """

    def __init__(self, entries: Iterable[Loss | Retry], source: Source[ValueT_co]) -> None:
        known = list(entries)
        self.losses: list[Loss] = [entry for entry in known if isinstance(entry, Loss)]
        self.retries: list[Retry] = [entry for entry in known if isinstance(entry, Retry)]
        self.without_sample: list[Loss] = []
        self._source = source
        self._shards: dict[str, list[Loss]] = {}
        by_name: dict[str, list[str]] = {}
        for shard in dict.fromkeys(source.shards()):
            by_name.setdefault(redact(shard), []).append(shard)
        for loss in self.losses:
            shards = by_name.get(redact(loss.url or ""), [])
            if not shards or not _names_sample(loss):
                self.without_sample.append(loss)
            elif len(shards) > 1:
                raise UrlError(
                    f"{len(shards)} shards look alike without their secrets, and a ledger keeps none; "
                    "replay it with a dataset that has only one of these",
                    url=loss.url,
                )
            else:
                self._shards.setdefault(shards[0], []).append(loss)
        named = [loss for loss in self.losses if _names_sample(loss)]
        if named and not self._shards:
            raise UrlError("the dataset has none of the shards that the ledger names", url=named[0].url)

    def __iter__(self) -> Iterator[ValueT_co]:
        """Yield the samples.

        Raises:
            SampleError: at the end, if some did not come; its cause is what ended the reading of their shard.
            Exception: what the source raises.
        """
        missing: list[Loss] = []
        cause: Exception | None = None
        try:
            for shard, losses in self._shards.items():
                wanted = _Wanted()
                for loss in losses:
                    wanted.add(loss)
                try:
                    yield from self._read(shard, wanted)
                except Exception as error:
                    cause = cause or error
                missing += wanted.left()
            if missing:
                first = missing[0]
                raise SampleError(
                    f"{len(missing)} of the samples that the ledger names did not come again; the first of them was "
                    f"lost by {first.error}",
                    url=first.url, key=first.key, stage="replay",
                ) from cause  # fmt: skip
        finally:
            cause = None  # its traceback refers to this frame

    def _read(self, shard: str, wanted: _Wanted) -> Generator[ValueT_co]:
        samples: Iterator[Any]
        if isinstance(self._source, RecoveringSource):
            samples = self._source.read_on(shard, on_error=lambda error: True)  # such are without a sample
        else:
            samples = iter(self._source.read(shard))
        try:
            for ordinal, sample in enumerate(samples):
                if wanted.take(ordinal, _key(sample)):
                    yield sample
                    if not wanted.left():
                        return
        finally:
            if isinstance(samples, _Closable):
                samples.close()

    @override
    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.losses)} losses, {len(self.without_sample)} of them without a sample, "
            f"of {len(self._shards)} shards; {len(self.retries)} retries)"
        )


@overload
def replay(ledger: LedgerLike, dataset: Source[U]) -> Replay[U]: ...
@overload
def replay(
    ledger: LedgerLike,
    dataset: DatasetBuilder[object] | BaseDataset[object] | None = ...,
    *,
    opener: OpenerLike | None = ...,
) -> Replay[Sample]: ...
def replay(
    ledger: LedgerLike,
    dataset: DatasetBuilder[Any] | BaseDataset[Any] | Source[Any] | None = None,
    *,
    opener: OpenerLike | None = None,
) -> Replay[Any]:
    """Return the samples that were left out, raw, as their source reads them, before any stage.

    A ledger keeps no secrets, so a shard is known by its URL without them: the URLs of ``dataset`` are compared with
    it in that form, and opened as they are. Without a dataset, the URLs of the ledger are opened, as tar shards, and
    one that had a secret is an error.

    Example:
        >>> import webds
        >>> for sample in webds.replay("skipped.jsonl", train):  # doctest: +SKIP
        ...     print(sample["__key__"])

    Args:
        ledger: path of a file that `DatasetBuilder.on_error` was given as ``ledger``, or losses from `Stats`.
        dataset: what iterated: a dataset, or its builder or source, from which the source is taken. None for the
            shards that the ledger names.
        opener: opens these, where there is no dataset; None for the default, which goes by the scheme.

    Raises:
        OpenError: the ledger cannot be read, or is none.
        UrlError: the dataset has none of the shards that the ledger names, or several that look alike without their
            secrets; or a URL without its secrets is all there is.
        UntrustedDataError: a shell command in the ledger, which is a file, and no dataset that has it too.
    """
    entries = list(read_ledger(ledger) if isinstance(ledger, str | os.PathLike) else ledger)
    if dataset is None:
        how = default_opener() if opener is None else as_opener(opener)
        urls = dict.fromkeys(entry.url for entry in entries if isinstance(entry, Loss) and _names_sample(entry))
        return Replay(entries, TarSource([], how).with_shards([_trusted(url) for url in urls if url is not None]))
    if opener is not None:
        raise TypeError("replay(opener=…) is for the shards that the ledger names; a dataset has an opener")
    if isinstance(dataset, BaseDataset):
        dataset = dataset.builder
    return Replay(entries, dataset if isinstance(dataset, Source) else dataset.plan.source)


def _key(sample: Any) -> object:
    return sample.get("__key__") if isinstance(sample, dict) else None


def _names_sample(loss: Loss) -> bool:
    """Return whether the loss is one of a sample that its shard may still have."""
    if loss.url is None or loss.stage in _READING or loss.url.startswith(AFTER_PIPE):
        return False
    return loss.key is not None or loss.ordinal is not None


def _trusted(url: str) -> str:
    """Return ``url``, which came out of a file, if it can be opened as it is."""
    if scheme_of(url) in ("pipe", "-"):
        raise UntrustedDataError(
            f"{redact(url)!r} came out of a ledger, and is not run for that: pass the dataset that has it, too",
            url=url,
        )
    if "***" in url:
        raise UrlError(
            "this shard's URL has secrets, which a ledger does not keep: pass the dataset that it is of", url=url
        )
    return url
