"""Detects that the service cannot be reached, and that it is back, for a mount with --offline.

Theory of operation

During an outage, names that are older than the TTL are used. Three rules decide what an outage is:

1. It begins if a request that could be answered with an old name gets no answer for
   `PATIENCE_SECONDS`, and the service answers nothing else meanwhile. A service that answers other
   requests is slow, not away.
2. It ends with any answer of the service. Every error that a server sends is an answer, except for
   UNAVAILABLE and DEADLINE_EXCEEDED.
3. While it lasts, probes ask the service for one name, so it also ends while no program uses the
   mount.

An old name is valid for no time: the kernel looks it up again at each use. So when the outage ends,
nothing has to be dropped, and the next use of each name asks the service.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from gcsmux_fs.metrics.registry import counter
from gcsmux_fs.model.errors import DeadlineExceeded, StatusCode, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.metrics.registry import Registry

__all__ = ["PATIENCE_SECONDS", "ServiceOutage"]

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""How long a request waits for a silent service before an old name is used. Programs notice a pause
of 5 s only once in an outage. Most restarts of a front end are shorter."""

# How often a waiting request looks for a sign of the service. It is the delay of the first answer
# after the patience has ended, so it may be long.
_CHECK_SECONDS = 0.25
# Pauses between two probes: the first, and the longest. A probe is one request for one name.
_FIRST_PROBE_SECONDS = 1.0
_MAX_PROBE_SECONDS = 15.0

_NO_ANSWER = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED})

Answer = TypeVar("Answer")


@dataclass(slots=True)
class OutageCounters:
    """Counters of outages."""

    outages: int = counter("outages", "Times in which the service could not be reached.")
    outage_answers: int = counter(
        "lookups", "Lookups and listings that were answered with a name older than the TTL."
    )


class ServiceOutage:
    """Whether the service is away.

    Args:
        signs: returns a number that grows with each answer of the service.
        probe: sends one request to the service.
        is_on: whether the service is away at the start.
    """

    def __init__(
        self,
        signs: Callable[[], int],
        probe: Callable[[], Awaitable[object]],
        *,
        is_on: bool = False,
    ) -> None:
        self.counters = OutageCounters()
        self._signs = signs
        self._probe = probe
        self._is_on = False
        self._signs_before = 0
        self._began = trio.Event()
        if is_on:
            self._begin("the mount started without it")

    @property
    def is_on(self) -> bool:
        """Whether names that are older than the TTL are used."""
        if self._is_on and self._signs() != self._signs_before:
            self._end()
        return self._is_on

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of outages."""
        registry.fields(self.counters)
        registry.gauge(
            "offline",
            "mounts",
            "1 while old names are used because the service cannot be reached, otherwise 0.",
            lambda: int(self.is_on),
        )

    def note_old_answer(self) -> None:
        """Count one answer that is older than the TTL."""
        self.counters.outage_answers += 1

    async def answer(self, question: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """Return the answer of `question`, or None if the service is away.

        Raises:
            StorageError: the service answered with an error.
        """
        if self.is_on:
            return None
        signs = self._signs()
        answers: list[Answer] = []
        errors: list[StorageError] = []
        async with trio.open_nursery() as race:

            async def ask() -> None:
                try:
                    answers.append(await question())
                except StorageError as error:
                    errors.append(error)
                race.cancel_scope.cancel()

            async def wait_for_outage() -> None:
                await self._wait_for_outage()
                race.cancel_scope.cancel()

            race.start_soon(ask)
            race.start_soon(wait_for_outage)
        if answers:
            return answers[0]
        if errors and (not _is_silence(errors[0]) or self._signs() != signs):
            raise errors[0].with_traceback(None)
        if errors and not self.is_on:
            self._begin(str(errors[0]))
        return None

    async def run(self) -> None:
        """Probe the service during each outage, for as long as the mount lives."""
        while True:
            await self._began.wait()
            pause = _FIRST_PROBE_SECONDS
            while self.is_on:
                await trio.sleep(pause)
                pause = min(2 * pause, _MAX_PROBE_SECONDS)
                if self.is_on:
                    await self._probe_once()

    async def _probe_once(self) -> None:
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                await self._probe()
            except StorageError as error:
                if _is_silence(error):
                    return
            if self._is_on:
                self._end()

    async def _wait_for_outage(self) -> None:
        signs, silent_since = self._signs(), trio.current_time()
        while not self.is_on:
            await trio.sleep(_CHECK_SECONDS)
            if self._signs() != signs:
                signs, silent_since = self._signs(), trio.current_time()
            elif trio.current_time() - silent_since >= PATIENCE_SECONDS:
                self._begin(f"it sent no answer for {PATIENCE_SECONDS:g} s")

    def _begin(self, reason: str) -> None:
        self._is_on = True
        self._signs_before = self._signs()
        self.counters.outages += 1
        self._began.set()
        log.warning(
            "the service cannot be reached (%s): names may be older than --metadata-ttl until it"
            " answers again",
            reason,
        )

    def _end(self) -> None:
        self._is_on = False
        self._began = trio.Event()
        log.info("the service answers again: names are at most as old as --metadata-ttl")


def _is_silence(error: StorageError) -> bool:
    if error.code is None:
        return isinstance(error, DeadlineExceeded)
    return error.code in _NO_ANSWER
