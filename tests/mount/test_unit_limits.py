"""A real mount under the limits that its unit of systemd sets.

There is no systemd here: `limits` does to the command what systemd would do, by what the unit says.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mount import limits
from tests.support import programs
from tests.support.harness import END_SECONDS, MountProcess

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="the unit runs as root"),
]

UNIT = Path(__file__).parents[2] / "systemd" / "gcsmux@.service"
LAUNCHER = (sys.executable, "-P", limits.__file__, str(UNIT))
MIB = 1024 * 1024

# Tells of each thing that it tries by which errno it failed.
TRIES = """
import ctypes, json, mmap, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
tries = {
    "chroot": lambda: os.chroot("/"),
    "setuid": lambda: os.setuid(0),
    "chown": lambda: os.chown("/", 0, 0),
    "clock": lambda: time.clock_settime(time.CLOCK_MONOTONIC, 0),
    "sethostname": lambda: call("sethostname", b"", 0),
    "ptrace": lambda: call("ptrace", 0, 0, 0, 0),
    "unshare": lambda: call("unshare", 0x20000),
    "a user namespace": lambda: call("unshare", 0x10000000),
    "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
}
failed = {}
for name, one in tries.items():
    try:
        one()
    except OSError as error:
        failed[name] = error.errno
with open("/proc/self/status") as lines:
    status = dict(line.split(":", 1) for line in lines)
print(json.dumps([failed, list(tries), status["CapEff"].strip(), status["CapBnd"].strip()]))
"""


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCHER, *command], capture_output=True, text=True, check=False, timeout=END_SECONDS
    )


def kill(mounted: MountProcess) -> None:
    """End a mount as a crash would."""
    mounted.process.kill()
    mounted.process.communicate(timeout=END_SECONDS)


def test_the_limits_are_in_force() -> None:
    done = launched(sys.executable, "-c", TRIES)
    assert done.stderr == ""
    failed, tried, effective, bounding = json.loads(done.stdout)
    assert failed == dict.fromkeys(tried, errno.EPERM) | {"netlink": errno.EAFNOSUPPORT}
    assert int(effective, 16) == int(bounding, 16) == 1 << 21  # CAP_SYS_ADMIN


def test_under_them_a_mount_is_tuned_lists_reads_and_ends(
    emulator: EmulatorProcess, folder: Path
) -> None:
    content = programs.tagged(1, 0, 5 * MIB)
    emulator.place("folder/object", content)
    options = ("--allow-other", "--kernel-read-ahead", "1MiB")
    mounted = MountProcess(emulator, folder / "limited", options, launcher=LAUNCHER)
    with mounted:
        listed = mounted.run("ls", "-lR")
        assert (listed.returncode, listed.stderr) == (0, b"")
        with mounted.program() as program:
            assert program.call(programs.read_whole, f"{mounted.path}/folder/object") == content
        mounted.process.send_signal(signal.SIGTERM)
        assert mounted.process.wait(END_SECONDS) == 0
    assert "cannot raise a kernel limit" not in mounted.log


def test_under_them_the_unit_removes_what_a_killed_mount_leaves(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    (command,) = limits.read_service(UNIT)["ExecStopPost"]
    with mount() as mounted:
        kill(mounted)
        assert f" {mounted.path} " in Path("/proc/self/mountinfo").read_text()
        done = launched(*limits.command_of(command, MOUNTPOINT=str(mounted.path)))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert f" {mounted.path} " not in Path("/proc/self/mountinfo").read_text()
        # So that the end of this mount is looked at as any other is.
        mounted.__enter__()


def test_under_them_the_unit_leaves_a_mount_alone_that_lives(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    """Somebody else's, for which the unit's own start was refused."""
    emulator.place("object", b"content")
    (command,) = limits.read_service(UNIT)["ExecStopPost"]
    with mount() as mounted:
        launched(*limits.command_of(command, MOUNTPOINT=str(mounted.path)))
        assert mounted.run("cat", "object").stdout == b"content"


def test_under_them_a_start_removes_the_dead_mount_before_it(
    emulator: EmulatorProcess, folder: Path
) -> None:
    emulator.place("object", b"content")
    with MountProcess(emulator, folder / "limited", launcher=LAUNCHER) as mounted:
        kill(mounted)
        mounted.__enter__()
        assert mounted.run("cat", "object").stdout == b"content"
    assert "removing a dead mount" in mounted.log
