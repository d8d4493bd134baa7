"""Decides, without I/O, whether the service offers BidiReadObject now.

BidiReadObject counts as missing if a call got no response and one of three things happened:

- UNIMPLEMENTED: the server does not offer the method. gRPC also reports UNIMPLEMENTED when a front
  end answers with HTTP status 404.
- An HTTP status that refuses this kind of request permanently (see `_REFUSING_HTTP`). gRPC reports
  UNKNOWN, and only the text of its error message shows the HTTP status.
- No response for `STREAM_SILENCE_SECONDS`, and no response on any other stream in that time. A
  proxy that forwards a request only when the request is complete never forwards a stream, because
  a stream stays open. A server that is down looks the same. So in this case the next read tries a
  stream at once, without waiting for `RETRY_SECONDS`.

All other failures (refused connections, resets, quick 502 to 504, missing permissions) do not
depend on the method: a ReadObject call would fail as well. The retry rules of `mux` handle these
failures.

BidiReadObject is available again when a stream gets a response. A redirect counts as a response,
because only BidiReadObject redirects. Until a stream gets a response, one stream at a time is
opened as a test (a probe), and no reader waits for the probe.

Invariants:
1. A probe is due at most once in `RETRY_SECONDS`, and only while BidiReadObject is missing.
2. `losses` counts each change from available to missing once, however many calls report it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = ["RETRY_SECONDS", "STREAM_SILENCE_SECONDS", "BidiAvailability"]

RETRY_SECONDS = 120.0
"""Minimum time between two probes. More frequent probes would help little, because a new release of
a server or a proxy takes minutes to roll out. A probe costs one small request, and also two log
lines if only some servers offer BidiReadObject."""

STREAM_SILENCE_SECONDS = 20.0
"""Time without a response after which BidiReadObject counts as missing. Before the first response
of a stream, the service only looks the object up. The lookup can take seconds on a loaded front
end. The value is well below the time for which the mux waits for a stream to open
(`RetryPolicy.open_seconds`)."""

# Part of the error message of the gRPC core for an HTTP response that is not a gRPC response.
_HTTP_STATUS = re.compile(r"http2 header with status: (\d+)")

# HTTP statuses that refuse streams permanently: method not allowed, request timeout (the request
# stays open too long), length required, unsupported media type, not implemented, HTTP version not
# supported.
_REFUSING_HTTP = frozenset({405, 408, 411, 415, 501, 505})

# Statuses with which a stream can end when a server or a proxy ends the stream before any response.
_ENDS_OF_SILENCE = frozenset(
    {StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE}
)


class BidiAvailability:
    """Whether BidiReadObject is available, and when the next probe is due."""

    __slots__ = ("_retry_at", "losses", "probes", "reason")

    def __init__(self) -> None:
        #: Number of changes from available to missing.
        self.losses = 0
        #: Number of probes that `probe_is_due` has allowed.
        self.probes = 0
        #: Why BidiReadObject is missing; empty while it is available.
        self.reason = ""
        self._retry_at = math.inf

    def __repr__(self) -> str:
        return f"<BidiAvailability {self.reason or 'available'}, {self.losses} losses>"

    @property
    def missing(self) -> bool:
        """Whether BidiReadObject is missing, so that ReadObject has to read the ranges."""
        return bool(self.reason)

    def note_response(self) -> None:
        """Record that a stream got a response, which shows that BidiReadObject is available."""
        self.reason = ""

    def note_end(self, end: StreamEnd, silence_seconds: float, now: float) -> bool:
        """Record the end of a stream that had no response.

        Args:
            end: the end of the stream, with its status.
            silence_seconds: for how long no stream has got a response.
            now: the current time in seconds.

        Returns:
            Whether ReadObject should serve the ranges of this stream.
        """
        if end.redirect is not None:
            self.note_response()
            return False
        if _refuses_the_method(end):
            self._lose(f"{end.code.name}: {end.message}", now + RETRY_SECONDS)
            return True
        return end.code in _ENDS_OF_SILENCE and self.note_cancel(silence_seconds, now)

    def note_cancel(self, silence_seconds: float, now: float) -> bool:
        """Record that a stream was cancelled before any response.

        Return whether BidiReadObject counts as missing because no stream got a response for
        `silence_seconds`.
        """
        if silence_seconds < STREAM_SILENCE_SECONDS:
            return False
        self._lose(f"no response for {silence_seconds:.0f} s", now)
        return True

    def probe_is_due(self, now: float) -> bool:
        """Return whether to open a probe now. If so, the next probe is due in `RETRY_SECONDS`."""
        if not self.missing or now < self._retry_at:
            return False
        self._retry_at = now + RETRY_SECONDS
        self.probes += 1
        return True

    def declare_metrics(self, registry: Registry) -> None:
        """Declare `bidi_missing`, `bidi_losses` and `bidi_probes`."""
        registry.gauge(
            "bidi_missing",
            "methods",
            "1 while BidiReadObject is missing and ReadObject replaces it.",
            lambda: int(self.missing),
        )
        registry.counter(
            "bidi_losses",
            "losses",
            "Number of times that BidiReadObject went missing.",
            lambda: self.losses,
        )
        registry.counter(
            "bidi_probes",
            "streams",
            "Streams opened to find out whether BidiReadObject is available again.",
            lambda: self.probes,
        )

    def _lose(self, reason: str, retry_at: float) -> None:
        if not self.missing:
            self.reason = reason
            self.losses += 1
            self._retry_at = retry_at


def _refuses_the_method(end: StreamEnd) -> bool:
    if end.code is StatusCode.UNIMPLEMENTED:
        return True
    match = _HTTP_STATUS.search(end.message) if end.code is StatusCode.UNKNOWN else None
    return match is not None and int(match[1]) in _REFUSING_HTTP
