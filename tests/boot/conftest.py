"""Boots one machine for all boot tests, with the commands of this checkout and an emulator."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.boot.machine import CHECKOUT, COMMANDS, CannotBoot, Machine, skip_without_boot

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECT = random.Random(12).randbytes(5_000_001)

ENVIRONMENT = """\
BUCKET=gs://my-bucket
MOUNTPOINT=/mnt/data
OPTIONS=--allow-other
STORAGE_EMULATOR_HOST_GRPC=127.0.0.1:9000
"""

EMULATOR = """\
[Service]
ExecStart=/usr/local/bin/gcsmux-emulator /srv/buckets --port 9000
[Install]
WantedBy=multi-user.target
"""

# The drop-ins and the units test-* are in /run.
RESET = """
systemctl stop 'gcsmux@*' 'test-*'
umount --lazy /mnt/data 2>/dev/null
rm -rf /run/systemd/system/gcsmux@* /run/systemd/system/test-*
systemctl daemon-reload && systemctl reset-failed && systemctl start emulator
"""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A booted machine; the emulator and the unit gcsmux@data start at boot."""
    try:
        machine = Machine()
    except CannotBoot as reason:
        skip_without_boot(reason)
    with machine:
        for command in ("gcsmux", "gcsmux-mount", "gcsmux-emulator"):
            link = machine.root / "usr/local/bin" / command
            link.unlink(missing_ok=True)
            link.symlink_to(COMMANDS / command)
        unit = (CHECKOUT / "systemd" / "gcsmux@.service").read_text()
        machine.write("/etc/systemd/system/gcsmux@.service", unit)
        machine.write("/etc/systemd/system/emulator.service", EMULATOR)
        machine.write("/srv/buckets/my-bucket/object", OBJECT)
        machine.write("/etc/gcsmux/data.env", ENVIRONMENT)
        for directory in ("data", "other"):
            (machine.root / "mnt" / directory).mkdir(exist_ok=True)
        wants = machine.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir()
        # Debian enables remote-fs.target, but `Machine` has removed all links of this machine.
        enabled = {
            "remote-fs.target": "/lib/systemd/system/remote-fs.target",
            "emulator.service": "/etc/systemd/system/emulator.service",
            "gcsmux@data.service": "/etc/systemd/system/gcsmux@.service",
        }
        for name, target in enabled.items():
            (wants / name).symlink_to(target)
        try:
            machine.boot()
        except CannotBoot as reason:
            skip_without_boot(reason)
        yield machine


@pytest.fixture
def unit(machine: Machine) -> str:
    """The name of the unit gcsmux@data, which is active when the test begins."""
    reset(machine)
    machine.run("systemctl", "start", "gcsmux@data")
    return "gcsmux@data"


@pytest.fixture
def stopped_unit(machine: Machine) -> str:
    """The name of the unit gcsmux@data, which is inactive when the test begins."""
    reset(machine)
    return "gcsmux@data"


def reset(machine: Machine) -> None:
    """Stop all units of the earlier test, remove its files, and start the emulator."""
    machine.write("/etc/gcsmux/data.env", ENVIRONMENT)
    machine.run("sh", "-c", RESET)
