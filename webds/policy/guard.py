"""What happens after an error: raise, warn and go on, skip, stop; how many are let pass; and who counts them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, final

import attrs

from webds.errors import ErrorBudgetError, WebdsError, annotate, place_of
from webds.order.origins import samples_of
from webds.policy.ledger import Action, Ledger, Loss, Retry
from webds.redaction import redact
from webds.typing import Origin

__all__ = [
    "Guard",
    "Handler",
    "Ledger",
    "Loss",
    "Policy",
    "PolicyLike",
    "ignore_and_continue",
    "ignore_and_stop",
    "reraise_exception",
    "warn_and_continue",
    "warn_and_stop",
]

Handler: TypeAlias = Callable[[Exception], bool]
"""Called with the exception: True goes on without the sample, False ends the iteration; or it raises."""

PolicyLike: TypeAlias = "Policy | Handler | Literal['raise', 'warn', 'skip', 'stop']"


def reraise_exception(exn: Exception) -> bool:
    """Raise the exception."""
    raise exn


def ignore_and_continue(exn: Exception) -> bool:
    """Go on without the sample."""
    return True


def warn_and_continue(exn: Exception) -> bool:
    """Warn and go on without the sample."""
    _warn(exn)
    return True


def ignore_and_stop(exn: Exception) -> bool:
    """End the iteration as if there were no more samples."""
    return False


def warn_and_stop(exn: Exception) -> bool:
    """Warn and end the iteration as if there were no more samples."""
    _warn(exn)
    return False


def _warn(exn: Exception, again: str = "") -> None:
    notes = " ".join(getattr(exn, "__notes__", ()))
    text = f"{type(exn).__name__}: {exn} {notes}".rstrip()
    warnings.warn(f"webds left out a sample: {redact(text)}{again}", RuntimeWarning, stacklevel=4)


_NAMED: dict[str, Handler] = {
    "raise": reraise_exception,
    "warn": warn_and_continue,
    "skip": ignore_and_continue,
    "stop": ignore_and_stop,
}


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


_LEAST: Final = 100  # samples, so that an early error is not taken for many of them


@final
@attrs.frozen
class Policy:
    """What to do about the errors of all stages of a dataset.

    Attributes:
        handler: one of the functions of this module, or one like them.
        max_errors: how many errors may pass before the next one raises `ErrorBudgetError`; None for any number.
            Counted over all workers of one dataset object, from when it was built.
        max_fraction: which part of the samples read so far, between 0 and 1, may be errors before one raises
            `ErrorBudgetError`; None for any. Counted in one iteration at one place, such as a worker; a shard that
            cannot be opened or is cut short counts as one sample. Judged once 100 samples have been read, or as many
            as it takes for one error to be no more than this part; and at the end of the iteration in any case.
        ledger: path of the file to which all that is let pass, and every retry of a transfer, is appended; None for
            none. See `webds.policy.ledger`.
    """

    handler: Handler = reraise_exception
    max_errors: int | None = None
    max_fraction: float | None = None
    ledger: str | None = attrs.field(default=None, converter=_path)

    def __attrs_post_init__(self) -> None:
        if self.max_errors is not None and self.max_errors < 0:
            raise ValueError(f"max_errors={self.max_errors}: expected a number from 0, or None for no limit")
        if self.max_fraction is not None and not 0 < self.max_fraction < 1:
            raise ValueError(
                f"max_fraction={self.max_fraction}: expected a number between 0 and 1, or None for no limit"
            )

    @classmethod
    def of(
        cls,
        policy: PolicyLike,
        max_errors: int | None = None,
        max_fraction: float | None = None,
        ledger: str | os.PathLike[str] | None = None,
    ) -> Policy:
        """Return the policy of that name (``raise``, ``warn``, ``skip``, ``stop``), or around that handler.

        What else is given holds in place of what a `Policy` has of it.
        """
        if isinstance(policy, Policy):
            return cls(
                policy.handler,
                policy.max_errors if max_errors is None else max_errors,
                policy.max_fraction if max_fraction is None else max_fraction,
                policy.ledger if ledger is None else ledger,
            )
        if not callable(policy) and policy not in _NAMED:
            raise ValueError(f"on_error={policy!r}: expected one of {', '.join(_NAMED)}, a handler or a Policy")
        return cls(policy if callable(policy) else _NAMED[policy], max_errors, max_fraction, ledger)

    @property
    def raises(self) -> bool:
        """Whether every error is raised, so that nothing needs to be counted."""
        return self.handler is reraise_exception

    def limits(self) -> str:
        """Say, behind the name of the handler, how often it is asked, and where that is written down."""
        budget = "" if self.max_errors is None else f", at most {self.max_errors} times"
        budget += "" if self.max_fraction is None else f", for at most {self.max_fraction:.4g} of the samples"
        return budget + ("" if self.ledger is None else f"; written down in {self.ledger}")


class _Where(NamedTuple):
    """What an origin says of one sample."""

    url: str | None = None
    ordinal: int | None = None
    key: str | None = None
    source: str | None = None


def _exceeded(spent: str, last: Loss) -> ErrorBudgetError:
    """Return the error of a budget that is spent, at the place of the last loss."""
    return ErrorBudgetError(
        f"{spent} lets no more pass; the last one: {last.error}",
        url=last.url, key=last.key, field=last.field, stage=last.stage, source=last.source,
    )  # fmt: skip


def _first(origin: Origin) -> _Where:
    """Return what an origin says; of a batch's, that of its first sample, and how many more there are."""
    first, *more = samples_of(origin)
    where = _Where(*first)
    return where._replace(key=f"{where.key} (and {len(more)} more)") if more and where.key is not None else where


