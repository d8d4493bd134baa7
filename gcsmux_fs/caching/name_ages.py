"""How old an answer is after a restart, whatever happened to the clock of the machine; sans-IO.

A kept answer has the *moment* of its request: the boot of the machine, the time since this boot
(CLOCK_BOOTTIME, which goes on while the machine sleeps), and the time of day.

1. An answer never counts as younger than it is, except as the last rule says.
2. Within one boot, the time since the boot gives the age. Nobody can set this clock.
3. After another boot, only the time of day is left. It counts if the kernel says that the clock is
   synchronised (`adjtimex`), because a machine without a battery for its clock starts with an old
   time. The answer is also at least as old as the boot.
4. If the clocks contradict the answer (it seems to come from the future), its age is unknown, and
   counts as `UNKNOWN_AGE_SECONDS`. A clock that jumped forward makes answers seem older than they
   are, which costs requests.
5. An invalidation never counts as older than it is. So if its age is unknown, it counts as old as
   the boot of the machine, and answers of earlier boots are not used.
6. One error cannot be seen: the clock was synchronised to a wrong, later time when the answer came,
   was corrected afterwards, and the machine has started again since.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["UNKNOWN_AGE_SECONDS", "Moment", "RequestMoments", "age_seconds", "least_age_seconds"]

UNKNOWN_AGE_SECONDS = 1e10
"""The age of an answer whose age is unknown: 300 years. It is finite, so an unlimited TTL accepts
the answer."""

_NS = 1_000_000_000
# Another process may write an answer after this process has read its clocks, for this long.
_CONCURRENT_NS = 10 * _NS
# The difference of two clocks that are read one after the other jitters. A sleep of the machine
# takes longer than this.
_JITTER_NS = 50_000_000


class Moment(NamedTuple):
    """A point in time.

    Attributes:
        boot: the id of the boot, 16 bytes.
        since_boot_ns: the time since this boot, including sleep.
        day_ns: the time of day, since the Unix epoch.
        is_synchronised: whether the clock for the time of day was synchronised.
    """

    boot: bytes
    since_boot_ns: int
    day_ns: int
    is_synchronised: bool = True

    def before(self, ns: int) -> Moment:
        """Return the moment `ns` nanoseconds earlier."""
        return self._replace(since_boot_ns=self.since_boot_ns - ns, day_ns=self.day_ns - ns)


def age_seconds(asked: Moment, now: Moment) -> float:
    """Return how old an answer is at least, in seconds."""
    by_day = now.day_ns - asked.day_ns
    if asked.boot == now.boot:
        age = now.since_boot_ns - asked.since_boot_ns
        if age < -_CONCURRENT_NS:
            return UNKNOWN_AGE_SECONDS
        age = max(age, 0)
    else:
        if by_day < 0 or not (asked.is_synchronised and now.is_synchronised):
            return UNKNOWN_AGE_SECONDS
        age = now.since_boot_ns
    return max(age, by_day) / _NS


def least_age_seconds(invalidated: Moment, now: Moment) -> float:
    """Return the lowest age that an invalidation may have, in seconds."""
    if invalidated.boot == now.boot:
        # The time of day may have jumped forward since.
        return (now.since_boot_ns - invalidated.since_boot_ns) / _NS
    age = age_seconds(invalidated, now)
    return now.since_boot_ns / _NS if age == UNKNOWN_AGE_SECONDS else age


class RequestMoments:
    """Converts times of the mount's clock, which stands still while the machine sleeps.

    A request that was sent before a sleep and answered after it must not lose the time of the
    sleep. So its moment is counted from the last reading of the clocks before the sleep.

    Args:
        clock: the time now on the mount's clock.
        now: the moment now.
    """

    def __init__(self, clock: float, now: Moment) -> None:
        # By how much the time since the boot is ahead of the mount's clock, from `_since` on and
        # before it.
        self._offset_ns = self._earlier_ns = now.since_boot_ns - round(clock * _NS)
        self._since = clock

    def moment(self, asked_at: float, clock: float, now: Moment) -> Moment:
        """Return the moment of a request that was sent at `asked_at`.

        `clock` is the time now on the mount's clock, and `now` the moment now.
        """
        offset = now.since_boot_ns - round(clock * _NS)
        if offset > self._offset_ns + _JITTER_NS:
            self._earlier_ns, self._offset_ns, self._since = self._offset_ns, offset, clock
        shift = round((clock - asked_at) * _NS)
        if asked_at < self._since:
            shift += self._offset_ns - self._earlier_ns
        return now.before(shift)
