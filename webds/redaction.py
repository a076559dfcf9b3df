"""Secrets out of texts: what an error, a log line or ``explain()`` may show of a URL."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redact"]

_USERINFO: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)[^/\s'\"@?#]*@")
_QUERY: Final = re.compile(r"(?P<path>(?:[A-Za-z][A-Za-z0-9+.\-]*://|/)[^\s'\"?]*)\?[^\s'\"]*=[^\s'\"]*")
_HEADER: Final = re.compile(
    r"(?P<name>(?:proxy-)?authorization|x-[a-z-]*(?:token|key)|cookie)(?P<sep>\s*[:=]\s*)[^'\"\n]+", re.IGNORECASE
)
_ASSIGNED: Final = re.compile(
    r"(?P<name>[\w-]*(?:password|passwd|secret|token|api[-_]?key|access[-_]?key|signature|credential)[\w-]*)"
    r"(?P<sep>\s*[=:]\s*|\s+)(?P<quote>['\"]?)[^\s'\"&;|]+",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(r"(?P<name>(?:^|\s)(?:-u|--user|--proxy-user)(?:\s+|=))(?P<quote>['\"]?)[^\s'\"]+")
_BEARER: Final = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=\-]{8,}", re.IGNORECASE)


def redact(text: str) -> str:
    """Return ``text`` with passwords, tokens and the queries of URLs replaced by ``***``.

    Works on a bare URL and on any text that contains some: a shell command, the message of another library.
    User names go with their passwords, since access keys are user names; a query goes whole, since a
    signature is only one of the secrets that signed URLs carry.

    Args:
        text: a URL, a ``pipe:`` command or a message.

    Returns:
        The text, safe to show.
    """
    if "://" in text:
        text = _USERINFO.sub(r"\g<scheme>***@", text)
    if "?" in text:
        text = _QUERY.sub(r"\g<path>?***", text)
    text = _HEADER.sub(r"\g<name>\g<sep>***", text)
    if " " in text or "=" in text:
        text = _OPTION.sub(r"\g<name>\g<quote>***", text)
        text = _BEARER.sub(r"\g<name>***", text)
        text = _assigned(text)
    return text


def _assigned(text: str) -> str:
    """Hide what follows ``token=``, ``--password `` and their like; prose such as "the token is" stays."""

    def hide(match: re.Match[str]) -> str:
        plain_word = match["sep"].isspace() and not match["name"].startswith("-")
        return match[0] if plain_word else f"{match['name']}{match['sep']}{match['quote']}***"

    return _ASSIGNED.sub(hide, text)
