"""Decides what follows the end of a StreamingPull stream: a retry, soon or slowly; sans-IO.

Every end is retried, because a mount lives longer than most causes. The rules, in their order:

- If the service refuses the token, the stream is opened once with a renewed token, without delay.
- Codes that a retry can change are retried: the first failure without delay, further failures
  after a backoff. A stream that was open for some time counts as progress, so its end is a first
  failure. The service ends each stream after at most half an hour, with UNAVAILABLE or OK.
- All other codes are a refusal: the subscription is missing, or the caller may not use it. An
  administrator may repair this, so the stream is tried again slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.backoff import TokenRenewal
from gcsmux_fs.model.errors import StatusCode
from gcsmux_fs.model.failure_run import RETRYABLE_ENDS, FailureRun

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.changes.pull_actions import PullPolicy
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = ["Ending", "PullEndings"]

# Google's clients for Pub/Sub also open a stream again after UNKNOWN.
_RETRYABLE = RETRYABLE_ENDS | {StatusCode.UNKNOWN}

# The refusals after which messages may have been lost: the subscription was deleted, or detached
# from its topic.
_LOSING = frozenset({StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION})

_REASONS = {
    StatusCode.NOT_FOUND: "the subscription does not exist, `gcsmux changes setup` creates it",
    StatusCode.PERMISSION_DENIED: "the caller may not use the subscription (it needs the role"
    " roles/pubsub.subscriber)",
    StatusCode.UNAUTHENTICATED: "Pub/Sub refuses the credentials",
    StatusCode.FAILED_PRECONDITION: "the subscription cannot be pulled from",
    StatusCode.INVALID_ARGUMENT: "Pub/Sub refuses the request",
    StatusCode.UNIMPLEMENTED: "the endpoint does not offer Pub/Sub",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """What follows the end of a stream.

    Attributes:
        delay: time until the next stream, in seconds.
        why: the cause, in words.
        reason: the kind of the cause, for the metrics.
        refused: whether the service refuses the subscription.
    """

    delay: float
    why: str
    reason: str
    refused: bool = False


class PullEndings:
    """Decides what follows each end of a stream, from the ends before it."""

    __slots__ = ("_failures", "_policy", "_random", "_renewal", "loses_messages")

    def __init__(self, policy: PullPolicy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._failures = FailureRun()
        self._renewal = TokenRenewal()
        #: Whether messages may have been lost since the stream was open.
        self.loses_messages = False

    def decide(self, end: StreamEnd, open_seconds: float) -> Ending:
        """Return what follows `end`; `open_seconds` is how long the stream was open."""
        if open_seconds >= self._policy.steady:
            self._failures.reset()
            self._renewal.used = False
        code = end.code
        if end.token_refused and self._renewal.permit():
            return Ending(0.0, "the token was refused", "token_refused")
        why = f"{end.message} [{code.name}]" if end.message else code.name
        if code not in _RETRYABLE:
            self.loses_messages |= code in _LOSING
            reason = _REASONS.get(code, "Pub/Sub refuses the subscription")
            delay = self._policy.refused * self._random.uniform(0.9, 1.1)
            return Ending(delay, f"{reason}: {why}", code.name.lower(), refused=True)
        delay = self._failures.delay(self._policy.backoff, end.retry_seconds, self._random)
        return Ending(delay, why, code.name.lower())
