"""Decides when a failing disk is left alone, and when it is tried again; sans-IO.

Theory of operation. The breaker is *closed* while the disk works. Failures add to a score, answers
lower it. When the score reaches a limit, the breaker *opens*: the disk is left alone for a pause.
After the pause the breaker is *probing*: one operation, for which no reader waits, shows whether
the disk works again. An answer closes the breaker. A failure opens it again, for twice the pause.

Invariants:
1. While the breaker is open or probing, at most one operation uses the disk: the probe.
2. The pause grows while the disk fails again and again, also if probes succeed in between. It is
   short again after the disk has worked for a long time.
"""

from __future__ import annotations

import enum
import math

__all__ = ["Breaker", "BreakerState", "Severity"]

_LIMIT = 3.0
"""The score that opens the breaker. Three failures in a row mean that the whole disk fails, one or
two may be bad places on it."""

_ANSWER_SCORE = 1 / 16
"""How much an answer lowers the score. If one of 16 operations fails, or more, the breaker opens
sooner or later."""

_EMPTY_PROBES = 16
"""Number of probes in a row that found nothing to read, after which the disk counts as working. A
disk that cannot read its files may still know which files it has."""

_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 60.0

_CALM_PAUSES = 5
"""The disk must work for this many pauses before the pause is short again."""


class BreakerState(enum.IntEnum):
    """The state of a breaker; the numbers are those of the metric `disk_cache_state`."""

    CLOSED = 1
    OPEN = 2
    PROBING = 3


class Severity(enum.Enum):
    """How much one failure says about the disk; the value is its part of the score."""

    #: This place of the disk, or this moment.
    SINGLE = 1.0
    #: The whole disk: nothing has been answered for a while, or the file system refuses everything.
    WHOLE = _LIMIT


class Breaker:
    """The breaker of one kind of operation. All times are seconds of one clock."""

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        #: Why the breaker is not closed; the last reason if it is.
        self.reason = ""
        self._score = 0.0
        self._empty_probes = 0
        self._pause = 0.0
        self._retry_at = -math.inf
        self._closed_at = -math.inf

    def __repr__(self) -> str:
        return f"<Breaker {self.state.name} {self.reason!r}>"

    @property
    def is_closed(self) -> bool:
        """Whether operations may use the disk."""
        return self.state is BreakerState.CLOSED

    @property
    def pause_seconds(self) -> float:
        """The time between the last opening of the breaker and the next probe."""
        return self._pause

    def take_probe(self, now: float) -> bool:
        """Return whether the caller must probe the disk now, with one operation.

        The caller then reports the result of this operation.
        """
        if self.state is not BreakerState.OPEN or now < self._retry_at:
            return False
        self.state = BreakerState.PROBING
        return True

    def note_answer(self, now: float) -> bool:
        """Record that the disk has answered; return whether this closes the breaker."""
        if self.state is BreakerState.CLOSED:
            if self._score:
                self._score = max(0.0, self._score - _ANSWER_SCORE)
            return False
        if self.state is BreakerState.OPEN:
            # The operation began before the breaker opened. The disk may work again, so probe soon.
            self._retry_at = min(self._retry_at, now)
            return False
        self.state = BreakerState.CLOSED
        self._score = 0.0
        self._empty_probes = 0
        self._closed_at = now
        return True

    def note_empty_probe(self, now: float) -> bool:
        """Record that the probe found nothing to read; return whether this closes the breaker.

        The next operation becomes the next probe.
        """
        self._empty_probes += 1
        if self._empty_probes >= _EMPTY_PROBES:
            return self.note_answer(now)
        self.state = BreakerState.OPEN
        self._retry_at = now
        return False

    def note_failure(self, now: float, reason: str, severity: Severity = Severity.SINGLE) -> bool:
        """Record a failed operation; return whether a closed breaker opens.

        `reason` completes the sentence "the cache on disk ...".
        """
        if self.state is BreakerState.OPEN:
            return False
        self._empty_probes = 0
        was_closed = self.is_closed
        self._score += severity.value
        if was_closed and self._score < _LIMIT:
            return False
        if was_closed and now - self._closed_at > _CALM_PAUSES * self._pause:
            self._pause = 0.0
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)
        self.state = BreakerState.OPEN
        self.reason = reason
        self._retry_at = now + self._pause
        return was_closed
