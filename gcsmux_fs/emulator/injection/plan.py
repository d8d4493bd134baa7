"""Which fault fires when: the rules in force, applied to calls and connections.

Sans-IO: what happens comes in, faults to act on go out. There is no clock here, and the only
randomness is that of each rule's own generator, seeded by its order.

Invariants:
1. No rule fires more often than it is ordered to, whatever calls share it.
2. A rule of `content` or `traffic` has one opportunity per call or connection, when it gets there.
3. A rule of `idle` has one opportunity for each time that a stream falls idle.
4. Nothing follows a fault that ends its call or connection.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import (
    ChunkTooLong,
    ChunkWithoutEnd,
    Delay,
    ExpireToken,
    InjectionPoint,
    Redirect,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from gcsmux_fs.emulator.faults.catalogue import Fault
    from gcsmux_fs.emulator.injection.rules import Faults, Rule

__all__ = ["Call", "FaultBook", "Plan"]


@dataclass(frozen=True, slots=True)
class Call:
    """What rules look at: the first message of a call, and what its headers say."""

    method: str
    bucket: str = ""
    object: str = ""
    resumed: bool = False
    routing_token: str = ""
    authorization: str = ""


class _Standing:
    """A rule in force: how often it may still fire, and which tokens it has expired."""

    def __init__(self, rule: Rule, seed: str, fired: Counter[str]) -> None:
        self.rule = rule
        self.expired: set[str] = set()
        self._left = rule.times
        self._to_skip = rule.skip
        self._random = random.Random(seed)
        self._fired = fired

    @property
    def live(self) -> bool:
        """Whether it can still fire."""
        return self._left != 0 or bool(self.expired)

    def meets(self, call: Call) -> bool:
        """Tell whether the rule is of such calls."""
        rule = self.rule
        return (
            fnmatchcase(call.method, rule.method)
            and fnmatchcase(call.object, rule.object)
            and rule.resumed in (None, call.resumed)
        )

    def offer(self) -> Fault | None:
        """Decide at one opportunity; return the fault if the rule fires."""
        if self._left == 0:
            return None
        if self._to_skip:
            self._to_skip -= 1
            return None
        if self._random.random() >= self.rule.probability:
            return None
        if self._left > 0:
            self._left -= 1
        return self.fire()

    def fire(self) -> Fault:
        """Count the rule as fired; return its fault, with its randomness settled."""
        self._fired[self.rule.counted_as] += 1
        fault = self.rule.fault
        if isinstance(fault, Delay) and fault.jitter_seconds:
            return Delay(fault.seconds + self._random.uniform(0.0, fault.jitter_seconds))
        return fault


class FaultBook:
    """All rules in force; `fired` counts by name how often each fires."""

    def __init__(self, faults: Faults, fired: Counter[str]) -> None:
        self.faults = faults
        standing = [
            _Standing(rule, f"{faults.seed}/{position}", fired)
            for position, rule in enumerate(faults.rules)
        ]
        self._of_calls = [one for one in standing if not one.rule.phase.of_relay]
        self._of_relay = [one for one in standing if one.rule.phase.of_relay]

    @property
    def armed(self) -> bool:
        """Whether anything can still happen to calls."""
        # The first half spares what is asked for every message the second.
        return bool(self._of_calls) and any(one.live for one in self._of_calls)

    def plan(self, call: Call) -> Plan | None:
        """Return what may befall a call; None if nothing will."""
        standing = [one for one in self._of_calls if one.live and one.meets(call)]
        return Plan(standing, call, InjectionPoint.CONTENT) if standing else None

    def plan_connection(self) -> Plan:
        """Return what may befall a connection of the relay."""
        return Plan(self._of_relay, Call(""), InjectionPoint.TRAFFIC)

    def now(self) -> list[Fault]:
        """Return what befalls the relay at once, because it was ordered."""
        return Plan(self._of_relay, Call(""), InjectionPoint.TRAFFIC).at(InjectionPoint.NOW)


class Plan:
    """What may befall one call or connection, which tells it how it is getting on."""

    def __init__(self, standing: list[_Standing], call: Call, progress: InjectionPoint) -> None:
        self._standing = standing
        self._call = call
        self._progress = progress
        self._sent = 0
        self._ranges = 0
        self._chunks = 0
        self._reached: set[int] = set()
        self._idled: set[int] = set()

    @property
    def sees_content(self) -> bool:
        """Whether anything depends on the content that is sent, or changes it."""
        phases = (self._progress, InjectionPoint.CHUNK, InjectionPoint.ANSWER)
        return any(one.rule.phase in phases and one.live for one in self._standing)

    def at(self, phase: InjectionPoint) -> list[Fault]:
        """Return what happens as the call reaches a phase that it comes to once."""
        return self._fire(phase, lambda _: True)

    def room(self) -> int | None:
        """Return how much may be sent before something happens; None: anything."""
        rooms = [
            max(0, one.rule.after_bytes - self._sent)
            for position, one in self._awaited(self._progress)
            if position not in self._reached
        ]
        return min(rooms, default=None)

    def advance(self, size: int) -> list[Fault]:
        """Take note of what was sent; return what happens now."""
        self._sent += size
        due = {
            position
            for position, one in self._awaited(self._progress)
            if one.rule.after_bytes <= self._sent
        } - self._reached
        self._reached |= due
        return self._fire(self._progress, lambda position: position in due)

    def busy(self) -> None:
        """Take note that the stream is not idle."""
        self._idled.clear()

    def idle_until(self) -> float | None:
        """Return after how long an idle stream comes to a rule; None: never."""
        instants = [
            one.rule.after_seconds
            for position, one in self._awaited(InjectionPoint.IDLE)
            if position not in self._idled
        ]
        return min(instants, default=None)

    def idle(self, seconds: float) -> list[Fault]:
        """Return what happens to a stream that has been idle for so long."""
        due = {
            position
            for position, one in self._awaited(InjectionPoint.IDLE)
            if one.rule.after_seconds <= seconds
        } - self._idled
        self._idled |= due
        return self._fire(InjectionPoint.IDLE, lambda position: position in due)

    def range(self, offset: int, length: int) -> list[Fault]:
        """Return what happens to a range that is asked for."""
        self._ranges += 1
        number = self._ranges
        return self._fire(
            InjectionPoint.RANGE,
            lambda position: _holds(self._standing[position].rule, number, offset, length),
        )

    def chunk(self, offset: int, length: int, *, last: bool) -> list[Fault]:
        """Return what happens to a chunk, which may be the last of its range."""
        self._chunks += 1
        number = self._chunks

        def concerned(position: int) -> bool:
            rule = self._standing[position].rule
            if isinstance(rule.fault, ChunkTooLong | ChunkWithoutEnd) and not last:
                return False
            return _holds(rule, number, offset, length)

        return self._fire(InjectionPoint.CHUNK, concerned)

    def _awaited(self, phase: InjectionPoint) -> list[tuple[int, _Standing]]:
        return [
            (position, one)
            for position, one in enumerate(self._standing)
            if one.rule.phase is phase and one.live
        ]

    def _fire(self, phase: InjectionPoint, concerned: Callable[[int], bool]) -> list[Fault]:
        """Offer an opportunity to each rule that is concerned, until one ends it all."""
        fired: list[Fault] = []
        for position, one in self._awaited(phase):
            fault = self._offer(one) if concerned(position) else None
            if fault is not None:
                fired.append(fault)
                if fault.ends:
                    break
        return fired

    def _offer(self, one: _Standing) -> Fault | None:
        fault = one.rule.fault
        if isinstance(fault, Redirect):
            followed = self._call.routing_token == fault.token
            return None if followed and not fault.loop else one.offer()
        if isinstance(fault, ExpireToken):
            if self._call.authorization in one.expired:
                return one.fire()
            if (expired := one.offer()) is not None:
                one.expired.add(self._call.authorization)
            return expired
        return one.offer()


def _holds(rule: Rule, number: int, offset: int, length: int) -> bool:
    """Tell whether a rule is of the range or chunk of that number and place."""
    return rule.nth in (0, number) and (
        rule.covers is None or offset <= rule.covers < offset + length
    )
