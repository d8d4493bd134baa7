"""Kernel limits that can only be set after the mount, through sysfs, by root.

- `read_ahead_kb` of the mount's backing device: the kernel cuts buffered reads into READs of at
  most this size (128 KiB unless raised; libfuse caps one READ at 1 MiB).
- `max_background` and `congestion_threshold` of the FUSE connection: how many readahead READs may
  be under way (12 and 9 unless raised), above which the kernel drops part of its window.
"""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

__all__ = ["MAX_BACKGROUND", "raise_limits"]

log = logging.getLogger(__name__)

# mountpoint-s3 measured no gain above 64 on 2 x 100 Gbit/s.
MAX_BACKGROUND = 64
_CONGESTION_THRESHOLD = MAX_BACKGROUND * 3 // 4
_CONNECTIONS = Path("/sys/fs/fuse/connections")


def raise_limits(device: tuple[int, int], read_ahead_bytes: int) -> None:
    """Raise the limits of the mount whose device number is `device`; failures are only logged.

    A `read_ahead_bytes` of 0 leaves that one alone: a large window harms page faults of mmap, while
    more requests under way harm nothing. Only files of sysfs are touched, never the mount itself.
    """
    major, minor = device
    if read_ahead_bytes:
        _write(Path(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb"), read_ahead_bytes // 1024)
    connection = _CONNECTIONS / str(minor)
    if not connection.is_dir():
        subprocess.run(
            ["mount", "-t", "fusectl", "none", str(_CONNECTIONS)],
            check=False,
            capture_output=True,
            timeout=5,
        )
    _write(connection / "max_background", MAX_BACKGROUND)
    _write(connection / "congestion_threshold", _CONGESTION_THRESHOLD)


def _write(path: Path, value: int) -> None:
    try:
        path.write_text(f"{value}\n")
    except OSError as error:
        log.info("cannot raise a kernel limit (that takes root): %s", error)
