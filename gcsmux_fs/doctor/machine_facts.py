"""Collects facts about this machine that decide whether and how well a FUSE mount works."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.fuse.device import FuseAccess, look_at_fuse

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MachineFacts", "look_at_machine"]

_MAX_PAGES_LIMIT = Path("/proc/sys/fs/fuse/max_pages_limit")
_USER_BACKGROUND_LIMIT = Path("/sys/module/fuse/parameters/max_user_bgreq")
_DEVICES = Path("/sys/class/bdi")
_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


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
        memory_bytes: how much memory this process may use: the memory of the machine, or a lower
            limit of its control groups.
        sets_read_ahead: whether this process may write the readahead window of a device.
    """

    access: FuseAccess
    library_error: str
    kernel_release: str
    page_bytes: int
    max_pages: int | None
    background_requests: int | None
    memory_bytes: int
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
        memory_bytes=_memory_bytes(),
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


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *filter(None, map(_number_in, _limit_files()))])


def _limit_files() -> Iterator[Path]:
    """Yield the files with the memory limits of this process; a file may not exist."""
    try:
        lines = _GROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        # Version 2 of control groups has the number 0 and no controllers; version 1 names them.
        number, controllers, path = line.split(":", 2)
        if number == "0":
            folder, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        # A limit of a group applies to all groups in it.
        group = folder / path.lstrip("/")
        yield from (each / name for each in (group, *group.parents) if each.is_relative_to(folder))


def _sets_read_ahead() -> bool:
    """Return whether sysfs is writable and this user may write the windows in it.

    Each device has the same permissions. So any device shows what the mount may do with its own.
    """
    try:
        windows = [device / "read_ahead_kb" for device in _DEVICES.iterdir()]
    except OSError:
        return False
    return any(os.access(window, os.W_OK) for window in windows[:1])
