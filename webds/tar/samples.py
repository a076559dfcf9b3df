"""Samples out of the members of an archive: neighbours that share a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal, Protocol, TypeAlias, final

import attrs

from webds.checks import checkmember, checkrange
from webds.errors import SampleError, TarFormatError, annotate
from webds.tar.header import shown
from webds.tar.members import Member, Members, MissingEnd
from webds.tar.naming import base_plus_ext, is_metadata
from webds.typing import UNREAD, KeyFunction, Readable, Sample

__all__ = ["Duplicates", "MemberReader", "ReadStats", "group_samples", "read_samples"]

Duplicates: TypeAlias = Literal["error", "skip", "first", "last"]
"""What becomes of a sample that has a field twice: an error, left out, or with the first or the last value.

What becomes of a whole sample that comes a second time, its key and its fields: an error for ``error`` and
``last``, passed over for ``skip`` and ``first``.
"""

_RESERVED: Final = ("__key__", "__url__")
_EXAMPLES: Final = 10


class MemberReader(Protocol):
    """Members in their order, as `webds.tar.members.Members` gives them."""

    @property
    def ended(self) -> bool:
        """Whether the last member is over."""
        ...

    def __next__(self) -> Member:
        """Return the next member."""
        ...

    def data(self) -> bytes:
        """Return the content of the last member."""
        ...


@final
@attrs.define
class ReadStats:
    """What `read_samples` came across, summed over all calls that were given the same object.

    Attributes:
        samples: number of samples delivered.
        members: number of regular members, metadata left aside.
        passed_over: number of those that ``keys`` assigned to no sample.
        examples: names of the first few that were passed over.
        left_out: number of samples left out because of ``duplicates``. What ``on_error`` let pass is not counted.
    """

    samples: int = 0
    members: int = 0
    passed_over: int = 0
    examples: list[str] = attrs.field(factory=list)
    left_out: int = 0


@attrs.define
class _Part:
    """A sample, complete or on the way to it.

    Attributes:
        key: its key.
        sample: key and fields so far.
        ordinal: number of good samples before it.
        before: the fields it had when its key came for the first time; None where this is the first time.
        fault: what is wrong with it, the field and the offset.
        left_out: whether its fault is no error, by the choice of ``duplicates``.
    """

    key: str
    sample: Sample
    ordinal: int
    before: tuple[str, ...] | None
    fault: tuple[str, str, int] | None = None
    left_out: bool = False


def read_samples(
    stream: Readable,
    *,
    url: str = "",
    keys: KeyFunction = base_plus_ext,
    fields: Collection[str] | None = None,
    start: int = 0,
    missing_end: MissingEnd = "error",
    duplicates: Duplicates = "error",
    on_error: Callable[[Exception], bool] | None = None,
    stats: ReadStats | None = None,
) -> Iterator[Sample]:
    """Yield the samples of an archive: ``{"__key__": key, field: bytes, …}``.

    A sample is yielded when one more has been read after it, so that members of two samples that alternate are
    noticed before a fragment is delivered. Where the archive is damaged, the samples that were complete before
    come first, then the error; the sample in which it happened is never delivered.

    Memory: three samples, and the keys of the shard, each with a reference to a shared tuple of its fields.

    Args:
        stream: the archive, which may be compressed (gz, bz2, xz, zst); any ``read`` will do. It stays open.
        url: named in errors.
        keys: member path → (key, field); a member for which either is None belongs to no sample.
        fields: the fields to read; the others have the value `webds.typing.UNREAD`. None for all.
        start: ordinal of the first sample to yield. The data of those before it is not read.
        missing_end: what an archive without end marker is: cut short (``"error"``), or good (``"accept"``).
        duplicates: what becomes of fields and samples that come twice; see `Duplicates`.
        on_error: called with the `SampleError` of a sample that can be left out: True goes on without it, False
            ends the iteration. None raises it. Other errors are raised in any case.
        stats: counts are added to it.

    Raises:
        TarFormatError: the archive is damaged, cut short, followed by another one, or no archive.
        SampleError: a field that comes twice; or a key that comes back after other samples.
        MissingExtraError: zst, and the package zstandard is not installed.
        Exception: what ``stream.read`` or ``keys`` raised, with a note of where.
    """
    members = Members(stream, url=url, missing_end=missing_end)
    return group_samples(
        members, url=url, keys=keys, fields=fields, start=start, duplicates=duplicates, on_error=on_error, stats=stats
    )


def group_samples(
    members: MemberReader,
    *,
    url: str = "",
    keys: KeyFunction = base_plus_ext,
    fields: Collection[str] | None = None,
    start: int = 0,
    duplicates: Duplicates = "error",
    on_error: Callable[[Exception], bool] | None = None,
    stats: ReadStats | None = None,
) -> Iterator[Sample]:
    """Yield the samples that ``members`` make up; for the rest, see `read_samples`."""
    checkmember(duplicates, ("error", "skip", "first", "last"), "duplicates")
    checkrange(start, 0, float("inf"), "start")
    if isinstance(fields, str):
        raise TypeError(f"fields={fields!r}: expected a collection of field names, not one string")
    wanted = None if fields is None else frozenset(fields)
    grouping = _Grouping(url or None, wanted, start, duplicates, on_error, stats or ReadStats())
    return grouping.run(members, keys)


class _Grouping:
    """The state of grouping one archive."""

    def __init__(
        self,
        url: str | None,
        wanted: frozenset[str] | None,
        start: int,
        duplicates: Duplicates,
        on_error: Callable[[Exception], bool] | None,
        stats: ReadStats,
    ) -> None:
        self._url = url
        self._wanted = wanted
        self._start = start
        self._duplicates = duplicates
        self._on_error = on_error
        self._stats = stats
        self._current: _Part | None = None
        self._place: tuple[str, str, str] | None = None
        self._ready: deque[_Part] = deque()
        self._seen: dict[str, tuple[str, ...]] = {}
        self._shapes: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._good = 0
        self._delivered = 0
        self._stopped = False

    def run(self, members: MemberReader, keys: KeyFunction) -> Iterator[Sample]:
        """Yield the samples. What goes wrong is kept until those that were complete before have been yielded."""
        failure: Exception | None = None
        while failure is None:
            try:
                named = self._next(members, keys)
            except Exception as error:
                failure = error
                break
            if named is None:
                break
            key, field, member = named
            self._refuse_apart(key, field, member)
            part = self._current
            if part is None or part.key != key:
                part = self._turn(key)
                if part.before is None:
                    yield from self._release(keep=1)
                    if self._stopped:
                        return
            try:
                if self._enter(part, field, member):
                    part.sample[field] = members.data()
            except Exception as error:
                failure = error
        if failure is None or members.ended:
            self._finish()
        yield from self._release(keep=0)
        try:
            if failure is not None and not self._stopped:
                raise self._located(failure)
        finally:
            failure = None  # its traceback refers to this frame

    def _next(self, members: MemberReader, keys: KeyFunction) -> tuple[str, str, Member] | None:
        """Return key, field and member of the next member that belongs to a sample; None at the end."""
        stats = self._stats
        while (member := next(members, None)) is not None:
            try:
                key, field = keys(member.name)
            except Exception as error:
                annotate(error, url=self._url, field=member.name, stage="read")
                raise
            if key is not None and field is not None:
                stats.members += 1
                self._place = member.name, key, field
                return key, field, member
            if not is_metadata(member.name):
                stats.members += 1
                stats.passed_over += 1
                if len(stats.examples) < _EXAMPLES:
                    stats.examples.append(member.name)
        return None

    def _refuse_apart(self, key: str, field: str, member: Member) -> None:
        """Raise an error if the member belongs to a sample that is over."""
        current = self._current
        before = current.before if current is not None and current.key == key else self._seen.get(key)
        if before is not None and field not in before:
            raise SampleError(
                f"the members of sample {shown(key)} are apart: {shown(field)} comes after members of other samples, "
                f"{self._so_far()}; put them side by side, with tar --sort=name for instance",
                url=self._url, key=key, field=field, offset=member.offset, stage="read",
            )  # fmt: skip

    def _turn(self, key: str) -> _Part:
        """Finish the sample at hand and begin the one of ``key``."""
        self._finish()
        self._current = _Part(key, {"__key__": key}, self._good, self._seen.get(key))
        return self._current

    def _enter(self, part: _Part, field: str, member: Member) -> bool:
        """Add a field to a sample, without its content, and return whether the content is to be read."""
        if part.before is not None:
            part.left_out = self._duplicates in ("skip", "first")
            self._blame(part, "comes a second time", field, member)
        elif field in _RESERVED:
            self._blame(part, f"has a field {field!r}, and that name is taken", field, member)
        elif field in part.sample and self._duplicates in ("error", "skip"):
            part.left_out = self._duplicates == "skip" and part.fault is None
            self._blame(part, f"has the field {shown(field)} twice", field, member)
        elif field not in part.sample or self._duplicates == "last":
            part.sample[field] = UNREAD
            wanted = self._wanted is None or field in self._wanted
            return wanted and part.ordinal >= self._start and part.fault is None
        return False

    def _blame(self, part: _Part, text: str, field: str, member: Member) -> None:
        """Remember what is wrong with a sample; the first thing counts. Its content is of no use any more."""
        part.fault = part.fault or (text, field, member.offset)
        part.sample = dict.fromkeys(part.sample, UNREAD)

    def _finish(self) -> None:
        """Put the sample at hand among those that are complete."""
        part, self._current = self._current, None
        if part is None:
            return
        if part.before is None:
            shape = tuple(part.sample)
            self._seen[part.key] = self._shapes.setdefault(shape, shape)
        if part.left_out:
            self._stats.left_out += 1
            return
        self._good += part.fault is None
        self._ready.append(part)

    def _release(self, keep: int) -> Iterator[Sample]:
        """Yield the samples that are complete, but for the last ``keep``; handle the errors among them."""
        while len(self._ready) > keep and not self._stopped:
            part = self._ready.popleft()
            if part.fault is not None:
                self._handle(part, *part.fault)
            elif part.ordinal >= self._start:
                self._delivered += 1
                self._stats.samples += 1
                yield part.sample

    def _handle(self, part: _Part, text: str, field: str, offset: int) -> None:
        """Raise the error of a sample, or ask what to do about it."""
        error = SampleError(
            f"sample {shown(part.key)} {text}, {self._so_far()}",
            url=self._url, key=part.key, field=field, offset=offset, stage="read",
        )  # fmt: skip
        if self._on_error is None:
            raise error
        # One that lies before the start was let pass when the samples before the start were read.
        if part.ordinal >= self._start:
            self._stopped = not self._on_error(error)

    def _located(self, failure: Exception) -> Exception:
        """Say of an error that ended the archive where that was, and what had been delivered."""
        key = None if self._current is None else self._current.key
        field = failure.field if isinstance(failure, TarFormatError) else None
        if self._place is not None and field == self._place[0]:
            _, key, field = self._place
        if type(failure) is not TarFormatError:
            annotate(failure, url=self._url, key=key, stage="read")
            failure.add_note(self._so_far())
            return failure
        error = TarFormatError(
            f"{failure.message}, {self._so_far()}",
            url=self._url, key=key, field=field, offset=failure.offset, stage="read",
        )  # fmt: skip
        error.__cause__ = failure.__cause__
        return error.with_traceback(failure.__traceback__)

    def _so_far(self) -> str:
        samples = f"after {self._delivered} sample{'' if self._delivered == 1 else 's'}"
        return f"{samples} from number {self._start} on" if self._start else samples
