"""Tests of the answers of /healthz and /readyz."""

from __future__ import annotations

import threading

import pytest

from gcsmux_fs.exporters.health_reporter import HealthReporter
from gcsmux_fs.exporters.mount_health import (
    OUTAGE_SECONDS,
    MountHealth,
    MountPhase,
)
from gcsmux_fs.model.errors import TransientError
from gcsmux_fs.process.heartbeats import ASYNCIO_LOOP, BLOCKED_SECONDS, TRIO_LOOP, Heartbeats

NO_ANSWER = "the mount point has not answered within 2 s"


class Mount:
    """A mount whose state and clock a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answers = True
        self.outage = 0.0
        self.probes = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.heartbeats = Heartbeats(lambda: self.now)
        self.health = MountHealth(
            self.heartbeats, self.probe, lambda: self.outage, lambda: self.now
        )
        self.health.phase = MountPhase.MOUNTED

    def probe(self) -> bool:
        self.probes += 1
        self.may_answer.wait(20)
        return self.answers

    def wait(self, seconds: float, *loops: str) -> None:
        """Let time pass; `loops` beat at its end."""
        self.now += seconds
        for loop in loops:
            self.heartbeats.beat(loop)


def test_a_mount_that_answers_is_alive_and_ready() -> None:
    mount = Mount()
    assert (mount.health.problem(), mount.health.obstacle()) == ("", "")


@pytest.mark.parametrize(("beating", "blocked"), [(ASYNCIO_LOOP, "trio"), (TRIO_LOOP, "asyncio")])
def test_a_blocked_loop_is_a_problem(beating: str, blocked: str) -> None:
    mount = Mount()
    mount.wait(BLOCKED_SECONDS, beating)
    expected = f"the {blocked} loop has been blocked for 10 s"
    assert (mount.health.problem(), mount.health.obstacle()) == (expected, expected)
    assert mount.probes == 0


def test_a_mount_point_that_does_not_answer_is_a_problem() -> None:
    mount = Mount()
    mount.answers = False
    assert (mount.health.problem(), mount.health.obstacle()) == (NO_ANSWER, NO_ANSWER)


@pytest.mark.expects_log("cannot be asked: no process")
def test_a_mount_that_no_process_can_ask_is_alive() -> None:
    def fail() -> bool:
        raise TransientError("no process can be started.")

    heartbeats = Heartbeats(lambda: 0.0)
    health = MountHealth(heartbeats, fail)
    health.phase = MountPhase.MOUNTED
    assert (health.problem(), health.obstacle()) == ("", "")


def test_one_answer_of_the_mount_serves_one_second() -> None:
    mount = Mount()
    for _ in range(5):
        mount.health.problem()
    assert mount.probes == 1
    mount.wait(1.0, ASYNCIO_LOOP, TRIO_LOOP)
    mount.answers = False
    assert mount.health.problem() == NO_ANSWER
    assert mount.probes == 2


def test_simultaneous_requests_share_one_probe() -> None:
    mount = Mount()
    mount.may_answer.clear()
    threads = [threading.Thread(target=mount.health.problem) for _ in range(4)]
    for thread in threads:
        thread.start()
    mount.may_answer.set()
    for thread in threads:
        thread.join(20)
    assert mount.probes == 1


@pytest.mark.parametrize("phase", [MountPhase.STARTING, MountPhase.STOPPING])
def test_a_mount_is_alive_but_not_ready_while_it_starts_and_ends(phase: MountPhase) -> None:
    mount = Mount()
    mount.answers = False
    mount.health.phase = phase
    assert (mount.health.problem(), mount.health.obstacle()) == ("", phase.value)
    assert mount.probes == 0


def test_a_long_outage_of_the_service_makes_a_mount_not_ready() -> None:
    mount = Mount()
    mount.outage = OUTAGE_SECONDS - 1
    assert mount.health.obstacle() == ""
    mount.outage = OUTAGE_SECONDS
    assert mount.health.obstacle() == "the service has been unreachable for 30 s"
    assert mount.health.problem() == ""


class Reporter:
    """A reporter that keeps its reports."""

    def __init__(self) -> None:
        self.reports: list[str] = []

    def waiting(self, reason: str) -> None:
        self.reports.append(f"waiting {reason}")

    def warn(self, text: str) -> None:
        self.reports.append(text)

    def ready(self) -> None:
        self.reports.append("ready")

    def failed(self, reason: str, exit_code: int) -> None:
        self.reports.append(f"{reason} {exit_code}")

    def reloading(self) -> None:
        self.reports.append("reloading")

    def reloaded(self) -> None:
        self.reports.append("reloaded")

    def stopping(self, reason: str = "") -> None:
        self.reports.append(f"stopping {reason}".strip())

    def stopped(self) -> None:
        self.reports.append("stopped")


def test_reports_are_passed_on_and_set_the_phase() -> None:
    mount, inner = Mount(), Reporter()
    mount.health.phase = MountPhase.STARTING
    reporter = HealthReporter(inner, mount.health)
    reporter.warn("careful")
    assert mount.health.obstacle() == MountPhase.STARTING.value
    reporter.waiting("no\nroute")
    assert mount.health.obstacle() == r"the mount is starting: no\nroute"
    assert mount.health.problem() == ""
    reporter.ready()
    reporter.reloading()
    reporter.reloaded()
    assert mount.health.obstacle() == ""
    reporter.stopping("SIGTERM")
    reporter.stopped()
    assert mount.health.obstacle() == MountPhase.STOPPING.value
    reporter.failed("gone", 1)
    assert inner.reports == [
        *("careful", "waiting no\nroute", "ready", "reloading", "reloaded"),
        *("stopping SIGTERM", "stopped", "gone 1"),
    ]
