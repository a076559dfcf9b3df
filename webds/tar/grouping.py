"""Members into samples: one by one, or, where they are plain, many at a time."""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Final, Literal, TypeAlias, final

import attrs

from webds.errors import SampleError, TarFormatError, annotate
from webds.tar.bulk import samples_of
from webds.tar.header import shown
from webds.tar.members import Member, Members
from webds.tar.names import Split, split_names
from webds.tar.naming import base_plus_ext, is_metadata
from webds.tar.plain import FEW, Plain
from webds.tar.seen import SeenKeys
from webds.typing import UNREAD, KeyFunction, Sample

__all__ = ["Duplicates", "Grouping", "ReadStats"]

Duplicates: TypeAlias = Literal["error", "skip", "first", "last"]
"""What becomes of a sample that has a field twice: an error, left out, or with the first or the last value.

What becomes of a whole sample that comes a second time, its key and its fields: an error for ``error`` and
``last``, passed over for ``skip`` and ``first``.
"""

_RESERVED: Final = ("__key__", "__url__")
_EXAMPLES: Final = 10
_NO_PREFIX: Final = "\0"  # no name begins with it


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


@final
class Grouping:
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
        self._seen = SeenKeys()
        self._known: dict[str, str] = {}
        self._good = 0
        self._delivered = 0
        self._stopped = False

    def run(self, members: Members, keys: KeyFunction) -> Iterator[Sample]:
        """Yield the samples. What goes wrong is kept until those that were complete before have been yielded."""
        failure: Exception | None = None
        while failure is None:
            try:
                yield from self._many(members, keys)
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

    def _many(self, members: Members, keys: KeyFunction) -> Iterator[Sample]:
        """Yield the samples of the plain members that come next, up to the first thing out of the ordinary."""
        while self._is_ordinary() and (plain := members.plain()) is not None:
            split = split_names(plain.names) if keys is base_plus_ext and len(plain.names) >= FEW else None
            if split is not None and self._are_new(split):
                yield from self._together(members, plain, split)
            elif not (yield from self._in_turn(members, plain, keys)):
                return
            if not members.looks_far:  # then nothing else has been read ahead
                return

    def _are_new(self, split: Split) -> bool:
        """Return whether no key has been there before, but for what goes on with the sample at hand."""
        part = self._current
        if part is None:
            return self._seen.are_new(split.keys)
        if part.key != split.keys[0]:
            return self._seen.are_new([part.key, *split.keys])
        return part.sample.keys().isdisjoint(split.shapes[0][1:]) and self._seen.are_new(split.keys)

    def _together(self, members: Members, plain: Plain, split: Split) -> Iterator[Sample]:
        """Yield the samples of plain members with ordinary names, and those before, but for the last two.

        One is held back, and another one may go on behind these members.
        """
        keys = iter(split.keys)
        found = samples_of(plain, split, keys, self._wanted)
        part, first, last = self._current, 0, len(split.keys) - 1
        before = [ready.sample for ready in self._ready]
        due = 0
        try:
            if part is not None:
                before.append(part.sample)
                if part.key == split.keys[0]:
                    part.sample.update(next(found))
                    first = 1
            if first <= last:
                self._add_seen(split, first, last)
                over = (part is not None) + last - first
                self._good += over
                if over:
                    due = len(before) + last - first - 1
                    self._ready.clear()
                    stream = itertools.chain(before, found)
                    yield from itertools.islice(stream, due)
                    held = next(stream)
                    self._ready.append(_Part(held["__key__"], held, self._good - 1, None))
                sample = next(found)
                self._current = _Part(sample["__key__"], sample, self._good, None)
        except Exception:  # of reading the data of the last key that was taken
            at = last - operator.length_hint(keys)
            due = max(0, min(due, len(before) + at - first))
            self._current = _Part(split.keys[at], {}, self._good, None)
            raise
        finally:
            self._delivered += due
            self._stats.samples += due
        self._stats.members += len(plain.sizes)
        members.passed(plain.begins[-1])

    def _add_seen(self, split: Split, first: int, last: int) -> None:
        """Keep the keys of the sample at hand, and of those from ``first`` on, but for the last."""
        if self._current is not None:
            self._seen.add(self._current.key, tuple(self._current.sample))
        if first < last:
            self._seen.add_all(split.keys[first:last], split.shapes[first:last])

    def _in_turn(self, members: Members, plain: Plain, keys: KeyFunction) -> Generator[Sample, None, bool]:
        """Yield the samples of plain members, whatever they are called, up to the first one that is odd.

        Does for them, in one loop, what `run` does for one member at a time.

        Returns:
            Whether there was no odd one.
        """
        wanted, seen, known = self._wanted, self._seen, self._known
        follows_rule = keys is base_plus_ext
        held = self._ready.pop().sample if self._ready else None
        key: str | None = None
        this = ""
        sample: Sample = {}
        if self._current is not None:
            key, sample = self._current.key, self._current.sample
        prefix = _prefix(key) if follows_rule else _NO_PREFIX
        cut = len(prefix)
        used = passed = finished = delivered = 0
        try:
            for name, start, size in zip(plain.texts(), plain.starts, plain.sizes, strict=True):
                # A name that goes on behind "key." as another one did has the same field as that.
                field = known.get(name[cut:]) if name.startswith(prefix) else None
                if field is None:
                    try:
                        split = self._split(name, keys, follows_rule)
                    except Exception:  # it comes again, and is located, when the member is taken by itself
                        break
                    if split is None:
                        self._pass_over(name)
                        passed += 1
                        used += 1
                        continue
                    this, field = split
                    if field in _RESERVED:
                        break
                    if this != key:
                        if this <= seen.last and seen.get(this) is not None:
                            break
                        if key is not None:
                            finished += 1
                            seen.add(key, tuple(sample))
                            if held is not None:
                                delivered += 1
                                yield held
                            held = sample
                        key, sample = this, {"__key__": this}
                        prefix = this + "." if follows_rule and this[:2] != "__" else _NO_PREFIX
                        cut = len(prefix)
                if field in sample:
                    break
                sample[field] = plain.content(start, size) if wanted is None or field in wanted else UNREAD
                used += 1
        finally:
            self._stats.members += used - passed
            self._good += finished
            self._delivered += delivered
            self._stats.samples += delivered
            if held is not None:
                self._ready.append(_Part(held["__key__"], held, self._good - 1, None))
            if key is not None:
                self._current = _Part(key, sample, self._good, None)
        members.passed(plain.begins[used])
        return used == len(plain.sizes)

    def _is_ordinary(self) -> bool:
        """Return whether everything at hand is good and to be delivered, so that many members can be taken at once."""
        parts = self._ready if self._current is None else (*self._ready, self._current)
        return len(self._ready) <= 1 and all(
            part.before is None and part.fault is None and part.ordinal >= self._start for part in parts
        )

    def _split(self, name: str, keys: KeyFunction, follows_rule: bool) -> tuple[str, str] | None:
        """Return key and field of a member; None if it belongs to no sample."""
        key, field = keys(name)
        if key is None or field is None:
            return None
        if follows_rule and field not in _RESERVED:
            self._known[name[len(key) + 1 :]] = field
        return key, field

    def _pass_over(self, name: str) -> None:
        """Count a member that belongs to no sample, if it is not metadata."""
        if is_metadata(name):
            return
        self._stats.members += 1
        self._stats.passed_over += 1
        if len(self._stats.examples) < _EXAMPLES:
            self._stats.examples.append(name)

    def _next(self, members: Members, keys: KeyFunction) -> tuple[str, str, Member] | None:
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
            self._pass_over(member.name)
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
            self._seen.add(part.key, tuple(part.sample))
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


def _prefix(key: str | None) -> str:
    """Return what a further member of the sample ``key`` begins with, if its name follows the rule.

    A key that may be part of a metadata name, ``__a`` of ``__a.b__``, gives no such promise.
    """
    return _NO_PREFIX if key is None or key.startswith("__") else key + "."
