"""Records in the health of a mount when the mount is ready and when it begins to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.exporters.mount_health import MountPhase

if TYPE_CHECKING:
    from gcsmux_fs.exporters.mount_health import MountHealth
    from gcsmux_fs.process.readiness import ReadinessReporter

__all__ = ["HealthReporter"]


class HealthReporter:
    """Passes each report to another reporter, and sets the phase of `health`."""

    def __init__(self, reporter: ReadinessReporter, health: MountHealth) -> None:
        self._reporter = reporter
        self._health = health

    def waiting(self, reason: str) -> None:
        """Pass the report on, and show the reason to those who ask whether the mount is ready."""
        self._health.waiting_for = reason
        self._reporter.waiting(reason)

    def warn(self, text: str) -> None:
        """Pass the warning on."""
        self._reporter.warn(text)

    def ready(self) -> None:
        """Pass the report on; from now on the mount is asked whether it answers."""
        self._reporter.ready()
        self._health.phase = MountPhase.MOUNTED

    def failed(self, reason: str, exit_code: int) -> None:
        """Pass the report on."""
        self._health.phase = MountPhase.STOPPING
        self._reporter.failed(reason, exit_code)

    def reloading(self) -> None:
        """Pass the report on."""
        self._reporter.reloading()

    def reloaded(self) -> None:
        """Pass the report on."""
        self._reporter.reloaded()

    def stopping(self, reason: str = "") -> None:
        """Pass the report on; from now on the mount is not ready."""
        self._health.phase = MountPhase.STOPPING
        self._reporter.stopping(reason)

    def stopped(self) -> None:
        """Pass the report on."""
        self._reporter.stopped()
