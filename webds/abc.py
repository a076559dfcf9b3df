"""The seven contracts of webds. Subclass one to add a format, a store, a way to split or a place to write to.

A shard URL becomes a stream (`Opener`), the stream becomes samples (`Source`), samples become values
(`Decoder`); `Splitter` says who reads which shards; `Encoder` and `Sink` are the way back.

All but an open `Sink` can be pickled. What a subclass must keep to is in the docstring of each contract, and
`webds.testing` has a test suite for each that a subclass's tests inherit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Generic, Literal, Self, TypeAlias, final

from typing_extensions import TypeVar, override

from webds.errors import OpenError
from webds.typing import Buffer, Place, T_co, T_contra

__all__ = ["Codec", "Decoder", "Encoder", "IndexedSource", "Opener", "Sink", "Source", "Splitter"]

ValueT = TypeVar("ValueT")
Axis: TypeAlias = Literal["rank", "worker"]


class Source(ABC, Generic[T_co]):
    """Samples, in shards, to be read any number of times.

    Must hold: `shards` and `read` depend on nothing but their arguments, so that every process that has an
    equal source sees the same samples in the same order. A source holds no open files between calls.
    Not promised: counts, lengths, or access by position (see `IndexedSource`).
    """

    @abstractmethod
    def shards(self) -> Sequence[str]:
        """Return the names (URLs) of all shards, always in the same order."""

    @abstractmethod
    def read(self, shard: str, fields: Collection[str] | None = None, start: int = 0) -> Iterator[T_co]:
        """Yield the samples of one shard in their order.

        The iterator closes what it opened when it ends, fails or is closed. A sample that is cut short is
        never yielded: the error comes in its place.

        Args:
            shard: one of `shards`.
            fields: the fields that somebody will look at, None for all. A hint: a source may leave the others
                out, put `webds.typing.UNREAD` in their place, or ignore it.
            start: ordinal of the first sample to yield; those before it are passed over.

        Raises:
            OpenError: the shard cannot be opened or read to its end.
            WebdsError: its bytes are no samples; the subclass says in what way.
        """


class IndexedSource(Source[T_co]):
    """A source that knows how many samples its shards hold, and reads any of them by its ordinal."""

    @abstractmethod
    def counts(self) -> Sequence[int]:
        """Return the number of samples of each of `shards`, without reading their data."""

    @abstractmethod
    def read_at(self, shard: str, ordinals: Iterable[int], fields: Collection[str] | None = None) -> Iterator[T_co]:
        """Yield the samples of ``shard`` at ``ordinals``, in the order asked for.

        Raises:
            IndexError: an ordinal outside ``0 <= ordinal < count``.
        """


class Opener(ABC):
    """URLs to binary streams.

    Must hold: each `open` returns a new stream that belongs to the caller, who closes it; closing it early is
    no error; an error names the URL, and no secret of the URL or of the opener shows in one. If `open` fails,
    nothing stays open.
    """

    @abstractmethod
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        """Open ``url`` for reading or writing.

        Args:
            url: what this opener understands, with its scheme.
            mode: ``"rb"`` or ``"wb"``.

        Raises:
            OpenError: the URL cannot be opened. Reading, writing or closing the stream raises it too, where
                the failure shows only then.
        """

    def size(self, url: str) -> int | None:
        """Return the number of bytes at ``url``; None, the default, where that is not known beforehand."""
        return None

    def read_range(self, url: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``, fewer only where the data ends before.

        The default opens the URL and reads everything up to the range: correct everywhere, and as slow as that.
        """
        with self.open(url) as stream:
            if stream.seekable():
                stream.seek(start)
            else:
                while start > 0 and (passed := stream.read(min(start, 1 << 20))):
                    start -= len(passed)
            parts: list[bytes] = []
            while length > 0 and (part := stream.read(length)):
                parts.append(part)
                length -= len(part)
        return b"".join(parts)

    def open_local(self, url: str) -> BinaryIO | None:
        """Open a file of this machine that holds what is at ``url``, to be read from anywhere in it.

        What reads many small parts of one shard asks for it once, in place of a range for each part. None, the
        default, where there is no such file: parts are then read by `read_range`.

        Raises:
            OpenError: the URL cannot be opened.
        """
        return None

    def list(self, pattern: str) -> Sequence[str]:
        """Return the URLs that match a glob pattern, sorted. The default refuses.

        Raises:
            OpenError: this opener cannot list, or the listing failed.
        """
        raise OpenError(f"{type(self).__name__} cannot list what matches a pattern; name the shards", url=pattern)


class Splitter(ABC):
    """Who reads which shards.

    Must hold: over the `axes` it has, the parts of all places are disjoint and together complete; a coordinate
    that is not among its axes makes no difference; the order of the shards is kept.

    Attributes:
        axes: the coordinates of the place that it divides over: ``"rank"``, ``"worker"``, both or none. A subclass
            sets it, on the class or on its instances; one without it is refused where it is to be used.
    """

    axes: frozenset[Axis]

    @abstractmethod
    def split(self, shards: Sequence[str], place: Place) -> Sequence[str]:
        """Return the part of ``shards`` that ``place`` reads.

        Raises:
            SplitError: the shards cannot be divided so that every rank has work. Raised at every place alike,
                so that no rank waits for one that failed.
        """


class Decoder(ABC, Generic[T_co]):
    """Bytes to a value.

    Must hold: pure, so that equal bytes give equal values in every process; the bytes are not changed and are
    taken from any bytes-like object; no data makes it run code or take memory out of proportion.
    """

    @abstractmethod
    def decode(self, data: Buffer, field: str) -> T_co:
        """Return the value of ``data``.

        Args:
            data: the content of one field; the value may be a view of it.
            field: the name of the field, lower-cased, such as ``"seg.png"``.

        Raises:
            DecodeError: the data is no such value. Nothing else is raised.
        """


class Encoder(ABC, Generic[T_contra]):
    """A value to bytes.

    Must hold: pure; the value is not changed; equal values give equal bytes.
    """

    @abstractmethod
    def encode(self, value: T_contra, field: str) -> bytes:
        """Return the bytes of ``value`` for the field ``field``.

        Raises:
            EncodeError: the value has no such form. Nothing else is raised.
        """


class Codec(Encoder[ValueT], Decoder[ValueT]):
    """Both ways at once.

    Must hold where `lossless` is true: ``decode(encode(x)) == x``, or `encode` raises. Otherwise the value that
    comes back has the same shape and dtype, and differs within the bound that the class states.

    Attributes:
        lossless: whether what is decoded equals what was encoded.
    """

    lossless: bool = True


class Sink(ABC, Generic[T_contra]):
    """Where samples are written; a context manager.

    Must hold: a `write` that fails has written nothing of its sample, and the sink goes on. `close` finishes
    what was written and may be called again. `abort` leaves nothing that could be taken for a good result; an
    exception that leaves the ``with`` block aborts. An open sink cannot be pickled.
    """

    @abstractmethod
    def write(self, sample: T_contra) -> int:
        """Write one sample and return the number of its payload bytes.

        Raises:
            WriteError: the sample is refused.
            EncodeError: a value of the sample cannot be encoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what was written. A second call, and a call after `abort`, does nothing."""

    @abstractmethod
    def abort(self) -> None:
        """Give up what is not finished. A second call, and a call after `close`, does nothing."""

    @final
    def __enter__(self) -> Self:
        """Return the sink itself."""
        return self

    @final
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the sink; abort it if an exception is on its way."""
        if kind is None:
            self.close()
        else:
            self.abort()

    @override
    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError(f"an open {type(self).__name__} cannot be pickled")
