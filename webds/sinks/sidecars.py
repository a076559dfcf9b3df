"""What is written beside shards: the member table of each, and the manifest of all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from typing import Any, final

from webds.errors import OpenError
from webds.index import TableBuilder, index_path, manifest_lock, merge_manifest, remove_temporaries, replace_file, scan
from webds.index.manifest import parse_manifest
from webds.sinks.pattern import ShardPattern
from webds.tar.naming import base_plus_ext
from webds.typing import Buffer
from webds.urls import local_path, scheme_of

__all__ = ["Sidecars", "entry_of", "make_sidecars", "relative_url"]


def make_sidecars(
    names: ShardPattern, *, index: bool, manifest: str | os.PathLike[str] | None, md5: bool
) -> Sidecars | None:
    """Return what writes the sidecars; None where none are wanted.

    Raises:
        ValueError: shards that are no local files; an MD5 that there is no manifest for.
        OpenError: there is no directory to hold the manifest.
    """
    if md5 and manifest is None:
        raise ValueError("md5=True goes into a manifest: name one with manifest=")
    if not index and manifest is None:
        return None
    if not names.is_local:
        raise ValueError(
            f"index and manifest are for local files, and {names.pattern!r} makes none; webds.build_index makes them"
        )
    path = None
    if manifest is not None:
        folder = os.path.dirname(local_path(names.name(0)) or "")
        path = os.path.join(folder, os.fspath(manifest))
        if not os.path.isdir(os.path.dirname(path) or os.curdir):
            raise OpenError(f"cannot write the manifest {path!r}: there is no such directory", url=path, stage="write")
        if os.path.exists(path):  # what cannot be added to is said before anything is written
            with open(path, encoding="utf-8-sig") as file:
                parse_manifest(file.read(), path)
    return Sidecars(path, md5=md5)


@final
class Sidecars:
    """The sidecars of the shards of one writer.

    Args:
        manifest: path of the manifest; None for none.
        md5: whether it has the MD5 of each shard.
    """

    def __init__(self, manifest: str | None, *, md5: bool) -> None:
        self._manifest = manifest
        self.wants_bytes = md5
        self.begin()

    def begin(self) -> None:
        """Begin with the next shard."""
        self._table = TableBuilder()
        self._key: str | None = None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def member(self, name: str, offset: int, size: int) -> None:
        """Take note of a member."""
        key, field = base_plus_ext(name)
        if key is None or field is None:
            return  # of a sample whose key looks like metadata: readers pass over it
        if key != self._key and self._key is not None:
            self._table.end_sample()
        self._key = key
        self._table.add(name, field, offset, size)

    def bytes(self, data: Buffer) -> None:
        """Take note of what the file has next."""
        self._md5.update(data)

    def finish(self, shard: str, count: int, *, compressed: bool) -> None:
        """Write what belongs to a shard that has its name."""
        if self._key is not None:
            self._table.end_sample()
        path = local_path(shard)
        assert path is not None
        why = "compressed" if compressed else None if self._table.sayable else "names"
        if why is None:
            replace_file(index_path(path), self._table.table().dump())
        if self._manifest is not None:
            entry = entry_of(path, self._manifest, len(self._table), os.path.getsize(path), why)
            if self.wants_bytes:
                entry["md5sum"] = self._md5.hexdigest()
            merge_manifest(self._manifest, [entry])

    def forget(self, shards: Collection[str]) -> None:
        """Remove what belongs to shards that are about to be replaced or removed."""
        for shard in shards:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(index_path(local_path(shard) or shard))
        if self._manifest is not None and os.path.exists(self._manifest) and shards:
            merge_manifest(self._manifest, [], [relative_url(shard, self._manifest) for shard in shards])

    def complete(self, shards: Collection[str]) -> None:
        """Make what a crash left out of whole shards."""
        remove_temporaries([index_path(path) for path in shards])
        if self._manifest is not None:
            with manifest_lock(self._manifest):  # others may share it
                remove_temporaries([self._manifest])
        listed: dict[str, int | None] = {}
        if self._manifest is not None and os.path.exists(self._manifest):
            with open(self._manifest, encoding="utf-8-sig") as file:
                listed = {one.url: one.size for one in parse_manifest(file.read(), self._manifest).shards}
        for path in shards:
            url = path if self._manifest is None else relative_url(path, self._manifest)
            known = self._manifest is None or listed.get(url) == os.path.getsize(path)
            if known and os.path.exists(index_path(path)):
                continue
            self.begin()
            with open(path, "rb") as file:
                found = scan(file, url=path)
                if self.wants_bytes:
                    file.seek(0)
                    while data := file.read(1 << 20):
                        self._md5.update(data)
            why = found.hindrance or (None if found.sayable else "names")
            if found.table is not None and found.sayable:
                replace_file(index_path(path), found.table.dump())
            if self._manifest is not None:
                entry = entry_of(path, self._manifest, found.count, os.path.getsize(path), why)
                if self.wants_bytes:
                    entry["md5sum"] = self._md5.hexdigest()
                merge_manifest(self._manifest, [entry])


def relative_url(shard: str, manifest: str) -> str:
    """Return how a manifest names a shard: relative to itself where both are local files."""
    path = local_path(shard)
    if path is None:
        return shard
    name = os.path.relpath(os.path.abspath(path), os.path.dirname(os.path.abspath(manifest)))
    return name if scheme_of(name) == "file" and local_path(name) == name else os.path.join(os.curdir, name)


def entry_of(shard: str, manifest: str, count: int, size: int | None, why: str | None) -> dict[str, Any]:
    """Return the entry of a shard in a manifest.

    Args:
        shard: its URL.
        manifest: path of the manifest.
        count: number of samples.
        size: bytes of the shard; None where they are not known.
        why: why it has no member table: ``compressed``, ``sparse``, ``names`` (with white space); None if it has one.
    """
    entry: dict[str, Any] = {"url": relative_url(shard, manifest), "nsamples": count}
    if size is not None:
        entry["filesize"] = size
    if why is not None:
        entry["no_index"] = why
    return entry
