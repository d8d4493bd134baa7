"""Tests of the writes to `read_ahead_kb`, with a file in place of sysfs."""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse import kernel_read_ahead
from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
from gcsmux_fs.metrics.registry import Registry
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = 0, 61


class Sysfs:
    """The file `read_ahead_kb`. A list of all values that have been written, and a clock."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.write_text("128\n")
        monkeypatch.setattr(kernel_read_ahead, "_path", lambda device: str(path))
        self.values: list[int] = []
        self.attempts = 0
        self.error: OSError | None = None
        self.now = 1.0
        self.registry = Registry()

    def write(self, descriptor: int, content: bytes, offset: int) -> int:
        self.attempts += 1
        if self.error is not None:
            raise self.error
        self.values.append(int(content))
        return os.pwrite(descriptor, content, offset)

    def attached(self, fixed_bytes: int | None) -> KernelReadAhead:
        read_ahead = KernelReadAhead(fixed_bytes, write=self.write, clock=lambda: self.now)
        read_ahead.declare_metrics(self.registry)
        read_ahead.attach(DEVICE)
        return read_ahead


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysfs:
    return Sysfs(tmp_path / "read_ahead_kb", monkeypatch)


def test_a_window_is_written_only_if_it_differs_from_the_last_one(sysfs: Sysfs) -> None:
    read_ahead = sysfs.attached(None)
    for window in (MIB, 16 * MIB, 16 * MIB, None, 16 * MIB, 128 * KIB, None, MIB):
        sysfs.now += 1
        read_ahead.choose(window)
    assert sysfs.values == [1024, 16384, 128, 1024]
    assert sysfs.registry.value("kernel_window_writes") == 4
    assert sysfs.registry.value("kernel_windows_contested") == 0
    read_ahead.close()
    read_ahead.choose(16 * MIB)
    assert len(sysfs.values) == 4


def test_a_write_soon_after_another_open_is_counted(sysfs: Sysfs) -> None:
    read_ahead = sysfs.attached(None)
    # The pairs are the milliseconds since the last OPEN, and the window.
    opens: list[tuple[float, int | None]] = [
        (5, 16 * MIB),
        (0.1, 16 * MIB),
        (0.1, MIB),
        (5, 16 * MIB),
    ]
    # A file for which every window is as good cannot get a wrong one.
    opens += [(5, None), (0.1, MIB)]
    for milliseconds, window in opens:
        sysfs.now += milliseconds / 1000
        read_ahead.choose(window)
    assert sysfs.registry.value("kernel_windows_contested") == 1
    read_ahead.close()


@pytest.mark.parametrize(("fixed_bytes", "values"), [(0, []), (4 * MIB, [4096])])
def test_a_fixed_window_is_written_once(sysfs: Sysfs, fixed_bytes: int, values: list[int]) -> None:
    read_ahead = sysfs.attached(fixed_bytes)
    read_ahead.choose(16 * MIB)
    assert sysfs.values == values


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "mount as root, or as root run"), (errno.EROFS, "outside of the container")],
)
def test_a_window_that_may_not_be_set_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, remedy: str
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    caplog.set_level(logging.DEBUG)
    read_ahead = KernelReadAhead(None)
    read_ahead.attach(DEVICE)
    for window in (16 * MIB, 128 * KIB):
        read_ahead.choose(window)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert os.strerror(number) in record.message
    assert "/sys/class/bdi/0:61/read_ahead_kb" in record.message
    assert remedy in record.message


def test_a_write_that_fails_ends_the_choices(sysfs: Sysfs) -> None:
    """The kernel removes the file when the mount ends."""
    read_ahead = sysfs.attached(None)
    sysfs.error = OSError(errno.ENODEV, "gone")
    for window in (16 * MIB, 128 * KIB):
        read_ahead.choose(window)
    assert (sysfs.values, sysfs.attempts) == ([1024], 2)
    read_ahead.close()
