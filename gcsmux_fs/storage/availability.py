"""Whether BidiReadObject can be had right now: a pure decision.

Three things tell that it cannot, each only on a call that had no answer at all:

- UNIMPLEMENTED: the server does not know the method. gRPC says the same of a front end that
  answers with HTTP status 404.
- An HTTP status that refuses the kind of request for good (see `_REFUSING_HTTP`). gRPC makes
  UNKNOWN of it, and keeps the number in the message alone.
- Silence for `STREAM_SILENCE_SECONDS` and more, while no other stream was heard either: a proxy
  that collects a request to its end before it hands it on never hands on a stream, whose end comes
  last. A server that is away looks alike, so that streams are tried again at the very next
  opportunity, and not after `RETRY_SECONDS` as otherwise.

Everything else (refused connections, resets, 502 to 504 in haste, missing permissions) says nothing
of the method, and other calls would fare no better: it is left to the rules for lost streams.

Streams can be had again when one is answered, be it by a redirect, which only the method gives.
Until then one at a time is tried, while nobody waits for it.

Invariants:
1. A probe is due at most once in `RETRY_SECONDS`, and only while streams are missing.
2. `losses` counts each change from usable to missing once, however many calls tell of it.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.storage.ports import StreamEnd

__all__ = ["RETRY_SECONDS", "STREAM_SILENCE_SECONDS", "BidiAvailability"]

# A new release of a server or a proxy takes minutes to roll out. Trying costs one small request
# that no reader waits for, and among servers of which only some know the method two lines of log.
RETRY_SECONDS = 120.0

# The first response waits for nothing but one look at the object; a front end under load has been
# seen to take seconds for that. Well below the patience of whoever waits for a stream to open.
STREAM_SILENCE_SECONDS = 20.0

# How gRPC's core words an answer that is not gRPC's.
_HTTP_STATUS = re.compile(r"http2 header with status: (\d+)")

# Method not allowed, request timeout (for a request that does not end), length required,
# unsupported media type, not implemented, HTTP version not supported.
_REFUSING_HTTP = frozenset({405, 408, 411, 415, 501, 505})

# What silence ends in where it is not we who lose patience.
_ENDS_OF_SILENCE = frozenset(
    {StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE}
)


class BidiAvailability:
    """See the module's text."""

    __slots__ = ("_retry_at", "losses", "probes", "why")

    def __init__(self) -> None:
        self.losses = 0
        self.probes = 0
        #: Why streams are missing; empty while they are not.
        self.why = ""
        self._retry_at = math.inf

    def __repr__(self) -> str:
        return f"<BidiAvailability {self.why or 'usable'}, {self.losses} losses>"

    @property
    def missing(self) -> bool:
        """Whether ranges have to be read by other means."""
        return bool(self.why)

    def answered(self) -> None:
        """Take note that a stream was answered."""
        self.why = ""

    def ended_unanswered(self, end: StreamEnd, silence_seconds: float, now: float) -> bool:
        """Take note that a stream ended without an answer; return whether streams are no use to it.

        `silence_seconds`: for how long no stream was heard, this one included.
        """
        if end.redirect is not None:
            self.answered()
            return False
        if _refuses_the_method(end):
            self._lose(f"{end.code.name}: {end.message}", now + RETRY_SECONDS)
            return True
        return end.code in _ENDS_OF_SILENCE and self.given_up_unanswered(silence_seconds, now)

    def given_up_unanswered(self, silence_seconds: float, now: float) -> bool:
        """Take note that nobody waits for a stream's answer any more; return as above."""
        if silence_seconds < STREAM_SILENCE_SECONDS:
            return False
        self._lose(f"no answer for {silence_seconds:.0f} s", now)
        return True

    def probe_is_due(self, now: float) -> bool:
        """Tell whether a stream is to be tried now; it counts as tried then."""
        if not self.missing or now < self._retry_at:
            return False
        self._retry_at = now + RETRY_SECONDS
        self.probes += 1
        return True

    def _lose(self, why: str, retry_at: float) -> None:
        if not self.missing:
            self.why = why
            self.losses += 1
            self._retry_at = retry_at


def _refuses_the_method(end: StreamEnd) -> bool:
    if end.code is StatusCode.UNIMPLEMENTED:
        return True
    found = _HTTP_STATUS.search(end.message) if end.code is StatusCode.UNKNOWN else None
    return found is not None and int(found[1]) in _REFUSING_HTTP
