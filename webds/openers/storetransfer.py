"""Objects on their way out of a bucket and into one.

After a failure, reading goes on at the byte where it stood, by a range request that is bound to the version of the
object (its ETag). Parts of two versions never make one stream, and an object appears when all of it has arrived.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, final

import attrs
from typing_extensions import override

from webds.errors import OpenError
from webds.openers.obstorelib import Owned
from webds.openers.pieces import PieceFeed
from webds.openers.retry import Attempts, TransientError
from webds.openers.storeclient import Bucket, attempted, failure_of, is_behind_the_end, is_precondition
from webds.openers.streams import Drain

if TYPE_CHECKING:  # imported where it is used: it is optional
    from obstore import GetOptions, ObjectMeta

__all__ = ["Download", "Upload"]

_CHUNK: Final = 3 << 19  # bytes that are taken from the library at once, at least; little more than that come
_WORTH_A_REQUEST: Final = 1 << 22  # bytes that are passed over by a new request rather than read
_AT_ONCE: Final = 4  # parts that are on their way


@final
@attrs.frozen
class _Version:
    """What a store says of an object, and what names one version of it.

    Attributes:
        size: in bytes.
        etag: entity tag.
        modified: when it was made.
    """

    size: int
    etag: str | None = None
    modified: datetime | None = None

    @override
    def __str__(self) -> str:
        return f"{self.size} bytes with the ETag {self.etag}, of {self.modified}"


@final
class Download(PieceFeed):
    """The bytes of an object, or a range of them.

    Args:
        bucket: where it is.
        key: its name there.
        attempts: those at this object.
        url: named by errors.
        secrets: texts that no error may show.
        start: the first byte that is wanted.
        stop: the byte after the last one that is wanted; None for all.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        attempts: Attempts,
        url: str,
        secrets: Collection[str],
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._attempts = attempts
        self._url = url
        self._secrets = secrets
        self._start = self._position = start
        self._stop = stop
        self._version: _Version | None = None  # that is read
        self._stream: Owned[Iterator[bytes]] | None = None
        self._at = start  # the byte that comes next out of the stream
        self._chunk = b""  # what came out of it
        self._used = 0
        self._delivered = 0

    def begin(self) -> None:
        """Send the first request.

        Raises:
            OpenError: there is no such object, or it cannot be had.
        """
        self._attempts.persist(self._connect)

    @override
    def piece(self, size: int) -> bytes:
        return self._attempts.persist(lambda: self._take(size), lambda: self._position)

    @override
    def stop(self) -> None:
        self._attempts.stop()

    @override
    def release(self) -> None:
        self._drop()

    @override
    def size(self) -> int | None:
        return None if self._version is None else max(0, self._end - self._start)

    @override
    def go_to(self, position: int) -> None:
        self._position = self._start + position

    @property
    def _end(self) -> int:
        """The byte after the last one to deliver."""
        assert self._version is not None
        size = self._version.size
        return size if self._stop is None else min(self._stop, size)

    def _drop(self) -> None:
        self._stream, self._chunk, self._used = None, b"", 0

    def _take(self, size: int) -> bytes:
        """Return the next bytes; none at the end only."""
        try:
            while self._version is None or self._position < self._end:
                if not self._is_near():
                    self._drop()
                    self._connect()
                elif self._used >= len(self._chunk):
                    self._fetch()
                elif (missing := self._position - self._at) > 0:  # a seek passed over them
                    self._advance(min(missing, len(self._chunk) - self._used))
                else:
                    first, last = self._used, min(self._used + size, len(self._chunk))
                    data = self._chunk if last - first == len(self._chunk) else self._chunk[first:last]
                    self._advance(len(data))
                    self._position += len(data)
                    self._delivered += len(data)
                    return data
        except TransientError:
            self._drop()
            raise
        self._drop()
        return b""

    def _advance(self, number: int) -> None:
        self._used += number
        self._at += number

    def _is_near(self) -> bool:
        """Return whether the stream will soon come to what is wanted."""
        if self._stream is None or not self._stream.is_ours:
            return False
        return 0 <= self._position - self._at <= _WORTH_A_REQUEST

    def _fetch(self) -> None:
        """Take a further chunk out of the stream."""
        assert self._stream is not None
        stream = self._stream.value
        chunk = attempted(lambda: next(stream, b""), self._broken(), self._url, self._secrets)
        left = self._end - self._at
        if not chunk:
            raise TransientError(OpenError(self._broken(), url=self._url))
        if len(chunk) > left:
            raise OpenError(f"the store sent more than the {self._end - self._start} bytes it announced", url=self._url)
        self._chunk, self._used = chunk, 0

    def _broken(self) -> str:
        of = "" if self._version is None else f" of {self._end - self._start}"
        return f"the connection broke off after {self._at - self._start}{of} bytes"

    def _changed(self, difference: str) -> OpenError:
        return OpenError(
            f"the object changed while it was read: {difference}, after {self._delivered} bytes were delivered; "
            "what follows does not belong to them",
            url=self._url,
        )

    def _connect(self) -> None:
        """Ask for what is left."""
        options: GetOptions = {}
        if self._stop is not None:
            options["range"] = (self._position, self._stop)
        elif self._position:
            options["range"] = {"offset": self._position}
        known = self._version
        if known is not None:
            if known.etag is None:
                raise OpenError(
                    f"{self._broken()}, and the store does not say which version of the object it sends: nothing "
                    "shows that what follows belongs to it",
                    url=self._url,
                )
            options["if_match"] = known.etag
        try:
            result = self._bucket.store().get(self._key, options=options)
        except Exception as error:
            failure = self._refusal(error, again=known is not None)
        else:
            failure = None
            self._accept(result)
        if failure is not None:
            raise failure  # where no other exception is being handled that would come along

    def _refusal(self, error: Exception, *, again: bool) -> Exception | None:
        """Return what to raise for an answer that brings nothing; None if nothing was to be brought."""
        if isinstance(error, ImportError | OpenError):
            return error
        if again and is_precondition(error):
            return self._changed("its ETag differs")
        if is_behind_the_end(error) and not again:
            self._version = _Version(self._position)
            return None
        return failure_of(error, "cannot read", self._url, self._secrets)

    def _accept(self, result: Any) -> None:
        meta: ObjectMeta = result.meta
        version = _Version(meta["size"], meta["e_tag"], meta["last_modified"])
        if self._version not in (None, version):
            raise self._changed(f"it was {self._version} and is {version}")
        self._version = version
        first, last = result.range
        if (first, last) != (self._position, self._end):
            raise OpenError(
                f"the store was asked for the bytes from {self._position} and sent those from {first} to {last}",
                url=self._url,
            )
        # A failure loses what has come of a chunk: after it, what has arrived is taken at once, so that each attempt
        # advances.
        self._stream = Owned(result.stream(1 if self._attempts.failures else _CHUNK))
        self._at = self._position


