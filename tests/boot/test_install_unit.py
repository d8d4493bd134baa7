"""`gcsmux install-unit` and `gcsmux uninstall-unit` under a real systemd.

The command of the checkout writes a unit with the path of the checkout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.boot.conftest import reset
from tests.boot.machine import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot]

UNIT = "/etc/systemd/system/gcsmux@.service"
SERVICE = ("--endpoint", "127.0.0.1:9000", "--plaintext", "--anonymous")


@pytest.fixture
def plain_machine(machine: Machine) -> Iterator[Machine]:
    """The machine, without the unit during the test."""
    unit = (machine.root / UNIT.lstrip("/")).read_text()
    reset(machine)
    machine.remove(UNIT)
    try:
        yield machine
    finally:
        machine.write(UNIT, unit)
        machine.run("systemctl", "daemon-reload")


def files(machine: Machine) -> set[str]:
    return set(machine.run("find", "/etc", "/mnt").stdout.splitlines())


def test_install_unit_mounts_and_uninstall_unit_takes_everything_back(
    plain_machine: Machine,
) -> None:
    machine = plain_machine
    before = files(machine)
    command = str(COMMANDS / "gcsmux")
    arguments = ["my-bucket", "/mnt/new", *SERVICE, "--mkdir", "--now", "--yes"]
    installed = machine.run(command, "install-unit", *arguments)
    assert "gcsmux@new.service is mounted." in installed.stdout
    machine.run("cmp", "/mnt/new/object", "/srv/buckets/my-bucket/object")
    assert machine.run("systemctl", "is-enabled", "gcsmux@new").stdout == "enabled\n"
    machine.run(command, "uninstall-unit", "new", "--yes")
    assert files(machine) == before
    assert machine.state("gcsmux@new") == "inactive"


def test_a_start_that_fails_has_one_sentence(plain_machine: Machine) -> None:
    machine = plain_machine
    command = str(COMMANDS / "gcsmux")
    arguments = ["no-such-bucket", "/mnt/new", *SERVICE, "--mkdir", "--now", "--yes"]
    refused = machine.run(command, "install-unit", *arguments, check=False)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "failed: Job for gcsmux@new.service failed" in refused.stderr
    assert "`journalctl -u gcsmux@new.service -n 20` shows the reason" in refused.stderr
    machine.run(command, "uninstall-unit", "new", "--yes")
