"""Decides what follows when a stream ends while ranges wait: a retry or an error; sans-IO.

The rules, in the order in which they are tried:

- A redirect (BidiReadObjectRedirectedError) is followed without delay. After five redirects in a
  row, further redirects count as ordinary failures and get a backoff. (Google's Java client allows
  three.)
- If the server names ranges as the cause of the end, and one of the named ranges is not requested
  again, the other ranges are requested without delay. If all named ranges are requested again, the
  end is an ordinary failure.
- If the server refuses the read handle, the stream is opened once without the handle, without
  delay.
- If the server refuses the token, the stream is opened once with a renewed token, without delay.
  Without a token there is nothing to renew, and UNAUTHENTICATED is final.
- A status code that a retry cannot change is final, and all waiting ranges fail.
- The first ordinary failure since bytes last arrived is retried without delay, because front ends
  close connections routinely, and readers should not notice this.
- Each further failure is retried after a backoff, until `give_up_seconds` have passed without
  bytes. Received bytes reset the backoff.
- If the server requests a pause (google.rpc.RetryInfo), the retry after an ordinary failure waits
  at least as long as the pause, up to a limit.

Between two backoffs, or between two arrivals of bytes, each rule that retries without delay applies
a bounded number of times. Therefore the number of streams opened in that time is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gcsmux_fs.model.backoff import Backoff, TokenRenewal
from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError, storage_error
from gcsmux_fs.model.failure_run import RETRYABLE_ENDS, FailureRun
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.model.retry_budget import RetryBudget
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = [
    "GiveUp",
    "Reopen",
    "ReopenRecord",
    "Retries",
    "RetryPolicy",
    "decide",
    "final_error",
    "range_is_final",
]

# UNKNOWN is not retried, because Google's clients for Cloud Storage do not retry it.
_RETRYABLE = RETRYABLE_ENDS

# The codes with which the service refuses a read handle.
_HANDLE_REFUSED = frozenset(
    {StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION}
)

# Number of failures in a row after which the next stream is opened without read handle and routing
# token, because the handle or the token may be the cause of the failures.
_MAX_FAILURES_WITH_RESUME_STATE = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeouts and retry bounds of a stream.

    Attributes:
        first_backoff_seconds: upper bound of the first backoff. The bound is short, because a new
            stream works within tenths of a second after a closed connection or the restart of a
            front end.
        max_backoff_seconds: upper bound of every backoff. A reader may still wait this long after
            an outage has ended.
        give_up_seconds: time without bytes after which the waiting ranges fail; equal to the
            default deadline of a READ.
        open_seconds: time without a first response after which the stream counts as failed. Without
            this limit, an opening stream was observed to hang for 300 s.
        stall_seconds: time without bytes, while ranges wait, after which the stream counts as
            failed; also the interval of the scans for silent ranges.
        idle_seconds: time without ranges after which the stream is closed. To close a stream is
            cheap, because a new stream costs no extra round trip.
        max_redirects: number of redirects in a row, without bytes between them, that are followed
            without delay.
        max_bad_answers: number of bad answers in a row (wrong checksum, gap, early end) after which
            a range fails. If one answer in four is bad at random, one range in 65,000 fails.
    """

    first_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 8.0
    give_up_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    open_seconds: float = 60.0
    stall_seconds: float = 30.0
    idle_seconds: float = 60.0
    max_redirects: int = 5
    max_bad_answers: int = 8

    @property
    def backoff(self) -> Backoff:
        """The backoff between two attempts to open a stream."""
        return Backoff(self.first_backoff_seconds, self.max_backoff_seconds)


@dataclass(slots=True)
class ReopenRecord(FailureRun):
    """The failures of one object's streams since bytes last arrived.

    Attributes:
        redirects: number of redirects in a row.
        handle_refused: whether the server has refused the current read handle.
        token_renewal: permits one retry with a renewed token.
    """

    redirects: int = 0
    handle_refused: bool = False
    token_renewal: TokenRenewal = field(default_factory=TokenRenewal)

    def reset(self) -> None:
        """Forget all failures, because bytes have arrived."""
        FailureRun.reset(self)
        self.redirects = 0
        self.handle_refused = False
        self.token_renewal.used = False


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open the next stream `delay` seconds from now, with or without the resume state.

    `cause` describes the loss in the log. `reason` names its kind in the metrics: there are few
    reasons, and their names are stable.
    """

    delay: float
    cause: str
    reason: str
    keep_resume_state: bool = True


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail all waiting ranges with `error`."""

    error: StorageError


