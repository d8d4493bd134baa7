"""The open files of a process, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["open_files"]


def open_files(process: int) -> list[str]:
    """Return the targets of a process's file descriptors, such as `/dev/fuse` or `socket:[7]`.

    A descriptor that the process closes meanwhile is left out.
    """
    targets = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(os.fspath(link.readlink()))
    return targets
