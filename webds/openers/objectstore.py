"""Shards in object stores: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO, Final, Literal, cast, final

import attrs
from typing_extensions import TypeVar, override

from webds.abc import Opener
from webds.errors import OpenError
from webds.openers import obstorelib
from webds.openers.pieces import PieceReader
from webds.openers.retry import Attempts, Patience, Retry
from webds.openers.storeclient import SCHEMES, Bucket, attempted, secrets_of
from webds.openers.storeglob import folder_of, is_deep, matches
from webds.openers.storetransfer import Download, Upload
from webds.openers.streams import BUFFER_SIZE, DrainWriter, check_range
from webds.redaction import redact
from webds.urls import has_glob, scheme_of

__all__ = ["ObjectStoreOpener"]

R = TypeVar("R")
_LEAST_PART: Final = 5 << 20  # of S3


def _copied(options: Mapping[str, str | bool]) -> dict[str, str | bool]:
    return dict(options)


@final
@attrs.frozen(kw_only=True)
class ObjectStoreOpener(Opener):
    """Opens ``s3://bucket/key``, ``gs://bucket/key`` and ``az://container/key`` by obstore (extra ``cloud``).

    What may pass (a connection that cannot be made, breaks off or stalls; the answers 408, 425, 429 and 5xx) is tried
    again, `attempts` times in a row, after random pauses that grow from `backoff` to `max_backoff` seconds. A
    transfer goes on at the byte where it broke off, bound to the ETag of what was read before: an object that changed
    in between is an error. Any other refusal is an error at once. Retries are logged at level INFO by the logger
    ``webds``. Streams can seek.

    What is written becomes visible when the stream is closed, all at once, and replaces what was there. An exception
    that leaves the ``with`` block gives it up. Objects larger than a part are uploaded in parts, which obstore tries
    again by itself; those of a process that was killed stay invisible, until a rule of the bucket (a life cycle rule
    for unfinished uploads) removes them.

    Credentials, region and endpoint come from the arguments, or else from the environment: ``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``;
    ``GOOGLE_APPLICATION_CREDENTIALS``, ``GOOGLE_SERVICE_ACCOUNT``; ``AZURE_STORAGE_ACCOUNT_NAME``,
    ``AZURE_STORAGE_ACCOUNT_KEY``, ``AZURE_STORAGE_SAS_TOKEN``; and what else obstore documents; or from the machine's
    role in its cloud. (``~/.aws/config`` and its profiles are not read.) An endpoint that begins with ``http://`` is
    asked without encryption.

    Keys are taken as they are written: nothing in them is decoded, and a ``?`` begins no query.

    Attributes:
        endpoint: URL of the server, such as that of a MinIO; None for the cloud's own.
        region: of the bucket, for S3.
        anonymous: whether to ask without credentials, as public buckets allow.
        options: further options of obstore for the kind of store, such as ``{"access_key_id": …,
            "secret_access_key": …}``, ``{"service_account_key": …}``, ``{"account_name": …, "account_key": …}``.
        timeout: seconds to wait for a connection, and for each further piece of an answer; ten times as long for the
            answer to an upload of a part.
        buffer_size: bytes that are read at once at least; below 1, a default.
        part_size: bytes of each part of an upload, 5 MiB at least; an object can have 10,000 of them. Some six of
            them are in memory.
        attempts: how often something is tried before it is an error; 1 for no retries. Counted anew whenever
            another MiB has arrived.
        backoff: seconds; the most that the first pause takes. Each further pause takes up to twice as long.
        max_backoff: seconds; the most that any pause takes.
        on_retry: called before each pause of reading, with a `webds.openers.retry.Retry`. It must be picklable where
            the opener is to be, and raise nothing.
    """

    endpoint: str | None = attrs.field(default=None, repr=lambda url: repr(url and redact(url)))
    region: str | None = None
    anonymous: bool = False
    options: Mapping[str, str | bool] = attrs.field(
        factory=dict[str, str | bool], converter=_copied, repr=lambda options: repr(sorted(options))
    )
    timeout: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    buffer_size: int = BUFFER_SIZE
    part_size: int = attrs.field(default=1 << 24, validator=attrs.validators.ge(_LEAST_PART))
    attempts: int = attrs.field(default=5, validator=attrs.validators.ge(1))
    backoff: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    max_backoff: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    on_retry: Callable[[Retry], object] | None = attrs.field(default=None, repr=False)

    @staticmethod
    def knows(scheme: str) -> bool:
        """Return whether this opens URLs of ``scheme`` here; False where obstore is not installed."""
        return scheme in SCHEMES and obstorelib.is_installed()

    @override
    def open(self, url: str, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        if mode == "wb":
            bucket, key = self._place(url, retries=self.attempts - 1)
            self._persist(lambda: bucket.store(), "cannot reach the store", url)  # noqa: PLW0108  # not made before
            return DrainWriter(Upload(bucket, key, url, self._secrets, self.part_size), self._buffer_size)
        download = self._download(url)
        download.begin()
        return cast("BinaryIO", PieceReader(download, self._buffer_size))

    @override
    def size(self, url: str) -> int | None:
        """Return the number of bytes of the object."""
        bucket, key = self._place(url)
        meta = self._persist(lambda: bucket.store().head(key), "cannot look up the size", url)
        return meta["size"]

    @override
    def read_range(self, url: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from offset ``start``, by a range request."""
        check_range(start, length)
        if length == 0:
            return b""
        download = self._download(url, start, start + length)
        with PieceReader(download, min(length, BUFFER_SIZE)) as stream:
            return stream.read(length)

    @override
    def list(self, pattern: str) -> Sequence[str]:
        """Return the URLs of the objects that match, sorted; ``**`` stands for any folders.

        As for local files, wildcards do not match a ``/``, nor a dot at the beginning of a name; and an object that
        has the very name of the pattern wins.
        """
        bucket, key = self._place(pattern)
        if has_glob(bucket.name):
            raise OpenError("a pattern in place of the bucket's name; name the bucket", url=pattern)
        found = self._persist(lambda: _keys(bucket, key), "cannot list", pattern)
        names = [key] if key in found else sorted(name for name in found if matches(name, key))
        return [f"{bucket.scheme}://{bucket.name}/{name}" for name in names]

    def remove(self, url: str) -> None:
        """Remove an object; that there is none is no error.

        Raises:
            OpenError: it cannot be removed.
        """
        bucket, key = self._place(url)
        with contextlib.suppress(FileNotFoundError):
            self._persist(lambda: _remove(bucket, key), "cannot remove", url)

    @property
    def _buffer_size(self) -> int:
        return self.buffer_size if self.buffer_size > 0 else BUFFER_SIZE

    @property
    def _secrets(self) -> Sequence[str]:
        return secrets_of(self.options)

    def _download(self, url: str, start: int = 0, stop: int | None = None) -> Download:
        bucket, key = self._place(url)
        return Download(bucket, key, self._attempts(url), url, self._secrets, start, stop)

    def _place(self, url: str, retries: int = 0) -> tuple[Bucket, str]:
        """Return where an object is, and its key.

        Raises:
            OpenError: the URL names none.
        """
        scheme = scheme_of(url)
        if scheme not in SCHEMES:
            raise OpenError(f"this opener knows {', '.join(SCHEMES)}, not the scheme {scheme!r}", url=url)
        name, _, key = url.partition("://")[2].partition("/")
        if not name or "@" in name:
            raise OpenError(f"expected {scheme}://bucket/key, and credentials elsewhere", url=url)
        if not key or key.endswith("/"):
            raise OpenError(f"this names no object; name the shards, such as {url.rstrip('/')}/*.tar", url=url)
        options = dict(self.options)
        if self.region is not None and scheme == "s3":
            options["region"] = self.region
        if self.anonymous:
            options["skip_signature"] = True
        pauses = (self.backoff, self.max_backoff) if retries else (0.0, 0.0)
        return Bucket(scheme, name, self.endpoint, frozenset(options.items()), self.timeout, retries, pauses), key

    def _attempts(self, url: str) -> Attempts:
        return Attempts(Patience(self.attempts, self.backoff, self.max_backoff, self.on_retry), url)

    def _persist(self, action: Callable[[], R], message: str, url: str) -> R:
        secrets = self._secrets
        return self._attempts(url).persist(lambda: attempted(action, message, url, secrets))


def _keys(bucket: Bucket, pattern: str) -> set[str]:
    """Return the keys of all objects that could match."""
    store, folder = bucket.store(), folder_of(pattern) or None
    found: Iterable[Sequence[Mapping[str, object]]]
    found = store.list(folder) if is_deep(pattern) else [store.list_with_delimiter(folder)["objects"]]
    return {str(entry["path"]) for entries in found for entry in entries}


def _remove(bucket: Bucket, key: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        bucket.store().delete(key)
