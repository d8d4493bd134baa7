"""Judges the facts about the cache on disk; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.doctor.checklist import Finding, failure, healthy, skipped, warning
from gcsmux_fs.settings.cache_options import default_min_free
from gcsmux_fs.settings.units import rounded_size

if TYPE_CHECKING:
    from gcsmux_fs.doctor.cache_facts import CacheFacts
    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = ["cache_finding"]

# A network of 1 Gbit/s, the slowest of common servers, receives about as much.
_SLOW_BYTES_PER_SECOND = 100e6

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3"}
)
_LOCAL_DISK = "name a directory of a local disk with --cache-dir"


def cache_finding(options: CacheOptions | None, facts: CacheFacts | None) -> Finding:
    """Judge the directory of --cache-dir and its disk; both arguments are None without a cache."""
    if options is None or facts is None:
        return skipped("there is no cache on disk: add --cache-dir to check one")
    if facts.refusal:
        detail, _, remedy = facts.refusal.removesuffix(".").rpartition(": ")
        return failure(detail, remedy)
    min_free = options.min_free_bytes
    if min_free is None:
        min_free = default_min_free(facts.disk_bytes)
    detail = (
        f"{facts.directory} is on {facts.fstype or 'an unknown file system'},"
        f" {rounded_size(facts.free_bytes)} of {rounded_size(facts.disk_bytes)} are free"
    )
    remark = _place_remark(facts)
    if remark is not None:
        return warning(f"{detail}; {remark}", _LOCAL_DISK)
    if facts.free_bytes <= min_free:
        return warning(
            f"{detail}, and --cache-min-free keeps {rounded_size(min_free)} free, so the cache"
            " cannot grow",
            "delete other files, name another disk with --cache-dir, or lower --cache-min-free",
        )
    if facts.speed is None:
        return warning(f"{detail}; its speed could not be measured ({facts.speed_error})", "")
    slowest = min(facts.speed.write_rate, facts.speed.read_rate)
    detail += (
        f"; it writes {rounded_size(facts.speed.write_rate)}/s and reads"
        f" {rounded_size(facts.speed.read_rate)}/s"
    )
    if slowest < _SLOW_BYTES_PER_SECOND:
        return warning(f"{detail}, which may be slower than the service", _LOCAL_DISK)
    if not facts.speed.without_waiting:
        return warning(
            f"{detail}; each hit takes a thread, because the file system lacks RWF_NOWAIT",
            "name a directory on ext4 or XFS with --cache-dir",
        )
    return healthy(detail)


def _place_remark(facts: CacheFacts) -> str | None:
    """Return why this type of file system is a bad place for a cache; None if it is not."""
    if facts.fstype in _IN_MEMORY:
        return "it takes memory besides --memory, and is empty after a reboot"
    if facts.fstype == "overlay":
        return "a container loses this layer at its end, and each hit takes a thread"
    if facts.fstype in _NETWORK or facts.fstype.startswith("fuse"):
        return "a network can be as slow as the service, and can fail like it"
    return None
