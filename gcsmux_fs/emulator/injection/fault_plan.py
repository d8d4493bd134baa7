"""Decides which fault happens when: applies the active rules to calls and connections.

This module does no I/O: the caller reports events and times, and gets the faults to cause. The only
randomness is one random generator per rule, with the seed from `Faults`.

Invariants:
1. No rule fires more often than `times`, no matter how many calls the rule matches.
2. A rule at `content` or `traffic` has one opportunity per call or connection: when the call or
   connection has sent `after_bytes` bytes.
3. A rule at `idle` has one opportunity each time a stream becomes idle.
4. No fault follows a terminal fault of the same call or connection.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import (
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

    from gcsmux_fs.emulator.faults import Fault
    from gcsmux_fs.emulator.injection.rules import Faults, Rule

__all__ = ["ActiveRules", "CallAttributes", "FaultPlan"]


@dataclass(frozen=True, slots=True)
class CallAttributes:
    """The attributes of a call that rules can match. For a listing, `object` is the prefix."""

    method: str
    bucket: str = ""
    object: str = ""
    resumed: bool = False
    routing_token: str = ""
    authorization: str = ""


class _ActiveRule:
    """An active rule, and how often this rule may still fire.

    `expired_tokens`: the tokens that an ExpireToken fault of this rule treats as expired.
    """

    def __init__(self, rule: Rule, seed: str, fired: Counter[str]) -> None:
        self.rule = rule
        self.expired_tokens: set[str] = set()
        self._times_left = rule.times
        self._skips_left = rule.skip
        self._random = random.Random(seed)
        self._fired = fired

    @property
    def can_fire(self) -> bool:
        """Whether the rule can still fire."""
        return self._times_left != 0 or bool(self.expired_tokens)

    def matches(self, call: CallAttributes) -> bool:
        """Return whether the rule applies to the call."""
        rule = self.rule
        return (
            fnmatchcase(call.method, rule.method)
            and fnmatchcase(call.object, rule.object)
            and rule.resumed in (None, call.resumed)
        )

    def offer(self) -> Fault | None:
        """Use one opportunity of the rule. Return its fault if the rule fires, otherwise None."""
        if self._times_left == 0:
            return None
        if self._skips_left:
            self._skips_left -= 1
            return None
        if self._random.random() >= self.rule.probability:
            return None
        if self._times_left > 0:
            self._times_left -= 1
        return self.fire()

    def fire(self) -> Fault:
        """Count that the rule fires, and return its fault. A Delay includes its random jitter."""
        self._fired[self.rule.counted_as] += 1
        fault = self.rule.fault
        if isinstance(fault, Delay) and fault.jitter_seconds:
            return Delay(fault.seconds + self._random.uniform(0.0, fault.jitter_seconds))
        return fault


class ActiveRules:
    """All active rules. `fired` counts how often each rule fires, by rule name."""

    def __init__(self, faults: Faults, fired: Counter[str]) -> None:
        self.faults = faults
        active_rules = [
            _ActiveRule(rule, f"{faults.seed}/{position}", fired)
            for position, rule in enumerate(faults.rules)
        ]
        self._call_rules = [
            active for active in active_rules if not active.rule.point.of_connections
        ]
        self._connection_rules = [
            active for active in active_rules if active.rule.point.of_connections
        ]

    @property
    def armed(self) -> bool:
        """Whether a rule for calls can still fire."""
        # This property is read for every message. Without rules it must be fast.
        return bool(self._call_rules) and any(active.can_fire for active in self._call_rules)

    def plan(self, call: CallAttributes) -> FaultPlan | None:
        """Return the fault plan for a call; None if no rule matches the call."""
        matching = [
            active for active in self._call_rules if active.can_fire and active.matches(call)
        ]
        return FaultPlan(matching, call, InjectionPoint.CONTENT) if matching else None

    def plan_connection(self) -> FaultPlan:
        """Return the fault plan for a connection of the TCP proxy."""
        return FaultPlan(self._connection_rules, CallAttributes(""), InjectionPoint.TRAFFIC)

    def now(self) -> list[Fault]:
        """Return the faults at the injection point `now`.

        Call this once, when the rules become active.
        """
        return self.plan_connection().at(InjectionPoint.NOW)


class FaultPlan:
    """Chooses the faults of one call or connection.

    The code that serves the call or connection reports each event to the plan. `progress` is the
    injection point for rules with `after_bytes`: `content` for a call, `traffic` for a connection.
    """

    def __init__(
        self, rules: list[_ActiveRule], call: CallAttributes, progress: InjectionPoint
    ) -> None:
        self._rules = rules
        self._call = call
        self._progress = progress
        self._sent = 0
        self._ranges = 0
        self._chunks = 0
        # Positions in `_rules` of the rules that have had their opportunity: `_reached` for the
        # rules at the injection point `progress`, `_idled` for the rules at `idle`.
        self._reached: set[int] = set()
        self._idled: set[int] = set()

    @property
    def sees_content(self) -> bool:
        """Whether a rule that can still fire counts sent bytes or changes responses."""
        points = (self._progress, InjectionPoint.CHUNK, InjectionPoint.ANSWER)
        return any(active.rule.point in points and active.can_fire for active in self._rules)

    def at(self, point: InjectionPoint) -> list[Fault]:
        """Return the faults at an injection point where each event is one opportunity."""
        return self._fire(point, lambda _: True)

    def room(self) -> int | None:
        """Return how many bytes may be sent before the next fault; None without such a fault."""
        rooms = [
            max(0, active.rule.after_bytes - self._sent)
            for position, active in self._rules_at(self._progress)
            if position not in self._reached
        ]
        return min(rooms, default=None)

    def advance(self, size: int) -> list[Fault]:
        """Count `size` more sent bytes. Return the faults that are now due."""
        self._sent += size
        due = {
            position
            for position, active in self._rules_at(self._progress)
            if active.rule.after_bytes <= self._sent
        } - self._reached
        self._reached |= due
        return self._fire(self._progress, lambda position: position in due)

    def busy(self) -> None:
        """End the idle time of the stream. In the next idle time, `idle` rules can fire again."""
        self._idled.clear()

    def idle_until(self) -> float | None:
        """Return after how many idle seconds the next rule is due; None without such a rule."""
        due_seconds = [
            active.rule.after_seconds
            for position, active in self._rules_at(InjectionPoint.IDLE)
            if position not in self._idled
        ]
        return min(due_seconds, default=None)

    def idle(self, seconds: float) -> list[Fault]:
        """Return the faults that are due because the stream has been idle for `seconds`."""
        due = {
            position
            for position, active in self._rules_at(InjectionPoint.IDLE)
            if active.rule.after_seconds <= seconds
        } - self._idled
        self._idled |= due
        return self._fire(InjectionPoint.IDLE, lambda position: position in due)

    def range(self, offset: int, length: int) -> list[Fault]:
        """Return the faults of the next requested range."""
        self._ranges += 1
        number = self._ranges
        return self._fire(
            InjectionPoint.RANGE,
            lambda position: _selects(self._rules[position].rule, number, offset, length),
        )

    def chunk(self, offset: int, length: int, *, last: bool) -> list[Fault]:
        """Return the faults of the next chunk. `last`: the chunk ends its range."""
        self._chunks += 1
        number = self._chunks

        def applies(position: int) -> bool:
            rule = self._rules[position].rule
            if isinstance(rule.fault, ChunkTooLong | ChunkWithoutEnd) and not last:
                return False
            return _selects(rule, number, offset, length)

        return self._fire(InjectionPoint.CHUNK, applies)

    def _rules_at(self, point: InjectionPoint) -> list[tuple[int, _ActiveRule]]:
        return [
            (position, active)
            for position, active in enumerate(self._rules)
            if active.rule.point is point and active.can_fire
        ]

    def _fire(self, point: InjectionPoint, applies: Callable[[int], bool]) -> list[Fault]:
        """Give each rule that applies one opportunity. Stop after the first terminal fault."""
        fired: list[Fault] = []
        for position, active in self._rules_at(point):
            fault = self._offer(active) if applies(position) else None
            if fault is not None:
                fired.append(fault)
                if fault.terminal:
                    break
        return fired

    def _offer(self, active: _ActiveRule) -> Fault | None:
        fault = active.rule.fault
        if isinstance(fault, Redirect):
            followed = self._call.routing_token == fault.token
            return None if followed and not fault.loop else active.offer()
        if isinstance(fault, ExpireToken):
            if self._call.authorization in active.expired_tokens:
                return active.fire()
            if (expired := active.offer()) is not None:
                active.expired_tokens.add(self._call.authorization)
            return expired
        return active.offer()


def _selects(rule: Rule, number: int, offset: int, length: int) -> bool:
    """Return whether `nth` and `covers` of a rule select the range or chunk with this number."""
    return rule.nth in (0, number) and (
        rule.covers is None or offset <= rule.covers < offset + length
    )
