"""What happens after an error: raise, warn and go on, skip, stop; how many are let pass; and who counts them."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias, final

import attrs

from webds.errors import ErrorBudgetError, WebdsError, annotate, place_of
from webds.redaction import redact
from webds.shared import SharedFile
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


@final
@attrs.frozen
class Policy:
    """What to do about the errors of all stages of a dataset.

    Attributes:
        handler: one of the functions of this module, or one like them.
        max_errors: how many errors may pass before the next one raises `ErrorBudgetError`; None for any number.
            Counted over all workers of one dataset object, from when it was built.
    """

    handler: Handler = reraise_exception
    max_errors: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.max_errors is not None and self.max_errors < 0:
            raise ValueError(f"max_errors={self.max_errors}: expected a number from 0, or None for no limit")

    @classmethod
    def of(cls, policy: PolicyLike, max_errors: int | None = None) -> Policy:
        """Return the policy of that name (``raise``, ``warn``, ``skip``, ``stop``), or around that handler."""
        if isinstance(policy, Policy):
            return policy if max_errors is None else attrs.evolve(policy, max_errors=max_errors)
        if callable(policy):
            return cls(policy, max_errors)
        if policy not in _NAMED:
            raise ValueError(f"on_error={policy!r}: expected one of {', '.join(_NAMED)}, a handler or a Policy")
        return cls(_NAMED[policy], max_errors)

    @property
    def raises(self) -> bool:
        """Whether every error is raised, so that nothing needs to be counted."""
        return self.handler is reraise_exception


@final
@attrs.frozen
class Loss:
    """One error that a policy let pass.

    Attributes:
        stage: where: ``open``, ``read``, ``decode``, ``map``, ``batch``, ….
        url: the shard, without its secrets.
        key: the sample; None where the error is that of a whole shard.
        field: the field, where one is to blame.
        error: type and text of the exception.
    """

    stage: str
    url: str | None
    key: str | None
    field: str | None
    error: str


@final
class Ledger:
    """The losses of a dataset, summed over its workers.

    Only workers forked or spawned from the process that holds it write into the same ledger; a plain pickle
    takes along a copy.
    """

    def __init__(self) -> None:
        self._file = SharedFile()
        self._counted = self._offset = 0

    def record(self, *losses: Loss) -> None:
        """Write down ``losses``."""
        lines = (json.dumps(attrs.astuple(loss), default=str) + "\n" for loss in losses)
        self._file.append("".join(lines).encode())

    def losses(self) -> list[Loss]:
        """Return everything that was written down, by any worker."""
        return [Loss(*json.loads(line)) for line in self._file.read().splitlines()]

    def __len__(self) -> int:
        """Number of losses."""
        with self._file.locked():
            new = self._file.read(self._offset)  # only ever appended to: what was counted before is not read again
            self._offset += len(new)
            self._counted += new.count(b"\n")
            return self._counted

    def counts(self) -> dict[str, dict[str, int]]:
        """Return stage → URL → number of losses; the URL is ``""`` where none is known."""
        counts: dict[str, Counter[str]] = {}
        for loss in self.losses():
            counts.setdefault(loss.stage, Counter())[loss.url or ""] += 1
        return {stage: dict(urls) for stage, urls in counts.items()}


def _samples(origin: Origin) -> list[Origin]:
    """Return the origins of all samples in a batch, or in a batch of batches; of one sample, its own."""
    if origin and isinstance(origin[0], tuple):
        return [one for part in origin for one in _samples(part)]
    return [origin]


def _first(origin: Origin | None) -> tuple[str | None, str | None]:
    """Return URL and key of an origin; of a batch's, those of its first sample and how many more there are."""
    first, *more = _samples(origin or ())
    if not first:
        return None, None
    url, _, key = first
    return url, f"{key} (and {len(more)} more)" if more and key is not None else key


def _losses(error: Exception, stage: str, field: str | None, where: list[tuple[str | None, str | None]]) -> list[Loss]:
    """Return what ``error`` lost: the samples at ``where``, by URL and key. What the error itself knows wins."""
    known = place_of(error)
    text = redact(f"{type(error).__name__}: {error.message if isinstance(error, WebdsError) else error}")
    stage, field = known.get("stage", stage), known.get("field", field)
    places = ((url or known.get("url"), key or known.get("key")) for url, key in where)
    return [Loss(stage, url and redact(url), key, field, text) for url, key in places]


@final
class Guard:
    """A policy at work: what the stages of one iteration call when something failed.

    Args:
        policy: what to do.
        ledger: where to write down what was let pass.
    """

    def __init__(self, policy: Policy, ledger: Ledger) -> None:
        self.policy = policy
        self.ledger = ledger
        self._seen: Counter[tuple[str, type[Exception]]] = Counter()
        self._ends: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether a policy of the iteration has ended it: then nothing begins again, not even a repetition."""
        return bool(self._ends)

    def using(self, policy: Policy | None) -> Guard:
        """Return a guard of the same iteration with another policy and the same ledger; itself for None."""
        if policy is None:
            return self
        guard = Guard(policy, self.ledger)
        guard._ends = self._ends
        return guard

    def handle(
        self,
        error: Exception,
        stage: str,
        origin: Origin | None = None,
        *,
        url: str | None = None,
        key: str | None = None,
        field: str | None = None,
    ) -> bool:
        """Locate ``error``, then raise it, or count it and say how to go on.

        Args:
            error: what was raised while one value was worked on.
            stage: the name of the stage.
            origin: where the value came from; of a batch, all its samples are counted as lost.
            url: the shard, where there is no origin.
            key: the sample, where there is no origin.
            field: the field, where one is known.

        Returns:
            True to go on with the next value, False to end the iteration.

        Raises:
            Exception: ``error`` itself, if that is the policy.
            ErrorBudgetError: the policy lets no more errors pass; its cause is ``error``.
        """
        if isinstance(error, ErrorBudgetError):
            raise error
        if origin is not None:
            url, key = _first(origin)
        annotate(error, url=url, key=key, field=field, stage=stage)
        if self.policy.raises:
            raise error
        if self.policy.handler is warn_and_continue or self.policy.handler is warn_and_stop:
            self._warn(error, stage)
            go_on = self.policy.handler is warn_and_continue
        else:
            go_on = self.policy.handler(error)
        where = [(url, key)] if origin is None else [_first(one) for one in _samples(origin)]
        losses = _losses(error, stage, field, where)
        self.ledger.record(*losses)
        budget = self.policy.max_errors
        if budget is not None and (passed := len(self.ledger)) > budget:
            raise ErrorBudgetError(
                f"{passed} errors, and max_errors={budget} lets no more pass; the last one: {losses[0].error}",
                url=url, key=key, field=losses[0].field, stage=losses[0].stage,
            ) from error  # fmt: skip
        if not go_on:
            self._ends.append(stage)
        return go_on

    def _warn(self, error: Exception, stage: str) -> None:
        """Warn of the first few errors of a kind, then of the tenth, hundredth, …, so that a log stays readable."""
        self._seen[stage, type(error)] += 1
        seen = self._seen[stage, type(error)]
        if seen <= 3 or (seen >= 10 and str(seen).rstrip("0") == "1"):
            _warn(error, f" ({seen} such errors so far; not all are shown)" if seen >= 3 else "")
