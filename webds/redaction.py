"""Secrets out of texts: what an error, a log line or ``explain()`` may show of a URL."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redact"]

# Texts come from files and servers too, so no pattern may take more than linear time: what repeats is bounded
# where a match could begin at every character.

_SCHEME: Final = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]{0,31}://)"
_USERINFO: Final = re.compile(_SCHEME + r"[^/\s'\"?#]*@")
# A secret key that was not percent-encoded may hold a slash; a port is followed by one, too.
_RAW_USERINFO: Final = re.compile(_SCHEME + r"[^\s'\"/@\[\]?#:]{1,256}:(?!:|\d*(?:[/?#\s'\"]|$))[^\s'\"]{0,1024}@")
# Each pattern needs one of these, so that a path has nothing to hide, and many are looked through at once.
_PLAIN: Final = re.compile(r"[^\s:=?]*").fullmatch
_WORD: Final = re.compile(r"[^\s'\"]+")
_VALUE: Final = r"(?:(?P<quote>['\"])[^'\"]*|[^\s'\"&;|]+)"
_HEADER: Final = re.compile(
    r"(?P<name>(?:authorization|x-[a-z-]{0,64}(?:token|key)|cookie)['\"]?\s*[:=]\s*['\"]?)[^'\"\n]+", re.IGNORECASE
)
_KEYS: Final = r"(?:api|access|account|private|shared|storage)[-_]?key"
_NAMES: Final = rf"(?:pass(?:word|wd|phrase)|secret|token|{_KEYS}|signature|credential)"
_ASSIGNED: Final = re.compile(rf"(?P<name>{_NAMES}[\w-]{{0,64}}['\"]?\s*[=:]\s*){_VALUE}", re.IGNORECASE)
_FLAG: Final = re.compile(rf"(?P<name>(?<![^\s'\"])--?[\w-]{{0,64}}{_NAMES}[\w-]{{0,64}}\s+){_VALUE}", re.IGNORECASE)
_USER: Final = re.compile(rf"(?P<name>(?<!\S)(?:(?:-u|-U|--user|--proxy-user)(?:\s+|=)|-[uU](?=[^\s=:]+:))){_VALUE}")
_BEARER: Final = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return ``text`` with passwords, tokens and the queries of URLs replaced by ``***``.

    Works on a bare URL and on any text that contains some: a shell command, the message of another library.
    User names go with their passwords, since access keys are user names; a query goes whole, since a
    signature is only one of the secrets that signed URLs carry.

    Args:
        text: a URL, a ``pipe:`` command or a message.

    Returns:
        The text, safe to show. What is safe already stays as it is.
    """
    if _PLAIN(text):
        return text
    if "://" in text:
        text = _USERINFO.sub(r"\g<scheme>***@", text)
        text = _RAW_USERINFO.sub(r"\g<scheme>***@", text)
    if "?" in text:
        text = _WORD.sub(_without_query, text)
    text = _HEADER.sub(r"\g<name>***", text)
    for pattern in (_ASSIGNED, _FLAG, _USER):
        text = pattern.sub(lambda match: f"{match['name']}{match['quote'] or ''}***", text)
    return _BEARER.sub(r"\g<name>***", text)


def _without_query(word: re.Match[str]) -> str:
    """Hide the query of a URL or path; a question mark may also be a glob's."""
    path, mark, query = word[0].partition("?")
    is_query = ("=" in query and "/" in path) or (query and ("http://" in path or "https://" in path))
    return f"{path}{mark}***" if is_query else word[0]
