"""Runs all checks in order, each with a deadline, and reports each finding as soon as it is known.

A check that fails does not stop the examination: only the checks that need it are skipped. Blocking
calls run in threads, which are abandoned at the deadline, because a name server or a file system
may never answer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.doctor.change_checks import ChangeChecks
from gcsmux_fs.doctor.checklist import (
    CHECKS,
    Check,
    CheckResult,
    Finding,
    failure,
    late,
    skip_reason,
    skipped,
)
from gcsmux_fs.doctor.local_checks import MachineChecks, NetworkChecks
from gcsmux_fs.doctor.service_checks import ServiceChecks
from gcsmux_fs.storage import asyncio_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.doctor.subject import Subject

__all__ = ["examine"]

log = logging.getLogger(__name__)

# How long the end of the examination waits for the ends of calls, in seconds.
_CLOSE_SECONDS = 2.0


def examine(
    subject: Subject,
    started: Callable[[Check], None],
    finished: Callable[[Check, Finding, float], None],
) -> bool:
    """Make all checks. Return whether none failed.

    `started` is called before each check. `finished` is called after each check, with its finding
    and its duration in seconds.
    """
    results: dict[str, CheckResult] = {}

    async def run() -> None:
        async with trio.open_nursery() as tasks:
            service = ServiceChecks(subject, tasks)
            rooms = (
                MachineChecks(subject),
                NetworkChecks(subject),
                service,
                ChangeChecks(subject),
            )
            for check in CHECKS:
                started(check)
                begin = trio.current_time()
                finding = await _make(check, rooms, results, subject.check_seconds)
                results[check.name] = finding.result
                finished(check, finding, trio.current_time() - begin)
            tasks.cancel_scope.cancel()
        with trio.move_on_after(_CLOSE_SECONDS):
            await service.close()

    asyncio_bridge.run(run)
    return CheckResult.FAILURE not in results.values()


async def _make(
    check: Check, rooms: tuple[object, ...], results: dict[str, CheckResult], seconds: float
) -> Finding:
    """Make one check, or skip it."""
    reason = skip_reason(check, results)
    if reason is not None:
        return skipped(reason)
    make = next(getattr(room, check.name) for room in rooms if hasattr(room, check.name))
    with trio.move_on_after(seconds):
        return await _guarded(make)
    return late(seconds)


async def _guarded(make: Callable[[], Awaitable[Finding]]) -> Finding:
    """Return the finding of a check; an unexpected exception becomes a failure."""
    try:
        return await make()
    except Exception as error:
        log.debug("a check failed with an unexpected exception", exc_info=error)
        return failure(f"internal error: {error!r}", "please report it")
