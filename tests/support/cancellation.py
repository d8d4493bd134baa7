"""Cancelling what a test plays at every instant there is, one run for each.

Theory of operation: code between two awaits is atomic, so an instant is the begin or the end of one
step of trio's scheduler, of whichever task. Before a step of the cancelled task it has been woken
already and its cancellation comes with its next await; after it, it waits, and is torn from that.
Between the steps of others it waits for what is done in part. A run is repeated exactly, with the
tasks that are ready together in the same order, so that the next one reaches the next instant.

A *stage* is what is played on: it makes what the scenario needs, yields the scenario, and looks for
what is left of it.
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

# Tasks that are ready together run in an order drawn at random: so many draws are played through.
_ORDERS = 3
# Longer than any scenario lasts, in its own time.
_HANGS_SECONDS = 100


def cancel_everywhere(stage: Stage) -> None:
    """Play in virtual time, cancelled at one instant after the other, until it is over before."""
    with mock.patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True):
        for order in range(_ORDERS):
            for instant in itertools.count():
                scheduler._r.seed(order)
                clock = trio.testing.MockClock(autojump_threshold=0)
                if not trio.run(functools.partial(play, stage, instant), clock=clock):
                    # Where nothing is awaited there is nothing to cancel.
                    assert instant > 1
                    break


async def play(stage: Stage, instant: int) -> bool:
    """Play once, cancelled at the given instant from 0 on; return whether it lasted so long."""
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
