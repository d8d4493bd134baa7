"""Decides, without I/O, when the next access token is fetched, and which calls wait for it.

Invariants:

1. A call waits for a fetch only if no token can be used: at the start, after the token has expired,
   and after the service has refused the token.
2. While calls use a token, the next token is fetched before the token expires, and the calls go on
   with the old token until the new token is there. So no READ waits for the token server.
3. An idle mount fetches nothing. If no call needed a token since the last fetch, the next fetch
   waits for a call.
4. A refused token is dropped at most once in `_DROP_INTERVAL_SECONDS`. Without this limit, a
   service that refuses every token would cause a request to the token server for each call.
5. After failed fetches, the pause before the next fetch grows. A call that needs a token during the
   pause fails with the error of the last fetch.

All times are seconds of one clock that goes on while the machine sleeps.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING

from gcsmux_fs.model.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

__all__ = ["TokenDecision", "TokenSchedule"]

# Minimum time between two drops of refused tokens.
_DROP_INTERVAL_SECONDS = 10.0

# A token is renewed when a quarter of its lifetime is left, but at most 15 minutes before its end.
# With the usual lifetime of an hour, renewal can fail for 15 minutes before a reader notices. Up to
# half of this time is added at random, so that machines that started together do not renew
# together.
_LEAD_FRACTION = 0.25
_MAX_LEAD_SECONDS = 900.0
_JITTER = 0.5

# A token counts as expired this long before its end, so that it does not expire on its way to the
# service.
_MARGIN_FRACTION = 0.1
_MAX_MARGIN_SECONDS = 10.0

# Pauses after failed renewals, while the old token can still be used.
_RENEWAL_BACKOFF = Backoff(1.0, 60.0)
# Pauses after failed fetches without a usable token. They are short, because readers wait. At most
# two requests in ten seconds are no burden for a token server.
_FETCH_BACKOFF = Backoff(0.5, 5.0)
# Minimum time between two fetches that return the same token. The metadata server of Compute Engine
# returns the same token until five minutes before its end.
_MIN_REPEAT_SECONDS = 1.0


class TokenDecision(enum.Enum):
    """What a call does: use the current token, wait for the fetch, or fail with the last error."""

    USE = enum.auto()
    WAIT = enum.auto()
    FAIL = enum.auto()


class TokenSchedule:
    """The lifetime of the current token, and the time of the next fetch.

    Attributes:
        failures: number of failed fetches since the last token was fetched.
    """

    __slots__ = (
        "_next_drop",
        "_random",
        "_renew_at",
        "_retry_at",
        "_usable_until",
        "_used",
        "_wanted",
        "failures",
    )

    def __init__(self, random: Random, now: float) -> None:
        self.failures = 0
        self._random = random
        self._usable_until = -math.inf
        self._renew_at = math.inf
        self._retry_at = -math.inf
        self._next_drop = now
        # Whether a call has needed a token since the last fetch.
        self._used = False
        # Whether calls wait for a token.
        self._wanted = False

    def use(self, now: float, *, refused: bool) -> TokenDecision:
        """Decide what a call does; `refused`: whether the service has refused the current token."""
        self._used = True
        if refused and now >= self._next_drop:
            self._next_drop = now + _DROP_INTERVAL_SECONDS
            self._usable_until = -math.inf
        if now < self._usable_until:
            return TokenDecision.USE
        if now < self._retry_at and not self._wanted:
            return TokenDecision.FAIL
        self._wanted = True
        return TokenDecision.WAIT

    def due(self, now: float, *, busy: bool) -> float:
        """Return when to fetch; infinity if a call must come first. A past time means now.

        `busy`: whether calls are open that may need a token soon, although they used no token since
        the last fetch.
        """
        if self._wanted:
            return now
        if now >= self._renew_at and not (self._used or busy):
            return math.inf
        return max(self._renew_at, self._retry_at)

    def renew_soon(self, now: float) -> None:
        """Fetch at the next opportunity, because the source of the tokens has changed."""
        self._renew_at = now
        self._retry_at = -math.inf
        self._used = True

    def fetched(self, now: float, lifetime: float, *, same: bool) -> None:
        """Note a fetched token. `same`: whether it is the token that was in use before.

        `lifetime`: seconds until the token expires; infinity if the end is unknown.
        """
        self.failures = 0
        self._wanted = self._used = False
        self._retry_at = -math.inf
        margin = min(lifetime * _MARGIN_FRACTION, _MAX_MARGIN_SECONDS)
        self._usable_until = now + lifetime - margin if lifetime < math.inf else math.inf
        if lifetime == math.inf:
            self._renew_at = math.inf
        elif same:
            self._renew_at = now + max(lifetime / 2, _MIN_REPEAT_SECONDS)
            # The token was renewed because it was used, and the renewal has changed nothing.
            self._used = True
        else:
            lead = min(lifetime * _LEAD_FRACTION, _MAX_LEAD_SECONDS)
            self._renew_at = now + lifetime - lead * self._random.uniform(1.0, 1.0 + _JITTER)

    def failed(self, now: float) -> None:
        """Note a failed fetch."""
        backoff = _RENEWAL_BACKOFF if now < self._usable_until else _FETCH_BACKOFF
        self._retry_at = now + backoff.delay(self.failures, self._random)
        self.failures += 1
        self._wanted = self._used = False
