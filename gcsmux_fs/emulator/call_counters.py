"""Counters of the emulator: calls, requested ranges, bytes of content, and faults."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

__all__ = ["CallCounters"]


@dataclass(slots=True)
class CallCounters:
    """Counts since the start of the emulator or since the last reset.

    - `requests`: number of calls, by method.
    - `ranges`: number of ranges requested by BidiReadObject and ReadObject.
    - `bytes_asked`: number of bytes in the requested ranges. Each range is counted only up to the
      end of its object.
    - `bytes_sent`: number of bytes of content sent.
    - `faults`: how often each rule has fired, by rule name.
    - `tokens`: number of calls by access token, if the emulator checks tokens.
    - `streams_open`: number of BidiReadObject calls that are open now. `reset` does not change it.
    """

    requests: Counter[str] = field(default_factory=Counter)
    ranges: int = 0
    bytes_asked: int = 0
    bytes_sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    streams_open: int = 0

    def reset(self) -> None:
        """Set all counters to 0, except `streams_open`."""
        self.requests.clear()
        self.faults.clear()
        self.tokens.clear()
        self.ranges = self.bytes_asked = self.bytes_sent = 0

    def to_json(self) -> bytes:
        """Return the counters as a JSON object."""
        # asdict() copies a Counter with Counter(pairs), which counts the pairs and loses the
        # values. The original Counters therefore replace these copies.
        counters = {"requests": self.requests, "faults": self.faults, "tokens": self.tokens}
        return json.dumps({**asdict(self), **counters}).encode()
