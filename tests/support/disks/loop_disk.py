"""A small ext4 file system in an image file, mounted through a loop device. Only root can do this.

The image may be on a `FaultyDisk`. Then the faults are those of a block device below ext4, and the
caches of the kernel work as on a real disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LoopDisk", "loop_disks_work"]

_COMMAND_SECONDS = 30


def loop_disks_work() -> bool:
    """Return whether this process may mount images: it is root, and loop devices exist."""
    tools = shutil.which("mkfs.ext4") and shutil.which("losetup")
    return os.geteuid() == 0 and bool(tools) and Path("/dev/loop-control").exists()


@dataclass
class LoopDisk:
    """The file system in `image`, mounted at `path`. `options` are options of mount(8)."""

    image: Path
    path: Path
    size_bytes: int
    options: Sequence[str] = ()

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(self.size_bytes)
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", self.image)
        _run("mount", "-o", ",".join(["loop", *self.options]), self.image, self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._command("umount", self.path).returncode:
            # A program still uses the disk. The loop device goes away with the last program.
            self._command("umount", "-l", self.path)
            raise AssertionError(f"a program still uses the disk {self.path}")

    def remount(self, *options: str) -> None:
        """Change mount options, for example to `ro`."""
        _run("mount", "-o", ",".join(["remount", *options]), self.path)

    def _command(self, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, check=False, timeout=_COMMAND_SECONDS)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_COMMAND_SECONDS)
