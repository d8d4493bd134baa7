"""Counts the calls to the service by method and status, and detects an unreachable service.

The service is *unreachable* while calls end without an answer of the service: UNAVAILABLE (no
connection, or a front end that refuses), or DEADLINE_EXCEEDED. Every other status is an answer,
also NOT_FOUND or PERMISSION_DENIED. Calls that this client cancels say nothing about the service.

A call counts when it ends. So a stream, which may be open for hours, also counts when it ends.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["RequestOutcomes"]

_NO_ANSWER = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED})


class RequestOutcomes:
    """The ends of all calls of one mount.

    Only the trio thread may call `note`. Any thread may read the metrics and `outage_seconds`.

    Args:
        messages: returns the number of messages that all streams have received. While the number
            grows, the service is reachable, even if no stream ends.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        messages: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.messages = messages
        self._clock = clock
        self._counts: dict[tuple[str, ...], int] = {}
        self._answers = 0
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._messages_before = 0

    def note(self, method: str, code: StatusCode) -> None:
        """Count the end of a call."""
        key = method, code.name
        self._counts[key] = self._counts.get(key, 0) + 1
        if code in _NO_ANSWER:
            self._failed_at = self._clock()
            if self._failing_since is None or self.messages() != self._messages_before:
                self._failing_since = self._failed_at
                self._messages_before = self.messages()
        elif code is not StatusCode.CANCELLED:
            self._answers += 1
            self._failing_since = None

    def signs(self) -> int:
        """Return a number that grows with each answer of the service."""
        return self._answers + self.messages()

    def outage_seconds(self, silence_seconds: float) -> float:
        """Return for how long all calls have failed; 0 if the service has answered since then.

        The result is 0 as well if no call has failed in the last `silence_seconds`: nothing is
        known about the service then, and the next call may succeed.
        """
        since = self._failing_since
        if since is None or self.messages() != self._messages_before:
            return 0.0
        now = self._clock()
        return now - since if now - self._failed_at <= silence_seconds else 0.0

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the counter `requests` and the gauge `gcs_outage`."""
        registry.family(
            "requests",
            "requests",
            "Calls to the service that have ended, by gRPC method and status code.",
            ("method", "code"),
            lambda: self._counts,
        )
        registry.gauge(
            "gcs_outage",
            "seconds",
            "Time for which all calls to the service have failed.",
            lambda: self.outage_seconds(math.inf),
        )
