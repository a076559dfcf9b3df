"""Manifests: JSON files that list shards, with what is known of each (the format that wids introduced).

::

    {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": [
        {"url": "train-000000.tar", "nsamples": 1000, "filesize": 10485760, "md5sum": "…", "sha256": "…"}, …]}

All but ``url`` may be left out. What else an entry, or the manifest, says is kept as it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, final

import attrs

from webds.errors import UrlError
from webds.typing import Readable

__all__ = ["KIND", "ListedShard", "Manifest", "parse_manifest", "read_list", "read_manifest"]

KIND: Final = "wids-shard-index-v1"

_MAX_LIST: Final = 1 << 28  # bytes of a manifest or list file
_PIECE: Final = 1 << 20
_KNOWN: Final = ("url", "nsamples", "filesize", "md5sum", "sha256")
_DIGITS: Final = {"md5sum": 32, "sha256": 64}


@final
@attrs.frozen
class ListedShard:
    """One shard, and what a list says of it; of the file as it is stored, compressed or not.

    Attributes:
        url: where it is.
        samples: number of its samples; None where the list does not say.
        size: number of its bytes; likewise.
        md5: MD5 of its bytes, in 32 lower-case hexadecimal digits; likewise.
        sha256: SHA-256 of its bytes, in 64 lower-case hexadecimal digits; likewise.
        more: what else the list says of it.
    """

    url: str
    samples: int | None = None
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    more: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    @property
    def has_hash(self) -> bool:
        """Whether a hash of its bytes is known."""
        return self.md5 is not None or self.sha256 is not None


@final
@attrs.frozen
class Manifest:
    """What a manifest says.

    Attributes:
        shards: its shards, in order, their URLs as they stand there.
        more: what else there is in it, without the list of shards.
    """

    shards: tuple[ListedShard, ...]
    more: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


def read_list(stream: Readable, source: str) -> str:
    """Return the text of a manifest or list file.

    Args:
        stream: its bytes, UTF-8 with or without a byte order mark.
        source: its URL, for errors.

    Raises:
        UrlError: it is too large for a list, or no UTF-8.
    """
    parts: list[bytes] = []
    size = 0
    while part := stream.read(_PIECE):
        parts.append(part)
        size += len(part)
        if size > _MAX_LIST:
            raise UrlError(f"a manifest or list file of more than {_MAX_LIST >> 20} MiB is none", url=source)
    try:
        return b"".join(parts).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UrlError(f"this is not UTF-8 text, as a list of shards is: {error}", url=source) from error


def read_manifest(stream: Readable, source: str) -> Manifest:
    """Return what a manifest says; arguments and errors as for `read_list` and `parse_manifest`."""
    return parse_manifest(read_list(stream, source), source)


def parse_manifest(text: str, source: str) -> Manifest:
    """Return what a manifest says.

    Args:
        text: the manifest.
        source: its URL, for errors.

    Raises:
        UrlError: this is no manifest, or an entry has no URL, or a number or hash that cannot be one.
    """
    try:
        manifest: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UrlError(f"this is not JSON, and so no manifest of shards: {error}", url=source) from error
    if not isinstance(manifest, dict) or manifest.get("__kind__") != KIND:
        raise UrlError(f'this is JSON, but no manifest of shards, which would say "__kind__": "{KIND}"', url=source)
    entries = manifest.pop("shardlist", None)
    if not isinstance(entries, list):
        raise UrlError("this manifest has no shardlist", url=source)
    return Manifest(tuple(_shard(entry, number, source) for number, entry in enumerate(entries)), manifest)


def _shard(entry: Any, number: int, source: str) -> ListedShard:
    url = entry.get("url") if isinstance(entry, dict) else None
    if not isinstance(url, str) or not url.strip():
        raise UrlError(f"entry {number} of the shardlist of this manifest has no url", url=source)
    return ListedShard(
        url,
        samples=_number(entry, "nsamples", number, source),
        size=_number(entry, "filesize", number, source),
        md5=_hash(entry, "md5sum", number, source),
        sha256=_hash(entry, "sha256", number, source),
        more={name: value for name, value in entry.items() if name not in _KNOWN},
    )


def _number(entry: dict[str, Any], name: str, number: int, source: str) -> int | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise _wrong(entry, name, number, source, "a number from 0")
    return value


def _hash(entry: dict[str, Any], name: str, number: int, source: str) -> str | None:
    value = entry.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[name]}}}", value):
        raise _wrong(entry, name, number, source, f"{_DIGITS[name]} hexadecimal digits")
    return value.lower()


def _wrong(entry: dict[str, Any], name: str, number: int, source: str, expected: str) -> UrlError:
    shown = repr(entry[name])
    shown = shown if len(shown) <= 100 else f"{shown[:100]}…"
    return UrlError(
        f"entry {number} of the shardlist of this manifest has {name} {shown}: expected {expected}", url=source
    )
