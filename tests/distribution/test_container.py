"""Tests of the Dockerfile: its image is built and run by systemd-nspawn, without Docker.

As with Docker, the mount is process 1 of the container: it gets SIGTERM, its exit code is the exit
code of the container, and its stderr is the log.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.distribution.dockerfile import Image
from tests.support.harness import EmulatorProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.distribution.conftest import Distributions

pytestmark = [pytest.mark.package, pytest.mark.mount]

CONTENT = os.urandom(3_000_001)
END_SECONDS = 30.0


@pytest.fixture(scope="session")
def image(distributions: Distributions) -> Iterator[Image]:
    """The image of the Dockerfile, built from the files that git knows."""
    if os.geteuid() != 0 or shutil.which("systemd-nspawn") is None:
        pytest.skip("needs root and systemd-nspawn (package systemd-container)")
    if '\nVERSION_ID="12"' not in Path("/etc/os-release").read_text():
        pytest.skip("the base image is Debian 12, and this machine is not")
    # pip's cache contains pyfuse3, whose compilation takes half a minute.
    cache = Path.home() / ".cache" / "pip"
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gcsmux-image-"))
    try:
        with Image(distributions.sources, folder, [f"{cache}:/root/.cache/pip"]) as image:
            image.build((distributions.sources / "Dockerfile").read_text())
            yield image
    finally:
        folder.rmdir()


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path / "buckets") as emulator:
        emulator.place("object", CONTENT)
        yield emulator


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A device file like the one that Docker makes for --device /dev/fuse."""
    node = tmp_path / "fuse"
    subprocess.run(["mknod", "-m", "666", node, "c", "10", "229"], check=True)
    return node


class Container:
    """A container that runs the entry point of the image with some arguments."""

    def __init__(self, image: Image, arguments: list[str], options: list[str]) -> None:
        self._image = image
        self.process = subprocess.Popen(
            image.command(*image.entry_point, *arguments, options=options),
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def leader(self) -> str:
        """The process ID of process 1 of the container, or "" if there is none yet."""
        pid = self.process.pid
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().partition(" ")[0]
        return ""

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the container, like `docker exec`."""
        environment = [f"{name}={text}" for name, text in self._image.environment.items()]
        enter = ["nsenter", f"--target={self.leader}", "--all", "--root", "--wdns=/"]
        return subprocess.run(
            [*enter, "env", "-i", *environment, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=END_SECONDS,
            check=False,
        )

    def is_mounted(self) -> bool:
        """Whether the mount answers."""
        assert self.process.poll() is None, self.process.communicate()
        return self.leader != "" and self.run("test", "-e", "/mnt/data/object").returncode == 0

    def terminate(self) -> tuple[int, str]:
        """Send SIGTERM to process 1; return its exit code and its log."""
        os.kill(int(self.leader), signal.SIGTERM)
        output, log = self.process.communicate(timeout=END_SECONDS)
        assert output == ""
        return self.process.returncode, log


@contextlib.contextmanager
def container(image: Image, arguments: list[str], options: list[str]) -> Iterator[Container]:
    running = Container(image, arguments, options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            if running.leader:
                os.kill(int(running.leader), signal.SIGKILL)
            running.process.kill()
            running.process.communicate()


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_container_mounts_and_unmounts_at_sigterm(
    image: Image, emulator: EmulatorProcess, device: Path, user: str
) -> None:
    options = [
        f"--bind={device}:/dev/fuse",
        f"--setenv=STORAGE_EMULATOR_HOST_GRPC={emulator.endpoint}",
        f"--user={user}",
    ]
    arguments = ["--allow-other", emulator.bucket_name, "/mnt/data"]
    with container(image, arguments, options) as running:
        wait_until(running.is_mounted, "the mount in the container answers", seconds=30)
        assert running.run("cat", "/mnt/data/object").stdout == CONTENT
        # The control socket, which the check uses, appears just after the mount answers.
        wait_until(
            lambda: running.run(*image.health_check).returncode == 0, "the container is healthy"
        )
        code, log = running.terminate()
    assert code == 0, log
    assert "gs://my-bucket" in log
    assert "Traceback" not in log


def test_the_health_check_fails_without_a_mount(image: Image) -> None:
    assert image.container(*image.health_check).returncode == 1


def test_failures_of_a_container_have_a_reason_and_an_exit_code(
    image: Image, emulator: EmulatorProcess, device: Path
) -> None:
    service = f"--setenv=STORAGE_EMULATOR_HOST_GRPC={emulator.endpoint}"
    wrong = image.container(*image.entry_point, "--memroy=1GiB", "my-bucket", "/mnt/data")
    assert wrong.returncode == 2
    assert wrong.stderr.endswith("unknown option --memroy: did you mean --memory?\n")
    without_device = image.container(
        *image.entry_point, "my-bucket", "/mnt/data", options=[service]
    )
    assert without_device.returncode == 78
    assert "/dev/fuse" in without_device.stderr
    options = [service, f"--bind={device}:/dev/fuse"]
    absent = image.container(*image.entry_point, "no-such-bucket", "/mnt/data", options=options)
    assert absent.returncode == 78
    assert "no-such-bucket" in absent.stderr


def test_sigterm_ends_a_start_that_waits_for_the_service(image: Image, device: Path) -> None:
    options = [f"--bind={device}:/dev/fuse", "--setenv=STORAGE_EMULATOR_HOST_GRPC=127.0.0.1:1"]
    with container(image, ["my-bucket", "/mnt/data"], options) as running:
        wait_until(lambda: running.leader != "", "the container has a process")
        wait_until(
            lambda: (
                b"gcsmux_fs" in Path(f"/proc/{running.leader}/maps").read_bytes()
                or b"cygrpc" in Path(f"/proc/{running.leader}/maps").read_bytes()
            ),
            "the mount process has loaded gRPC",
        )
        os.kill(int(running.leader), signal.SIGTERM)
        _, log = running.process.communicate(timeout=END_SECONDS)
    assert running.process.returncode == 130
    assert log.endswith("gcsmux-mount: interrupted, nothing is mounted.\n")
    assert "Traceback" not in log
