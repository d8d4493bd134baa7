"""Tests of simultaneous starts on one mount point, and of starts with unusable standard streams."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcsmux_fs.fuse.mountinfo import mount_table
from tests.support.open_files import open_files

pytestmark = pytest.mark.mount

BIN = Path(sys.executable).parent
COMMAND = BIN / "gcsmux-mount"
LIMIT_SECONDS = 60
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to call mount(2)")


def mounts_at(path: Path) -> list[str]:
    return [entry.source for entry in mount_table() if entry.path == os.fspath(path)]


def leave_dead_mount(path: Path) -> None:
    """Leave a dead mount at `path`, as a killed gcsmux-mount process does."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"dead", os.fsencode(path), b"fuse.gcsmux-mount", 0, data) == 0
    os.close(device)


def shell(script: str, *arguments: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a bash script with a time limit; return its exit code and output."""
    done = subprocess.run(
        ["timeout", "-k", "1", str(LIMIT_SECONDS), "bash", "-c", script, "bash", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def start_concurrently(
    mountpoints: list[Path], environment: dict[str, str]
) -> list[tuple[int | None, str]]:
    """Start a gcsmux-mount for each path at the same time; return exit codes and error messages."""
    commands = [
        subprocess.Popen(
            [COMMAND, "my-bucket", path], env=environment, stderr=subprocess.PIPE, text=True
        )
        for path in mountpoints
    ]
    results = []
    for command in commands:
        with command:
            _, message = command.communicate(timeout=LIMIT_SECONDS)
        results.append((command.returncode, message))
    return results


@pytest.mark.parametrize("place", ["an empty directory", "a link to it", "a dead mount"])
def test_exactly_one_of_several_concurrent_starts_mounts(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path, place: str
) -> None:
    paths = [mountpoint] * 3
    if place == "a link to it":
        paths[1] = tmp_path / "link"
        paths[1].symlink_to(mountpoint)
    if place == "a dead mount":
        if os.geteuid() != 0:
            pytest.skip("needs root to call mount(2)")
        leave_dead_mount(mountpoint)
    results = start_concurrently(paths, environment)
    assert sorted(bool(code) for code, _ in results) == [False, True, True]
    during = (
        f"another command is mounting on {mountpoint} right now: wait until its mount is ready."
    )
    # The message of a start that checks the mount point after another start has mounted there.
    after = (
        f"my-bucket is mounted on {mountpoint} already: unmount it first by `umount {mountpoint}`."
    )
    for code, message in results:
        assert message in (
            ("",) if code == 0 else (f"gcsmux-mount: {during}\n", f"gcsmux-mount: {after}\n")
        )
    assert mounts_at(mountpoint) == ["my-bucket"]
    assert shell('cat "$1/dir/hello"', mountpoint, environment=environment) == (0, "hello\n")


def test_a_ready_mount_holds_neither_the_lock_nor_the_directory(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen([COMMAND, "-f", "my-bucket", mountpoint], env=environment) as service:
        links: set[str] = set()
        end = time.monotonic() + LIMIT_SECONDS
        while not mounts_at(mountpoint) or os.fspath(mountpoint) in links:
            assert time.monotonic() < end
            time.sleep(0.02)
            links = set(open_files(service.pid))
        service.send_signal(signal.SIGTERM)
        assert service.wait(LIMIT_SECONDS) == 0


@pytest.mark.parametrize(
    ("bucket", "streams"),
    [
        *(("my-bucket", closed) for closed in ("<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-")),
        *(("no-such-bucket", closed) for closed in ("<&- >&-", "<&- >&- 2>&-")),
    ],
)
def test_a_start_without_standard_streams_either_mounts_or_fails(
    mountpoint: Path, environment: dict[str, str], bucket: str, streams: str
) -> None:
    script = f'"$1" {bucket} "$2" {streams}; code=$?; cat "$2/dir/hello"; exit $code'
    code, output = shell(script, COMMAND, mountpoint, environment=environment)
    if bucket == "my-bucket":
        assert (code, output, mounts_at(mountpoint)) == (0, "hello\n", ["my-bucket"])
    else:
        assert (code, mounts_at(mountpoint)) == (78, [])
        assert ("there is no bucket" in output) == ("2>&-" not in streams)


@pytest.mark.parametrize("streams", ["2>/dev/full", "2> >(true)"], ids=["full", "broken"])
def test_a_warning_that_cannot_be_printed_is_not_a_failure(
    mountpoint: Path, environment: dict[str, str], streams: str
) -> None:
    # In the case "broken", stderr is a pipe to `true`, which has exited before the command prints
    # its warning.
    script = f'"$1" gs://my-bucket/none "$2" {streams}'
    code, _ = shell(script, COMMAND, mountpoint, environment=environment)
    assert (code, mounts_at(mountpoint)) == (0, ["gs://my-bucket/none"])


@pytest.mark.parametrize(
    ("arguments", "code"), [("--memory 12x b-1 /mnt 2>/dev/full", 2), ("--help >/dev/full", 1)]
)
def test_output_that_cannot_be_printed_causes_no_traceback(
    environment: dict[str, str], arguments: str, code: int
) -> None:
    exit_code, output = shell(f'"$1" {arguments}', COMMAND, environment=environment)
    assert exit_code == code
    assert "Traceback" not in output
    assert output.count("\n") <= 1


def test_a_foreground_mount_works_without_standard_streams(
    mountpoint: Path, environment: dict[str, str]
) -> None:
    script = """
    "$1" -f my-bucket "$2" <&- >&- 2>&- & pid=$!
    until grep -q " $2 " /proc/self/mountinfo && cat "$2/dir/hello"; do
      kill -0 $pid || exit 99; sleep 0.05
    done
    kill $pid; wait $pid
    """
    assert shell(script, COMMAND, mountpoint, environment=environment) == (0, "hello\n")


def test_an_emulator_works_without_standard_streams(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "buckets" / "my-bucket" / "dir").mkdir(parents=True)
    (tmp_path / "buckets" / "my-bucket" / "dir" / "hello").write_text("hello\n")
    script = """
    "$1/gcsmux-emulator" "$3/buckets" --port 0 <&- 2>&- >"$3/stdout" & pid=$!
    trap 'kill $pid; wait $pid' EXIT
    until grep -qs listening "$3/stdout"; do kill -0 $pid || exit 99; sleep 0.05; done
    export STORAGE_EMULATOR_HOST_GRPC=$(sed 's/.* //' "$3/stdout")
    "$1/gcsmux-mount" my-bucket "$2" && cat "$2/dir/hello" && umount "$2"
    """
    assert shell(script, BIN, mountpoint, tmp_path, environment=environment) == (0, "hello\n")
