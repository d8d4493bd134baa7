"""A real mount works with the limits of its systemd unit.

Because there is no systemd in a container, `limits` applies the unit's [Service] section.
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
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can apply the limits"),
]

UNIT = Path(__file__).parents[2] / "systemd" / "gcsmux@.service"
LAUNCHER = (sys.executable, "-P", limits.__file__, str(UNIT))

# A Python program that tries each forbidden operation. It prints the errno of each failure and the
# capabilities of its process.
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


def stop_post(result: str, mounted: MountProcess) -> tuple[int, str, str]:
    """Run ExecStopPost= of the unit after a result of the service, with a log on stderr."""
    (command,) = limits.read_service(UNIT)["ExecStopPost"]
    words = limits.command_of(command, BUCKET="my-bucket", MOUNTPOINT=str(mounted.path))
    words = [word.replace("/usr/local/bin", str(Path(sys.executable).parent)) for word in words]
    done = launched("env", f"SERVICE_RESULT={result}", *words)
    return done.returncode, done.stdout, done.stderr


def kill(mounted: MountProcess) -> None:
    """Kill a mount process with SIGKILL."""
    mounted.process.kill()
    mounted.process.communicate(timeout=END_SECONDS)


def test_the_limits_are_in_force() -> None:
    done = launched(sys.executable, "-c", TRIES)
    assert done.stderr == ""
    failed, tried, effective, bounding = json.loads(done.stdout)
    assert failed == dict.fromkeys(tried, errno.EPERM) | {"netlink": errno.EAFNOSUPPORT}
    assert int(effective, 16) == int(bounding, 16) == 1 << 21  # CAP_SYS_ADMIN


def test_a_mount_works_under_the_limits(emulator: EmulatorProcess, folder: Path) -> None:
    content = programs.tagged(1, 0, 5 * MIB)
    emulator.place("folder/object", content)
    cache = ("--cache-dir", str(folder / "cache"), "--cache-min-free", "0", "--cache-listings")
    options = ("--allow-other", "--kernel-read-ahead", "1MiB", *cache)
    mounted = MountProcess(emulator, folder / "limited", options, launcher=LAUNCHER)
    with mounted:
        listed = mounted.run("ls", "-lR")
        assert (listed.returncode, listed.stderr) == (0, b"")
        with mounted.program() as program:
            assert program.call(programs.read_whole, f"{mounted.path}/folder/object") == content
        mounted.process.send_signal(signal.SIGTERM)
        assert mounted.process.wait(END_SECONDS) == 0
    assert "cannot raise the kernel's readahead" not in mounted.log
    assert mounted.last_statistics()["disk_cache_written_bytes"] == len(content)


def test_the_unit_removes_a_dead_mount_under_the_limits(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", b"content")
    with mount() as mounted:
        kill(mounted)
        assert f" {mounted.path} " in Path("/proc/self/mountinfo").read_text()
        # After a crash the dead mount stays, so that programs see errors until the restart.
        assert stop_post("signal", mounted) == (0, "", "")
        assert f" {mounted.path} " in Path("/proc/self/mountinfo").read_text()
        assert stop_post("timeout", mounted) == (0, "", "")
        assert f" {mounted.path} " not in Path("/proc/self/mountinfo").read_text()
        # Start the mount again, because at the end of the block the mount must run.
        mounted.__enter__()


def test_the_unit_keeps_a_live_mount_under_the_limits(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    """ExecStopPost removes only dead mounts.

    The mount here is alive, as if another unit had started it and this unit had failed to start.
    """
    emulator.place("object", b"content")
    with mount() as mounted:
        assert stop_post("timeout", mounted) == (0, "", "")
        assert mounted.run("cat", "object").stdout == b"content"


def test_a_start_removes_a_dead_mount_under_the_limits(
    emulator: EmulatorProcess, folder: Path
) -> None:
    emulator.place("object", b"content")
    with MountProcess(emulator, folder / "limited", launcher=LAUNCHER) as mounted:
        kill(mounted)
        mounted.__enter__()
        assert mounted.run("cat", "object").stdout == b"content"
    assert "replacing a dead mount" in mounted.log
