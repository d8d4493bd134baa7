"""Mistakes as a user makes them, on the real command: one sentence, an exit code, in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gcsmux-mount")
# The promise to the user.
LIMIT_SECONDS = 10


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command and return its exit code and its one line on stderr."""
    done = subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gcsmux-mount: ")
    assert line.endswith((".", "?"))
    return done.returncode, line.removeprefix("gcsmux-mount: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("", "BUCKET is missing"),
        ("bucket", "MOUNTPOINT is missing"),
        ("bucket /mnt extra", "unexpected extra argument (extra)"),
        (
            "bucket /mnt --metdata-ttl 3s",
            "unknown option --metdata-ttl: did you mean --metadata-ttl?",
        ),
        ("bucket /mnt --memroy=1G", "unknown option --memroy: did you mean --memory?"),
        ("bucket /mnt --only_dir=a", "unknown option --only_dir: did you mean --only-dir?"),
        ("bucket /mnt -memory 1GiB", "unknown option -memory: did you mean --memory?"),
        ("bucket /mnt -foreground", "unknown option -foreground: did you mean --foreground?"),
        ("bucket /mnt -only-dir=a", "unknown option -only-dir: did you mean --only-dir?"),
        ("bucket /mnt --qqqqq", "unknown option --qqqqq: --help lists what there is."),
        (
            "bucket /mnt -o alow_other",
            "unknown mount option -o alow_other: did you mean allow_other?",
        ),
        ("bucket /mnt --memory", "option '--memory' requires an argument"),
        ("bucket /mnt --memory 12x", "--memory: '12x' is not a size"),
        ("bucket /mnt --memory 1KiB", "--memory 1KiB is too small"),
        ("bucket /mnt -o memory=12x", "--memory: '12x' is not a size"),
        ("bucket /mnt --metadata-ttl 60", "--metadata-ttl: '60' has no unit"),
        ("bucket /mnt --read-timeout 0", "--read-timeout is out of range"),
        ("bucket /mnt --file-mode 999", "--file-mode: '999' is not a mode"),
        ("bucket /mnt --uid no-such-user", "--uid: there is no user 'no-such-user'"),
        ("bucket /mnt --log-level loud", "--log-level: 'loud' is not one of"),
        ("bucket /mnt --key-file /no/such", "--key-file: '/no/such' cannot be read: No such file"),
        ("bucket /mnt --endpoint localhost", "'localhost' is not an endpoint"),
        ("bucket /mnt --endpoint a:1 --plaintext", "credentials are never sent in plaintext"),
        ("BUCKET /mnt", "'BUCKET' is not a bucket's name"),
        ("bucket/dir /mnt", "write gs://bucket/dir"),
    ],
)
def test_a_wrong_command_is_told_in_one_sentence(arguments: str, sentence: str) -> None:
    exit_code, line = run(*arguments.split())
    assert sentence in line
    assert exit_code == 2


def test_an_empty_mountpoint_is_not_the_current_directory() -> None:
    assert run("bucket", "") == (2, "the mount point is empty: write the path of a directory.")


def test_a_plaintext_emulator_elsewhere_needs_a_flag() -> None:
    exit_code, line = run("bucket", "/mnt", STORAGE_EMULATOR_HOST_GRPC="10.1.2.3:9000")
    assert exit_code == 2
    assert "add --plaintext" in line


@pytest.mark.mount
@pytest.mark.parametrize("foreground", [[], ["-f"]], ids=["detached", "foreground"])
@pytest.mark.parametrize(
    ("mountpoint", "sentence"),
    [
        ("missing", "does not exist: create it first by mkdir -p"),
        ("file", "is not a directory"),
        ("full", "is not empty"),
        ("/proc", "belongs to the kernel"),
    ],
)
def test_a_wrong_mountpoint_is_told_in_one_sentence(
    tmp_path: Path, mountpoint: str, sentence: str, foreground: list[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "inner").mkdir(parents=True)
    exit_code, line = run("bucket", os.fspath(tmp_path / mountpoint), *foreground)
    assert sentence in line
    assert exit_code == 1


@pytest.mark.mount
def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    log = os.fspath(tmp_path / "no" / "log")
    exit_code, line = run("bucket", os.fspath(tmp_path / "mnt"), "--log-file", log)
    assert line == f"--log-file {log} cannot be written: No such file or directory."
    assert exit_code == 1


def test_the_version_and_the_help_are_answered() -> None:
    for option, answer in (
        ("--version", "gcsmux-mount, version "),
        ("--help", "Usage: gcsmux-mou"),
    ):
        done = subprocess.run([COMMAND, option], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(answer)


def test_a_mistake_is_answered_without_loading_grpc() -> None:
    code = (
        "import sys; from gcsmux_fs.cli import run; run(['bucket', '/mnt', '--memory', '1']);"
        "print(sorted({'grpc', 'pyfuse3', 'google'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
