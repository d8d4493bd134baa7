"""Tests that the real command reports each failure as one sentence, with the right exit code."""

from __future__ import annotations

import itertools
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).with_name("gcsmux-mount")
# Maximum duration of one run of the command. A run usually ends within ten seconds, but takes
# longer on a machine that also runs other tests.
LIMIT_SECONDS = 60


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command, and return its exit code and the only line on stderr."""
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
        (
            "bucket /mnt extra",
            "unexpected argument extra: write gcsmux-mount [OPTIONS] BUCKET MOUNTPOINT.",
        ),
        (
            "bucket /mnt --metdata-ttl 3s",
            "unknown option --metdata-ttl: did you mean --metadata-ttl?",
        ),
        ("bucket /mnt --memroy=1G", "unknown option --memroy: did you mean --memory?"),
        ("bucket /mnt --only_dir=a", "unknown option --only_dir: did you mean --only-dir?"),
        ("bucket /mnt -memory 1GiB", "unknown option -memory: did you mean --memory?"),
        ("bucket /mnt -foreground", "unknown option -foreground: did you mean --foreground?"),
        ("bucket /mnt -only-dir=a", "unknown option -only-dir: did you mean --only-dir?"),
        ("bucket /mnt --qqqqq", "unknown option --qqqqq: --help lists all options."),
        (
            "bucket /mnt -o alow_other",
            "unknown mount option -o alow_other: did you mean allow_other?",
        ),
        ("bucket /mnt --memory", "--memory has no value: write --memory SIZE."),
        ("bucket /mnt --memory 12x", "--memory: '12x' is not a size"),
        ("bucket /mnt --memory 1KiB", "--memory 1KiB is too small"),
        ("bucket /mnt -o memory=12x", "--memory: '12x' is not a size"),
        ("bucket /mnt --metadata-ttl 60", "--metadata-ttl: '60' has no unit"),
        ("bucket /mnt --read-timeout 0", "--read-timeout is out of range"),
        ("bucket /mnt --file-mode 999", "--file-mode: '999' is not a mode"),
        ("bucket /mnt --uid no-such-user", "--uid: there is no user 'no-such-user'"),
        ("bucket /mnt --gid " + "9" * 5000, "--gid: there is no group '999"),
        ("bucket /mnt --log-level loud", "--log-level: 'loud' is not one of"),
        ("bucket /mnt --key-file /no/such", "--key-file: '/no/such' cannot be read: No such file"),
        ("bucket /mnt --endpoint localhost", "'localhost' is not an endpoint"),
        ("bucket /mnt --endpoint a:1 --plaintext", "credentials are never sent in plaintext"),
        ("BUCKET /mnt", "'BUCKET' is not a bucket name"),
        ("bucket/dir /mnt", "write gs://bucket/dir"),
        ("/mnt bucket", "'/mnt' is a path and not a bucket: write name or gs://name, and write it"),
        ("bucket /mnt --foreground=yes", "--foreground takes no value: write only --foreground."),
        ("--memory 1 GiB bucket /mnt", "unexpected argument /mnt: write gcsmux-mount"),
    ],
)
def test_a_usage_error_is_reported_in_one_sentence(arguments: str, sentence: str) -> None:
    exit_code, line = run(*arguments.split())
    assert sentence in line
    assert exit_code == 2


def test_an_empty_mountpoint_does_not_mean_the_current_directory() -> None:
    assert run("bucket", "") == (
        2,
        "MOUNTPOINT is an empty text: write the path of a directory.",
    )


@pytest.mark.parametrize("arguments", ["bucket mnt", "bucket /mnt --log-file log"])
def test_a_relative_path_in_a_deleted_directory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    exit_code, line = run(*arguments.split())
    assert "the current directory, which no longer exists" in line
    assert exit_code == 2


def test_an_emulator_on_another_machine_requires_plaintext() -> None:
    exit_code, line = run("bucket", "/mnt", STORAGE_EMULATOR_HOST_GRPC="10.1.2.3:9000")
    assert exit_code == 2
    assert "add --plaintext" in line


@pytest.mark.mount
@pytest.mark.parametrize("foreground", [[], ["-f"]], ids=["detached", "foreground"])
@pytest.mark.parametrize(
    ("mountpoint", "sentence"),
    [
        ("missing", "does not exist: create it first by `mkdir -p /"),
        ("file", "is not a directory"),
        ("full", "is not empty"),
        ("/proc", "belongs to the kernel"),
    ],
)
def test_a_wrong_mountpoint_is_reported_in_one_sentence(
    tmp_path: Path, mountpoint: str, sentence: str, foreground: list[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full" / "inner").mkdir(parents=True)
    exit_code, line = run("bucket", os.fspath(tmp_path / mountpoint), *foreground)
    assert sentence in line
    assert exit_code == 78


@pytest.mark.mount
def test_a_machine_without_fuse_is_reported(tmp_path: Path) -> None:
    """Run the command in a mount namespace without /dev/fuse. This needs root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    hide = "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{hide} "$0" my-bucket "$1"', COMMAND, tmp_path],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 78
    assert done.stderr.startswith("gcsmux-mount: there is no /dev/fuse: run `modprobe fuse`")


