"""Shards into files: every member a file of its name, below a folder and nowhere else."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
from collections.abc import Collection
from typing import Final, final

import attrs
from typing_extensions import override

from webds.errors import WriteError, annotate
from webds.openers.schemes import OpenerLike
from webds.openers.streams import open_error
from webds.redaction import redact
from webds.sinks.targets import PARTIAL_GLOB, FileTarget, remove_abandoned
from webds.sources.tar import TarSource, Urls
from webds.tar import MissingEnd, base_plus_ext, read_members
from webds.tar.header import padded, shown
from webds.tools.engine import Engine, report
from webds.tools.outputs import base_of
from webds.tools.progress import NoProgress, Progress
from webds.tools.reading import engine_for, measured, source_of, total_size

__all__ = ["Unpacked", "unpack"]

_PIECE: Final = 1 << 20
_BLOCK: Final = 512


@final
@attrs.define
class Unpacked:
    """What was unpacked.

    Attributes:
        files: number of files written.
        size: bytes in them.
        kept: number of files that were there already, with the same content.
    """

    files: int = 0
    size: int = 0
    kept: int = 0

    def add(self, other: Unpacked) -> None:
        """Add what was unpacked elsewhere."""
        self.files += other.files
        self.size += other.size
        self.kept += other.kept


def unpack(
    urls: Urls,
    folder: str | os.PathLike[str],
    *,
    fields: Collection[str] | None = None,
    match: str | None = None,
    by_shard: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    engine: Engine | None = None,
    opener: OpenerLike | None = None,
    missing_end: MissingEnd = "error",
    progress: Progress | None = None,
) -> Unpacked:
    """Write the members of shards as files, their names and contents as they are.

    A file appears when it is whole. One that is there already, with the same content, stays, so that work which was
    broken off is simply repeated. Regular files are written and nothing else; their times and modes are those of new
    files.

    Args:
        urls: the shards, as `webds.DatasetBuilder` takes them; ``-`` for standard input.
        folder: where the files go; it is made if it is not there.
        fields: which fields of samples are written; None for all members, also those that belong to no sample.
        match: a pattern of the shell that the keys of samples must match; ``*`` stands for slashes, too.
        by_shard: whether each shard gets a folder of its own, of its name without suffix, in which its files go.
        overwrite: whether files with another content are replaced.
        jobs: how many processes.
        engine: does the work, in place of these.
        opener: opens what is read; None for the default.
        missing_end: what of an archive without end blocks.
        progress: hears how many bytes have been read.

    Raises:
        WriteError: a member's name leads out of the folder; a file is there with another content; two members have
            one name.
        WebdsError: a shard cannot be read, or a file not be written.
    """
    source = source_of(urls, opener, missing_end)
    shards = source.shards()
    root = os.path.realpath(folder)
    places = [os.path.join(root, _stem(shard)) if by_shard else root for shard in shards]
    if by_shard and len(set(places)) < len(places):
        raise ValueError("two shards have the same name, and so would have one folder")
    tells = progress or NoProgress()
    tells.begin("unpack", total_size(source, measured(source)), "bytes")
    result = Unpacked()
    work = _Unpack(source, None if fields is None else frozenset(fields), match, overwrite)
    tasks = [_Task(shard, place) for shard, place in zip(shards, places, strict=True)]
    with contextlib.closing(engine_for(shards, engine, jobs).run(work, tasks, tells.advance)) as done:
        for one in done:
            result.add(one)
    return result


def _stem(shard: str) -> str:
    return "stdin" if shard == "-" else base_of(shard).partition(".")[0] or base_of(shard)


@final
@attrs.frozen
class _Task:
    """One shard, and the folder for its files."""

    url: str
    folder: str

    @override
    def __str__(self) -> str:
        return redact(self.url)


@final
@attrs.frozen
class _Unpack:
    """Unpacks one shard."""

    source: TarSource
    fields: frozenset[str] | None
    match: str | None
    overwrite: bool

    def __call__(self, task: _Task) -> Unpacked:
        files = _Files(task.folder, self.overwrite)
        with self.source.open(task.url) as stream:
            members = read_members(stream, url=task.url, missing_end=self.source.missing_end, want=self._wants)
            for member, data in members:
                report(_BLOCK + padded(member.size))
                if data is None:
                    continue
                try:
                    files.write(member.name, data)
                except Exception as error:
                    key, field = base_plus_ext(member.name)
                    annotate(error, url=task.url, key=key, field=field or member.name, stage="unpack")
                    raise
        return files.result

    def _wants(self, name: str) -> bool:
        if self.fields is None and self.match is None:
            return True
        key, field = base_plus_ext(name)
        if key is None or (self.fields is not None and field not in self.fields):
            return False
        return self.match is None or fnmatch.fnmatchcase(key, self.match)


@final
class _Files:
    """The files of one shard.

    Args:
        root: the folder for them, a real path.
        overwrite: whether files with another content are replaced.
    """

    def __init__(self, root: str, overwrite: bool) -> None:
        self._root = root
        self._overwrite = overwrite
        self._folders: set[str] = set()
        self._written: set[str] = set()
        self.result = Unpacked()

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        if path in self._written:
            raise WriteError(f"two members have the name {shown(name)}, and only one could be the file")
        self._written.add(path)
        if os.path.lexists(path):
            if _holds(path, data):
                self.result.kept += 1
                return
            if not self._overwrite:
                raise WriteError(f"{path!r} exists with another content; overwrite=True replaces it")
        target = FileTarget(path, overwrite=self._overwrite)
        try:
            target.write(data)
            target.commit()
        except BaseException:
            target.discard()
            raise
        self.result.files += 1
        self.result.size += len(data)

    def _path(self, name: str) -> str:
        """Return where a member goes.

        Raises:
            WriteError: out of the folder, by its name or by a link that is there.
        """
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or not parts or _is_special(name):
            raise WriteError(f"the name {shown(name)} leads out of the folder, or is that of no file")
        folder = os.path.join(self._root, *parts[:-1])
        path = os.path.join(folder, parts[-1])
        if folder not in self._folders:
            self._make(folder)
            self._folders.add(folder)
        if os.path.islink(path):
            raise WriteError(f"{path!r} is a link, and is not followed")
        return path

    def _make(self, folder: str) -> None:
        """Make a folder; clear away what a crash has left there."""
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise open_error("cannot make the folder", folder, error) from None
        if os.path.realpath(folder) != folder:
            raise WriteError(f"{folder!r} is reached by a link that was in the folder, and is not followed")
        for path in glob.iglob(os.path.join(glob.escape(folder), PARTIAL_GLOB.format(name="*"))):
            remove_abandoned(path)


def _is_special(name: str) -> bool:
    """Return whether a system takes ``name`` for more than a path of folders."""
    return "\0" in name or (os.name == "nt" and any(sign in name for sign in "\\:"))


def _holds(path: str, data: bytes) -> bool:
    """Return whether ``path`` is a file with this content."""
    if not os.path.isfile(path) or os.path.getsize(path) != len(data):
        return False
    with open(path, "rb") as file:
        return all(file.read(_PIECE) == data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