@final
class _Parts:
    """Parts handed from the thread that writes to the one that uploads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._part: bytearray | None = None
        self._ended = False
        self._aborted = False
        self._gone = False
        self.failure: OpenError | None = None

    def give(self, part: bytearray) -> None:
        """Wait until the last part was taken, and give another one; after a failure nobody takes it."""
        with self._changed:
            self._changed.wait_for(lambda: self._part is None or self._gone)
            self._part = part
            self._changed.notify_all()

    def end(self, *, aborted: bool) -> None:
        """There are no more parts."""
        with self._changed:
            self._ended, self._aborted = True, aborted
            self._changed.notify_all()

    def leave(self, failure: OpenError | None) -> None:
        """No more parts are taken."""
        with self._changed:
            self._gone, self.failure = True, failure
            self._changed.notify_all()

    def taken(self) -> Generator[bytearray]:
        """Yield the parts. Where they are given up, an exception makes obstore give up the object."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._part is not None or self._ended)
                part, self._part = self._part, None
                if self._aborted:
                    raise _AbortedError
                self._changed.notify_all()
            if part is None:
                return
            yield part


class _AbortedError(Exception):
    """The object is given up."""


def _upload(put: Callable[[Iterator[bytearray]], object], parts: _Parts, url: str, secrets: Collection[str]) -> None:
    """Upload parts until there are no more."""
    failure: OpenError | None = None
    try:
        put(parts.taken())
    except _AbortedError:
        pass
    except Exception as error:
        failed = failure_of(error, "cannot write", url, secrets)
        failure = failed.error if isinstance(failed, TransientError) else failed
    parts.leave(failure)


@final
class Upload(Drain):
    """An object that is being written: small ones in one request, larger ones in parts, by a thread of their own.

    Args:
        bucket: where it is to be.
        key: its name there.
        url: named by errors.
        secrets: texts that no error may show.
        part_size: bytes of each part.
    """

    def __init__(self, bucket: Bucket, key: str, url: str, secrets: Collection[str], part_size: int) -> None:
        self._bucket = bucket
        self._key = key
        self._url = url
        self._secrets = secrets
        self._part_size = part_size
        self._part = bytearray()
        self._parts = _Parts()
        self._thread: threading.Thread | None = None
        self._mark = Owned(None)  # a forked process has a copy of this, and no part in it

    @override
    def take(self, data: memoryview) -> int:
        self._check()
        size = min(data.nbytes, self._part_size - len(self._part))
        self._part += data[:size]
        if len(self._part) == self._part_size:
            if self._thread is None:
                self._begin()
            part, self._part = self._part, bytearray()
            self._parts.give(part)
        return size

    def _begin(self) -> None:
        store, key, size = self._bucket.store(), self._key, self._part_size

        def put(parts: Iterator[bytearray]) -> object:
            return store.put(key, parts, use_multipart=True, chunk_size=size, max_concurrency=_AT_ONCE)

        # It does not know this object, which is given up when nobody knows it any more.
        arguments = (put, self._parts, self._url, self._secrets)
        self._thread = threading.Thread(target=_upload, args=arguments, name="webds-upload", daemon=True)
        self._thread.start()

    def _check(self) -> None:
        if self._parts.failure is not None:
            raise OpenError(self._parts.failure.message, url=self._url) from self._parts.failure.__cause__

    @override
    def finish(self) -> None:
        if not self._mark.is_ours:
            return
        if self._thread is None:
            self._put()
            return
        if self._part:
            self._parts.give(self._part)
        self._parts.end(aborted=False)
        self._thread.join()
        self._check()

    def _put(self) -> None:
        store, data = self._bucket.store(), bytes(self._part)
        try:
            attempted(
                lambda: store.put(self._key, data, use_multipart=False),
                "cannot write",
                self._url,
                self._secrets,
            )
        except TransientError as error:
            failure = error.error
        else:
            return
        raise failure

    @override
    def abort(self) -> None:
        if self._thread is not None and self._mark.is_ours:
            self._parts.end(aborted=True)
            self._thread.join()