@pytest.mark.mount
def test_a_log_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    log = os.fspath(tmp_path / "no" / "log")
    exit_code, line = run("bucket", os.fspath(tmp_path / "mnt"), "--log-file", log)
    assert line == f"--log-file {log} cannot be written: No such file or directory."
    assert exit_code == 78


def test_version_and_help_are_printed() -> None:
    for option, beginning in (
        ("--version", "gcsmux-mount, version "),
        ("--help", "Usage: gcsmux-mou"),
    ):
        done = subprocess.run([COMMAND, option], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(beginning)


def test_a_usage_error_loads_neither_grpc_nor_pyfuse3() -> None:
    code = (
        "import sys; from gcsmux_fs.commands.mount import run;"
        "run(['bucket', '/mnt', '--memory', '1']);"
        "print(sorted({'grpc', 'pyfuse3', 'google', 'trio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.mount
def test_an_endpoint_without_the_service_is_reported(tmp_path: Path) -> None:
    """Mount from three wrong servers, with and without TLS.

    The first refuses connections, the second never answers, and the third speaks HTTP/1.1.
    """

    def options(port: int) -> list[list[str]]:
        return [[], ["-f"], ["-f", "--anonymous", "--endpoint", f"127.0.0.1:{port}"]]

    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as silent, http_server() as http:
        ports = (refusing, silent.getsockname()[1], http)
        for number, port in itertools.product(range(3), ports):
            (tmp_path / f"{number}-{port}").mkdir()
        commands = [
            subprocess.Popen(
                [COMMAND, "my-bucket", tmp_path / f"{number}-{port}", *option],
                env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": f"127.0.0.1:{port}"},
                stderr=subprocess.PIPE,
                text=True,
            )
            for port in ports
            for number, option in enumerate(options(port))
        ]
        for command in commands:
            with command:
                _, stderr = command.communicate(timeout=LIMIT_SECONDS)
            assert command.returncode == 1
            (line,) = stderr.splitlines()
            assert re.match(r"gcsmux-mount: (the service at )?127\.0\.0\.1:\d+ does not ", line)


@contextmanager
def http_server() -> Iterator[int]:
    """Run a server that answers each connection with an HTTP/1.1 error; yield its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.mount
def test_missing_credentials_are_reported_with_the_ways_to_provide_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST_GRPC"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mnt").mkdir()
    exit_code, line = run(
        "my-bucket",
        os.fspath(tmp_path / "mnt"),
        CLOUDSDK_CONFIG=os.fspath(tmp_path),
        NO_GCE_CHECK="true",
    )
    assert exit_code == 78
    assert "no credentials" in line
    assert "--key-file" in line
    assert "--anonymous" in line


@pytest.mark.mount
def test_a_file_that_is_not_a_key_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    key = tmp_path / "key.json"
    key.write_text("no key")
    exit_code, line = run("my-bucket", os.fspath(tmp_path / "mnt"), "--key-file", os.fspath(key))
    assert exit_code == 78
    assert f"key file {key}" in line
