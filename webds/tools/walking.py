"""What a shard holds by its headers: every run of neighbours that share a key, sound or not."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias, final

import attrs

from webds.errors import SampleError, StaleIndexError, TarFormatError, annotate
from webds.index import MemberTable
from webds.sources.tables import Tables, open_whole
from webds.sources.tar import TarSource
from webds.tar import Member, Members, MissingEnd, base_plus_ext, is_metadata
from webds.tar.header import padded, shown
from webds.tar.seen import SeenKeys
from webds.typing import KeyFunction, Readable
from webds.urls import local_path, scheme_of

__all__ = [
    "Check",
    "Entry",
    "Fault",
    "FaultKind",
    "Group",
    "Walk",
    "Wanted",
    "groups_in",
    "groups_of",
    "stored_table",
    "walking",
]

_EXAMPLES: Final = 10
_RESERVED: Final = ("__key__", "__url__")

FaultKind: TypeAlias = Literal["duplicate field", "parts apart", "sample twice", "reserved field"]
"""What can be wrong with a sample whose members are whole."""


@final
class Entry(NamedTuple):
    """One member of a shard.

    Attributes:
        name: its path.
        field: the field that it is.
        offset: where in the uncompressed archive its data begins.
        size: bytes of its data.
        data: these, where they were asked for.
    """

    name: str
    field: str
    offset: int
    size: int
    data: bytes | None = None


@final
class Group(NamedTuple):
    """Members that follow one another and share a key. A sound sample is one such group."""

    key: str
    members: list[Entry]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, in the order of the archive."""
        return tuple([entry.field for entry in self.members])

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum([entry.size for entry in self.members])


@final
@attrs.frozen
class Fault:
    """What is wrong with a group.

    Attributes:
        kind: one of a few.
        key: its key.
        field: the field that shows it.
        text: a sentence about it.
        offset: of the member that shows it.
    """

    kind: FaultKind
    key: str
    field: str
    text: str
    offset: int

    def error(self, url: str) -> SampleError:
        """Return it as an error."""
        return SampleError(self.text, url=url, key=self.key, field=self.field, offset=self.offset, stage="read")


@final
class Check:
    """Whether groups, given in the order of their shard, are sound: the same samples are faulty as for a dataset."""

    def __init__(self) -> None:
        self._seen = SeenKeys()

    def __call__(self, group: Group) -> Fault | None:
        """Return the first thing that is wrong with a group; None if it is a sound sample."""
        key, members = group
        fields = group.fields
        before = self._seen.get(key)
        if before is None:
            self._seen.add(key, fields)
        else:
            new = next((entry for entry in members if entry.field not in before), None)
            if new is None:
                return Fault("sample twice", key, members[0].field, f"sample {shown(key)} comes a second time",
                             members[0].offset)  # fmt: skip
            text = f"the members of sample {shown(key)} are apart: {shown(new.field)} comes after other samples"
            return Fault("parts apart", key, new.field, text, new.offset)
        if len(set(fields)) < len(fields):
            twice = next(entry for i, entry in enumerate(members) if entry.field in fields[:i])
            text = f"sample {shown(key)} has the field {shown(twice.field)} twice"
            return Fault("duplicate field", key, twice.field, text, twice.offset)
        for entry in members:
            if entry.field in _RESERVED:
                text = f"sample {shown(key)} has a field {shown(entry.field)}, and that name is taken"
                return Fault("reserved field", key, entry.field, text, entry.offset)
        return None


@final
class Wanted:
    """Whether a member is the one that somebody wants.

    Args:
        name: the path of a member; or a key, a dot and a field.
        keys: member path → (key, field).

    Attributes:
        found: whether it has come.
        fields: where ``name`` is the key of a sample, the fields of that.
    """

    def __init__(self, name: str, keys: KeyFunction) -> None:
        self.found: bool = False
        self.fields: list[str] = []
        self._name = name
        self._keys = keys
        self._pair = keys(name)

    def __call__(self, name: str) -> bool:
        """Return whether the member of this path is it."""
        if name == self._name:
            self.found = True
        elif name.startswith(self._pair[0] or self._name):  # the others are not looked at closely
            pair = self._keys(name)
            self.found = None not in pair and pair == self._pair
            if pair[0] == self._name and pair[1] is not None:
                self.fields.append(pair[1])
        return self.found