def decide(
    end: StreamEnd,
    record: ReopenRecord,
    policy: RetryPolicy,
    *,
    key: ObjectKey,
    had_handle: bool,
    cause_removed: bool,
    now: float,
    random: Random,
) -> Reopen | GiveUp:
    """Decide what follows the end of a stream, without regard to other streams; update `record`.

    `had_handle`: whether the stream was opened with a read handle. `cause_removed`: whether the
    server named ranges as the cause of the end, and at least one of these ranges is not requested
    again.
    """
    if end.redirect is not None and record.redirects < policy.max_redirects:
        record.redirects += 1
        # The server may also refuse the new handle of a redirect, so a new handle clears this flag.
        record.handle_refused &= not end.redirect.handle
        return Reopen(0.0, "redirect", "redirect")
    if cause_removed:
        return Reopen(0.0, "one range failed, the others resume", "range_failed")
    explained = end.redirect is not None or bool(end.failures)
    if not explained:
        if had_handle and end.code in _HANDLE_REFUSED and not record.handle_refused:
            record.handle_refused = True
            cause = f"handle refused ({end.code.name})"
            return Reopen(0.0, cause, "handle_refused", keep_resume_state=False)
        if end.token_refused and record.token_renewal.permit():
            return Reopen(0.0, "token refused", "token_refused")
        if end.code not in _RETRYABLE:
            return GiveUp(final_error(end.code, end.message, str(key)))
    if record.note(end.code, end.message, now) >= policy.give_up_seconds:
        return GiveUp(final_error(end.code, end.message, str(key)))
    if end.redirect is None:
        record.redirects = 0
    delay = record.delay(policy.backoff, end.retry_seconds, random)
    keep_resume_state = (
        end.redirect is not None or record.failures < _MAX_FAILURES_WITH_RESUME_STATE
    )
    name = end.code.name
    return Reopen(delay, name, name.lower(), keep_resume_state=keep_resume_state)


class Retries:
    """Decides on retries for one object, from its failures and the mount's retry budget."""

    __slots__ = ("_budget", "_budget_due", "_key", "_policy", "_random", "due", "record")

    def __init__(
        self, key: ObjectKey, policy: RetryPolicy, random: Random, budget: RetryBudget
    ) -> None:
        self.record = ReopenRecord()
        #: Time at which the latest retry is due; infinity before the first retry.
        self.due = math.inf
        self._key = key
        self._policy = policy
        self._random = random
        self._budget = budget
        self._budget_due = math.inf

    def decide(
        self, end: StreamEnd, now: float, *, had_handle: bool, cause_removed: bool
    ) -> Reopen | GiveUp:
        """Decide what follows the end of a stream, and take a token for a retry from the budget.

        The delay includes the wait for the token.
        """
        decision = decide(
            end,
            self.record,
            self._policy,
            key=self._key,
            had_handle=had_handle,
            cause_removed=cause_removed,
            now=now,
            random=self._random,
        )
        if isinstance(decision, GiveUp):
            return decision
        wait = self._budget.take(now)
        self._budget_due = now + wait
        self.due = now + decision.delay + wait
        return replace(decision, delay=decision.delay + wait)

    def cancel(self) -> None:
        """Give the due time of the latest retry back to the budget, because no range waits now."""
        self._budget.give_back(self._budget_due)


def range_is_final(code: StatusCode) -> bool:
    """Return whether a range that the server refuses with `code` fails without a retry."""
    return code not in _RETRYABLE


def final_error(code: StatusCode, message: str, subject: str) -> StorageError:
    """Return the error for the readers of a stream, or of one range, that ended with `code`.

    NOT_FOUND becomes GenerationGone, because the generation existed when the file was opened.
    """
    if code is StatusCode.NOT_FOUND:
        return GenerationGone(
            message or "the generation no longer exists", subject=subject, code=code
        )
    if code is StatusCode.OK:
        code = StatusCode.UNAVAILABLE
    return storage_error(code, message or "the stream ended too early", subject=subject)
