"""Tests of the real command: mount, unmount, and remove the dead mount of a killed process."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcsmux_fs.fuse import replacement
from gcsmux_fs.fuse.mountinfo import device_of, mount_table
from gcsmux_fs.fuse.mountpoint import claim_mountpoint, clear_dead_mounts, mounting_place
from gcsmux_fs.model.errors import ConfigError

pytestmark = pytest.mark.mount

COMMAND = Path(sys.executable).with_name("gcsmux-mount")
LIMIT_SECONDS = 30


def mount(*arguments: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def shell(command: str, *arguments: str | Path) -> str:
    """Run a shell command that uses a mount, with a time limit, and return its output."""
    done = subprocess.run(
        ["sh", "-c", command, "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    return done.stdout


def serving_processes(mountpoint: Path) -> list[int]:
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            any(word.endswith(b"/gcsmux-mount") for word in words)
            and os.fsencode(mountpoint) in words
        ):
            pids.append(int(entry.name))
    return pids


def wait_until_gone(mountpoint: Path) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while serving_processes(mountpoint):
        assert time.monotonic() < end
        time.sleep(0.02)


def mounted_at(path: Path) -> list[str]:
    return [entry.source for entry in mount_table() if entry.path == os.fspath(path)]


def test_the_command_returns_when_the_mount_is_ready_and_umount_ends_it(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    done = mount("gs://my-bucket/dir", mountpoint, "--log-file", log, environment=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert shell('cat "$1/hello"', mountpoint) == "hello\n"
    assert mounted_at(mountpoint) == ["gs://my-bucket/dir"]
    (pid,) = serving_processes(mountpoint)
    assert Path(f"/proc/{pid}/cwd").resolve() == Path("/")
    assert Path(f"/proc/{pid}/comm").read_text() == "gcsmux-mount\n"
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/2").resolve() == log
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)
    assert "unmounted" in log.read_text()


@pytest.mark.parametrize("source", ["my-bucket", "gs://my-bucket", "gs://my-bucket/dir/"])
def test_the_mount_table_shows_the_bucket_as_the_user_wrote_it(
    mountpoint: Path, environment: dict[str, str], source: str
) -> None:
    done = mount(source, mountpoint, environment=environment)
    assert (done.returncode, mounted_at(mountpoint)) == (0, [source])
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)


def test_a_mount_point_may_be_a_link_to_an_unusual_name(
    tmp_path: Path, mountpoint: Path, environment: dict[str, str]
) -> None:
    unusual = mountpoint / "my dätä,\n\\040"
    unusual.mkdir()
    link = tmp_path / "link"
    link.symlink_to(unusual)
    try:
        done = mount("my-bucket", link, environment=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert shell('cat "$1/dir/hello"', link) == "hello\n"
        assert mounted_at(unusual) == ["my-bucket"]
    finally:
        shell('umount -l "$1"', unusual)
    wait_until_gone(link)


@pytest.mark.parametrize("foreground", [[], ["-f"]], ids=["detached", "foreground"])
def test_a_second_mount_on_a_live_mount_is_refused(
    mountpoint: Path, environment: dict[str, str], foreground: list[str]
) -> None:
    assert mount("my-bucket", mountpoint, environment=environment).returncode == 0
    done = mount("my-bucket", mountpoint, *foreground, environment=environment)
    assert done.returncode == 78
    assert f"my-bucket is mounted on {mountpoint} already" in done.stderr
    assert shell('cat "$1/dir/hello"', mountpoint) == "hello\n"
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)


def test_the_next_start_replaces_the_dead_mount_of_a_crashed_process(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    assert mount("my-bucket", mountpoint, environment=environment).returncode == 0
    (pid,) = serving_processes(mountpoint)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(mountpoint)
    assert mounted_at(mountpoint) == ["my-bucket"]
    done = mount("my-bucket", mountpoint, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert mounted_at(mountpoint) == ["my-bucket"]
    assert shell('cat "$1/dir/hello"', mountpoint) == "hello\n"
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)


def leave_dead_mount(path: Path, fstype: bytes) -> None:
    """Leave a dead mount: mount a FUSE file system, and close its /dev/fuse without serving it."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"dead", os.fsencode(path), fstype, 0, data) == 0, ctypes.get_errno()
    os.close(device)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call mount(2)")


@needs_root
def test_a_stack_of_dead_mounts_is_removed(mountpoint: Path) -> None:
    for _ in range(3):
        leave_dead_mount(mountpoint, b"fuse.gcsmux-mount")
    assert len(mounted_at(mountpoint)) == 3
    clear_dead_mounts(mountpoint)
    assert mounted_at(mountpoint) == []


