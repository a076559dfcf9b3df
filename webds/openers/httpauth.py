"""What is shown to web servers as a proof of who asks: basic authentication, and the user's netrc file."""

from __future__ import annotations

import base64
import functools
import logging
import os
from typing import TYPE_CHECKING

from webds.redaction import redact

if TYPE_CHECKING:  # imported where it is used: most programs read local files
    from netrc import netrc

__all__ = ["basic_credentials", "netrc_login"]

_log = logging.getLogger("webds")


def basic_credentials(user: str, password: str) -> str:
    """Return the value of an ``Authorization`` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def netrc_login(host: str) -> tuple[str, str] | None:
    """Return the (user, password) that the netrc file has for ``host``, and None for a host it does not name.

    The file is that of the environment variable ``NETRC``, else ``.netrc`` (or ``_netrc``) in the home directory.
    Its ``default`` entry is not used: it would be shown to any server that a list of URLs names. A file that
    cannot be read or parsed is logged as a warning, once, and has no entries.
    """
    for path in _paths():
        try:
            status = os.stat(path)
        except OSError:
            continue
        entries = _parsed(path, status.st_mtime_ns, status.st_size)
        found = entries.hosts.get(host) if entries is not None and host else None
        if found is None:
            return None
        user, _, password = found
        return user or "", password or ""
    return None


def _paths() -> list[str]:
    given = os.environ.get("NETRC")
    if given is not None:
        return [given] if given else []
    home = os.path.expanduser("~")
    return [] if home == "~" else [os.path.join(home, name) for name in (".netrc", "_netrc")]


@functools.lru_cache(maxsize=8)
def _parsed(path: str, changed: int, size: int) -> netrc | None:
    """Return the entries of a file; the arguments after its path say of which version."""
    from netrc import NetrcParseError, netrc  # noqa: PLC0415  # see above

    try:
        return netrc(path)
    except NetrcParseError as error:  # its text may quote a password
        _log.warning("the netrc file %s is not used: line %s cannot be parsed", redact(path), error.lineno)
    except (OSError, UnicodeError) as error:
        _log.warning("the netrc file %s is not used: %s", redact(path), type(error).__name__)
    return None
