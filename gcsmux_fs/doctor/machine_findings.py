"""Judges the facts about this machine; sans-IO."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gcsmux_fs.doctor.checklist import Finding, failure, healthy, skipped, warning
from gcsmux_fs.fuse.device import fuse_refusal
from gcsmux_fs.fuse.mountinfo import top_mount
from gcsmux_fs.fuse.mountpoint import refusal
from gcsmux_fs.process.memory_watch import ALLOWANCE_BYTES
from gcsmux_fs.process.shell_commands import command
from gcsmux_fs.settings.units import rounded_size, show_size

if TYPE_CHECKING:
    from gcsmux_fs.doctor.machine_facts import MachineFacts
    from gcsmux_fs.fuse.device import FuseAccess
    from gcsmux_fs.fuse.mountinfo import MountEntry
    from gcsmux_fs.fuse.observer import Observation

__all__ = [
    "fuse_finding",
    "kernel_finding",
    "memory_finding",
    "mount_point_finding",
    "open_files_finding",
    "other_users_finding",
    "read_ahead_finding",
]

# The number of open files with which a mount can use all its connections: up to 26 for streams, up
# to 26 for unary calls, and 40 other descriptors (see `_connection_limit` in mounting.py).
_ENOUGH_FILES = 128

# The pages of one READ before Linux 4.20, which introduced the flag FUSE_MAX_PAGES.
_OLD_MAX_PAGES = 32
_MAX_PAGES_RELEASE = (4, 20)
# libfuse 3.14 never asks for READs above 1 MiB.
_LARGEST_READ_BYTES = 1 << 20
# The release of FUSE_NOTIFY_INC_EPOCH, which invalidates all cached names without a lock.
_EPOCH_RELEASE = (6, 16)

_WINDOW_GUIDE = "'The kernel's readahead window' in docs/OPERATIONS.md"


def fuse_finding(facts: MachineFacts) -> Finding:
    """Judge whether this user can mount by FUSE at all."""
    sentence = fuse_refusal(facts.access, allow_other=False)
    if sentence is not None:
        detail, _, remedy = sentence.removesuffix(".").partition(": ")
        return failure(detail, remedy)
    if facts.library_error:
        return failure(
            f"the FUSE library cannot be loaded ({facts.library_error})",
            "install libfuse 3 (Debian and Ubuntu: the package libfuse3-3 or libfuse3-4), then"
            " install gcsmux-fs again",
        )
    if facts.access.can_mount:
        return healthy("/dev/fuse opens, and this process may mount")
    return healthy("/dev/fuse opens, and fusermount3 mounts for this user")


def other_users_finding(access: FuseAccess, *, required: bool) -> Finding:
    """Judge whether the option --allow-other works; `required` says whether it is set."""
    if access.can_mount:
        return healthy("--allow-other works, because this process may mount without fusermount3")
    if access.user_allow_other:
        return healthy("--allow-other works, because /etc/fuse.conf contains user_allow_other")
    line = "have root add the line user_allow_other to /etc/fuse.conf"
    if required:
        return failure("this user may not use --allow-other", f"leave it out, or {line}")
    return warning(
        "only this user will see the files, because this user may not use --allow-other",
        f"if other users need the mount, {line}",
    )


def open_files_finding(facts: MachineFacts) -> Finding:
    """Judge the limit of open files."""
    limit = facts.access.max_files
    if limit < 0:
        return healthy("no limit of open files")
    if limit >= _ENOUGH_FILES:
        return healthy(f"up to {limit} open files")
    return warning(
        f"this process may open only {limit} files, so a mount uses few connections",
        f"raise the limit by {command('ulimit', '-n', '1024')}, or by LimitNOFILE=1024 in a unit",
    )


def memory_finding(facts: MachineFacts, budget_bytes: int) -> Finding:
    """Judge whether a mount with `budget_bytes` (--memory) fits into the memory."""
    needed = budget_bytes + ALLOWANCE_BYTES
    detail = f"a mount with --memory {show_size(budget_bytes)} needs up to {show_size(needed)}, and"
    detail += f" may use {rounded_size(facts.memory_bytes)}"
    if needed <= facts.memory_bytes:
        return healthy(detail)
    return warning(
        f"{detail}, so the kernel may kill it",
        "lower --memory, or raise the limit of the container or of the unit (MemoryMax=)",
    )


def mount_point_finding(
    observation: Observation | None, table: tuple[MountEntry, ...], *, user: int
) -> Finding:
    """Judge whether `user` can mount at the observed path; None if no path was given."""
    if observation is None:
        return skipped("no mount point was given: add MOUNTPOINT to check one")
    top = top_mount(table, observation.path)
    if top is not None and top.is_gcsmux and not observation.errno:
        return healthy(f"{top.source} is mounted at {observation.path}, and the mount answers")
    sentence = refusal(observation, table, user=user)
    if sentence is None:
        return healthy(f"{observation.path} is a directory on which this user can mount")
    detail, _, remedy = sentence.removesuffix(".").rpartition(": ")
    return failure(detail, remedy)


def kernel_finding(facts: MachineFacts) -> Finding:
    """Judge the kernel's release, and report its limits."""
    release = _release(facts.kernel_release)
    max_pages = _OLD_MAX_PAGES if release < _MAX_PAGES_RELEASE else facts.max_pages
    largest_read = _LARGEST_READ_BYTES
    if max_pages is not None:
        largest_read = min(largest_read, max_pages * facts.page_bytes)
    parts = [f"Linux {facts.kernel_release}: READs of up to {show_size(largest_read)}"]
    if facts.background_requests is not None and not facts.access.can_mount:
        parts.append(f"up to {facts.background_requests} READs in flight")
    parts.append(
        "all cached names can be dropped at once"
        if release >= _EPOCH_RELEASE
        else "cached names are dropped one by one (Linux 6.16 drops all at once)"
    )
    detail = ", ".join(parts)
    if largest_read >= _LARGEST_READ_BYTES:
        return healthy(detail)
    if release < _MAX_PAGES_RELEASE:
        return warning(detail, "large reads are faster with Linux 4.20 or later")
    pages = _LARGEST_READ_BYTES // facts.page_bytes
    setting = command("sysctl", "-w", f"fs.fuse.max_pages_limit={pages}")
    return warning(detail, f"as root, run {setting} before the mount")


def read_ahead_finding(facts: MachineFacts) -> Finding:
    """Judge whether the mount can choose the kernel's readahead window."""
    if facts.sets_read_ahead:
        return healthy("the mount may choose the kernel's readahead window of each file")
    detail = "sequential reads are slower, because the kernel's readahead window stays at 128 KiB"
    if facts.access.is_root:
        return warning(
            f"{detail} (/sys is read-only)",
            f"outside of the container, run the command under {_WINDOW_GUIDE}",
        )
    return warning(detail, f"mount as root, or have root run the command under {_WINDOW_GUIDE}")


def _release(text: str) -> tuple[int, int]:
    """Return (6, 18) for `6.18.2-generic`; (0, 0) if the text has another form."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
