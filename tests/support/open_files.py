"""The open files of a process, read from /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["open_files"]


def open_files(process: int) -> list[str]:
    """Return what each open file descriptor of a process refers to.

    Examples are `/dev/fuse` and `socket:[7]`. If the process closes a descriptor during the call,
    this descriptor may be missing from the result.
    """
    targets = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(os.fspath(link.readlink()))
    return targets
