"""What tools write: shards that appear when they are whole, with their sidecars, also where work is taken up again."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, final
from urllib.parse import urlsplit

import attrs
from typing_extensions import override

from webds.abc import Opener, Sink
from webds.errors import OpenError, WriteError
from webds.index import index_path, merge_manifest, scan
from webds.openers.schemes import OpenerLike
from webds.openers.streams import open_error
from webds.sinks import ShardWriter, TarWriter
from webds.sinks.compression import Compression
from webds.sinks.fields import SampleEncoder
from webds.sinks.pattern import ShardPattern, is_pattern
from webds.sinks.sidecars import Sidecars, relative_url
from webds.sinks.stores import opener_for, remove_stored, tells
from webds.sinks.targets import PARTIAL_GLOB, is_device, remove_abandoned
from webds.sources.tables import open_whole
from webds.tools.jobs import Job
from webds.tools.reading import opener_of
from webds.typing import Sample
from webds.urls import local_path, path_url, scheme_of

__all__ = ["Output", "ShardFile", "Written", "raw_encoder", "write_stream"]

_SUFFIXES: Final = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tbz2", ".tbz", ".txz", ".tzst")


def raw_encoder() -> SampleEncoder:
    """Return what stores samples whose values are the bytes of other shards, metadata of samples included."""
    return SampleEncoder(encoder=False, keep_meta=True)


@final
@attrs.define
class Written:
    """What has been written.

    Attributes:
        shards: number of shards.
        samples: number of samples in them.
        kept: how many of the shards were there already, from the same work that had been broken off.
    """

    shards: int = 0
    samples: int = 0
    kept: int = 0


@final
@attrs.frozen(kw_only=True)
class Output:
    """Where shards go, and how they are written.

    The members of what is written are made anew: their owner, mode and time of modification are those of
    `webds.TarWriter`, and not what they were; their names and contents stay as they were.

    Attributes:
        target: a name or URL with one place for the shard's number (``train-%06d.tar``); without one, that of a single
            shard, ``-`` for standard output; or, where each shard that is read has one that is written, an existing
            folder, or one with a slash at the end.
        maxcount: samples in a shard, at most.
        maxsize: payload bytes after which a shard is finished.
        compress: as for `webds.TarWriter`; None goes by the suffix of the name.
        index: whether a member table is written beside each shard.
        manifest: name of a manifest that lists the shards, in their folder unless it has one itself; None for none.
        md5: whether it has the MD5 of each shard.
        mtime: time of modification of all members, whole seconds since 1970.
        overwrite: whether what is there may be replaced.
        opener: opens what is no local file; None for the default.
    """

    target: str = attrs.field(converter=os.fspath)
    maxcount: float = 100000
    maxsize: float = 3e9
    compress: bool | Compression | None = None
    index: bool = False
    manifest: str | None = None
    md5: bool = False
    mtime: int = 0
    overwrite: bool = False
    opener: OpenerLike | None = None

    def __attrs_post_init__(self) -> None:
        if self.md5 and self.manifest is None:
            raise ValueError("md5=True goes into a manifest: name one with manifest=")
        if (self.index or self.manifest is not None) and (self.target == "-" or local_path(self.target) is None):
            raise ValueError(
                f"index and manifest are for local files, and {self.target!r} is none; webds.build_index makes them"
            )

    @property
    def opens(self) -> Opener:
        """What opens the shards that are written."""
        return opener_for(self.target, self.opener)

    @property
    def is_pattern(self) -> bool:
        """Whether the target has a place for the shard's number."""
        return is_pattern(self.target)

    @property
    def is_stream(self) -> bool:
        """Whether the target is standard output or a command, of which nobody can tell what it has already."""
        return scheme_of(self.target) in ("-", "pipe")

    def parameters(self) -> dict[str, Any]:
        """Return what decides on the bytes that are written, for `webds.tools.jobs`."""
        names = ("target", "maxcount", "maxsize", "compress", "index", "manifest", "md5", "mtime")
        return {name: getattr(self, name) for name in names}

    def existing(self, names: Sequence[str] | None = None) -> list[str]:
        """Return which of ``names`` are there already; by default, of all that the target may stand for."""
        if names is None and self.is_pattern:
            return list(ShardPattern(self.target, self.opener).existing().values())
        return [name for name in names or (self.target,) if self.is_there(name)]

    def is_there(self, name: str) -> bool:
        """Return whether there is something of this name; False where nobody can tell."""
        path = local_path(name)
        if path is not None:
            return os.path.lexists(path) and not is_device(path)
        opener = opener_for(name, self.opener)
        if scheme_of(name) in ("-", "pipe") or not tells(opener):
            return False
        try:
            opener.size(name)
        except OpenError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    def prepare(self) -> None:
        """Make the folder that the target is, if it is a local one.

        Raises:
            OpenError: it cannot be made.
        """
        path = local_path(self.target)
        if path is not None and self.target.endswith("/"):
            try:
                os.makedirs(path, exist_ok=True)
            except OSError as error:
                raise open_error("cannot make the folder", self.target, error) from None

    def names_for(self, shards: Sequence[str]) -> list[str]:
        """Return the name of what is written for each of the shards that are read.

        Raises:
            ValueError: there is one name for several.
            WriteError: a shard would be written over that is still to be read.
        """
        names = self._names(shards)
        taken: dict[str, str] = {}
        for name, shard in zip(names, shards, strict=True):
            if taken.setdefault(name, shard) is not shard and name != "-":
                raise ValueError(f"{taken[name]!r} and {shard!r} would both be written to {name!r}: use a pattern, "
                                 "such as x-%06d.tar")  # fmt: skip
        refuse_reading(shards, names)
        return names

    def _names(self, shards: Sequence[str]) -> list[str]:
        if self.is_pattern:
            pattern = ShardPattern(self.target, self.opener)
            return [pattern.name(number) for number in range(len(shards))]
        path = local_path(self.target)
        if self.target.endswith("/") or (path is not None and os.path.isdir(path)):
            folder = self.target if self.target.endswith("/") else self.target + "/"
            return [folder + renamed(base_of(shard), self.compress) for shard in shards]
        if len(shards) > 1:
            raise ValueError(f"{len(shards)} shards are not written to {self.target!r} alone: expected a pattern, "
                             "such as x-%06d.tar, or a folder with a slash at the end")  # fmt: skip
        return [self.target]

    def manifest_for(self, name: str) -> str | None:
        """Return the path of the manifest of what is written under ``name``."""
        if self.manifest is None:
            return None
        return os.path.join(os.path.dirname(local_path(name) or ""), self.manifest)


