"""A machine for the boot tests: the Debian of this machine, booted by a systemd of its own.

`systemd-nspawn` boots the root of this machine in a container. An overlay in memory takes all
writes, so nothing remains. The container has no network besides its loopback interface.

Three processes are involved. The *keeper* owns a mount namespace with the overlay and with cgroup2,
and removes the cgroup of the container when its stdin is closed, so also when pytest is killed.
`systemd-nspawn` runs in this namespace. The *leader* is the systemd of the container; commands
enter the namespaces of the leader with nsenter(1).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

CHECKOUT = Path(__file__).parents[2]
COMMANDS = CHECKOUT / ".venv" / "bin"

# The exit status with which systemd-nspawn reports that the container wants to reboot.
REBOOT_STATUS = 133
BOOT_SECONDS = 60.0
COMMAND_SECONDS = 30.0
POLL_SECONDS = 0.05

# $1 is a folder, $2 the name of the cgroup. A machine with cgroup1 has its cgroup2 elsewhere, but
# the systemd of the container needs cgroup2 at /sys/fs/cgroup.
KEEPER = """\
set -eu
folder=$1 cgroup=/sys/fs/cgroup/$2
if [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mkdir "$cgroup"
mount -t tmpfs -o size=1g tmpfs "$folder"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
echo ready
read -r _ || true
echo 1 >"$cgroup/cgroup.kill"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
  [ -d "$cgroup" ] || break
  sleep 0.1
done
"""

# Runs a command in a mount namespace of its own. The namespace would keep copies of the mounts of
# tests that run at the same time, and these mounts would then outlive their unmount.
_WITHOUT_MOUNTS = 'umount -a -i -c -l -t fuse.gcsmux-mount || true; exec "$@"'
PRIVATELY = (
    *("unshare", "--mount", "--propagation", "private", "--"),
    *("sh", "-c", _WITHOUT_MOUNTS, "sh"),
)
# $0 is the name of the cgroup, which the command in $@ joins.
ENTER = 'echo $$ >"/sys/fs/cgroup/$0/cgroup.procs"; exec "$@"'
NSPAWN = (
    "systemd-nspawn",
    "--quiet",
    "--boot",
    "--machine=gcsmux-boot",
    # The container is not known to the systemd of this machine, which may not run at all.
    "--register=no",
    "--keep-unit",
    "--private-network",
    "--link-journal=no",
    "--resolv-conf=off",
    "--timezone=off",
    # bpf is for DevicePolicy=, the others for KeyringMode=.
    "--system-call-filter=bpf @keyring",
)


class CannotBoot(Exception):
    """This machine cannot boot a container; the message says why."""


def skip_without_boot(reason: CannotBoot) -> NoReturn:
    """Skip the test, or fail it if GCSMUX_REQUIRE_BOOT is set."""
    text = f"this machine cannot boot a container: {reason}"
    if os.environ.get("GCSMUX_REQUIRE_BOOT"):
        pytest.fail(text)
    pytest.skip(text)


class Machine:
    """The container."""

    def __init__(self) -> None:
        for command in ("systemd-nspawn", "nsenter", "unshare"):
            if shutil.which(command) is None:
                raise CannotBoot(f"the command {command} is missing (package systemd-container)")
        if os.geteuid() != 0:
            raise CannotBoot("only root can boot a container")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = ""
        self._folder = Path(tempfile.mkdtemp(prefix="gcsmux-boot-"))
        self._cgroup = self._folder.name
        self._console = (self._folder.with_suffix(".console")).open("w+b")
        self._keeper = subprocess.Popen(
            [*PRIVATELY, "sh", "-c", KEEPER, "sh", str(self._folder), self._cgroup],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._console,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != b"ready\n":
            reason = self.console().strip().splitlines() or ["no reason was given"]
            self.close()
            raise CannotBoot(f"no file systems for a container: {reason[-1]}")
        self._clean()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The root directory of the container, as this process sees it.

        While the container runs, it is the directory that the leader sees, with its own /run.
        """
        if self._leader:
            return Path(f"/proc/{self._leader}/root")
        return Path(f"/proc/{self._keeper.pid}/root{self._folder}/root")

    def close(self) -> None:
        """End the container and everything of it."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait(COMMAND_SECONDS)
        if self._nspawn is not None:
            self._nspawn.wait(COMMAND_SECONDS)
        self._console.close()
        Path(self._console.name).unlink()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def console(self) -> str:
        """Return what the container and the keeper have written to their console."""
        return Path(self._console.name).read_text(errors="replace")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file in the container, and create its directory if necessary."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)

    def remove(self, path: str) -> None:
        """Remove a file of the container, if it exists."""
        (self.root / path.lstrip("/")).unlink(missing_ok=True)

    def boot(self) -> None:
        """Boot, and wait until systemd has started all units of the default target."""
        enter = ["nsenter", f"--target={self._keeper.pid}", "--mount", "--", "sh", "-c", ENTER]
        options = [f"--directory={self._folder}/root", *self._binds()]
        self._nspawn = subprocess.Popen(
            [*enter, self._cgroup, *NSPAWN, *options, "--", "systemd.unit=multi-user.target"],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        try:
            self.until(self._has_booted, BOOT_SECONDS)
        except AssertionError:
            print(self.console()[-8000:])
            raise

    def _binds(self) -> list[str]:
        """Return options for devices, and for paths that may be outside of the overlay."""
        binds = ["--bind=/dev/fuse", f"--bind-ro={CHECKOUT}"]
        if Path(sys.base_prefix).stat().st_dev != Path("/").stat().st_dev:
            binds.append(f"--bind-ro={sys.base_prefix}")
        if Path("/dev/autofs").exists():
            binds.append("--bind=/dev/autofs")
        return binds

    def _has_booted(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise CannotBoot(f"systemd-nspawn ended: {self.console().strip().splitlines()[-1:]}")
        process = self._nspawn.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            self._leader = children[0] if children else ""
        if not self._leader:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def reboot(self) -> None:
        """Shut down by `systemctl reboot`, and boot again."""
        self.run("systemctl", "reboot", check=False)
        assert self._nspawn is not None
        status = self._nspawn.wait(COMMAND_SECONDS)
        assert status == REBOOT_STATUS, self.console()
        self._leader = ""
        self.boot()

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` in the container."""
        enter = ["nsenter", f"--target={self._leader}", "--all", "--root", "--wdns=/"]
        environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return [*enter, "env", "-i", *environment, "LC_ALL=C.UTF-8", *words]

    def run(
        self, *words: str, check: bool = True, seconds: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the container; with `check`, it must succeed."""
        done = subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check:
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    @contextlib.contextmanager
    def program(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command in the container, and kill it at the end of the block."""
        with subprocess.Popen(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ) as program:
            try:
                yield program
            finally:
                program.kill()

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).stdout.strip()

    def state(self, unit: str) -> str:
        """Return the ActiveState of a unit."""
        return self.show(unit, "ActiveState")

    def failed_units(self) -> set[str]:
        """Return the names that `systemctl --failed` lists."""
        listed = self.run("systemctl", "--failed", "--plain", "--no-legend").stdout
        return {line.split()[0] for line in listed.splitlines()}

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the entries of the journal that match the arguments of journalctl."""
        self.run("journalctl", "--sync")
        output = self.run("journalctl", "--output=json", "--no-pager", *arguments).stdout
        return [json.loads(line) for line in output.splitlines()]

    def until(self, holds: Callable[[], bool], seconds: float = COMMAND_SECONDS) -> None:
        """Wait until the condition holds; fail after a number of seconds."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not within {seconds:g} s"
            time.sleep(POLL_SECONDS)

    def until_state(self, unit: str, state: str, seconds: float = COMMAND_SECONDS) -> None:
        """Wait until a unit has an ActiveState."""
        self.until(lambda: self.state(unit) == state, seconds)

    def _clean(self) -> None:
        """Remove what this machine would start or mount by itself."""
        system = self.root / "etc/systemd/system"
        for wants in system.glob("*.wants"):
            shutil.rmtree(wants)
        # Users other than root must reach the commands, also if the checkout is in /root.
        for path in {*CHECKOUT.parents, *Path(sys.base_prefix).parents} - {Path("/")}:
            with contextlib.suppress(FileNotFoundError):
                (self.root / path.relative_to("/")).chmod(0o755)
        self.write("/etc/machine-id", "")
        self.write("/etc/fstab", "")