@final
class Walk:
    """The groups of one archive; iterated once. Where the stream can seek, the data of large members is not read.

    Args:
        stream: the archive, which may be compressed. It stays open.
        url: named in errors.
        keys: member path → (key, field).
        missing_end: see `webds.tar.MissingEnd`.
        read: whether entries are to have their data; that of one group is held at a time.

    Attributes:
        passed_over: number of members, metadata left aside, that belong to no sample.
        examples: names of the first few of these.
        end: where the last member that was seen ends.

    Raises:
        TarFormatError: by the iteration, after all groups that are whole: the archive is damaged, cut short or none.
    """

    def __init__(
        self,
        stream: Readable,
        *,
        url: str = "",
        keys: KeyFunction = base_plus_ext,
        missing_end: MissingEnd = "error",
        read: bool = False,
    ) -> None:
        self.passed_over: int = 0
        self.examples: list[str] = []
        self.end: int = 0
        self._members = Members(stream, url=url, missing_end=missing_end)
        self._keys = keys
        self._read = read

    @property
    def others(self) -> int:
        """How many members were no regular files, so far."""
        return self._members.others

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups."""
        groups = 0
        key: str | None = None
        entries: list[Entry] = []
        failure: TarFormatError | None = None
        keys = self._keys
        try:
            for name, offset, size, stored, data in self._raw():
                this, field = keys(name)
                self.end = offset + padded(stored)
                if this is None or field is None:
                    self._pass_over(name)
                    continue
                if this != key:
                    if key is not None:
                        groups += 1
                        yield Group(key, entries)
                    key, entries = this, []
                entries.append(Entry(name, field, offset, size, data))
        except TarFormatError as error:
            failure = error
        if key is not None and (failure is None or self._members.ended):
            groups += 1
            yield Group(key, entries)
        if failure is not None:
            count = f"after {groups} sample{'' if groups == 1 else 's'}"
            located = TarFormatError(
                f"{failure.message}, {count}", url=failure.url, offset=failure.offset, stage="read"
            )
            raise located from failure

    def _raw(self) -> Iterator[tuple[str, int, int, int, bytes | None]]:
        """Yield name, offset, size, stored size and data of each member: many at a time where they are plain."""
        members = self._members
        nothing = itertools.repeat(None)
        while True:
            plain = members.plain()
            if plain is not None:
                # Data begins behind the headers, and ends where the next member begins.
                starts = [end - padded(size) for end, size in zip(plain.begins[1:], plain.sizes, strict=True)]
                data = plain.contents(plain.starts, plain.sizes) if self._read else nothing
                yield from zip(plain.texts(), starts, plain.sizes, plain.sizes, data, strict=False)
                members.passed(plain.begins[-1])
                continue
            member = next(members, None)
            if member is None:
                return
            content = members.data() if self._read else None
            yield member.name, member.offset, member.size, member.stored, content

    def find(self, wanted: Wanted) -> Member | None:
        """Go to the first member that is ``wanted``, and return it, if there is one. `pieces` gives its content."""
        members = self._members
        while True:
            plain = members.plain()
            if plain is not None:
                at = next((i for i, name in enumerate(plain.texts()) if wanted(name)), len(plain.sizes))
                if at:
                    members.passed(plain.begins[at])
                    continue
            member = next(members, None)
            if member is None or wanted(member.name):
                return member

    def pieces(self) -> Iterator[bytes]:
        """Yield the content of the member that `find` returned, piece by piece."""
        return self._members.pieces()

    def _pass_over(self, name: str) -> None:
        if is_metadata(name):
            return
        self.passed_over += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(name)


@contextlib.contextmanager
def walking(source: TarSource, url: str, *, read: bool = False) -> Generator[Walk]:
    """Open a shard of ``source`` for a walk. Unless its data are wanted, too, ranges are asked for of a remote one."""
    with contextlib.ExitStack() as stack:
        try:
            whole = source.open(url) if read else open_whole(source.shard_opener, url)
            stream = stack.enter_context(whole)
        except Exception as error:
            annotate(error, url=url, stage="open")
            raise
        yield Walk(stream, url=url, keys=source.keys, missing_end=source.missing_end, read=read)


@contextlib.contextmanager
def groups_in(source: TarSource, url: str, *, use_index: bool = True) -> Generator[tuple[Iterator[Group], Walk | None]]:
    """Yield the groups of a shard, and the walk that finds them; no walk where an index tells of them.

    Args:
        source: the shards.
        url: the shard.
        use_index: whether a remote shard that has an index is not read at all.
    """
    table = stored_table(source, url) if use_index else None
    if table is not None:
        yield groups_of(table), None
        return
    with walking(source, url) as walk:
        yield iter(walk), walk


def stored_table(source: TarSource, url: str) -> MemberTable | None:
    """Return the member table of a remote shard, from its index; None if it is local, or has none.

    Raises:
        StaleIndexError: the index is damaged, or of another version of the shard.
    """
    if local_path(url) is not None or scheme_of(url) in ("-", "pipe"):
        return None
    return Tables(source).stored(url)


def groups_of(table: MemberTable) -> Iterator[Group]:
    """Yield the samples that a member table tells of."""
    for sample in range(len(table)):
        entries = [
            Entry(table.name(i), table.fields[table.kinds[i]], int(table.offsets[i]), int(table.sizes[i]))
            for i in table.members(sample)
        ]
        key, _ = base_plus_ext(entries[0].name)
        if key is None:
            raise StaleIndexError(f"the index names {entries[0].name!r}, which is part of no sample", stage="index")
        yield Group(key, entries)
