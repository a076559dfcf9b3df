"""Work that may be broken off and taken up again: the note that it leaves beside what it writes.

The note, a hidden file ``.NAME.job``, says which work began there, by a hash of all that decides on its result. It is
gone when the work is done. Whoever repeats the work as it was goes on where it was broken off; whatever else is called
there is refused, as it would be beside finished files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, final

import attrs

from webds.abc import Opener
from webds.errors import OpenError, WriteError
from webds.openers.streams import open_error
from webds.sinks.stores import remove_stored, tells
from webds.urls import local_path, scheme_of

__all__ = ["Job", "job_url", "running"]

try:
    import fcntl
except ImportError:  # Windows: nobody sees to it that work is not done twice at the same time
    fcntl = None  # type: ignore[assignment]

_MAX_NOTE: Final = 1 << 16


@final
@attrs.define
class Job:
    """Work that is being done.

    Attributes:
        resumed: whether it is the rest of work that was broken off, so that files under final names are part of it.
        has_begun: whether there is something to go on from, even if no file has its final name.
    """

    resumed: bool = False
    has_begun: bool = False


def job_url(target: str) -> str:
    """Return where the note about work that writes ``target`` is."""
    folder, slash, name = target.rpartition("/")
    return f"{folder}{slash}.{name or 'folder'}.job"


@contextlib.contextmanager
def running(
    target: str,
    tool: str,
    parameters: Mapping[str, Any],
    *,
    opener: Opener,
    existing: Callable[[], list[str]],
    overwrite: bool,
    refuses: bool = True,
) -> Generator[Job]:
    """Let work be done in the block; it is over if the block is left without an exception.

    Args:
        target: what it writes: a pattern, a URL, or a folder with a slash at the end.
        tool: the name of the tool.
        parameters: all that decides on the result, for JSON.
        opener: opens ``target`` where it is no local file.
        existing: returns what has final names already.
        overwrite: whether that may be replaced; then work begins anew.
        refuses: whether files that other work has written are an error; if not, they are for the block to judge.

    Raises:
        WriteError: files are there that this work has not written, or somebody is at work there.
        OpenError: the note cannot be written.
    """
    note = _note(target, opener)
    if note is None:
        yield Job()
        return
    text = json.dumps([tool, parameters], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    with note.held():
        found = note.read()
        try:
            resumed = _judge(found, tool, digest, target, existing if refuses else list, overwrite=overwrite)
        except BaseException:
            if found is None:  # it came into being here
                note.remove()
            raise
        if not resumed:
            note.write({"webds": tool, "work": digest, "replaces": bool(existing())})
        job = Job(resumed)
        try:
            yield job
        except BaseException as error:
            interrupted = not isinstance(error, Exception)
            if not (existing() or (interrupted and job.has_begun)):  # there is nothing to go on from
                with contextlib.suppress(OpenError):
                    note.remove()
            raise
        note.remove()


def _judge(
    found: dict[str, Any] | None,
    tool: str,
    digest: str,
    target: str,
    existing: Callable[[], list[str]],
    *,
    overwrite: bool,
) -> bool:
    """Return whether work is taken up again.

    Raises:
        WriteError: it may not begin.
    """
    if overwrite:
        return False
    same = found is not None and found.get("work") == digest and not found.get("replaces")
    if same:
        return True
    there = existing()
    if not there:
        return False
    if found is None:
        what = f"{there[0]!r} exists" if len(there) == 1 else f"{len(there)} files exist, {there[0]!r} is the first"
        raise WriteError(f"{what}; overwrite=True replaces what is there", url=there[0], stage="write")
    why = "was replacing files" if found.get("replaces") else "had other arguments, or other data"
    raise WriteError(
        f"work on {target!r} was broken off (by {found.get('webds', tool)}), and it {why}: it is taken up again if it "
        "is repeated as it was; overwrite=True begins anew",
        url=target,
        stage="write",
    )


def _note(target: str, opener: Opener) -> _LocalNote | _StoredNote | None:
    """Return the note about ``target``; None where nothing can be left."""
    scheme = scheme_of(target)
    url = job_url(target)
    path = local_path(url)
    if path is not None:
        return _LocalNote(path)
    return _StoredNote(url, opener) if scheme not in ("-", "pipe") and tells(opener) else None


@final
class _LocalNote:
    """A note in a local folder, locked as long as somebody is at work."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        try:
            self._descriptor = self._locked()
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise WriteError("somebody else is at work here", url=self._path, stage="write") from error
            raise open_error("cannot write", self._path, error) from None
        try:
            yield
        finally:
            os.close(self._descriptor)

    def _locked(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), os.stat(self._path)):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # whoever had it has just finished, and removed it

    def read(self) -> dict[str, Any] | None:
        return _parsed(os.pread(self._descriptor, _MAX_NOTE, 0))

    def write(self, note: Mapping[str, Any]) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(note).encode(), 0)

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


@final
class _StoredNote:
    """A note in a store. Nobody sees to it that two do not work there at the same time."""

    def __init__(self, url: str, opener: Opener) -> None:
        self._url = url
        self._opener = opener

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        yield

    def read(self) -> dict[str, Any] | None:
        try:
            self._opener.size(self._url)
        except OpenError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return _parsed(self._opener.read_range(self._url, 0, _MAX_NOTE))

    def write(self, note: Mapping[str, Any]) -> None:
        with self._opener.open(self._url, "wb") as stream:
            stream.write(json.dumps(note).encode())

    def remove(self) -> None:
        remove_stored(self._opener, self._url)


def _parsed(data: bytes) -> dict[str, Any] | None:
    """Return what a note says; None for one that was cut short, before anything had been written."""
    try:
        note = json.loads(data)
    except ValueError:
        return None
    return note if isinstance(note, dict) else None
