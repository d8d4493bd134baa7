"""Collects facts about this machine that decide whether and how well a FUSE mount works."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gcsmux_fs.fuse.device import FuseAccess, look_at_fuse

__all__ = ["MachineFacts", "look_at_machine"]

_MAX_PAGES_LIMIT = Path("/proc/sys/fs/fuse/max_pages_limit")
_USER_BACKGROUND_LIMIT = Path("/sys/module/fuse/parameters/max_user_bgreq")
_DEVICES = Path("/sys/class/bdi")


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The facts about this machine.

    Attributes:
        access: whether this process can mount by FUSE.
        library_error: why the FUSE library cannot be loaded; empty if it can.
        kernel_release: the kernel's release, such as `6.18.2-generic`.
        page_bytes: size of a memory page.
        max_pages: the kernel's limit for the pages of one READ; None if the kernel has no such
            setting.
        background_requests: the kernel's limit for the READs in flight of a user's mount; None if
            it is unknown.
        sets_read_ahead: whether this process may write the readahead window of a device.
    """

    access: FuseAccess
    library_error: str
    kernel_release: str
    page_bytes: int
    max_pages: int | None
    background_requests: int | None
    sets_read_ahead: bool


def look_at_machine() -> MachineFacts:
    """Collect the facts about this machine."""
    return MachineFacts(
        access=look_at_fuse(),
        library_error=_library_error(),
        kernel_release=os.uname().release,
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        max_pages=_number_in(_MAX_PAGES_LIMIT),
        background_requests=_number_in(_USER_BACKGROUND_LIMIT),
        sets_read_ahead=_sets_read_ahead(),
    )


def _library_error() -> str:
    try:
        # Imported here, because the import is the check: it loads libfuse3.
        import gcsmux_fs.fuse.session  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _sets_read_ahead() -> bool:
    """Return whether sysfs is writable and this user may write the windows in it.

    Each device has the same permissions. So any device shows what the mount may do with its own.
    """
    try:
        windows = [device / "read_ahead_kb" for device in _DEVICES.iterdir()]
    except OSError:
        return False
    return any(os.access(window, os.W_OK) for window in windows[:1])