@final
@attrs.define
class _Iteration:
    """What the guards of one iteration have in common.

    Attributes:
        epoch: its number.
        ends: the stages whose policies have ended it.
        errors: number of errors that were let pass.
        unread: number of those in place of which there was no sample.
        last: the last of them.
        finished: number of samples read by those who are done with reading.
        readers: return the numbers of samples read by those who are not.
        members: the guards of sources of a mix.
    """

    epoch: int = 0
    ends: list[str] = attrs.field(factory=list[str])
    errors: int = 0
    unread: int = 0
    last: Loss | None = None
    finished: int = 0
    readers: list[Callable[[], int]] = attrs.field(factory=list[Callable[[], int]])
    members: dict[str, Guard] = attrs.field(factory=dict[str, "Guard"])

    @property
    def seen(self) -> int:
        """Number of samples so far, with those that should have been there."""
        return self.finished + sum(reader() for reader in self.readers) + self.unread


@final
class Guard:
    """A policy at work: what the stages of one iteration call when something failed.

    Args:
        policy: what to do.
        ledger: where to write down what was let pass.
        epoch: number of the iteration.
        source: of a mix, the name of the source whose errors these are.
    """

    def __init__(self, policy: Policy, ledger: Ledger, epoch: int = 0, source: str | None = None) -> None:
        self.policy = policy
        self.ledger = ledger
        self.source = source
        self._ledgers = ledger
        self._seen: Counter[tuple[str, type[Exception]]] = Counter()
        self._iteration = _Iteration(epoch)

    @property
    def stopped(self) -> bool:
        """Whether a policy of the iteration has ended it: then nothing begins again, not even a repetition."""
        return bool(self._iteration.ends)

    def using(self, policy: Policy | None) -> Guard:
        """Return a guard of the same iteration with another policy and the same ledger; itself for None."""
        if policy is None:
            return self
        guard = Guard(policy, self.ledger, source=self.source)
        guard._iteration, guard._ledgers = self._iteration, self._ledgers
        return guard

    def of(self, source: str, policy: Policy | None) -> Guard:
        """Return the guard of one source of a mix, the same each time.

        Args:
            source: its name.
            policy: that of the source, which then has its own budget and ledger; None for that of the mix.
        """
        members = self._iteration.members
        if source not in members:
            ledger = self.ledger if policy is None else self._ledgers.of(source)
            own = Guard(policy or self.policy, ledger, source=source)
            own._iteration, own._ledgers = self._iteration, self._ledgers
            if policy is not None:  # whoever stops, stops all
                own._iteration = _Iteration(self._iteration.epoch, self._iteration.ends)
            members[source] = own
        return members[source]

    def begin_reading(self, read: Callable[[], int]) -> None:
        """Take note of somebody who reads samples: ``read`` returns how many so far."""
        self._iteration.readers.append(read)

    def end_reading(self, read: Callable[[], int]) -> None:
        """Take note that the reader that was given as ``read`` is done."""
        self._iteration.finished += read()
        self._iteration.readers.remove(read)

    def retried(self, retry: Retry) -> None:
        """Write down that a transfer is tried again."""
        self.ledger.record_retry(retry, self._iteration.epoch)

    def left_out(self, url: str, samples: int) -> None:
        """Write down what a source left out of a shard as it was told to: no error, but not silent either."""
        text = "SampleError: left out, for a field or the whole came twice"
        loss = Loss("read", redact(url), None, None, text, epoch=self._iteration.epoch, source=self.source)
        self.ledger.record(*[loss] * samples)

    def skipped(self, error: Exception, stage: str, origin: Origin) -> None:
        """Write down that a sample is left out, as a stage was told to: no error, but not silent either."""
        first = _first(origin)
        annotate(error, url=first.url, key=first.key, stage=stage, source=first.source or self.source)
        self.ledger.record(*self._losses(error, stage, None, [_Where(*one) for one in samples_of(origin)], "skipped"))

    def handle(
        self,
        error: Exception,
        stage: str,
        origin: Origin | None = None,
        *,
        url: str | None = None,
        key: str | None = None,
        field: str | None = None,
        after: int | None = None,
    ) -> bool:
        """Locate ``error``, then raise it, or count it and say how to go on.

        Args:
            error: what was raised while one value was worked on.
            stage: the name of the stage.
            origin: where the value came from; of a batch, all its samples are counted as lost.
            url: the shard, where there is no origin.
            key: the sample, where there is no origin.
            field: the field, where one is known.
            after: where the error ended the reading of a shard, after how many samples that was.

        Returns:
            True to go on with the next value, False to end the iteration.

        Raises:
            Exception: ``error`` itself, if that is the policy.
            ErrorBudgetError: the policy lets no more errors pass; its cause is ``error``.
        """
        if isinstance(error, ErrorBudgetError):
            raise error
        source = self.source
        if origin:
            url, _, key, known = _first(origin)
            source = known or source
        annotate(error, url=url, key=key, field=field, stage=stage, source=source)
        if self.policy.raises:
            raise error
        if self.policy.handler is warn_and_continue or self.policy.handler is warn_and_stop:
            self._warn(error, stage)
            go_on = self.policy.handler is warn_and_continue
        else:
            go_on = self.policy.handler(error)
        where = [_Where(url, after, key, source)] if origin is None else [_Where(*one) for one in samples_of(origin)]
        action: Action = "stopped" if not go_on else "skipped" if after is None else "cut short"
        losses = self._losses(error, stage, field, where, action)
        self._count(losses, unread=origin is None)
        if (spent := self._too_many() or self._too_large_a_part(_LEAST)) is not None:
            raise _exceeded(spent, attrs.evolve(losses[0], url=url, key=key)) from error
        if not go_on:
            self._iteration.ends.append(stage)
        return go_on

    def _count(self, losses: Sequence[Loss], *, unread: bool) -> None:
        """Write down what was let pass, and count it; ``unread``: it was no sample that was read."""
        self.ledger.record(*losses)
        self._iteration.errors += len(losses)
        self._iteration.unread += unread
        self._iteration.last = losses[0]

    def finish(self) -> None:
        """Judge the iteration as a whole, at its end.

        Raises:
            ErrorBudgetError: too many of its samples were errors.
        """
        last = self._iteration.last
        if last is not None and not self.stopped and (spent := self._too_large_a_part(0)) is not None:
            raise _exceeded(spent, last)
        for member in self._iteration.members.values():
            if member._iteration is not self._iteration:  # noqa: SLF001  # of its own class
                member.finish()

    def _losses(
        self, error: Exception, stage: str, field: str | None, where: list[_Where], action: Action
    ) -> list[Loss]:
        """Return what ``error`` lost: the samples at ``where``. What the error itself knows wins."""
        known = place_of(error)
        text = redact(f"{type(error).__name__}: {error.message if isinstance(error, WebdsError) else error}")
        stage, field, epoch = known.get("stage", stage), known.get("field", field), self._iteration.epoch
        losses: list[Loss] = []
        for one in where:
            url, key = one.url or known.get("url"), one.key or known.get("key")
            source = one.source or known.get("source")
            losses.append(Loss(stage, url and redact(url), key, field, text, one.ordinal, epoch, action, source))
        return losses

    def _too_many(self) -> str | None:
        """Say that more errors passed than may; None if that is not so."""
        budget = self.policy.max_errors
        if budget is None or (passed := len(self.ledger)) <= budget:
            return None
        return f"{passed} errors, and max_errors={budget}"

    def _too_large_a_part(self, least: int) -> str | None:
        """Say that a larger part of the samples were errors than may; None if that is not so, or too early to say."""
        budget, errors, seen = self.policy.max_fraction, self._iteration.errors, self._iteration.seen
        if budget is None or errors <= budget * seen or (least and seen < max(least, 1 / budget)):
            return None
        return f"{errors} errors in {seen} samples of this iteration, and max_fraction={budget}"

    def _warn(self, error: Exception, stage: str) -> None:
        """Warn of the first few errors of a kind, then of the tenth, hundredth, …, so that a log stays readable."""
        self._seen[stage, type(error)] += 1
        seen = self._seen[stage, type(error)]
        if seen <= 3 or (seen >= 10 and str(seen).rstrip("0") == "1"):
            _warn(error, f" ({seen} such errors so far; not all are shown)" if seen >= 3 else "")
