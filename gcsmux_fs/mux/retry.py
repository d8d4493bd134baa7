"""What to do when a stream has ended while somebody still waits: a pure decision.

The rules, with their sources:

- A redirect (BidiReadObjectRedirectedError) is followed at once; after five in a row it counts as
  an ordinary failure, to be followed after a backoff (Google's Java client stops at three).
- An end that names ranges as its cause is followed at once when none of them will be asked for
  again, for then the others have nothing to fear; else it is an ordinary failure.
- A failure that says a read handle is unusable is followed at once by one attempt without it.
- The first failure since bytes last arrived is followed at once: front ends recycle connections at
  will, and a reader should not notice.
- Everything else that may pass is tried again after a jittered, doubling backoff, which progress
  resets, until `give_up_seconds` have passed without progress. A server that says how long it wants
  to be left alone (google.rpc.RetryInfo) is left alone for so long, within bounds, also the first
  time.
- A token that is refused is renewed by the next stream, which is tried once. Where no token was
  brought along there is none to be renewed, and UNAUTHENTICATED is final.
- The rest is final, and told at once.

Between two backoffs, or two arrivals of bytes, only a bounded number of streams is opened at once:
each rule without a delay is used up by its use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import GenerationGone, StatusCode, StorageError, storage_error
from gcsmux_fs.model.retry_budget import asked_pause
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = [
    "GiveUp",
    "Reopen",
    "ReopenRecord",
    "RetryPolicy",
    "decide",
    "final_error",
    "range_is_final",
]

# CANCELLED is how a recycled connection shows when the client did not cancel; OK is a server that
# closed early. UNKNOWN is retried by no client of the service.
_PASSING = frozenset(
    {
        StatusCode.OK,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
    }
)

_HANDLE_REFUSED = frozenset(
    {StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION}
)

# A handle or token that led to so many failures in a row leads nowhere: begin at the front door.
_FAILURES_BLAMED_ON_ROUTE = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Times and bounds of a stream, in seconds where the name says so.

    Attributes:
        first_backoff_seconds: the emulator and a recycled front end are back within tenths.
        max_backoff_seconds: a reader waits at most this long after the service is back.
        give_up_seconds: no progress for so long fails the waiting ranges; a read's own deadline
            is of the same size.
        open_seconds: no first answer for so long counts as a failure; without it an open has been
            seen to hang for 300 s.
        stall_seconds: no byte for so long while ranges are outstanding counts as a failure; so
            often ranges are looked for that have been overtaken, and get nothing.
        idle_seconds: an idle stream is closed after this; a reopen costs no extra round trip.
        max_redirects: redirects followed in a row without progress.
        max_strikes: bad answers (checksum, gap, early end) to one range in a row; where one answer
            in four is bad at random, one range in 65,000 fails.
    """

    first_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 8.0
    give_up_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    open_seconds: float = 60.0
    stall_seconds: float = 30.0
    idle_seconds: float = 60.0
    max_redirects: int = 5
    max_strikes: int = 8


@dataclass(slots=True)
class ReopenRecord:
    """What has gone wrong on one object's streams since bytes last arrived.

    `trouble` says in words how the last stream ended that is not forgiven.
    """

    trouble: str = ""
    failing_since: float | None = None
    failures: int = 0
    redirects: int = 0
    handle_refused: bool = False
    token_renewed: bool = False

    def reset(self) -> None:
        """Forget it all: progress was made."""
        self.trouble = ""
        self.failing_since = None
        self.failures = 0
        self.redirects = 0
        self.handle_refused = False
        self.token_renewed = False


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open again `delay` seconds from now; `keep_route`: with the read handle and routing token."""

    delay: float
    cause: str
    keep_route: bool = True


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Fail every waiting range with `error`."""

    error: StorageError


def decide(
    end: StreamEnd,
    record: ReopenRecord,
    policy: RetryPolicy,
    *,
    key: ObjectKey,
    had_handle: bool,
    culprits_gone: bool,
    now: float,
    random: Random,
) -> Reopen | GiveUp:
    """Decide how to go on after `end`, and note it in `record`.

    `culprits_gone`: the end named ranges as its cause, and one of them will not be asked for again.
    """
    if end.redirect is not None and record.redirects < policy.max_redirects:
        record.redirects += 1
        # A handle that comes with a redirect is a new one, which may be refused as well.
        record.handle_refused &= not end.redirect.handle
        return Reopen(0.0, "redirect")
    if culprits_gone:
        return Reopen(0.0, "a range failed, the others go on")
    explained = end.redirect is not None or bool(end.failures)
    if not explained:
        if had_handle and end.code in _HANDLE_REFUSED and not record.handle_refused:
            record.handle_refused = True
            return Reopen(0.0, f"handle refused ({end.code.name})", keep_route=False)
        if end.token_refused and not record.token_renewed:
            record.token_renewed = True
            return Reopen(0.0, "token refused")
        if end.code not in _PASSING:
            return GiveUp(final_error(end.code, end.message, str(key)))
    record.trouble = f"{end.message} [{end.code.name}]" if end.message else end.code.name
    if record.failing_since is None:
        record.failing_since = now
    elif now - record.failing_since >= policy.give_up_seconds:
        return GiveUp(final_error(end.code, end.message, str(key)))
    if end.redirect is None:
        record.redirects = 0
    delay = max(
        _backoff(record.failures, policy, random),
        asked_pause(end.retry_seconds, random),
    )
    record.failures += 1
    keep_route = end.redirect is not None or record.failures < _FAILURES_BLAMED_ON_ROUTE
    return Reopen(delay, end.code.name, keep_route=keep_route)


def _backoff(failures: int, policy: RetryPolicy, random: Random) -> float:
    if not failures:
        return 0.0
    # The exponent is bounded only to keep the power finite.
    doubled = policy.first_backoff_seconds * 2.0 ** min(failures - 1, 32)
    ceiling = min(policy.max_backoff_seconds, doubled)
    return random.uniform(ceiling / 2, ceiling)


def range_is_final(code: StatusCode) -> bool:
    """Tell whether a range refused with `code` is to be given up at once."""
    return code not in _PASSING


def final_error(code: StatusCode, message: str, subject: str) -> StorageError:
    """Return what a reader is told of a stream, or one range, that ended with `code`.

    The reader holds a generation that was there once, so NOT_FOUND means that it is gone.
    """
    if code is StatusCode.NOT_FOUND:
        return GenerationGone(
            message or "the generation is no longer there", subject=subject, code=code
        )
    if code is StatusCode.OK:
        code = StatusCode.UNAVAILABLE
    return storage_error(code, message or "the stream ended", subject=subject)
