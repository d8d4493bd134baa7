"""Cancel a scenario at every possible instant, one run for each instant.

Theory of operation: code between two awaits is atomic. An instant is the start or the end of one
step of trio's scheduler, of any task. At the start of a step of the cancelled task, the task is
already scheduled and gets the cancellation at its next await. At the end of the step, the task
waits and the cancellation interrupts the wait. At a step of another task, the cancelled task waits
for something that is partly done. Each run repeats the earlier one exactly, with the same order of
ready tasks, so that the next run reaches the next instant.

A *stage* sets a scenario up, yields it, and checks afterwards that the scenario has left nothing
behind.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, TypeAlias
from unittest import mock

import trio
import trio.testing
from trio._core import _run as scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Scenario: TypeAlias = Callable[[], Awaitable[object]]
    Stage: TypeAlias = Callable[[], AbstractAsyncContextManager[Scenario]]

__all__ = ["Scenario", "Stage", "cancel_everywhere", "play"]

# trio runs ready tasks in a random order. Each of these orders is played.
_ORDERS = 3
# Longer than any scenario lasts in virtual time.
_HANGS_SECONDS = 100


def cancel_everywhere(stage: Stage) -> None:
    """Play in virtual time, cancelled at each instant, until a run ends before its instant."""
    with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        for order in range(_ORDERS):
            for instant in itertools.count():
                scheduler._r.seed(order)
                clock = trio.testing.MockClock(autojump_threshold=0)
                if not trio.run(functools.partial(play, stage, instant), clock=clock):
                    # A scenario without an await cannot be cancelled.
                    assert instant > 1
                    break


async def play(stage: Stage, instant: int) -> bool:
    """Play once, cancelled at the given instant (from 0); return whether the run reached it."""
    try:
        with trio.fail_after(_HANGS_SECONDS):
            async with stage() as scenario:
                with trio.CancelScope() as scope:
                    canceller = _Canceller(scope, instant)
                    trio.lowlevel.add_instrument(canceller)
                    try:
                        await scenario()
                    finally:
                        trio.lowlevel.remove_instrument(canceller)
    except BaseException as error:
        error.add_note(f"cancelled at instant {instant}")
        raise
    return scope.cancel_called


class _Canceller(trio.abc.Instrument):
    """Cancels `scope` at an instant that is counted from now."""

    def __init__(self, scope: trio.CancelScope, instant: int) -> None:
        self._scope = scope
        self._instants_left = instant
        self._pass()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._pass()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._pass()

    def _pass(self) -> None:
        if not self._instants_left:
            self._scope.cancel()
        self._instants_left -= 1
