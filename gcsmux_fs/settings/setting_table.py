"""The table of all settings.

Each row is one setting of `gcsmux-mount`. From a row follow the option (`--read-ahead`), its name
inside of `-o` (`read_ahead`), the key in a TOML file (`read_ahead`), the environment variable
(`GCSMUX_READ_AHEAD`), the help, the row of `gcsmux config show` and the entry of
docs/CONFIGURATION.md.

To add a setting: add a field to `Settings`, whose default stands in `settings/defaults.py`, add a
row here, and run `make docs`. Nothing else parses, names or documents a setting. A test compares
the defaults of both places.
"""

from __future__ import annotations

import os

from gcsmux_fs.settings import value_types as types
from gcsmux_fs.settings.cache_settings import CACHE, CACHE_SETTINGS
from gcsmux_fs.settings.change_settings import CHANGE_SETTINGS, CHANGES
from gcsmux_fs.settings.defaults import (
    DEFAULT_DIR_MODE,
    DEFAULT_FILE_MODE,
    DEFAULT_LOG_DESTINATION,
    DEFAULT_LOG_FORMAT,
    DEFAULT_LOG_LEVEL,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_READ_AHEAD_BYTES,
    DEFAULT_READ_TIMEOUT_SECONDS,
    LOG_DESTINATIONS,
    LOG_FORMATS,
    LOG_LEVELS,
    SERVICE_START_TIMEOUT_SECONDS,
    default_read_ahead,
)
from gcsmux_fs.settings.history_settings import HISTORY, HISTORY_SETTINGS
from gcsmux_fs.settings.service_manager import is_service
from gcsmux_fs.settings.service_settings import SERVICE, SERVICE_SETTINGS
from gcsmux_fs.settings.setting import Setting
from gcsmux_fs.settings.units import show_duration, show_size

__all__ = ["CONFIG", "FILE_SETTINGS", "HEADINGS", "SETTINGS", "settings_below"]

_WHAT = "What to mount"
_PROGRAMS = "What programs see"
_READING = "Reading"
_RUNNING = "Running"

HEADINGS = (_WHAT, SERVICE, _PROGRAMS, CHANGES, HISTORY, _READING, CACHE, _RUNNING)
"""The headings of the help and of the reference, in their order."""

CONFIG = Setting(
    name="config",
    field="config",
    type=types.CONFIG_FILE,
    heading=_WHAT,
    help="Read settings from this TOML file. Environment variables (GCSMUX_MEMORY for --memory)"
    " override the file, and options override both. The keys are the long options with _, and"
    " bucket and mountpoint. With a - in front, the file may be missing.",
    default_words="none",
)
"""The configuration file, which is no setting of a mount."""

SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="bucket",
        field="bucket",
        type=types.text("BUCKET", "gs://my-bucket"),
        heading=_WHAT,
        help="The bucket: name, gs://name or gs://name/prefix.",
        is_argument=True,
    ),
    Setting(
        name="mountpoint",
        field="mountpoint",
        type=types.MOUNTPOINT,
        heading=_WHAT,
        help="The directory on which the bucket is mounted. It must exist and be empty.",
        is_argument=True,
    ),
    Setting(
        name="only_dir",
        field="only_dir",
        type=types.text("PREFIX", "some/folder"),
        heading=_WHAT,
        help="Mount only this folder of the bucket. gs://name/prefix does the same.",
        default="",
        default_words="the whole bucket",
    ),
    *SERVICE_SETTINGS,
    Setting(
        name="uid",
        field="uid",
        type=types.USER,
        heading=_PROGRAMS,
        help="Owner of all files.",
        default_words="the user who mounts",
        derive=lambda _: os.getuid(),
        reason="this user may access the mount in any case",
    ),
    Setting(
        name="gid",
        field="gid",
        type=types.GROUP,
        heading=_PROGRAMS,
        help="Group of all files.",
        default_words="the group of the user who mounts",
        derive=lambda _: os.getgid(),
        reason="new files of this user have the same group",
    ),
    Setting(
        name="file_mode",
        field="file_mode",
        type=types.MODE,
        heading=_PROGRAMS,
        help="Permissions of all files.",
        default=DEFAULT_FILE_MODE,
        reason="copies that keep the permissions must be writable for their owner",
    ),
    Setting(
        name="dir_mode",
        field="dir_mode",
        type=types.MODE,
        heading=_PROGRAMS,
        help="Permissions of all directories.",
        default=DEFAULT_DIR_MODE,
        reason="copies that keep the permissions must be writable for their owner",
    ),
    Setting(
        name="posix",
        field="posix",
        type=types.FLAG,
        heading=_PROGRAMS,
        help="Show the owners and permissions that gcloud --preserve-posix and other tools stored"
        " with the objects.",
        default=False,
        reason="every writer of the bucket could decide who may read",
    ),
    Setting(
        name="allow_other",
        field="allow_other",
        type=types.FLAG,
        heading=_PROGRAMS,
        help="Let other users access the mount, subject to the permissions.",
        default=False,
        reason="other users then read with the credentials of the user who mounts",
    ),
    Setting(
        name="control_directory",
        field="control_directory",
        type=types.FLAG,
        heading=_PROGRAMS,
        help="Show metrics, streams and settings as files in the directory .gcsmux of the mount's"
        " root, which no listing shows: for containers that cannot reach the control socket. An"
        " object of this name cannot be reached.",
        default=False,
        reason="the control socket also answers while the mount is busy, and the name belongs to"
        " the bucket",
    ),
    Setting(
        name="metadata_ttl",
        field="metadata_ttl_seconds",
        type=types.TTL,
        heading=_PROGRAMS,
        help="How long names, sizes and times stay cached. A change made elsewhere becomes visible"
        " after this time. minimal is 1s, which is enough for one `ls -l`; 0 makes every open ask"
        " the service for the newest object.",
        default=DEFAULT_METADATA_TTL_SECONDS,
        reason="other programs that mount buckets use the same time",
    ),
    Setting(
        name="negative_ttl",
        field="negative_ttl_seconds",
        type=types.TTL,
        heading=_PROGRAMS,
        help="How long the absence of a name stays cached.",
        default=DEFAULT_NEGATIVE_TTL_SECONDS,
        reason="it is long enough for a program that probes a search path repeatedly, and short"
        " enough for one that waits for a new object",
    ),
    *CHANGE_SETTINGS,
    *HISTORY_SETTINGS,
    Setting(
        name="memory",
        field="memory_bytes",
        type=types.SIZE,
        heading=_READING,
        help="The limit for all cached bytes and bytes in flight together.",
        default=DEFAULT_MEMORY_BYTES,
        reason="four readers get full readahead, and the process fits into a container of 512 MiB",
    ),
    Setting(
        name="read_ahead",
        field="read_ahead_bytes",
        type=types.SIZE,
        heading=_READING,
        help="How far to read ahead of one sequential reader; 0 turns readahead off.",
        default_words=f"{show_size(DEFAULT_READ_AHEAD_BYTES)}, or a quarter of --memory if that is"
        " less",
        derive=lambda values: default_read_ahead(values["memory_bytes"]),
        reason=f"{show_size(DEFAULT_READ_AHEAD_BYTES)} sustain 1 GB/s at a latency of 60 ms, and"
        " four readers share the memory",
    ),
    Setting(
        name="read_timeout",
        field="read_timeout_seconds",
        type=types.DURATION,
        heading=_READING,
        help="How long a read or a lookup waits for the service, including retries, before it"
        " fails.",
        default=DEFAULT_READ_TIMEOUT_SECONDS,
        reason="the kernel reports a hung task after the same time",
    ),
    Setting(
        name="kernel_read_ahead",
        field="kernel_read_ahead_bytes",
        type=types.SIZE_OR_AUTO,
        heading=_READING,
        help="The kernel's own readahead window. With auto, a mount by root chooses 128KiB, 1MiB or"
        " 16MiB for each open file, by how the file, its directory and its suffix were read before."
        " A size, such as 1MiB, is the window of all files (root only): with a larger window,"
        " sequential reads are faster, and each page fault of mmap fetches more. 0, or auto by"
        " another user, keeps the kernel's default, 128KiB.",
        default_words="auto",
        reason="no single window suits sequential reads and page faults",
    ),
    *CACHE_SETTINGS,
    Setting(
        name="start_timeout",
        field="start_timeout_seconds",
        type=types.DURATION,
        heading=_RUNNING,
        help="How long to wait at the start for a service that cannot be reached. With 0, an outage"
        " is reported after one attempt, within 6s. Errors that cannot end by themselves, such as a"
        " missing bucket, are reported at once.",
        default_words=f"{show_duration(SERVICE_START_TIMEOUT_SECONDS)} for a service of systemd,"
        " otherwise 0",
        derive=lambda _: SERVICE_START_TIMEOUT_SECONDS if is_service(os.environ) else 0.0,
        reason="units that need the mount wait for the end of an outage, and people at a terminal"
        " do not",
    ),
    Setting(
        name="clear",
        field="clear",
        type=types.FLAG,
        heading=_RUNNING,
        help="Do not mount. Remove a dead mount at MOUNTPOINT, which a killed process has left.",
        default=False,
        reason="a mount replaces a dead mount by itself",
        option_only=True,
    ),
    Setting(
        name="foreground",
        field="foreground",
        type=types.FLAG,
        heading=_RUNNING,
        help="Stay in the foreground and log to stderr.",
        default=False,
        reason="a script continues when the mount is ready",
        short="-f",
        option_only=True,
    ),
    Setting(
        name="mount_options",
        field="fuse_options",
        type=types.WORDS,
        heading=_RUNNING,
        help="Mount options for the kernel, such as noexec. On the command line, write -o.",
        default="",
        default_words="none",
    ),
    Setting(
        name="log_file",
        field="log_file",
        displaces=("log_to",),
        type=types.FILE,
        heading=_RUNNING,
        help="Append the log to this file instead.",
        default_words="none",
    ),
    Setting(
        name="log_to",
        field="log_to",
        displaces=("log_file",),
        type=types.choice(*LOG_DESTINATIONS),
        heading=_RUNNING,
        help="Where the log goes. auto is stderr in the foreground, otherwise the journal, or"
        " syslog on a machine without a journal.",
        default=DEFAULT_LOG_DESTINATION,
        reason="the other services of the machine log there too",
    ),
    Setting(
        name="log_format",
        field="log_format",
        type=types.choice(*LOG_FORMATS),
        heading=_RUNNING,
        help="json writes one object per line, with the keys of Google Cloud Logging. The journal"
        " always gets text, with priority and fields.",
        default=DEFAULT_LOG_FORMAT,
        reason="people read lines of text faster than JSON",
    ),
    Setting(
        name="log_level",
        field="log_level",
        type=types.choice(*LOG_LEVELS),
        heading=_RUNNING,
        help="info logs mounting, unmounting and failures; debug also logs each stream and"
        " request.",
        default=DEFAULT_LOG_LEVEL,
        reason="the log then has a few lines for each mount, and none for a request",
    ),
    Setting(
        name="metrics_listen",
        field="metrics_listen",
        type=types.LISTEN_ADDRESS,
        heading=_RUNNING,
        help="Serve metrics for Prometheus, /healthz and /readyz over HTTP at this address, such as"
        " 127.0.0.1:9105 or [::1]:9105. Port 0 chooses a free port and logs it. There is no"
        " password, so 0.0.0.0:PORT shows the metrics to the whole network.",
        default_words="none",
        reason="the metrics name the bucket and the mount point",
    ),
)
"""All settings. A setting whose default is derived stands below the settings that it needs."""

FILE_SETTINGS = {setting.name: setting for setting in SETTINGS if not setting.option_only}
"""The settings that a TOML file and environment variables may set, by name."""


def settings_below(heading: str) -> tuple[Setting, ...]:
    """Return the settings below a heading that are options, in the order of the help."""
    return tuple(
        setting for setting in SETTINGS if setting.heading == heading and not setting.is_argument
    )
