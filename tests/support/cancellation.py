"""Runs a scenario repeatedly and cancels it at a different instant each time.

Theory of operation. Code between two awaits is atomic, so an *instant* is the start or the end of
one step of trio's scheduler, of any task. If the cancellation comes just before a step of the
cancelled task, the task is already awake, and its next await raises `Cancelled`. If it comes after
a step, the await at the end of that step raises `Cancelled`. Each run repeats the previous one
exactly, with the tasks in the same order, up to the instant of the cancellation.

A *stage* is a context manager. It creates what the scenario needs, yields the scenario, and asserts
afterwards that the scenario left nothing behind.
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

# Trio runs tasks that are ready together in a random order. This many seeds are tried.
_ORDERS = 3
# Longer than any scenario takes, in virtual time.
_HANGS_SECONDS = 100


def cancel_everywhere(stage: Stage) -> None:
    """Run the scenario in virtual time, once for each instant, until one run ends uncancelled."""
    with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        for order in range(_ORDERS):
            for instant in itertools.count():
                scheduler._r.seed(order)
                clock = trio.testing.MockClock(autojump_threshold=0)
                if not trio.run(functools.partial(play, stage, instant), clock=clock):
                    # A scenario without an await has no instant to cancel at.
                    assert instant > 1
                    break


async def play(stage: Stage, instant: int) -> bool:
    """Run the scenario once, cancelled at an instant; return whether the scenario reached it."""
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
    """Cancels `scope` at an instant, counted from the creation of this object."""

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
