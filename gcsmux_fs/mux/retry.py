"""What to do when a stream has ended while somebody still waits: a pure decision.

The rules, with their sources:

- A redirect (BidiReadObjectRedirectedError) is followed at once; after five in a row without
  progress it counts as an ordinary failure (Google's Java client stops at three).
- A failure to open with a read handle that says the handle is unusable is followed at once by one
  attempt without it.
- A stream that had moved bytes is reopened at once the first time: front ends recycle connections
  at will, and a reader should not notice.
- Everything else that may pass is tried again after a jittered, doubling backoff, which progress
  resets, until `give_up_seconds` have passed without progress.
- UNAUTHENTICATED is tried once more after progress: the token of a long stream has expired, and a
  new call fetches a new one.
- The rest is final, and told at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.errors import GenerationGone, StatusCode, StorageError, storage_error

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.model import ObjectKey
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = ["GiveUp", "Reopen", "ReopenRecord", "RetryPolicy", "decide", "range_is_final"]

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
        stall_seconds: no byte for so long while ranges are outstanding counts as a failure.
        idle_seconds: an idle stream is closed after this; a reopen costs no extra round trip.
        max_redirects: redirects followed in a row without progress.
        max_strikes: bad answers (checksum, gap, early end) to one range in a row.
    """

    first_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 8.0
    give_up_seconds: float = 120.0
    open_seconds: float = 60.0
    stall_seconds: float = 30.0
    idle_seconds: float = 60.0
    max_redirects: int = 5
    max_strikes: int = 4


@dataclass(slots=True)
class ReopenRecord:
    """What has gone wrong on one object's streams since bytes last arrived."""

    failing_since: float | None = None
    failures: int = 0
    redirects: int = 0
    handle_refused: bool = False
    token_renewed: bool = False

    def reset(self) -> None:
        """Forget it all: progress was made."""
        self.failing_since = None
        self.failures = 0
        self.redirects = 0
        self.handle_refused = False
        self.token_renewed = False


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open again `delay` seconds from now, with or without what earlier streams left behind."""

    delay: float
    cause: str
    keep_handle: bool = True
    keep_token: bool = True


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
    ranges_failed: bool,
    now: float,
    random: Random,
) -> Reopen | GiveUp:
    """Decide how to go on after `end`, and note it in `record`.

    `ranges_failed`: the end named ranges of ours as its cause, and they were dealt with.
    """
    if end.redirect is not None and record.redirects < policy.max_redirects:
        record.redirects += 1
        return Reopen(0.0, "redirect")
    if ranges_failed:
        return Reopen(0.0, "a range failed, the others go on")
    if had_handle and end.code in _HANDLE_REFUSED and not record.handle_refused:
        record.handle_refused = True
        return Reopen(0.0, f"handle refused ({end.code.name})", keep_handle=False, keep_token=False)
    if end.code is StatusCode.UNAUTHENTICATED and not record.token_renewed:
        record.token_renewed = True
        return Reopen(0.0, "credentials expired")
    if end.code not in _PASSING:
        return GiveUp(_final_error(end, key))
    if record.failing_since is None:
        record.failing_since = now
    elif now - record.failing_since >= policy.give_up_seconds:
        return GiveUp(_final_error(end, key))
    delay = 0.0
    if record.failures:
        ceiling = min(
            policy.max_backoff_seconds,
            policy.first_backoff_seconds * 2.0 ** min(record.failures - 1, 32),
        )
        delay = random.uniform(ceiling / 2, ceiling)
    record.failures += 1
    # A token that led to failure twice leads nowhere: start again at the front door.
    return Reopen(delay, end.code.name, keep_token=record.failures <= 2)


def range_is_final(code: StatusCode) -> bool:
    """Tell whether a range refused with `code` is to be given up at once."""
    return code not in _PASSING


def _final_error(end: StreamEnd, key: ObjectKey) -> StorageError:
    if end.code is StatusCode.NOT_FOUND:
        message = end.message or "the generation is no longer there"
        return GenerationGone(message, subject=str(key), code=end.code)
    code = StatusCode.UNAVAILABLE if end.code is StatusCode.OK else end.code
    return storage_error(code, end.message or "the stream ended", subject=str(key))
