"""Many shards: samples to numbered tars of a limited size."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import TypedDict, cast, final

from typing_extensions import Unpack, override

from webds.abc import Opener, Sink
from webds.checks import checkcallable, checkrange, checktype
from webds.errors import OpenError, WriteError, annotate
from webds.openers.schemes import OpenerLike
from webds.sinks.compression import Compression
from webds.sinks.fields import EncoderSpec, SampleEncoder
from webds.sinks.pattern import ShardPattern
from webds.sinks.sidecars import Sidecars, make_sidecars
from webds.sinks.stores import remove_stored
from webds.sinks.targets import remove_abandoned
from webds.sinks.tarwriter import TarWriter
from webds.tar import read_samples
from webds.typing import Buffer, Sample

__all__ = ["ShardWriter", "ShardWriterOptions"]


class _TarOptions(TypedDict, total=False):
    user: str
    group: str
    mode: int
    compress: bool | Compression | None
    encoder: EncoderSpec | SampleEncoder
    keep_meta: bool
    mtime: int
    opener: OpenerLike | None


class _Heard(TypedDict, total=False):
    on_member: Callable[[str, int, int], object]
    on_bytes: Callable[[Buffer], object]


@final
class ShardWriterOptions(_TarOptions, total=False):
    """The further keyword arguments of `ShardWriter`."""

    overwrite: bool
    resume: bool
    start_shard: int
    index: bool
    manifest: str | os.PathLike[str] | None
    md5: bool


@final
class ShardWriter(Sink[Sample]):
    """Writes samples into numbered tars, and begins a new one when the last is full.

    Each shard is a `TarWriter`'s: it appears under its final name when it is finished, so that a crash leaves
    finished shards only. No file is there before the first `write`, and without any there are no shards.

    Existing shards (files whose names the pattern makes, numbers from ``start_shard`` on) are refused at
    creation, unless

    - ``overwrite=True``: each is replaced when the new one of its number is finished. Those with higher numbers
      are removed by `close`, so that shards of two runs are not taken for one dataset; where nothing was
      written, they stay. After a crash they stay too, and a warning says so.
    - ``resume=True``: numbering goes on after the last one, and temporary files of a run that crashed are
      removed. If the last one is not whole, that is an error; whoever removes it resumes before it. Which
      samples are already written is for the caller to know: `shard` and the number of samples in a shard
      tell.

    Shards in a store are found by its listing, and the same holds for them; but where the opener has no ``remove``,
    those with higher numbers stay, with a warning. Of commands (``pipe:``), and of openers that cannot list, nobody
    can tell what exists: they are written over.

    With ``index=True`` a member table (``x-000000.idx`` for ``x-000000.tar``, as DALI reads it) is written beside each
    shard, and ``manifest="train.json"`` lists the shards with their counts, both in the same pass. They come right
    after the shard has its name, so that after a crash in between a shard may lack them, and never has those of
    another; ``resume=True`` makes up for it. Any number of writers may share a manifest; each of a pattern of its own.
    A compressed shard has no member table, since nothing in it can be read by itself.

    Attributes:
        pattern: as given.
        shard: number of the shard that will be begun next.
        fname: name of the current shard, or of the last one.
        count: samples in it so far.
        size: payload bytes in it so far.
        total: samples in all shards of this writer.

    Args:
        pattern: name or URL of the shards, with one place for the number: ``pattern % n``.
        maxcount: samples in a shard, at most.
        maxsize: payload bytes after which a shard is finished; it is the sample that reaches them which comes
            last.
        post: called with the name of each finished shard. If it raises, the shard is finished all the same.
        **kw: ``start_shard`` (number of the first shard, 0), ``overwrite`` and ``resume`` (False), ``index``
            (False), ``manifest`` (a file's name, in the folder of the shards unless it has one itself; None for
            none; it implies ``index``), ``md5`` (False; whether the manifest has the MD5 of each shard), and all
            arguments of `TarWriter` but the first.

    Raises:
        TypeError: an argument that `TarWriter` does not know.
        WriteError: shards exist, the last one is not whole, or another writer is at work on this pattern.
        OpenError: there is no directory to hold the shards.
        ValueError: a pattern without a place for the number, or another argument that has no meaning.
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        maxcount: float = 100000,
        maxsize: float = 3e9,
        post: Callable[[str], object] | None = None,
        **kw: Unpack[ShardWriterOptions],
    ) -> None:
        self._ended = True  # until all arguments are known to be good
        self._tar: TarWriter | None = None
        if not maxcount > 0 or not maxsize > 0:
            raise ValueError(f"maxcount={maxcount!r}, maxsize={maxsize!r}: expected more than 0 of each")
        if post is not None:
            checkcallable(post, "post")
        self.pattern: str = os.fspath(pattern)
        self._names = ShardPattern(self.pattern, kw.get("opener"))
        self._maxcount, self._maxsize, self._post = maxcount, maxsize, post
        start = kw.get("start_shard", 0)
        checktype(start, int, "start_shard")
        checkrange(start, 0, sys.maxsize, "start_shard")
        self._overwrite, resume = kw.get("overwrite", False), kw.get("resume", False)
        if resume and self._overwrite:
            raise ValueError("resume=True goes on after the existing shards, overwrite=True replaces them: choose one")
        own = ("overwrite", "resume", "start_shard", "index", "manifest", "md5")
        self._options = cast("_TarOptions", {name: value for name, value in kw.items() if name not in own})
        encoder = self._options.get("encoder", True)
        if not isinstance(encoder, SampleEncoder):  # one for all shards: what it drops is said once
            encoder = SampleEncoder(encoder, keep_meta=self._options.get("keep_meta", False))
        self._options["encoder"] = encoder
        self._sidecars = make_sidecars(
            self._names, index=kw.get("index", False), manifest=kw.get("manifest"), md5=kw.get("md5", False)
        )
        # What is replaced takes its index along, also where no new one is wanted.
        stale = self._sidecars or (Sidecars(None, md5=False) if self._names.is_local else None)
        self._replaced = stale if self._overwrite else None
        self._stale = self._names.existing(start)
        self.shard: int = self._resume_at(start) if resume else start
        if self._stale and not self._overwrite and not resume:
            first = next(iter(self._stale.values()))
            raise WriteError(
                f"{len(self._stale)} shards of {self.pattern!r} exist, {first!r} the first of them; "
                "overwrite=True replaces them, resume=True goes on after them",
                url=first,
                stage="write",
            )
        self._remove_partial(start, refuse_others=resume)
        if resume and self._sidecars is not None:
            self._sidecars.complete(self._stale.values())
        self._failed = False
        self._last = -1
        self.fname: str = ""
        self.count: int = 0
        self.size: int = 0
        self.total: int = 0
        self._ended = False
        self.next_stream()

    def _resume_at(self, start: int) -> int:
        if not self._names.tells:
            raise ValueError(f"resume=True needs files or a store that lists, and {self.pattern!r} makes none")
        if not self._stale:
            return start
        number, path = next(reversed(self._stale.items()))
        _check_whole(path, self._names.store)
        return number + 1

    def _remove_partial(self, start: int, *, refuse_others: bool) -> None:
        """Remove what a crashed run left unfinished; the files of a writer at work stay."""
        for path in self._names.partial(start):
            if not remove_abandoned(path) and refuse_others:
                raise WriteError(
                    f"another writer is at work on {self.pattern!r}: it has {path!r} open", url=path, stage="write"
                )

    @override
    def write(self, obj: Sample) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]  # the older API's name
        if self._ended or self._failed:
            why = "an earlier shard could not be finished" if self._failed else "the writer is closed"
            raise WriteError(why, url=self.fname or self.pattern, stage="write")
        if self._tar is None:
            self.next_stream()
        assert self._tar is not None
        size = self._tar.write(obj)
        self.count += 1
        self.total += 1
        self.size += size
        if self.count >= self._maxcount or self.size >= self._maxsize:
            self.finish()
        return size

    def next_stream(self) -> None:
        """Finish the current shard and begin the next; no file is there before its first sample.

        Raises:
            WriteError: a file has the name of the next shard.
        """
        if self._ended:
            raise WriteError("the writer is closed", url=self.fname or self.pattern, stage="write")
        self.finish()
        name = self._names.name(self.shard)
        heard: _Heard = {} if self._sidecars is None else {"on_member": self._sidecars.member}
        if self._sidecars is not None and self._sidecars.wants_bytes:
            heard["on_bytes"] = self._sidecars.bytes
        self._tar = TarWriter(name, overwrite=self._overwrite, **self._options, **heard)
        if self._sidecars is not None:
            self._sidecars.begin()
        self.fname = name
        self.shard += 1
        self.count = 0
        self.size = 0

    def finish(self) -> None:
        """Finish the current shard, if it has samples, and call ``post`` with its name.

        The next `write` begins a new one. If the shard cannot be finished, its samples are lost, and the writer
        refuses further ones.
        """
        tar, self._tar = self._tar, None
        if tar is None:
            return
        if not self.count and not tar.failed:
            tar.abort()
            self.shard -= 1
            return
        try:
            if self._replaced is not None:
                self._replaced.forget([self.fname])
            tar.close()
            if self._sidecars is not None:
                self._sidecars.finish(self.fname, self.count, compressed=tar.compressed)
        except BaseException:
            self._failed = True
            raise
        self._last = self.shard - 1
        if self._post is not None:
            try:
                self._post(self.fname)
            except Exception as error:
                annotate(error, url=self.fname, stage="post")
                raise

    @override
    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            self.finish()
            if self._failed:
                raise WriteError(
                    "an earlier shard could not be finished; its samples are lost", url=self.pattern, stage="write"
                )
        finally:
            if self._failed:
                self._say_left_over()
            else:  # all samples are written, even if post raised
                self._remove_left_over()

    def _remove_left_over(self) -> None:
        if self._replaced is not None:
            self._replaced.forget(self._left_over())
        for path in self._left_over():
            try:
                if self._names.store is None:
                    os.unlink(path)
                elif not remove_stored(self._names.store, path):
                    self._say_left_over()
                    return
            except OSError as error:
                raise OpenError(
                    f"cannot remove {path!r}, a shard of an earlier run: {error}", url=path, stage="write"
                ) from error

    def _say_left_over(self) -> None:
        left = self._left_over()
        if left:
            warnings.warn(
                f"not everything was written: {self._names.name(self._last)!r} and those before it are new, but "
                f"{len(left)} shards of an earlier run are still there, {left[0]!r} the first of them",
                RuntimeWarning,
                stacklevel=4,
            )

    def _left_over(self) -> list[str]:
        """Return the shards of an earlier run that come after those of this one."""
        if not self._overwrite or self._last < 0:
            return []
        return [path for number, path in self._stale.items() if number > self._last]

    @override
    def abort(self) -> None:
        if self._ended:
            return
        self._ended = True
        tar, self._tar = self._tar, None
        if tar is not None:
            tar.abort()
        self._say_left_over()


def _check_whole(path: str, store: Opener | None) -> None:
    """Raise an error unless the shard can be read to its end; data is passed over, not read, where that is possible."""
    try:
        with open(path, "rb") if store is None else store.open(path) as file:
            for _ in read_samples(file, url=path, fields=()):
                pass
    except Exception as error:
        raise WriteError(
            f"cannot resume after {path!r}, which is not whole: remove it to write it again", url=path, stage="write"
        ) from error
