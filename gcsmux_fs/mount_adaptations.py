"""The choices that a mount makes for its machine, its kernel, its bucket and the service.

`gcsmux config show MOUNTPOINT` prints them. Code that behaves differently by machine, kernel,
bucket or service has a function here, so that a user can find out why two mounts with the same
settings differ. Each function is sans-IO: the facts are its arguments.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.filesystem.window_policy import Window
from gcsmux_fs.fuse.negotiation import CONGESTION_THRESHOLD, MAX_BACKGROUND
from gcsmux_fs.process.memory_watch import ALLOWANCE_BYTES, block_budget
from gcsmux_fs.process.shell_commands import command
from gcsmux_fs.settings.adaptations import Adaptation
from gcsmux_fs.settings.units import show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcsmux_fs.model.values import BucketInfo
    from gcsmux_fs.mux.retry import RetryPolicy
    from gcsmux_fs.settings.cache_options import CacheOptions

__all__ = [
    "allocator",
    "background_reads",
    "block_memory",
    "bucket_kind",
    "connection_limit",
    "control_directory",
    "credentials",
    "disk_cache",
    "dropped_names",
    "kept_names",
    "kernel_window",
    "library_variables",
    "log_destination",
    "lookup_requests",
    "network_path",
    "read_method",
    "stream_timeouts",
    "tracing",
    "watchdog",
]

# The environment variables that change what libraries do.
_LIBRARY_VARIABLE = re.compile(
    r"(GRPC|GOOGLE|CLOUDSDK|GCE|OTEL)_.*|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE"
    r"|NO_GCE_CHECK|(?i:(grpc|https?|all|no)_proxy|no_grpc_proxy)"
)
# The variable that the mount process sets for itself.
_OWN_VARIABLES = frozenset({"GRPC_VERBOSITY"})


def bucket_kind(info: BucketInfo) -> Adaptation:
    """Return the kind of the bucket, and what it changes."""
    location = info.location_type or "unknown location"
    if info.hierarchical:
        return Adaptation(
            "bucket",
            f"{location}, hierarchical namespace",
            "Listings also ask for folders, so that empty folders are shown.",
        )
    return Adaptation(
        "bucket",
        f"{location}, flat namespace",
        "A directory exists if an object's name contains it.",
    )


def credentials(identity: str, *, anonymous: bool, named: bool) -> Adaptation:
    """Return whose credentials the calls use.

    `identity` describes the account, without secrets. `named` is true if a setting names the
    credentials.
    """
    if anonymous:
        return Adaptation("credentials", "none", "anonymous is true, or an emulator is used.")
    if named:
        return Adaptation("credentials", identity, "A setting names these credentials.")
    reason = "Application Default Credentials found them on this machine or in the environment."
    return Adaptation("credentials", identity, reason)


def network_path(mode: str, direct_servers: int) -> Adaptation:
    """Return the way to the service. `mode` is direct_path; `direct_servers` are connected now."""
    if mode == "off":
        return Adaptation("network_path", "the endpoint", "direct_path is off.")
    if direct_servers:
        return Adaptation("network_path", "DirectPath", f"direct_path is {mode}, and available.")
    return Adaptation(
        "network_path",
        "Google's front ends",
        f"direct_path is {mode}, but no connection of this process uses DirectPath now.",
    )


def library_variables(environment: Mapping[str, str]) -> Adaptation:
    """Return the environment variables that libraries read; no values, which may be secrets."""
    found = sorted(
        name
        for name, text in environment.items()
        if text and name not in _OWN_VARIABLES and _LIBRARY_VARIABLE.fullmatch(name)
    )
    if not found:
        return Adaptation("library_variables", "none", "No such environment variable is set.")
    return Adaptation(
        "library_variables",
        ", ".join(found),
        "gRPC, google-auth, OpenSSL or OpenTelemetry read them, for proxies or credentials.",
    )


def control_directory(directory: Path, environment: Mapping[str, str], *, user: int) -> Adaptation:
    """Return the directory of the control socket. `user` is the user of the mount process."""
    if directory == Path(environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]):
        reason = "RUNTIME_DIRECTORY names it, which systemd sets for RuntimeDirectory=."
    elif user == 0:
        reason = "Root mounts."
    elif directory.parent == Path(environment.get("XDG_RUNTIME_DIR", "")):
        reason = "A user mounts, and XDG_RUNTIME_DIR is set."
    else:
        reason = "A user mounts, and XDG_RUNTIME_DIR is not set."
    return Adaptation("control_directory", str(directory), reason)


def tracing(exporters: Sequence[str], *, on: bool) -> Adaptation:
    """Return whether reads are traced. `exporters` are the names that the environment asks for."""
    if on:
        value, reason = f"to {', '.join(exporters)}", "OpenTelemetry's variables ask for it."
    elif exporters:
        value, reason = "off", "The packages of OpenTelemetry could not be loaded: see the log."
    else:
        value, reason = "off", "No variable of OpenTelemetry asks for it."
    return Adaptation("tracing", value, reason)


def watchdog(seconds: float | None) -> Adaptation:
    """Return after which time without a sign of life systemd restarts the mount; None for never."""
    if seconds is None:
        return Adaptation("watchdog", "none", "systemd has set no WatchdogSec= for this process.")
    return Adaptation("watchdog", show_duration(seconds), "WatchdogSec= of the unit sets it.")


def lookup_requests(*, listable: bool, objects_grow: bool) -> Adaptation:
    """Return how many requests look up a name that is not cached."""
    if not listable:
        value = "two requests for each name; unknown names count as directories"
        reason = "The credentials do not permit to list the bucket."
    elif objects_grow:
        value = "two requests for each name"
        reason = (
            "The latest object was still being appended to, and only GetObject shows its newest"
            " size."
        )
    else:
        value, reason = "one request for most names", "A listing of one name answers the lookup."
    return Adaptation("lookups", value, reason)


def read_method(*, uses_read_object: bool) -> Adaptation:
    """Return the method by which content is read."""
    if uses_read_object:
        return Adaptation(
            "read_method",
            "one ReadObject call for each range",
            "The server or a proxy does not offer BidiReadObject. The mount tries streams again"
            " every 120 s.",
        )
    return Adaptation(
        "read_method",
        "one BidiReadObject stream for each object",
        "The server has not refused BidiReadObject.",
    )


def connection_limit(connections: int, wanted: int, descriptors: int) -> Adaptation:
    """Return the maximum number of connections for each kind of calls.

    `wanted` is the number without the limit of open files, which is `descriptors`, -1 for none.
    """
    value = f"up to {connections} for streams and {connections} for other calls"
    if connections < wanted:
        reason = (
            f"The process may open {descriptors} files, and each connection is one. To raise the"
            f" limit, run {command('ulimit', '-n', '1024')}, or set LimitNOFILE=1024 in a unit."
        )
    else:
        reason = "They are enough for all requests that the mount serves at a time."
    return Adaptation("connections", value, reason)


def kernel_window(chosen_bytes: int | None, refusal: str) -> Adaptation:
    """Return the kernel's readahead window that has an effect.

    `chosen_bytes` is the value of --kernel-read-ahead, None for auto. `refusal` says why the window
    cannot be changed, or is empty.
    """
    if refusal:
        value = show_size(Window.SMALL)
        reason = f"The window is the kernel's default, because it cannot be changed ({refusal})."
    elif chosen_bytes is None:
        value = ", ".join(show_size(window) for window in Window) + ", for each file"
        reason = "This mount may change the window, and kernel_read_ahead is auto."
    elif chosen_bytes:
        value, reason = show_size(chosen_bytes), "kernel_read_ahead sets it for all files."
    else:
        value, reason = show_size(Window.SMALL), "kernel_read_ahead is 0: the kernel's default."
    return Adaptation("kernel_window", value, reason)


def background_reads(*, is_privileged: bool, user_limit: int | None) -> Adaptation:
    """Return the limits of READs that the kernel sends ahead or in parallel.

    `user_limit` is the kernel's `max_user_bgreq`, which applies to a mount without CAP_SYS_ADMIN;
    None if unknown.
    """
    if is_privileged or user_limit is None or user_limit >= MAX_BACKGROUND:
        most, threshold = MAX_BACKGROUND, CONGESTION_THRESHOLD
        reason = "The kernel accepts what the mount asks for."
    else:
        most, threshold = user_limit, min(CONGESTION_THRESHOLD, user_limit)
        reason = (
            "The kernel limits mounts without root, by /sys/module/fuse/parameters/max_user_bgreq."
        )
    value = f"up to {most} in flight; readahead pauses above {threshold}"
    return Adaptation("background_reads", value, reason)


def dropped_names(*, single: bool, every: bool) -> Adaptation:
    """Return which names the kernel drops before their time is over.

    `single` and `every`: whether the kernel has accepted FUSE_NOTIFY_PRUNE (Linux 6.18) and
    FUSE_NOTIFY_INC_EPOCH (Linux 6.16) so far.
    """
    if single and every:
        value, reason = "single names, and all names", "The kernel has refused no notification."
    elif every:
        value, reason = "only all names at once", "Dropping single names needs Linux 6.18."
    elif single:
        value, reason = "only single names", "The kernel has refused FUSE_NOTIFY_INC_EPOCH."
    else:
        value, reason = "none", "Dropping names needs Linux 6.16. Names stay for up to a minute."
    return Adaptation("dropped_names", value, reason)


def kept_names(*, kept: bool, may_be_old: bool, is_offline: bool) -> Adaptation:
    """Return whether names come from the disk, and whether they may be old now."""
    if not kept:
        value, reason = "in memory only", "cache_listings is off."
    elif is_offline:
        value = "in memory and on disk; older than metadata_ttl now"
        reason = "The service cannot be reached, and offline is on."
    elif may_be_old:
        value = "in memory and on disk; at most as old as metadata_ttl now"
        reason = "The service can be reached. While it cannot, names of any age are shown."
    else:
        value = "in memory and on disk; at most as old as metadata_ttl"
        reason = "cache_listings is on, and offline is off."
    return Adaptation("kept_names", value, reason)


def changes_of_bucket(subscription: str, state: str, why: str, kernel_seconds: float) -> Adaptation:
    """Return how the mount receives changes.

    `subscription` is empty without --changes. `state` and `why` are the state of the feed and its
    reason; `kernel_seconds` is how long the kernel may cache a name.
    """
    if not subscription:
        return Adaptation(
            "changes", "none; names are valid for metadata_ttl", "changes is not set."
        )
    value = f"{state}; the kernel caches names for up to {kernel_seconds:g} s"
    reason = f"{why[:1].upper()}{why[1:]}." if why else f"The mount listens to {subscription}."
    return Adaptation("changes", value, reason)


def log_destination(destination: str, log_to: str) -> Adaptation:
    """Return where the log goes: a file, `journal`, `syslog`, `stderr` or `nowhere`."""
    if log_to != "auto" or destination.startswith("/"):
        reason = "A setting names it."
    elif destination == "nowhere":
        reason = "This machine has neither a journal nor syslog. Set log_file."
    else:
        reason = "It is what this machine offers to a mount that is started in this way."
    return Adaptation("log", destination, reason)


def block_memory(memory_bytes: int, disk_queue_bytes: int) -> Adaptation:
    """Return the part of --memory for blocks, and the limit of the whole process.

    `disk_queue_bytes` are for bytes that wait to be written to a cache on disk.
    """
    messages = memory_bytes - block_budget(memory_bytes)
    blocks = memory_bytes - messages - disk_queue_bytes
    queue = f", {show_size(disk_queue_bytes)} for writes to the disk" if disk_queue_bytes else ""
    return Adaptation(
        "memory_for_blocks",
        f"{show_size(blocks)} of {show_size(memory_bytes)}",
        f"{show_size(messages)} are reserved for messages that gRPC hands over{queue}. The process"
        f" takes up to {show_size(ALLOWANCE_BYTES)} more than --memory.",
    )


def disk_cache(options: CacheOptions | None, problem: str) -> Adaptation:
    """Return whether the cache on disk is used. `problem` says why not, as a sentence, or is ""."""
    if options is None:
        return Adaptation("disk_cache", "none", "cache_dir is not set.")
    if problem:
        reason = problem[:1].upper() + problem[1:]
        return Adaptation("disk_cache", "off, until the disk works again", reason)
    sharing = "the mounts of this user"
    if options.group is not None:
        sharing = f"the mounts of the group {options.group}"
    return Adaptation("disk_cache", f"in {options.directory}", f"It is shared with {sharing}.")


def stream_timeouts(policy: RetryPolicy, read_timeout_seconds: float) -> Adaptation:
    """Return the timeouts of streams, which are derived from --read-timeout."""
    times = (policy.open_seconds, policy.stall_seconds, policy.max_backoff_seconds)
    opening, stall, backoff = (show_duration(math.floor(time * 100) / 100) for time in times)
    return Adaptation(
        "stream_timeouts",
        f"{opening} for the first response, {stall} for the next; pauses of up to {backoff}",
        f"A read has {show_duration(read_timeout_seconds)}, and one silent stream must leave time"
        " for another.",
    )


def allocator(*, tunable: bool) -> Adaptation:
    """Return whether the C library's allocator is tuned for large messages."""
    if tunable:
        return Adaptation("allocator", "tuned", "Large messages stay on one heap.")
    return Adaptation(
        "allocator",
        "not tuned",
        "The C library has no mallopt. Reads take more processor time, and memory varies more.",
    )
