"""The unit gcsmux@.service under a real systemd: start, crash, outage, refusal, reload, stop."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.boot.conftest import ENVIRONMENT, OBJECT
from tests.boot.machine import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot]

# Seconds of an outage. The start of a mount notices an outage within milliseconds here, because the
# emulator's port is closed.
OUTAGE_SECONDS = 3.0

# Lists the mount point until a file appears, and prints each change of the answer: `empty`, `files`
# or the name of an error.
WATCH = """
import errno, os, sys
last = None
while not os.path.exists(sys.argv[2]):
    try:
        kind = "files" if os.listdir(sys.argv[1]) else "empty"
    except OSError as error:
        kind = errno.errorcode[error.errno]
    if kind != last:
        print(kind, flush=True)
        last = kind
"""


@contextmanager
def watched(machine: Machine) -> Iterator[Callable[[], list[str]]]:
    """List /mnt/data all the time; the returned function ends this and returns the answers."""
    machine.remove("/run/watched")
    command = ("python3", "-S", "-c", WATCH, "/mnt/data", "/run/watched")
    with machine.program(*command) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "files\n"

        def answers() -> list[str]:
            machine.run("touch", "/run/watched")
            return program.communicate(timeout=30)[0].split()

        yield answers


def kill(machine: Machine, unit: str, number: int) -> None:
    machine.run("kill", f"-{number}", machine.show(unit, "MainPID"))


def until_restarted(machine: Machine, unit: str, times: int) -> None:
    """Wait until systemd has started the unit again, and the unit is active."""
    machine.until(
        lambda: machine.show(unit, "NRestarts") == str(times) and machine.state(unit) == "active"
    )


def read_object(machine: Machine, folder: str = "/mnt/data") -> bool:
    done = machine.run(
        "cmp", f"{folder}/object", "/srv/buckets/my-bucket/object", check=False, seconds=20
    )
    return done.returncode == 0


def drop_in(machine: Machine, unit: str, text: str) -> None:
    machine.write(f"/run/systemd/system/{unit}.service.d/test.conf", text)
    machine.run("systemctl", "daemon-reload")


def test_programs_never_see_an_empty_directory_after_a_crash(machine: Machine, unit: str) -> None:
    with watched(machine) as answers:
        for _ in range(2):
            restarts = int(machine.show(unit, "NRestarts"))
            kill(machine, unit, signal.SIGKILL)
            until_restarted(machine, unit, restarts + 1)
            assert read_object(machine)
        seen = answers()
    # A program whose request is in progress when the process is killed gets ECONNABORTED.
    assert set(seen) - {"ECONNABORTED"} == {"files", "ENOTCONN"}
    assert seen.count("ENOTCONN") >= 2


def test_programs_see_an_error_while_a_crashed_mount_waits_for_the_service(
    machine: Machine, unit: str
) -> None:
    with watched(machine) as answers:
        machine.run("systemctl", "stop", "emulator")
        kill(machine, unit, signal.SIGKILL)
        time.sleep(OUTAGE_SECONDS)
        assert machine.state(unit) == "activating"
        machine.run("systemctl", "start", "emulator")
        machine.until_state(unit, "active")
        assert read_object(machine)
        assert "empty" not in answers()
    mounts = machine.run("findmnt", "--noheadings", "/mnt/data").stdout.splitlines()
    assert len(mounts) == 1


def test_units_that_need_the_mount_start_when_the_service_comes_late(
    machine: Machine, stopped_unit: str
) -> None:
    machine.run("systemctl", "stop", "emulator")
    for dependency in ("Requires", "BindsTo"):
        machine.write(
            f"/run/systemd/system/test-{dependency}.service",
            f"[Unit]\n{dependency}={stopped_unit}.service\nAfter={stopped_unit}.service\n"
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=test -e /mnt/data/object\n",
        )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "--no-block", "test-Requires", "test-BindsTo")
    waiting = "Waiting for gs://my-bucket: the service at 127.0.0.1:9000 does not answer"
    machine.until(lambda: machine.show(stopped_unit, "StatusText").startswith(waiting))
    assert machine.state(stopped_unit) == "activating"
    machine.run("systemctl", "start", "emulator")
    machine.until_state("test-Requires", "active")
    machine.until_state("test-BindsTo", "active")


def test_a_start_longer_than_the_timeout_of_systemd_extends_the_timeout(
    machine: Machine, stopped_unit: str
) -> None:
    drop_in(machine, stopped_unit, "[Service]\nTimeoutStartSec=1s\n")
    machine.run("systemctl", "stop", "emulator")
    machine.run("systemctl", "start", "--no-block", stopped_unit)
    time.sleep(OUTAGE_SECONDS)
    machine.run("systemctl", "start", "emulator")
    machine.until_state(stopped_unit, "active")
    assert machine.show(stopped_unit, "NRestarts") == "0"


def test_the_mount_starts_a_unit_after_an_outage_longer_than_the_start_timeout(
    machine: Machine, stopped_unit: str
) -> None:
    machine.run("systemctl", "stop", "emulator")
    machine.write("/etc/gcsmux/data.env", ENVIRONMENT + "OPTIONS=--start-timeout 0\n")
    drop_in(machine, stopped_unit, "[Unit]\nUpholds=test-late.service\n")
    machine.write(
        "/run/systemd/system/test-late.service",
        f"[Unit]\nRequires={stopped_unit}.service\nAfter={stopped_unit}.service\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=test -e /mnt/data/object\n",
    )
    machine.run("systemctl", "daemon-reload")
    assert machine.run("systemctl", "start", "test-late", check=False).returncode != 0
    machine.run("systemctl", "start", "emulator")
    machine.until_state("test-late", "active")


PERMANENT = {
    "no configuration": ("", "/etc/gcsmux/data.env"),
    "no bucket of this name": (
        ENVIRONMENT.replace("my-bucket", "absent-bucket"),
        "there is no bucket gs://absent-bucket",
    ),
    "no mount point": (ENVIRONMENT.replace("/mnt/data", "/mnt/absent"), "mkdir -p /mnt/absent"),
    "files in the mount point": (ENVIRONMENT.replace("/mnt/data", "/etc"), "/etc is not empty"),
    "no key file": (
        "BUCKET=my-bucket\nMOUNTPOINT=/mnt/data\nOPTIONS=--key-file /etc/absent.json\n",
        "/etc/absent.json",
    ),
    "no credentials": ("BUCKET=my-bucket\nMOUNTPOINT=/mnt/data\n", "no credentials were found"),
    "an unknown option": (ENVIRONMENT + "OPTIONS=--no-such-option\n", "--no-such-option"),
}


@pytest.mark.parametrize("case", PERMANENT)
def test_a_permanent_error_fails_the_unit_at_once_and_shows_the_reason(
    machine: Machine, stopped_unit: str, case: str
) -> None:
    environment, reason = PERMANENT[case]
    if environment:
        machine.write("/etc/gcsmux/data.env", environment)
    else:
        machine.remove("/etc/gcsmux/data.env")
    assert machine.run("systemctl", "start", stopped_unit, check=False).returncode != 0
    assert machine.state(stopped_unit) == "failed"
    assert machine.show(stopped_unit, "NRestarts") == "0"
    assert f"{stopped_unit}.service" in machine.failed_units()
    status = machine.run("systemctl", "status", "--lines=0", stopped_unit, check=False).stdout
    assert reason in status
    invocation = machine.show(stopped_unit, "InvocationID")
    lines = [
        entry
        for entry in machine.journal(f"_SYSTEMD_INVOCATION_ID={invocation}", "--priority=err")
        if entry["_TRANSPORT"] == "stdout"
    ]
    assert len(lines) == 1
    assert reason in lines[0]["MESSAGE"]
    assert not lines[0]["MESSAGE"].startswith("gcsmux-mount")
    assert lines[0]["SYSLOG_IDENTIFIER"] == "gcsmux-mount"


def test_a_stopped_unit_is_clean(machine: Machine, unit: str) -> None:
    invocation = machine.show(unit, "InvocationID")
    machine.run("systemctl", "stop", unit)
    assert machine.state(unit) == "inactive"
    assert machine.run("findmnt", "/mnt/data", check=False).stdout == ""
    assert machine.show(unit, "StatusText") == "Unmounted /mnt/data."
    lines = [entry["MESSAGE"] for entry in machine.journal(f"INVOCATION_ID={invocation}")]
    assert not [line for line in lines if "FAILURE" in line or "failed" in line]


def test_a_stop_that_has_to_kill_the_process_unmounts(machine: Machine, unit: str) -> None:
    drop_in(machine, unit, "[Service]\nTimeoutStopSec=1s\n")
    kill(machine, unit, signal.SIGSTOP)
    # `systemctl stop` sends SIGCONT after SIGTERM. So a second program stops the process again.
    process = machine.show(unit, "MainPID")
    script = f"while kill -STOP {process} 2>/dev/null; do :; done"
    with machine.program("sh", "-c", script):
        machine.run("systemctl", "stop", unit)
    assert machine.show(unit, "Result") == "timeout"
    assert machine.run("findmnt", "/mnt/data", check=False).stdout == ""


@pytest.mark.parametrize("name", ["my bucket", "a-b", "data/ä"])
def test_an_instance_may_have_any_name(machine: Machine, stopped_unit: str, name: str) -> None:
    escaped = machine.run("systemd-escape", name).stdout.strip()
    machine.write(f"/etc/gcsmux/{name}.env", ENVIRONMENT)
    machine.run("systemctl", "start", f"gcsmux@{escaped}")
    assert read_object(machine)


def test_a_name_with_a_dash_needs_no_escaping(machine: Machine, stopped_unit: str) -> None:
    machine.write("/etc/gcsmux/my-data.env", ENVIRONMENT)
    machine.run("systemctl", "start", "gcsmux@my-data")
    assert read_object(machine)


def test_the_watchdog_restarts_a_process_that_hangs(machine: Machine, stopped_unit: str) -> None:
    drop_in(machine, stopped_unit, "[Service]\nWatchdogSec=2s\n")
    machine.run("systemctl", "start", stopped_unit)
    # A pause that is shorter than the watchdog's time has no effect.
    kill(machine, stopped_unit, signal.SIGSTOP)
    time.sleep(1)
    kill(machine, stopped_unit, signal.SIGCONT)
    time.sleep(2)
    assert machine.show(stopped_unit, "NRestarts") == "0"
    assert read_object(machine)
    kill(machine, stopped_unit, signal.SIGSTOP)
    until_restarted(machine, stopped_unit, 1)
    assert read_object(machine)
    time.sleep(2)
    assert machine.show(stopped_unit, "NRestarts") == "1"


def test_reload_shows_new_objects_and_reopens_the_log(machine: Machine, stopped_unit: str) -> None:
    options = "OPTIONS=--metadata-ttl=1h --negative-ttl=1h --log-file=/var/log/gcsmux.log\n"
    machine.write("/etc/gcsmux/data.env", ENVIRONMENT + options)
    machine.run("systemctl", "start", stopped_unit)
    process = machine.show(stopped_unit, "MainPID")
    assert "new" not in machine.run("ls", "/mnt/data").stdout
    assert machine.run("test", "-e", "/mnt/data/new", check=False).returncode == 1
    machine.write("/srv/buckets/my-bucket/new", b"new")
    machine.run("mv", "/var/log/gcsmux.log", "/var/log/gcsmux.log.1")
    machine.run("systemctl", "reload", stopped_unit)
    machine.until(
        lambda: machine.run("cat", "/mnt/data/new", check=False).stdout == "new", seconds=10
    )
    assert machine.run("ls", "/mnt/data").stdout.split() == ["new", "object"]
    assert machine.show(stopped_unit, "MainPID") == process
    assert machine.state(stopped_unit) == "active"
    assert "SIGHUP" in (machine.root / "var/log/gcsmux.log").read_text()
    machine.remove("/srv/buckets/my-bucket/new")


def test_a_lazy_unmount_by_hand_ends_the_unit(machine: Machine, unit: str) -> None:
    machine.run("umount", "--lazy", "/mnt/data")
    machine.until_state(unit, "inactive")


def test_a_lazy_unmount_with_an_open_file_ends_the_unit(machine: Machine, unit: str) -> None:
    script = "exec 3</mnt/data/object; echo open; while [ ! -e /run/done ]; do sleep 0.1; done"
    with machine.program("sh", "-c", script) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        machine.run("umount", "--lazy", "/mnt/data")
        machine.until(lambda: machine.state(unit) == "deactivating", seconds=15)
        assert "unmounted" in machine.show(unit, "StatusText")
        machine.run("touch", "/run/done")
    machine.until_state(unit, "inactive")


def test_the_unit_runs_as_another_user(machine: Machine, stopped_unit: str) -> None:
    example = (CHECKOUT / "systemd" / "user.conf").read_text()
    machine.run("useradd", "--system", "gcsmux", check=False)
    machine.run("chown", "gcsmux", "/mnt/data")
    drop_in(machine, stopped_unit, example)
    machine.run("systemctl", "start", stopped_unit)
    assert machine.run("stat", "--format=%U", "/mnt/data/object").stdout == "gcsmux\n"
    assert read_object(machine)
    kill(machine, stopped_unit, signal.SIGKILL)
    until_restarted(machine, stopped_unit, 1)
    assert read_object(machine)
    machine.run("systemctl", "stop", stopped_unit)
    assert machine.show(stopped_unit, "Result") == "success"


def test_the_bytes_are_right(machine: Machine, unit: str) -> None:
    assert (machine.root / "srv/buckets/my-bucket/object").read_bytes() == OBJECT
    assert read_object(machine)
