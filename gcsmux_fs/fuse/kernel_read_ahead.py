"""Sets the kernel's readahead of a mount: `read_ahead_kb` in sysfs, which only root can write.

The kernel cuts buffered reads into READs of at most this size: 128 KiB by default, and no more than
1 MiB with libfuse. A large value makes page faults of mmap slower, so the value is raised only if
the user asks for this.
"""

from __future__ import annotations

import logging
from pathlib import Path

__all__ = ["raise_read_ahead"]

log = logging.getLogger(__name__)


def raise_read_ahead(device: tuple[int, int], read_ahead_bytes: int) -> None:
    """Set the kernel's readahead of the mount with the device number `device`.

    A failure is logged and not raised. This function writes to sysfs and never accesses the mount.
    """
    major, minor = device
    try:
        Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb").write_text(
            f"{read_ahead_bytes // 1024}\n"
        )
    except OSError as error:
        log.info("cannot raise the kernel's readahead, which only root may do: %s", error)
