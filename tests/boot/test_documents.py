"""The commands of README, BOOT.md and TROUBLESHOOTING.md, followed to the letter after a boot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.boot.machine import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot]

# What the user writes into the configuration here: the address of the emulator.
EDITOR = """\
#!/bin/sh
printf '%s\\n' 'endpoint = "127.0.0.1:9000"' 'plaintext = true' 'anonymous = true' >>"$1"
"""


def commands(document: str, word: str) -> str:
    """Return the block of shell commands of a document that contains a word."""
    text = (CHECKOUT / document).read_text()
    blocks: list[str] = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if word in block)
    return block


@pytest.fixture
def empty_machine(machine: Machine, stopped_unit: str) -> Iterator[Machine]:
    """The machine without the unit file and without a configuration."""
    machine.run("systemctl", "disable", "--now", stopped_unit)
    unit = (machine.root / "etc/systemd/system/gcsmux@.service").read_text()
    machine.remove("/etc/systemd/system/gcsmux@.service")
    machine.remove("/etc/gcsmux/data.env")
    machine.write("/usr/local/bin/edit", EDITOR, 0o755)
    yield machine
    machine.run("systemctl", "disable", "--now", stopped_unit, check=False)
    machine.remove("/etc/gcsmux/data.toml")
    machine.remove("/etc/systemd/system/gcsmux@data.service.d/user.conf")
    machine.write("/etc/systemd/system/gcsmux@.service", unit)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", stopped_unit)


def follow(machine: Machine, block: str) -> None:
    script = f"set -e; cd {CHECKOUT}; EDITOR=edit; {block}"
    machine.run("bash", "-c", script)


def is_right(machine: Machine) -> bool:
    compare = ("cmp", "/mnt/my-bucket/object", "/srv/buckets/my-bucket/object")
    return machine.run(*compare, check=False).returncode == 0


def test_the_commands_of_readme_mount_a_bucket(empty_machine: Machine) -> None:
    assert commands("README.md", "systemctl") == commands("docs/BOOT.md", "systemctl enable")
    follow(empty_machine, commands("README.md", "systemctl"))
    assert empty_machine.state("gcsmux@data") == "active"
    assert is_right(empty_machine)
    empty_machine.run("userdel", "gcsmux", check=False)
    follow(empty_machine, commands("docs/BOOT.md", "user.conf"))
    assert empty_machine.run("stat", "--format=%U", "/mnt/my-bucket/object").stdout == "gcsmux\n"
    assert is_right(empty_machine)


def test_the_commands_of_troubleshooting_start_a_mount_again(
    machine: Machine, stopped_unit: str
) -> None:
    follow(machine, commands("docs/TROUBLESHOOTING.md", "journalctl"))
    assert machine.state(stopped_unit) == "active"
    machine.run("systemctl", "stop", stopped_unit)


def test_without_a_configuration_the_message_names_both_files(
    machine: Machine, stopped_unit: str
) -> None:
    machine.remove("/etc/gcsmux/data.env")
    machine.run("systemctl", "start", stopped_unit, check=False)
    status = machine.show(stopped_unit, "StatusText")
    assert "BUCKET is missing" in status
    assert "/etc/gcsmux/data.toml" in status
    assert "/etc/gcsmux/data.env" in status
