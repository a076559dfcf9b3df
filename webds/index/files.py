"""Index files on the local file system: their names, and how they are written by many at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Collection, Generator, Mapping
from typing import Any, Final

from webds.errors import OpenError
from webds.index.manifest import KIND, parse_manifest

__all__ = ["index_path", "manifest_lock", "merge_manifest", "remove_temporaries", "replace_file"]

try:
    import fcntl
except ImportError:  # Windows: one writer at a time
    fcntl = None  # type: ignore[assignment]

_PART: Final = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.part", re.DOTALL)
_SUFFIXES: Final = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def index_path(shard: str) -> str:
    """Return the name of the member table beside a shard: ``x.idx`` for ``x.tar``."""
    suffix = next((suffix for suffix in _SUFFIXES if shard.lower().endswith(suffix)), "")
    return shard[: len(shard) - len(suffix)] + ".idx"


def replace_file(path: str, content: bytes) -> None:
    """Write a file that has its name when it is whole, in place of one that was there.

    Raises:
        OpenError: it cannot be written.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OpenError(f"cannot write the index file {path!r}: {error}", url=path, stage="index") from error
        raise


def remove_temporaries(paths: Collection[str]) -> None:
    """Remove what writers that were killed have left of files that were to be ``paths``; nobody may be writing one."""
    folders: dict[str, set[str]] = {}
    for folder, name in map(os.path.split, paths):
        folders.setdefault(folder, set()).add(name)
    for folder, names in folders.items():
        for entry in os.listdir(folder or os.curdir):
            if (match := _PART.fullmatch(entry)) and match["name"] in names:
                with contextlib.suppress(OSError):  # it is gone, or another user's
                    os.unlink(os.path.join(folder, entry))


@contextlib.contextmanager
def manifest_lock(path: str) -> Generator[None]:
    """Keep other processes from changing the manifest ``path`` meanwhile.

    The lock is on the folder, so that no file is left; where a file system does not lock folders, on a hidden file.
    """
    if fcntl is None:
        yield
        return
    folder, name = os.path.split(os.path.abspath(path))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            descriptor = os.open(os.path.join(folder, f".{name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):  # of a process that was forked meanwhile, which has a copy of the descriptor
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def merge_manifest(path: str, entries: Collection[Mapping[str, Any]], remove: Collection[str] = ()) -> None:
    """Put entries into a manifest, in place of those of the same URLs; all others stay. Sorted by URL.

    Args:
        path: the manifest; it need not exist.
        entries: each with its ``url`` as it is to stand there.
        remove: URLs whose entries are to go.

    Raises:
        UrlError: what is there is no manifest.
        OpenError: it cannot be written.
    """
    with manifest_lock(path):
        manifest: dict[str, Any] = {"__kind__": KIND, "wids_version": 1}
        shards: dict[str, Mapping[str, Any]] = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8-sig") as file:
                text = file.read()
            parse_manifest(text, path)
            manifest = json.loads(text)
            shards = {entry["url"]: entry for entry in manifest["shardlist"]}
        for url in remove:
            shards.pop(url, None)
        for entry in entries:
            shards[entry["url"]] = entry
        manifest["shardlist"] = [shards[url] for url in sorted(shards)]
        replace_file(path, (json.dumps(manifest, indent=1) + "\n").encode())
