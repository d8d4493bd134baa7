"""Whether a mount is alive and ready, for the pages /healthz and /readyz.

*Alive*: both event loops run, and the mount has answered another process. A mount that is not alive
does not recover by itself, so an orchestrator should restart it.

*Ready*: the mount is alive, has been mounted and is not about to be unmounted, and the service is
reachable. A mount that is not ready may become ready again without a restart.

The mount is asked by another process, because a process must never access its own mount. One answer
serves all requests of one second.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import GcsmuxError
from gcsmux_fs.process.heartbeats import BLOCKED_SECONDS
from gcsmux_fs.process.logs import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.process.heartbeats import Heartbeats

__all__ = [
    "OUTAGE_SECONDS",
    "PROBE_SECONDS",
    "SILENCE_SECONDS",
    "MountHealth",
    "MountPhase",
]

log = logging.getLogger(__name__)

OUTAGE_SECONDS = 30.0
"""Time for which all calls to the service have failed before a mount stops to be ready. A restart
of a front end takes less, and readers do not notice it."""

SILENCE_SECONDS = 60.0
"""Time after the last failed call from which on nothing is known about the service, so the mount is
ready again. Without this limit, a mount that gets no requests would never be ready again."""

PROBE_SECONDS = 2.0
"""Time limit for the answer of the mount. A mount answers statfs without the service, within
milliseconds."""

_PROBE_LIFETIME_SECONDS = 1.0


class MountPhase(enum.Enum):
    """The part of a mount's life. The value describes the phase in a response."""

    STARTING = "the mount is starting"
    MOUNTED = "the mount is ready"
    STOPPING = "the mount is being unmounted"


class MountHealth:
    """The health of one mount. Any thread may call all methods.

    Args:
        heartbeats: the heartbeats of both loops.
        probe: asks the mount from another process and returns whether the mount answers within
            `PROBE_SECONDS`. It may be called from any thread. If no process can be started, it
            raises GcsmuxError, and the mount counts as alive.
        outage_seconds: returns for how long all calls to the service have failed.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        heartbeats: Heartbeats,
        probe: Callable[[], bool],
        outage_seconds: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phase = MountPhase.STARTING
        #: Why the start has to wait, in words; empty if the start does not wait.
        self.waiting_for = ""
        self.outage_seconds = outage_seconds
        self._heartbeats = heartbeats
        self._probe = probe
        self._clock = clock
        # Held while the mount is asked, so that simultaneous requests share one answer.
        self._asking = threading.Lock()
        self._asked_at = -_PROBE_LIFETIME_SECONDS
        self._answers = False

    def problem(self) -> str:
        """Return why the mount is not alive, as one sentence; empty if it is alive."""
        for loop, age in self._heartbeats.ages_seconds().items():
            if age >= BLOCKED_SECONDS:
                return f"the {loop} loop has been blocked for {age:.0f} s"
        # The phase is read again after the probe, because the mount may be gone by then.
        if self._is_mounted() and not self._mount_answers() and self._is_mounted():
            return f"the mount point has not answered within {PROBE_SECONDS:g} s"
        return ""

    def obstacle(self) -> str:
        """Return why the mount is not ready, as one sentence; empty if it is ready."""
        if self.phase is MountPhase.STARTING and self.waiting_for:
            return f"{self.phase.value}: {printable(redacted(self.waiting_for))}"
        if self.phase is not MountPhase.MOUNTED:
            return str(self.phase.value)
        outage = self.outage_seconds()
        if outage >= OUTAGE_SECONDS:
            return f"the service has been unreachable for {outage:.0f} s"
        return self.problem()

    def _is_mounted(self) -> bool:
        return self.phase is MountPhase.MOUNTED

    def _mount_answers(self) -> bool:
        with self._asking:
            if self._clock() - self._asked_at >= _PROBE_LIFETIME_SECONDS:
                try:
                    self._answers = self._probe()
                except GcsmuxError as error:
                    # This says nothing about the mount, and a restart would close open files.
                    log.warning("the mount counts as alive, because it cannot be asked: %s", error)
                    self._answers = True
                self._asked_at = self._clock()
            return self._answers
