"""An enabled unit at boot, and lines of /etc/fstab: mounts, an automount, a mount that fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.boot.conftest import reset
from tests.boot.machine import CHECKOUT, COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot]

# The options that README and docs/BOOT.md recommend, and the address of the emulator.
OPTIONS = "ro,_netdev,nofail,start_timeout=60s,allow_other"
EMULATOR = "endpoint=127.0.0.1:9000,plaintext,anonymous"
FSTAB = f"""\
my-bucket /mnt/plain fuse.gcsmux-mount {OPTIONS},{EMULATOR} 0 0
my-bucket /mnt/auto fuse.gcsmux-mount {OPTIONS},x-systemd.automount,{EMULATOR} 0 0
my-bucket /mnt/helper gcsmux {OPTIONS},{EMULATOR} 0 0
absent-bucket /mnt/broken fuse.gcsmux-mount {OPTIONS},{EMULATOR} 0 0
"""


@pytest.fixture(scope="module")
def fstab(machine: Machine) -> Iterator[Machine]:
    """The machine, booted with lines in /etc/fstab."""
    (machine.root / "usr/sbin/mount.gcsmux").symlink_to(COMMANDS / "gcsmux-mount")
    reset(machine)
    machine.write("/etc/fstab", FSTAB)
    machine.reboot()
    yield machine
    machine.run("systemctl", "stop", "mnt-*.automount", "mnt-*.mount")
    machine.write("/etc/fstab", "")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")


def is_right(machine: Machine, folder: str) -> bool:
    compare = ("cmp", f"{folder}/object", "/srv/buckets/my-bucket/object")
    return machine.run(*compare, check=False).returncode == 0


@pytest.mark.parametrize("document", ["README.md", "docs/BOOT.md"])
def test_the_documents_recommend_the_line_of_these_tests(document: str) -> None:
    line = f"\nmy-bucket /mnt/data fuse.gcsmux-mount {OPTIONS} 0 0\n"
    assert line in (CHECKOUT / document).read_text()


def test_an_enabled_unit_is_mounted_at_boot(fstab: Machine) -> None:
    assert fstab.state("gcsmux@data") == "active"
    assert fstab.show("gcsmux@data", "StatusText") == "Mounted gs://my-bucket on /mnt/data."
    assert "remote-fs.target" in fstab.show("gcsmux@data", "Before").split()
    assert is_right(fstab, "/mnt/data")


@pytest.mark.parametrize("folder", ["/mnt/plain", "/mnt/helper"])
def test_a_line_is_mounted_at_boot(fstab: Machine, folder: str) -> None:
    fstab.until_state(f"mnt-{folder.removeprefix('/mnt/')}.mount", "active")
    assert is_right(fstab, folder)


@pytest.mark.skipif(not Path("/dev/autofs").exists(), reason="the kernel has no autofs")
def test_an_automount_mounts_at_the_first_access(fstab: Machine) -> None:
    assert fstab.state("mnt-auto.mount") == "inactive"
    assert is_right(fstab, "/mnt/auto")
    assert fstab.state("mnt-auto.mount") == "active"
    fstab.run("systemctl", "stop", "mnt-auto.mount")
    assert is_right(fstab, "/mnt/auto")


def test_a_line_that_fails_does_not_stop_the_boot_and_shows_the_reason(fstab: Machine) -> None:
    assert fstab.state("remote-fs.target") == "active"
    fstab.until_state("mnt-broken.mount", "failed")
    lines = fstab.journal("--unit=mnt-broken.mount", "--priority=err")
    assert [line for line in lines if "there is no bucket gs://absent-bucket" in line["MESSAGE"]]


def test_the_process_of_a_line_has_the_name_of_the_command(fstab: Machine) -> None:
    fstab.until_state("mnt-plain.mount", "active")
    names = fstab.run("ps", "-eo", "comm,args").stdout.splitlines()
    (process,) = [line for line in names if "/mnt/plain" in line]
    assert process.startswith("gcsmux-mount ")
    assert "/gcsmux-mount my-bucket /mnt/plain" in process
    logged = fstab.journal("SYSLOG_IDENTIFIER=gcsmux-mount", "_SYSTEMD_UNIT=mnt-plain.mount")
    assert [line for line in logged if "mounted gs://my-bucket on /mnt/plain" in line["MESSAGE"]]


@pytest.mark.parametrize(
    ("options", "target"),
    [("ro", "local-fs.target"), ("ro,_netdev", "remote-fs.target"), ("ro,_netdev,nofail", "")],
)
def test_the_options_decide_what_fails_together_with_a_line(
    fstab: Machine, options: str, target: str
) -> None:
    """If local-fs.target fails, the machine ends in emergency mode."""
    try:
        fstab.write("/etc/fstab", f"{FSTAB}my-bucket /mnt/new fuse.gcsmux-mount {options} 0 0\n")
        fstab.run("systemctl", "daemon-reload")
        assert fstab.show("mnt-new.mount", "RequiredBy") == target
    finally:
        fstab.write("/etc/fstab", FSTAB)
        fstab.run("systemctl", "daemon-reload")
