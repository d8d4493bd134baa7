"""Remembers the failures of a stream since it last made progress, and delays its retries; sans-IO.

The first failure is retried without delay, because front ends close connections routinely. Each
further failure is retried after a backoff, or after the pause that the server requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.model.backoff import requested_pause
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from random import Random

    from gcsmux_fs.model.backoff import Backoff

__all__ = ["RETRYABLE_ENDS", "FailureRun"]

RETRYABLE_ENDS = frozenset(
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
"""The codes after which every kind of stream is opened again. If the client did not cancel,
CANCELLED means that the server closed the connection. OK means that the server ended the stream too
early."""


@dataclass(slots=True)
class FailureRun:
    """The failures of a stream since it last made progress.

    Attributes:
        last_error: the last failure in words; empty if there was none.
        failing_since: time of the first failure; None if there was none.
        failures: number of failures.
    """

    last_error: str = ""
    failing_since: float | None = None
    failures: int = 0

    def reset(self) -> None:
        """Forget all failures, because the stream has made progress."""
        self.last_error = ""
        self.failing_since = None
        self.failures = 0

    def note(self, code: StatusCode, message: str, now: float) -> float:
        """Record a failure; return the time since the first failure."""
        self.last_error = f"{message} [{code.name}]" if message else code.name
        if self.failing_since is None:
            self.failing_since = now
        return now - self.failing_since

    def delay(self, backoff: Backoff, requested_seconds: float, random: Random) -> float:
        """Return the delay before the retry of the failure that was noted last.

        `requested_seconds`: the pause that the server requests; 0 for none.
        """
        delay = backoff.delay(self.failures - 1, random) if self.failures else 0.0
        self.failures += 1
        return max(delay, requested_pause(requested_seconds, random))
