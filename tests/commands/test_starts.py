"""Starts that get in each other's way, and starts whose standard streams are closed or lost."""

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
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts by mount(2)")


def mounts_at(path: Path) -> list[str]:
    return [entry.source for entry in mount_table() if entry.path == os.fspath(path)]


def leave_dead_mount(path: Path) -> None:
    """Mount what a killed process of ours would leave."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"dead", os.fsencode(path), b"fuse.gcsmux-mount", 0, data) == 0
    os.close(device)


def shell(script: str, *arguments: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a script of bash, and return its exit code and what it wrote."""
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


def starts_at_once(
    mountpoints: list[Path], environment: dict[str, str]
) -> list[tuple[int | None, str]]:
    """Start one command for each path, all at once, and return their exit codes and sentences."""
    commands = [
        subprocess.Popen(
            [COMMAND, "my-bucket", path], env=environment, stderr=subprocess.PIPE, text=True
        )
        for path in mountpoints
    ]
    answers = []
    for command in commands:
        with command:
            _, said = command.communicate(timeout=LIMIT_SECONDS)
        answers.append((command.returncode, said))
    return answers


@pytest.mark.parametrize("place", ["an empty directory", "a link to it", "a dead mount"])
def test_of_starts_at_once_exactly_one_mounts(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path, place: str
) -> None:
    paths = [mountpoint] * 3
    if place == "a link to it":
        paths[1] = tmp_path / "link"
        paths[1].symlink_to(mountpoint)
    if place == "a dead mount":
        if os.geteuid() != 0:
            pytest.skip("mounts by mount(2)")
        leave_dead_mount(mountpoint)
    answers = starts_at_once(paths, environment)
    assert sorted(code or 0 for code, _ in answers) == [0, 1, 1]
    now = f"another command is mounting on {mountpoint} right now: wait until its mount is ready."
    # One that looks only when the first is ready.
    later = (
        f"my-bucket is mounted on {mountpoint} already: unmount it first by `umount {mountpoint}`."
    )
    for code, said in answers:
        assert said in (
            ("",) if code == 0 else (f"gcsmux-mount: {now}\n", f"gcsmux-mount: {later}\n")
        )
    assert mounts_at(mountpoint) == ["my-bucket"]
    assert shell('cat "$1/dir/hello"', mountpoint, environment=environment) == (0, "hello\n")


def test_a_mount_that_serves_holds_no_lock_and_no_directory(
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
def test_a_start_without_standard_streams_works_or_fails_never_both(
    mountpoint: Path, environment: dict[str, str], bucket: str, streams: str
) -> None:
    script = f'"$1" {bucket} "$2" {streams}; code=$?; cat "$2/dir/hello"; exit $code'
    code, said = shell(script, COMMAND, mountpoint, environment=environment)
    if bucket == "my-bucket":
        assert (code, said, mounts_at(mountpoint)) == (0, "hello\n", ["my-bucket"])
    else:
        assert (code, mounts_at(mountpoint)) == (1, [])
        assert ("there is no bucket" in said) == ("2>&-" not in streams)


@pytest.mark.parametrize("streams", ["2>/dev/full", "2> >(true)"], ids=["full", "broken"])
def test_a_remark_that_cannot_be_shown_is_no_failure(
    mountpoint: Path, environment: dict[str, str], streams: str
) -> None:
    # A second is enough for a pipe to lose its reader.
    script = f'"$1" gs://my-bucket/none "$2" {streams}'
    code, _ = shell(script, COMMAND, mountpoint, environment=environment)
    assert (code, mounts_at(mountpoint)) == (0, ["gs://my-bucket/none"])


@pytest.mark.parametrize(
    ("arguments", "code"), [("--memory 12x b-1 /mnt 2>/dev/full", 2), ("--help >/dev/full", 1)]
)
def test_an_answer_that_cannot_be_shown_ends_without_a_traceback(
    environment: dict[str, str], arguments: str, code: int
) -> None:
    found, said = shell(f'"$1" {arguments}', COMMAND, environment=environment)
    assert found == code
    assert "Traceback" not in said
    assert said.count("\n") <= 1


def test_a_mount_in_the_foreground_lives_without_standard_streams(
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


def test_an_emulator_without_standard_streams_serves(
    mountpoint: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "buckets" / "my-bucket" / "dir").mkdir(parents=True)
    (tmp_path / "buckets" / "my-bucket" / "dir" / "hello").write_text("hello\n")
    script = """
    "$1/gcsmux-emulator" "$3/buckets" --port 0 <&- 2>&- >"$3/said" & pid=$!
    trap 'kill $pid; wait $pid' EXIT
    until grep -q listening "$3/said"; do kill -0 $pid || exit 99; sleep 0.05; done
    export STORAGE_EMULATOR_HOST_GRPC=$(sed 's/.* //' "$3/said")
    "$1/gcsmux-mount" my-bucket "$2" && cat "$2/dir/hello" && umount "$2"
    """
    assert shell(script, BIN, mountpoint, tmp_path, environment=environment) == (0, "hello\n")