def base_of(url: str) -> str:
    """Return the last part of a URL's path.

    Raises:
        ValueError: it has none, as a command or standard input.
    """
    path = local_path(url)
    if path is None:
        scheme = scheme_of(url)
        path = "" if scheme in ("-", "pipe") else urlsplit(url).path if scheme in ("http", "https") else url
    base = os.path.basename(path.rstrip("/"))
    if not base:
        raise ValueError(f"{url!r} has no name that a file in a folder could have: use a pattern, such as x-%06d.tar")
    return base


def renamed(name: str, compress: bool | Compression | None) -> str:
    """Return ``name`` with the suffix of what it will be compressed by; None leaves it."""
    if compress is None:
        return name
    stem = next((name[: -len(suffix)] for suffix in _SUFFIXES if name.lower().endswith(suffix)), name)
    method = "gz" if compress is True else compress
    return stem + (f".tar.{method}" if method else ".tar")


def refuse_reading(shards: Sequence[str], names: Iterable[str]) -> None:
    """Raise an error if a shard that is read has one of the names that are written."""
    read = {_place(shard) for shard in shards if scheme_of(shard) not in ("-", "pipe")}
    for name in names:
        if _place(name) in read:
            raise WriteError("this shard is read, and would be written over: write to another place", url=name,
                             stage="write")  # fmt: skip


def _place(url: str) -> str:
    path = local_path(url)
    return url if path is None else os.path.realpath(path)


