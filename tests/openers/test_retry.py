from __future__ import annotations

import random
import threading
from email.utils import formatdate

import pytest

from webds.errors import OpenError
from webds.openers.retry import Attempts, Patience, TransientError, seconds_to_wait


def test_pauses_are_random_bounded_and_touch_nobodys_generator() -> None:
    state = random.getstate()
    patience = Patience(base=0.5, cap=3.0)
    for failures, most in ((1, 0.5), (2, 1.0), (3, 2.0), (4, 3.0), (5000, 3.0)):
        delays = {patience.delay(failures, None) for _ in range(50)}
        assert 0 <= min(delays) < max(delays) <= most
    assert patience.delay(1, 2.0) >= 2.0
    assert patience.delay(1, 1e9) == 3.0
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        ("7", None, 7.0),
        (" 0 ", None, 0.0),
        (formatdate(1_000_060, usegmt=True), formatdate(1_000_000, usegmt=True), 60.0),
        (formatdate(1_000_000, usegmt=True), formatdate(1_000_060, usegmt=True), 0.0),
        (formatdate(1_000_000, usegmt=True), None, 0.0),
        ("soon", None, None),
        ("-5", None, None),
        (None, None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, date: str | None, seconds: float | None) -> None:
    assert seconds_to_wait(text, date) == seconds


def test_failures_before_the_last_mib_are_forgotten() -> None:
    offsets = iter(range(0, 20 << 20, 1 << 20))
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        if len(tries) < 10:
            raise TransientError(OpenError("it broke"))

    Attempts(Patience(2, 0.0), "http://h/x").persist(fail, lambda: next(offsets))
    assert len(tries) == 10


def test_a_pause_ends_when_the_stream_is_closed() -> None:
    def fail() -> None:
        raise TransientError(OpenError("it broke"), after=60.0)

    attempts = Attempts(Patience(cap=60.0), "http://h/x")
    timer = threading.Timer(0.05, attempts.stop)
    timer.start()
    with pytest.raises(OpenError, match="closed"):
        attempts.persist(fail)
    timer.join()
