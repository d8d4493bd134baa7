"""The default of each setting, with its reason."""

from __future__ import annotations

__all__ = [
    "DEFAULT_DIRECT_PATH",
    "DEFAULT_DIR_MODE",
    "DEFAULT_ENDPOINT",
    "DEFAULT_FILE_MODE",
    "DEFAULT_LOG_DESTINATION",
    "DEFAULT_LOG_FORMAT",
    "DEFAULT_LOG_LEVEL",
    "DEFAULT_MEMORY_BYTES",
    "DEFAULT_METADATA_TTL_SECONDS",
    "DEFAULT_NEGATIVE_TTL_SECONDS",
    "DEFAULT_PUBSUB_ENDPOINT",
    "DEFAULT_READ_AHEAD_BYTES",
    "DEFAULT_READ_TIMEOUT_SECONDS",
    "DIRECT_PATH_MODES",
    "LOG_DESTINATIONS",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "SERVICE_START_TIMEOUT_SECONDS",
    "default_read_ahead",
]

_MIB = 1024 * 1024

DEFAULT_ENDPOINT = "storage.googleapis.com:443"
"""Google's public endpoint, HOST:PORT."""

DEFAULT_PUBSUB_ENDPOINT = "pubsub.googleapis.com:443"
"""Google's public endpoint of Pub/Sub. It answers from the region that is nearest."""

DEFAULT_MEMORY_BYTES = 256 * _MIB
"""The default memory budget. This budget gives four readers their full readahead, and the whole
process fits into a container of 512 MiB."""

DEFAULT_READ_AHEAD_BYTES = 64 * _MIB
"""The default readahead of one reader. At a round trip of 60 ms, 64 MiB are enough for 1 GB/s,
which is more than this client receives from one stream."""

DEFAULT_METADATA_TTL_SECONDS = 60.0
"""The default time for which a cached name, attribute or listing stays valid. Other programs that
mount buckets use the same time. A change that another client makes becomes visible within a
minute."""

DEFAULT_NEGATIVE_TTL_SECONDS = 5.0
"""The default time for which the cached absence of a name stays valid. With 5 s, a program that
probes a search path repeatedly causes few requests, and a program that waits for a new object sees
the object soon."""

DEFAULT_READ_TIMEOUT_SECONDS = 120.0
"""The default limit for the duration of a READ, a lookup or a part of a listing, including all
retries. The kernel has no timeout for FUSE requests, but reports a hung task after 120 s. Google's
clients also retry for 120 s. A restart of the service takes less than 120 s."""

SERVICE_START_TIMEOUT_SECONDS = 120.0
"""How long a service of systemd waits at its start for a bucket that cannot be reached. Units that
need the mount start late, but they start. systemd orders the mount before remote-fs.target, and
only root can log in before this target is reached, so the time is limited."""

DEFAULT_FILE_MODE = 0o644
"""The default permissions of a file, the same as with umask 022. The owner has write permission,
although the mount is read-only, because `cp -a` copies the permissions, and the owner must be able
to write to the copy."""

DEFAULT_DIR_MODE = 0o755
"""The default permissions of a directory, for the same reason as `DEFAULT_FILE_MODE`."""

DEFAULT_LOG_LEVEL = "info"
"""The default log level. At `info` the log has a few lines for each mount, none for a request."""

DEFAULT_LOG_FORMAT = "text"
"""The default format of the log. People read lines of text faster than JSON."""

DEFAULT_LOG_DESTINATION = "auto"
"""The default destination of the log: stderr in the foreground, otherwise the journal or syslog,
where the other services of the machine log, too."""

DIRECT_PATH_MODES = ("off", "try", "require")
"""The values of --direct-path."""

DEFAULT_DIRECT_PATH = "off"
"""The default of --direct-path. The normal way works from everywhere."""

LOG_LEVELS = ("debug", "info", "warning", "error")
"""The values of --log-level. The first value logs the most lines."""

LOG_FORMATS = ("text", "json")
"""The values of --log-format."""

LOG_DESTINATIONS = ("auto", "journal", "syslog", "stderr")
"""The values of --log-to; `process.log_destinations` says what auto means."""


def default_read_ahead(memory_bytes: int) -> int:
    """Return the default readahead of one reader in bytes: at most a quarter of the memory."""
    return min(DEFAULT_READ_AHEAD_BYTES, memory_bytes // 4)