@final
class ShardFile(Sink[Sample]):
    """One shard of a tool, with its sidecars.

    Args:
        name: its name.
        output: how it is written.
        encoder: how values become bytes.
    """

    def __init__(self, name: str, output: Output, encoder: SampleEncoder) -> None:
        self._name = name
        manifest = output.manifest_for(name)
        wanted = output.index or manifest is not None
        self._sidecars = Sidecars(manifest, md5=output.md5) if wanted else None
        # What is replaced takes its index along, also where no new one is wanted.
        own = self._sidecars or (Sidecars(None, md5=False) if local_path(name) is not None else None)
        self._replaced = own if output.overwrite else None
        clear_abandoned(name)
        heard: dict[str, Any] = {}
        if self._sidecars is not None:
            heard["on_member"] = self._sidecars.member
            if output.md5:
                heard["on_bytes"] = self._sidecars.bytes
        self._tar = TarWriter(
            name,
            compress=output.compress,
            encoder=encoder,
            mtime=output.mtime,
            overwrite=output.overwrite,
            opener=output.opener,
            **heard,
        )
        self.count: int = 0
        self._ended = False

    @override
    def write(self, sample: Sample) -> int:
        size = self._tar.write(sample)
        self.count += 1
        return size

    @override
    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._replaced is not None:
            self._replaced.forget([self._name])
        self._tar.close()
        if self._sidecars is not None:
            self._sidecars.finish(self._name, self.count, compressed=self._tar.compressed)

    @override
    def abort(self) -> None:
        self._ended = True
        self._tar.abort()


def clear_abandoned(name: str) -> None:
    """Remove what a crash has left of a file that was to be called ``name``."""
    path = local_path(name)
    if path is not None:
        folder, base = os.path.split(os.path.realpath(path))
        for found in glob.iglob(os.path.join(glob.escape(folder), PARTIAL_GLOB.format(name=glob.escape(base)))):
            remove_abandoned(found)


def complete(name: str, output: Output) -> int:
    """Make up for sidecars of a shard that is there, which a crash left out; return the number of its samples."""
    manifest = output.manifest_for(name)
    if output.index or manifest is not None:
        Sidecars(manifest, md5=output.md5).complete([local_path(name) or name])
    return count_samples(name, output.opens)


def count_samples(url: str, opener: Opener) -> int:
    """Return the number of samples of a shard. Where it can be sought in, little more than headers is read."""
    with open_whole(opener, url) as stream:
        return scan(stream, url=url).count


def write_stream(samples: Iterator[Sample], output: Output, job: Job, encoder: SampleEncoder) -> Written:
    """Write samples, in their order, to the shards of a pattern, or to a single one.

    Args:
        samples: all of them, also where work is taken up again; those that are written already are passed over.
        output: how and where to.
        job: whether work is taken up again.
        encoder: how values become bytes.

    Raises:
        WriteError: a sample is refused; or there are fewer samples than had been written before.
    """
    if not output.is_pattern:
        return _write_single(samples, output, job, encoder)
    pattern = ShardPattern(output.target, output.opener)
    kept = pattern.existing() if job.resumed else {}
    done = sum(count_samples(url, output.opens) for url in kept.values())
    passed = sum(1 for _ in itertools.islice(samples, done))
    if passed < done:
        raise WriteError(f"{done} samples had been written, and now there are only {passed}: the data has changed",
                         url=output.target, stage="write")  # fmt: skip
    with ShardWriter(
        output.target,
        output.maxcount,
        output.maxsize,
        resume=job.resumed,
        overwrite=output.overwrite,
        compress=output.compress,
        encoder=encoder,
        index=output.index,
        manifest=output.manifest,
        md5=output.md5,
        mtime=output.mtime,
        opener=output.opener,
    ) as sink:
        for sample in samples:
            sink.write(sample)
    return Written(sink.shard, done + sink.total, len(kept))


def _write_single(samples: Iterator[Sample], output: Output, job: Job, encoder: SampleEncoder) -> Written:
    if job.resumed and output.is_there(output.target):  # broken off between its last step and the end
        return Written(1, complete(output.target, output), 1)
    with ShardFile(output.target, output, encoder) as sink:
        for sample in samples:
            sink.write(sample)
    return Written(1, sink.count)


def remove_shards(names: Iterable[str], output: Output) -> None:
    """Remove shards of an earlier run, with their sidecars, where they can be removed."""
    for name in list(names):
        path = local_path(name)
        if path is None:
            remove_stored(opener_of(output.opener), name)
            continue
        manifest = output.manifest_for(path_url(path))
        if manifest is not None and os.path.exists(manifest):
            merge_manifest(manifest, [], [relative_url(path, manifest)])
        for one in (index_path(path), path):
            if os.path.exists(one):
                os.unlink(one)


def parameters_of(output: Output, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that decides on a result."""
    return {"output": output.parameters(), **more}