@needs_root
@pytest.mark.parametrize("flag", [replacement._MOVE_MOUNT_BENEATH, 1 << 15])
def test_a_new_mount_replaces_a_stack_of_dead_mounts_in_one_step(
    mountpoint: Path, flag: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel before Linux 6.5 refuses the flag with EINVAL, as any kernel refuses bit 15."""
    monkeypatch.setattr(replacement, "_MOVE_MOUNT_BENEATH", flag)
    for _ in range(3):
        leave_dead_mount(mountpoint, b"fuse.gcsmux-mount")
    with claim_mountpoint(mountpoint) as claim:
        assert claim.path == mountpoint
        assert mounted_at(mountpoint) == ["dead"] * 3
        with mounting_place(claim) as place:
            assert mounted_at(mountpoint) == ["dead"]
            subprocess.run(["mount", "-t", "tmpfs", "new", place], check=True)
            (place / "file").touch()
    assert mounted_at(mountpoint) == ["new"]
    assert [each.name for each in mountpoint.iterdir()] == ["file"]
    assert not place.exists()


@needs_root
def test_a_mount_that_fails_leaves_the_dead_mount(mountpoint: Path) -> None:
    leave_dead_mount(mountpoint, b"fuse.gcsmux-mount")
    with (
        claim_mountpoint(mountpoint) as claim,
        pytest.raises(RuntimeError, match="libfuse"),
        mounting_place(claim) as place,
    ):
        raise RuntimeError("libfuse cannot mount")
    assert mounted_at(mountpoint) == ["dead"]
    assert not place.exists()


@needs_root
def test_the_dead_mount_of_another_program_is_not_removed(mountpoint: Path) -> None:
    leave_dead_mount(mountpoint, b"fuse.sshfs")
    with pytest.raises(ConfigError, match=r"there is a dead mount \(fuse.sshfs\)"):
        claim_mountpoint(mountpoint)
    assert mounted_at(mountpoint) == ["dead"]


@needs_root
def test_a_mount_point_below_a_dead_mount_is_refused(mountpoint: Path) -> None:
    leave_dead_mount(mountpoint, b"fuse.gcsmux-mount")
    with pytest.raises(ConfigError, match="there is a dead mount above"):
        claim_mountpoint(mountpoint / "below")


def test_device_of_returns_the_device_number_of_the_mount(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    assert mount("my-bucket", mountpoint, environment=environment).returncode == 0
    major, minor = device_of(mountpoint)
    device = int(shell('stat -c %d "$1"', mountpoint))
    assert (major, minor) == (os.major(device), os.minor(device))
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)
    with pytest.raises(ConfigError):
        device_of(mountpoint)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_notifies_ready_and_stopping(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(LIMIT_SECONDS)
        address = os.fspath(tmp_path / "notify")
        manager.bind(address)
        with subprocess.Popen(
            [COMMAND, "--foreground", "--", "my-bucket", mountpoint],
            env=environment | {"NOTIFY_SOCKET": address},
            stderr=subprocess.PIPE,
            text=True,
        ) as service:
            try:
                status = b"STATUS=Connecting to gs://my-bucket.\n"
                assert manager.recv(4096).startswith(status)
                assert manager.recv(4096).startswith(b"READY=1\n")
                assert shell('cat "$1/dir/hello"', mountpoint) == "hello\n"
                service.send_signal(number)
                assert manager.recv(4096).startswith(b"STOPPING=1\n")
                _, stderr = service.communicate(timeout=LIMIT_SECONDS)
            finally:
                service.kill()
    assert service.returncode == 0
    assert mounted_at(mountpoint) == []
    assert [line for line in stderr.splitlines() if " INFO " not in line] == []


def test_an_empty_folder_is_mounted_with_a_warning(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    done = mount("gs://my-bucket/dri", mountpoint, environment=environment)
    assert (done.returncode, mounted_at(mountpoint)) == (0, ["gs://my-bucket/dri"])
    assert done.stderr == (
        "gcsmux-mount: no object exists below gs://my-bucket/dri: check the name.\n"
    )
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)


def test_a_missing_bucket_is_not_mounted(mountpoint: Path, environment: dict[str, str]) -> None:
    done = mount("no-such-bucket", mountpoint, environment=environment)
    assert (done.returncode, mounted_at(mountpoint)) == (78, [])
    assert done.stderr == (
        "gcsmux-mount: there is no bucket gs://no-such-bucket: check its name.\n"
    )


def test_an_interrupted_start_leaves_nothing_mounted(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        variables = environment | {"STORAGE_EMULATOR_HOST_GRPC": f"{host}:{port}"}
        with subprocess.Popen(
            [COMMAND, "my-bucket", mountpoint], env=variables, stderr=subprocess.PIPE, text=True
        ) as parent:
            silent.settimeout(LIMIT_SECONDS)
            connection, _ = silent.accept()
            parent.send_signal(signal.SIGINT)
            _, stderr = parent.communicate(timeout=LIMIT_SECONDS)
            connection.close()
    assert (parent.returncode, stderr) == (
        130,
        "gcsmux-mount: interrupted, nothing is mounted.\n",
    )
    assert mounted_at(mountpoint) == []
    assert serving_processes(mountpoint) == []


@needs_root
@pytest.mark.parametrize("source", ["my-bucket", "gs://my-bucket/dir"])
def test_mount_a_does_not_mount_a_mounted_line_of_fstab_again(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path, source: str
) -> None:
    assert mount(source, mountpoint, environment=environment).returncode == 0
    fstab = tmp_path / "fstab"
    fstab.write_text(f"{source} {mountpoint} fuse.gcsmux-mount ro,_netdev 0 0\n")
    assert "already mounted" in shell('mount -a -v -T "$1"', fstab)
    assert mounted_at(mountpoint) == [source]
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)


@pytest.mark.skipif(
    shutil.which("mount.fuse3") is None, reason="needs mount.fuse3 of the package fuse3"
)
@needs_root
def test_a_line_of_fstab_can_be_mounted(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    # The type fuse.gcsmux-mount works in fstab only if the command is installed, and the tested
    # command is not installed. So this line uses the type fuse3 and the source PATH#SOURCE, with
    # which mount.fuse3 runs the command at PATH.
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"{COMMAND}#gs://my-bucket {mountpoint} fuse3 "
        "ro,noauto,nofail,_netdev,allow_other,x-systemd.automount,memory=64MiB,only_dir=dir 0 0\n"
    )
    done = subprocess.run(
        ["mount", "-T", fstab, mountpoint],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shell('cat "$1/hello"', mountpoint) == "hello\n"
    shell('umount "$1"', mountpoint)
    wait_until_gone(mountpoint)
