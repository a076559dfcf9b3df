"""What a URL is: its scheme, the path it stands for, and the patterns that name many at once.

A URL is ``-`` (standard input or output), ``pipe:`` and a shell command, ``file:`` and a path,
``scheme://…``, or fsspec's chained ``scheme::…``. Everything else is a path of the local file system, Windows
drives included: a scheme has two letters or more, so that ``C:/data`` and ``12:30.tar`` are paths.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from typing import Final
from urllib.parse import unquote

from webds.errors import UrlError

__all__ = [
    "absolute_url",
    "check_scheme",
    "expand_braces",
    "has_glob",
    "local_glob",
    "local_path",
    "path_url",
    "scheme_of",
]

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]+)(?:://|::)")
_PREFIX: Final = re.compile(r"(?P<scheme>file|pipe):", re.IGNORECASE)
_FILE: Final = re.compile(r"file:(?://(?P<host>[^/]*)(?=/|$))?(?P<path>.*)", re.IGNORECASE | re.DOTALL)
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SPACES: Final = re.compile(r"(\s+)")


def scheme_of(url: str) -> str:
    """Return the scheme of ``url`` in lower case: ``"file"`` for every local path, ``"-"`` for ``-``."""
    if url == "-":
        return "-"
    if ":" not in url:  # as in most of many paths
        return "file"
    match = _PREFIX.match(url) or _SCHEME.match(url)
    return match["scheme"].lower() if match else "file"


def check_scheme(scheme: str) -> str:
    """Return ``scheme`` in lower case.

    Raises:
        ValueError: it is no scheme: letters, digits, ``+``, ``.``, ``-``, two of them at least, or ``-`` alone.
    """
    if scheme != "-" and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]+", scheme):
        raise ValueError(f"{scheme!r} is no scheme of URLs: expected a name such as 'hdfs', without ://")
    return scheme.lower()


def local_path(url: str) -> str | None:
    """Return the path in the local file system that ``url`` stands for.

    Percent signs are decoded in ``file:`` URLs only (RFC 8089); in a plain path they are themselves.

    Args:
        url: a URL or a path.

    Returns:
        The path; None if the URL is none, and for a ``file:`` URL of another host.
    """
    if scheme_of(url) != "file":
        return None
    if ":" not in url:
        return url
    match = _FILE.fullmatch(url)
    if match is None or url.lower().startswith("file::"):
        return url if match is None else None
    if (match["host"] or "").lower() not in ("", "localhost"):
        return None
    path = unquote(match["path"], errors="surrogateescape")
    return path[1:] if path[:1] == "/" and _WINDOWS.match(path[1:]) and path[2] == ":" else path


def path_url(path: str) -> str:
    """Return a URL that stands for ``path``, whatever it looks like.

    A file may be called ``-`` or ``pipe:…``: where a directory listing or a `pathlib.Path` named it, it is a file.
    """
    return path if local_path(path) == path else os.path.join(os.curdir, path)


def absolute_url(url: str) -> str:
    """Return the URL of the same file for processes that work in other folders; other URLs as they are."""
    path = local_path(url)
    return url if path is None or os.path.isabs(path) else path_url(os.path.abspath(path))


def has_glob(text: str) -> bool:
    """Return whether ``text`` has characters that `glob` would expand."""
    return glob.has_magic(text)


def local_glob(pattern: str) -> list[str]:
    """Return the files (not directories) that match ``pattern``, sorted; ``**`` stands for any directories.

    Leading directories that exist under a name with glob characters are taken by that name. The results are
    URLs: what looks like anything but a path gets ``./`` before it.
    """
    names = glob.glob(_escape_existing(pattern), recursive=True)
    return sorted(path_url(name) for name in names if not os.path.isdir(name))


def _escape_existing(pattern: str) -> str:
    """Escape the leading directories of ``pattern`` that exist as they stand."""
    end = 0
    for separator in re.finditer(r"[\\/]+" if os.altsep else "/+", pattern):
        if separator.start() and not os.path.isdir(pattern[: separator.start()]):
            break
        end = separator.start()
    return glob.escape(pattern[:end]) + pattern[end:]


def expand_braces(text: str, limit: int = 0) -> list[str]:
    r"""Expand the brace expressions of ``text`` as bash does: ``{000..146}``, ``{a,b}``, nested, any number of them.

    Backslashes stay where they are, in Windows paths and elsewhere; before a brace or comma one keeps it from being
    special (``\{a,b\}`` comes back as it is), except in Windows paths, where it is a separator. In the command of a
    ``pipe:`` URL an expression ends at white space, as in the shell: ``awk '{print $1, $2}'`` is none.

    Args:
        text: a path or URL.
        limit: how many results are allowed; 0 for any number.

    Returns:
        The results in order; ``text`` itself if there is nothing to expand.

    Raises:
        UrlError: more than ``limit`` results, or braces nested absurdly deep.
    """
    if "{" not in text:
        return [text]
    if scheme_of(text) != "pipe":
        return _expand_word(text, limit)
    words = [_expand_word(word, limit) if "{" in word else [word] for word in _SPACES.split(text)]
    count = 1
    for word in words:
        count *= len(word)
    if limit and count > limit:
        raise UrlError(f"a brace expression stands for more than {limit} URLs", url=text)
    return ["".join(parts) for parts in itertools.product(*words)]


def _expand_word(text: str, limit: int) -> list[str]:
    import bracex  # noqa: PLC0415  # only here: most URLs have no braces

    windows = _WINDOWS.match(text) is not None
    try:
        return bracex.expand(text.replace("\\", r"\\") if windows else text, keep_escapes=not windows, limit=limit)
    except bracex.ExpansionLimitException:
        pass
    except RecursionError:
        raise UrlError("the braces are nested too deep", url=text) from None
    raise UrlError(f"a brace expression stands for more than {limit} URLs", url=text)
