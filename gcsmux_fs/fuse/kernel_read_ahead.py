"""The kernel limit that can only be raised after the mount, through sysfs, by root.

`read_ahead_kb` of the mount's backing device: the kernel cuts buffered reads into READs of at most
this size (128 KiB unless raised; libfuse caps one READ at 1 MiB). A large window harms page faults
of mmap, so that it is raised for those who ask for it.
"""

from __future__ import annotations

import logging
from pathlib import Path

__all__ = ["raise_read_ahead"]

log = logging.getLogger(__name__)


def raise_read_ahead(device: tuple[int, int], read_ahead_bytes: int) -> None:
    """Raise the limit of the mount whose device number is `device`; failures are only logged.

    Only a file of sysfs is touched, never the mount itself.
    """
    major, minor = device
    try:
        Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb").write_text(
            f"{read_ahead_bytes // 1024}\n"
        )
    except OSError as error:
        log.info("cannot raise a kernel limit (that takes root): %s", error)
