"""What users give for shards, as a list of URLs: brace expressions, globs, manifests, list files, lists of these."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urljoin

import attrs

from webds.abc import Opener
from webds.errors import OpenError, UntrustedDataError, UrlError
from webds.index.manifest import ListedShard, parse_manifest, read_list
from webds.redaction import redact
from webds.urls import expand_braces, has_glob, local_glob, local_path, path_url, scheme_of

__all__ = ["Urls", "expand_urls", "listed_shards"]

Urls: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"

_STREAMS: Final = ("-", "pipe")  # what runs a command, or takes what belongs to the process
_NO_GLOBS: Final = ("http", "https", *_STREAMS)
_LISTS: Final = (".json", ".txt")
_MAX_BRACES: Final = 1_000_000  # URLs of one line of a list file
# Not looked at one by one on a slow file system; should one be a directory, its opener says so.
_TAR: Final = re.compile(r"\.(?:tar|tgz|tar\.\w+)$", re.IGNORECASE)
_BODY: Final = re.compile(r"(?P<scheme>.*?://)(?P<authority>[^/]*)(?P<path>.*?)(?P<chain>::.*)?", re.DOTALL)


def expand_urls(urls: Urls, opener: Opener, *, trust_commands: bool = False) -> list[str]:
    """Return the URLs of the shards that ``urls`` stands for, in order; see `listed_shards`."""
    return [shard.url for shard in listed_shards(urls, opener, trust_commands=trust_commands)]


def listed_shards(urls: Urls, opener: Opener, *, trust_commands: bool = False) -> list[ListedShard]:
    """Return the shards that ``urls`` stands for, in order, with what manifests say of them.

    A string or path is one of these, and a sequence is any number of them:

    - a brace expression (``x-{000..146}.tar``), expanded as by bash;
    - a glob: of local paths, sorted, files only, ``**`` for any directories; of a store, through the opener's
      ``list``. In ``http:`` URLs and commands, and where an opener cannot list, ``?`` and ``[`` mean themselves.
      A file that has the very name of the pattern wins;
    - a manifest: a ``.json`` whose ``__kind__`` is ``wids-shard-index-v1``, read through the opener, its URLs
      relative to its own;
    - a list file: a ``.txt`` with one URL or brace expression a line, relative to its own; empty lines and lines
      that begin with ``#`` are passed over;
    - any other URL or path, taken as it is. Whether a single one exists shows when it is opened.

    Lists do not name globs or further lists.

    Args:
        urls: as above. A `pathlib.Path` is always a path, never a command.
        opener: opens manifests and lists, and lists stores.
        trust_commands: whether ``pipe:`` commands, and ``-``, may come out of a manifest or list file.

    Raises:
        UrlError: nothing matches, a directory, an empty list or string, a ``.json`` that is no manifest.
        UntrustedDataError: a command that came out of a file.
        OpenError: a manifest or list file cannot be read, or a store not be listed.
        TypeError: something that is neither string nor path.
    """
    shards = [shard for item in _items(urls) for shard in _expand(_text(item), opener, trust_commands)]
    if not shards:
        raise UrlError("an empty list names no shards")
    return shards


def _items(urls: object) -> Iterable[object]:
    """Return what the user gave as elements. The order of shards matters, so that a set is none."""
    if isinstance(urls, str | os.PathLike):
        return [cast("object", urls)]
    if isinstance(urls, Sequence | Iterator) and not isinstance(urls, bytes | bytearray | memoryview):
        return cast("Iterable[object]", urls)
    raise TypeError(f"expected a URL, a path or a list of these for the shards, not {type(urls).__name__}")


def _text(item: object) -> str:
    """Return one element of what the user gave as a URL."""
    if isinstance(item, os.PathLike):
        return path_url(os.fsdecode(cast("os.PathLike[str]", item)))
    if not isinstance(item, str):
        raise TypeError(f"expected a URL or a path for a shard, not {redact(repr(item)[:100])} ({type(item).__name__})")
    if not item.strip():
        raise UrlError("an empty string names no shards", url=item)
    return item


def _expand(pattern: str, opener: Opener, trust: bool) -> Iterator[ListedShard]:
    """Yield the shards of one string."""
    path = local_path(pattern)
    if path is not None and "{" in path and os.path.isfile(path):
        names = [pattern]
    else:
        names = expand_braces(pattern)
        if path is not None and len(names) > 1 and not any(has_glob(name) or _is_there(name, opener) for name in names):
            raise UrlError(f"none of the {len(names)} files of this brace expression is there", url=pattern)
    for name in names:
        for url in _matches(name, opener, pattern):
            # What a listing has found is a shard: data/* is not meant to read the lists that lie among them.
            if _list_suffix(name) and _list_suffix(url):
                yield from _read_list(url, opener, trust)
            else:
                yield ListedShard(url)


def _matches(name: str, opener: Opener, pattern: str) -> Sequence[str]:
    """Return the URLs that match ``name``, which is what ``pattern`` stands for or a part of it."""
    scheme = scheme_of(name)
    path = local_path(name)
    if path is None:
        can_list = type(opener).list is not Opener.list  # without that, a function's URLs are its own affair
        if scheme in _NO_GLOBS or not has_glob(name) or not can_list:
            return [name]
        found = opener.list(name)
    elif not _TAR.search(path) and os.path.isdir(path) and not _is_there(name, opener):
        shown = os.path.join(path, "*.tar")
        raise UrlError(f"this is a directory; name the shards in it, such as {shown}", url=pattern)
    elif os.path.exists(path) or not has_glob(path):
        return [name]
    else:
        found = local_glob(path) or ([name] if _is_there(name, opener) else [])
    if not found:
        raise UrlError(f"no file matches {redact(name)!r}", url=pattern)
    return found


def _is_there(name: str, opener: Opener) -> bool:
    """Return whether ``name``, a local path, is a file; True where only opening it tells.

    An opener of the user's may well take paths for something else than files of this host.
    """
    path = local_path(name)
    if path is not None and os.path.exists(path) and not os.path.isdir(path):
        return True
    try:
        opener.size(name)
    except OpenError:
        return False
    return True


def _list_suffix(url: str) -> str:
    """Return the suffix that makes ``url`` that of a manifest (``.json``) or list file (``.txt``); empty for none."""
    scheme = scheme_of(url)
    if scheme in _STREAMS:
        return ""
    if scheme in ("http", "https"):
        url = url.partition("#")[0].partition("?")[0]
    return next((suffix for suffix in _LISTS if url.lower().endswith(suffix)), "")


def _read_list(source: str, opener: Opener, trust: bool) -> list[ListedShard]:
    """Return the shards that a manifest or list file names."""
    with opener.open(source) as stream:
        text = read_list(stream, source)
    listed = parse_manifest(text, source).shards if _list_suffix(source) == ".json" else _of_lines(text)
    shards = [
        attrs.evolve(shard, url=_resolved(shard.url, source, trust), more=_resolved_index(shard.more, source, trust))
        for shard in listed
    ]
    if not shards:
        raise UrlError("this list names no shards", url=source)
    return shards


def _resolved_index(more: Mapping[str, Any], source: str, trust: bool) -> Mapping[str, Any]:
    """Return what a manifest says of a shard besides, with the URL of its index, if there is one, as a whole one."""
    index = more.get("index")
    return {**more, "index": _resolved(index, source, trust)} if isinstance(index, str) else more


def _of_lines(text: str) -> Iterator[ListedShard]:
    """Yield the shards of a list file, their URLs as they stand."""
    for line in text.split("\n"):
        line = line.strip()
        if line and not line.startswith("#"):
            yield from map(ListedShard, expand_braces(line, _MAX_BRACES))


def _resolved(name: str, source: str, trust: bool) -> str:
    """Return the URL that ``name`` stands for in the list ``source``."""
    scheme = scheme_of(name.strip())
    if scheme in _STREAMS:
        if trust:
            return name.strip()
        what = "a shell command" if scheme == "pipe" else "standard input"
        raise UntrustedDataError(
            f"{redact(name)!r} is {what}, and it came out of a file: it is not run unless you trust it. "
            'Pass it in code, or say so by name: .with_opener("pipe", webds.PipeOpener())',
            url=source,
        )
    if _list_suffix(name):
        raise UrlError(f"{redact(name)!r} is a list in a list; a list names shards", url=source)
    if scheme != "file":
        return name
    path, base = local_path(name), local_path(source)
    if path is None:
        raise UrlError(f"{redact(name)!r} is a file of another host", url=source)
    if base is not None:
        return path_url(os.path.join(os.path.dirname(base), path))
    if path != name or re.match(r"[A-Za-z]:[\\/]", path):  # a file: URL, or a Windows drive
        return path_url(path)
    return _relative(path, source)


def _relative(path: str, source: str) -> str:
    """Return ``path`` relative to the URL of a list that is no local file."""
    if scheme_of(source) in ("http", "https"):
        # A colon in it makes no scheme, not even in front.
        return urljoin(source, path if path.startswith("/") else f"./{path}")
    body = _BODY.fullmatch(source)
    if body is None:
        raise UrlError(f"{path!r} is relative to a list whose URL has no folder", url=source)
    parts = [] if path.startswith("/") else body["path"].split("/")[1:-1]
    for part in path.removeprefix("/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return f"{body['scheme']}{body['authority']}/{'/'.join(parts)}{body['chain'] or ''}"
