"""Tests that readiness reports arrive at the notification socket of systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.process.readiness import ForegroundReporter
from gcsmux_fs.process.sd_notify import notify

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Return a bound notification socket; its name is a path or an abstract name."""
    name = os.fspath(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        if request.param == "abstract":
            name = f"@gcsmux-test-{os.getpid()}"
            receiver.bind("\0" + name[1:])
        else:
            receiver.bind(name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


def test_all_assignments_arrive_in_one_datagram(manager: socket.socket) -> None:
    assert notify("READY=1", "STATUS=Größe")
    assert manager.recv(4096) == "READY=1\nSTATUS=Größe".encode()


def test_a_mount_reports_ready_and_stopping(manager: socket.socket) -> None:
    reporter = ForegroundReporter("gcsmux-mount", "gs://bucket", Path("/mnt/data"))
    assert manager.recv(4096).splitlines()[0] == b"STATUS=Connecting to gs://bucket."
    reporter.waiting("no route")
    status = b"STATUS=Waiting for gs://bucket: no route."
    assert manager.recv(4096).splitlines() == [status, b"EXTEND_TIMEOUT_USEC=30000000"]
    reporter.ready()
    ready = [b"READY=1", b"STATUS=Mounted gs://bucket on /mnt/data."]
    assert manager.recv(4096).splitlines() == ready
    reporter.reloading()
    reloading, time, *rest = manager.recv(4096).splitlines()
    assert (reloading, rest) == (b"RELOADING=1", [])
    assert time.startswith(b"MONOTONIC_USEC=")
    reporter.reloaded()
    assert manager.recv(4096).splitlines() == ready
    reporter.stopping()
    stopping = [b"STOPPING=1", b"STATUS=Unmounting /mnt/data."]
    assert manager.recv(4096).splitlines() == stopping
    reporter.stopped()
    assert manager.recv(4096) == b"STATUS=Unmounted /mnt/data."


def test_a_strange_mount_point_is_one_line_of_the_status(manager: socket.socket) -> None:
    reporter = ForegroundReporter("gcsmux-mount", "gs://bucket", Path("/mnt/\udcff\nERRNO=1"))
    manager.recv(4096)
    reporter.ready()
    status = b"STATUS=Mounted gs://bucket on /mnt/\\udcff\\nERRNO=1."
    assert manager.recv(4096).splitlines() == [b"READY=1", status]
    reporter.stopping()
    reporter.stopped()


def test_a_failure_sets_the_status_and_cannot_inject_an_assignment(
    manager: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = ForegroundReporter("gcsmux-mount", "gs://bucket", Path("/mnt/data"))
    manager.recv(4096)
    reporter.failed("no bucket\nREADY=1", 1)
    assert b"READY=1" not in manager.recv(4096).splitlines()
    assert capsys.readouterr().err == "gcsmux-mount: no bucket\\nREADY=1.\n"


def test_without_a_service_manager_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "gone"))
    assert not notify("READY=1")


def test_a_manager_that_hangs_delays_no_message(manager: socket.socket) -> None:
    sent = 0
    while notify("WATCHDOG=1", wait_seconds=0):
        sent += 1
    assert manager.recv(4096) == b"WATCHDOG=1"
    assert notify("WATCHDOG=1", wait_seconds=0)
    assert sent > 1
