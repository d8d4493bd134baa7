"""Calculates the delay before a failed stream or unary call is tried again; sans-IO.

The delay is an exponential backoff with jitter, or the pause that the server requests, if the pause
is longer. If the service refuses the token of a call, the token is renewed, and the call is tried
again once, without delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["MAX_REQUESTED_PAUSE_SECONDS", "Backoff", "TokenRenewal", "requested_pause"]

MAX_REQUESTED_PAUSE_SECONDS = 30.0
"""Upper limit of a pause that a server requests; a longer pause is shortened. The limit is a
quarter of the default read timeout (120 s), so that a reader still gets several attempts."""

# Maximum number of times that the bound of a delay is doubled. Without this limit, the power of two
# would overflow. A factor of 2**32 already exceeds every useful maximum.
_MAX_DOUBLINGS = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """An exponential backoff with jitter, in seconds.

    Attributes:
        first_seconds: upper bound of the first delay. The bound doubles with each retry.
        max_seconds: upper bound of every delay.
    """

    first_seconds: float
    max_seconds: float

    def delay(self, retries: int, random: Random) -> float:
        """Return the next delay: a random time between half its upper bound and its upper bound.

        `retries`: the number of earlier delays.
        """
        doubled = self.first_seconds * 2.0 ** min(retries, _MAX_DOUBLINGS)
        bound = min(self.max_seconds, doubled)
        return random.uniform(bound / 2, bound)


def requested_pause(seconds: float, random: Random) -> float:
    """Return the delay for a pause that a server requests (google.rpc.RetryInfo); 0 for no pause.

    Up to a quarter of the pause is added at random. Otherwise all clients that the server refused
    at the same moment would return at the same moment.
    """
    if not seconds:
        return 0.0
    return min(seconds, MAX_REQUESTED_PAUSE_SECONDS) * random.uniform(1.0, 1.25)


@dataclass(slots=True)
class TokenRenewal:
    """Permits one immediate retry after the service has refused a token.

    The retry uses a renewed token. If the service refuses the renewed token too, another renewal
    would not help.
    """

    used: bool = False

    def permit(self) -> bool:
        """Return whether a call with a refused token may be retried: True the first time only."""
        first = not self.used
        self.used = True
        return first
