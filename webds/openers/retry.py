"""Failures that may pass: how often, and after which pauses, something is tried again, and who is told."""

from __future__ import annotations

import email.utils
import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC
from random import SystemRandom
from typing import Final, final

import attrs
from typing_extensions import TypeVar

from webds.errors import OpenError
from webds.policy.ledger import Retry
from webds.redaction import redact
from webds.streams.interrupting import ended_by, is_interrupted
from webds.streams.observing import observer

__all__ = ["Attempts", "Patience", "Retry", "TransientError", "seconds_to_wait"]

R = TypeVar("R")
_log = logging.getLogger("webds")
_jitter: Final = SystemRandom()  # nobody's seed decides over it, and forked workers do not wait in step
_PROGRESS: Final = 1 << 20  # bytes after which earlier failures no longer count


@final
class TransientError(Exception):
    """A failure that may pass. It stays inside of the openers: what leaves them is its `error`.

    Args:
        error: what to raise if it does not pass.
        after: seconds that the server asked to wait; None if it did not.
    """

    def __init__(self, error: OpenError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after


@final
@attrs.frozen
class Patience:
    """How often something is tried, and how long the pauses are.

    The pause before attempt n + 1 is random, between 0 and ``min(cap, base * 2 ** (n - 1))`` seconds, so that
    clients that failed together do not come back together. What a server asks for is added, up to ``cap`` in all.

    Attributes:
        attempts: how often in a row something is tried; 1 for no retries.
        base: seconds; the most that the first pause takes.
        cap: seconds; the most that any pause takes.
        on_retry: called before each pause.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    on_retry: Callable[[Retry], object] | None = None

    def delay(self, failures: int, after: float | None) -> float:
        """Return the seconds to wait after so many failures in a row, 1 at least."""
        most = min(self.cap, self.base * 2.0 ** min(failures - 1, 60))
        return min(self.cap, (after or 0.0) + _jitter.uniform(0.0, most))


@final
class Attempts:
    """The attempts at one URL.

    Failures count in a row: those before the last MiB that arrived are forgotten, so that a large shard survives
    more of them than a small one. Each pause is told to the `webds.streams.observing.observer` of the context in which
    this is made.

    Args:
        patience: how many there are, and how long the pauses.
        url: what they are for.
    """

    def __init__(self, patience: Patience, url: str) -> None:
        self._patience = patience
        self._url = url
        self._failures = 0
        self._failed_at = 0
        self._stopped = threading.Event()
        self._observer = observer()  # of those who open now; reading may go on anywhere

    @property
    def failures(self) -> int:
        """How many attempts have failed, of those that count."""
        return self._failures

    def stop(self) -> None:
        """End a pause, also one of another thread, and begin no other."""
        self._stopped.set()

    def persist(self, action: Callable[[], R], offset: Callable[[], int] = lambda: 0) -> R:
        """Return what ``action`` returns; call it again as long as it raises `TransientError` and patience lasts.

        Args:
            action: what may fail.
            offset: returns how many bytes have been delivered.

        Raises:
            OpenError: the last failure.
        """
        while True:
            try:
                return action()
            except TransientError as error:
                failure = error.with_traceback(None)  # which would keep this frame alive, and so itself
            # Not where the exception is being handled: it would be shown as the context of the one that is raised.
            self._wait(failure, offset())

    def _wait(self, failure: TransientError, offset: int) -> None:
        if offset - self._failed_at >= _PROGRESS:
            self._failures = 0
        self._failures += 1
        self._failed_at = offset
        if self._stopped.is_set() or is_interrupted():
            raise OpenError("the stream was closed while it was being read", url=self._url)
        if self._failures >= self._patience.attempts:
            raise self._final(failure.error)
        delay = self._patience.delay(self._failures, failure.after)
        self._tell(Retry(redact(self._url), failure.error.message, self._failures + 1, delay, offset))
        with ended_by(self.stop):
            self._stopped.wait(delay)
        if self._stopped.is_set():
            raise OpenError("the stream was closed while it was being read", url=self._url)

    def _final(self, error: OpenError) -> OpenError:
        if self._failures == 1:
            return error
        final = OpenError(f"{error.message} (given up after {self._failures} attempts)", url=self._url)
        final.__cause__ = error.__cause__
        return final

    def _tell(self, retry: Retry) -> None:
        _log.info(
            "%s: %s; attempt %d of %d in %.2f s, from byte %d",
            retry.url,
            retry.reason,
            retry.attempt,
            self._patience.attempts,
            retry.delay,
            retry.offset,
        )
        if self._observer is not None:
            self._observer.retried(retry)
        if self._patience.on_retry is not None:
            self._patience.on_retry(retry)


def _timestamp(text: str | None) -> float | None:
    """Return the seconds since the epoch of a date of HTTP; None if it is none."""
    try:
        when = email.utils.parsedate_to_datetime(text or "")
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def seconds_to_wait(retry_after: str | None, date: str | None = None) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110, 10.2.3); None if it does not, or not in these forms.

    Args:
        retry_after: the header ``Retry-After``: seconds, or a date.
        date: the header ``Date``: what time it is for the server.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    then, now = _timestamp(text), _timestamp(date)
    return None if then is None else max(0.0, then - (time.time() if now is None else now))
