"""Buckets of object stores: how obstore reaches them, and what its errors mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import attrs
from typing_extensions import TypeVar

from webds.errors import OpenError
from webds.openers.httpclient import described
from webds.openers.obstorelib import Owned, ensure
from webds.openers.retry import TransientError
from webds.openers.streams import open_error

if TYPE_CHECKING:  # imported where it is used: it is optional
    from obstore.store import AzureStore, GCSStore, S3Store

__all__ = [
    "SCHEMES",
    "Bucket",
    "attempted",
    "failure_of",
    "is_behind_the_end",
    "is_precondition",
    "secrets_of",
    "status_of",
]

R = TypeVar("R")
SCHEMES: Final = ("s3", "gs", "az")
_ENDPOINTS: Final = {"s3": "endpoint", "gs": "base_url", "az": "endpoint"}
_ENDPOINT_VARIABLES: Final = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_PREFIXES: Final = ("AWS_", "GOOGLE_", "AZURE_")
_PASSING: Final = (408, 425, 429)  # and those from 500 on, but for
_LASTING: Final = (501, 505)
_STATUS: Final = re.compile(r"status code: (?P<status>\d{3})")
_REQUEST: Final = re.compile(r"Error performing [A-Z]+ \S+ in \S+ - ")  # with the whole URL, in another spelling
_CODE: Final = re.compile(r"<Code>(?P<code>[\w.-]{1,100})</Code>")
_MESSAGE: Final = re.compile(r"<Message>(?P<message>[^<]{1,300})</Message>")
_SECRET: Final = re.compile(r"(?:AWS|AZURE|GOOGLE)_\w*(?:KEY|SECRET|TOKEN|PASSWORD|SERVICE_ACCOUNT)\w*", re.IGNORECASE)
_METADATA: Final = re.compile(r"169\.254\.\d+\.\d+|metadata\.google")  # who is asked where nothing else is configured
_NEVER: Final = re.compile(r"invalid peer certificate|Name or service not known|No address associated|builder error")
_HINTS: Final = {
    301: ": the bucket is in another region (region=, AWS_REGION)",
    401: ": the store wants credentials",
    403: ": the credentials do not suffice, or there are none",
}


@final
@attrs.frozen
class Bucket:
    """A bucket, or container, and how it is reached. Equal ones share their connections.

    Attributes:
        scheme: ``s3``, ``gs`` or ``az``.
        name: of the bucket.
        endpoint: the server, where it is not the usual one.
        options: obstore's options for this kind of store, such as ``region``.
        timeout: seconds to wait for a connection, and for each further piece of an answer.
        retries: how often obstore tries again by itself. Where a bucket is read, this is none of its business.
        backoff: seconds; the longest pauses before the first retry, and before any.
    """

    scheme: str
    name: str
    endpoint: str | None = attrs.field(repr=False)
    options: frozenset[tuple[str, str | bool]] = attrs.field(repr=False)
    timeout: float
    retries: int = 0
    backoff: tuple[float, float] = (0.0, 0.0)

    def store(self) -> S3Store | GCSStore | AzureStore:
        """Return it as obstore knows it; in one process and environment, always the same.

        Raises:
            MissingExtraError: obstore is not installed.
        """
        ensure()
        place = self, frozenset(item for item in os.environ.items() if item[0].upper().startswith(_PREFIXES))
        known = _stores.get(place)
        if known is None or not known.is_ours:
            known = _stores[place] = Owned(self._made())
        return known.value

    def _made(self) -> S3Store | GCSStore | AzureStore:
        from datetime import timedelta  # noqa: PLC0415  # nobody else needs it

        from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415  # see above

        config: dict[str, Any] = dict(self.options)
        if self.endpoint is not None:
            config[_ENDPOINTS[self.scheme]] = self.endpoint
        first, most = (timedelta(seconds=seconds) for seconds in self.backoff)
        # A shard may take hours; but whoever uploads waits for the answer, not for a piece of it.
        waits = {"timeout": _duration(10 * self.timeout)}
        if not self.retries:
            waits = {"timeout": "30d", "read_timeout": _duration(self.timeout)}
        settings: dict[str, Any] = {
            "config": config,
            "client_options": {"connect_timeout": _duration(self.timeout), "allow_http": self._is_plain(), **waits},
            "retry_config": {
                "max_retries": self.retries,
                "backoff": {"init_backoff": first, "max_backoff": most, "base": 2},
                "retry_timeout": timedelta(days=1),
            },
        }
        kinds: dict[str, Callable[..., S3Store | GCSStore | AzureStore]]
        kinds = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        return kinds[self.scheme](self.name, **settings)

    def _is_plain(self) -> bool:
        """Return whether the server was named by an ``http:`` URL: whoever writes that wants it."""
        named = self.endpoint or next(filter(None, map(os.environ.get, _ENDPOINT_VARIABLES[self.scheme])), None)
        if named is not None:
            return named.lower().startswith("http://")
        return dict(self.options).get("use_emulator") in (True, "true") or bool(os.environ.get("AZURE_USE_EMULATOR"))


_stores: Final[dict[tuple[Bucket, frozenset[tuple[str, str]]], Owned[S3Store | GCSStore | AzureStore]]] = {}


def _duration(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"


def secrets_of(options: Mapping[str, str | bool]) -> list[str]:
    """Return the texts of options, and of the environment, that no error may show."""
    values = [value for value in options.values() if isinstance(value, str)]
    values += [value for name, value in os.environ.items() if _SECRET.fullmatch(name)]
    return [value for value in values if len(value) > 3]


def status_of(error: Exception) -> int | None:
    """Return the status of the server's answer; None if there was none."""
    found = _STATUS.search(str(error))
    return int(found["status"]) if found else None


def is_precondition(error: Exception) -> bool:
    """Return whether an object is no longer the one that was asked for."""
    from obstore.exceptions import PreconditionError  # noqa: PLC0415  # see above

    return isinstance(error, PreconditionError)


def is_behind_the_end(error: Exception) -> bool:
    """Return whether a range was asked for that begins where an object ends, or behind that.

    Some stores refuse such a request, and of others the library does not accept the answer.
    """
    return status_of(error) == 416 or "Wanted range starting at" in str(error)


def failure_of(error: Exception, message: str, url: str, secrets: Collection[str]) -> OpenError | TransientError:
    """Return what to raise for what obstore raised: whether it may pass, and without secrets; see `open_error`."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError  # noqa: PLC0415  # see above

    text, status = str(error), status_of(error)
    short = _REQUEST.sub("", text.partition("\n\nDebug source")[0])
    if _METADATA.search(text):
        hint = "there are no credentials, in the environment or among the options; for a public bucket, anonymous=True"
        return open_error(f"{message}: {hint}", url, PermissionError(""), secrets)
    if status is not None:
        code, reason = _CODE.search(text), _MESSAGE.search(text)
        said = ": ".join(found[1] for found in (code, reason) if found)
        short = f"{described(status)}{f' ({said})' if said else ''}{_HINTS.get(status, '')}"
    elif "normally indicates an incorrectly configured region" in text:
        short += _HINTS[301]
    kind: type[Exception] = RuntimeError
    if isinstance(error, FileNotFoundError) or status == 404:
        kind = FileNotFoundError
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        kind = PermissionError
    elif "TimedOut" in text:
        kind, short = TimeoutError, "timed out" if "HTTP error" in short else short
    elif "HTTP error" in text:
        kind = ConnectionError
    failure = open_error(message, url, kind(short), secrets)
    passes = kind in (TimeoutError, ConnectionError) and not _NEVER.search(text)
    if status is not None:
        passes = status in _PASSING or (status >= 500 and status not in _LASTING)
    return TransientError(failure) if passes else failure


def attempted(action: Callable[[], R], message: str, url: str, secrets: Collection[str]) -> R:
    """Return what ``action`` returns.

    Raises:
        TransientError: it failed in a way that may pass.
        OpenError: it failed for good.
    """
    try:
        return action()
    except (OpenError, TransientError, ImportError):
        raise
    except Exception as error:
        failure = failure_of(error, message, url, secrets)
    raise failure  # where no other exception is being handled that would come along
