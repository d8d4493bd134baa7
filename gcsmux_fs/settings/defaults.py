"""The default of each setting, with its reason."""

from __future__ import annotations

__all__ = [
    "DEFAULT_DIR_MODE",
    "DEFAULT_ENDPOINT",
    "DEFAULT_FILE_MODE",
    "DEFAULT_LOG_LEVEL",
    "DEFAULT_MEMORY_BYTES",
    "DEFAULT_METADATA_TTL_SECONDS",
    "DEFAULT_NEGATIVE_TTL_SECONDS",
    "DEFAULT_READ_AHEAD_BYTES",
    "DEFAULT_READ_TIMEOUT_SECONDS",
    "default_read_ahead",
]

_MIB = 1024 * 1024

DEFAULT_ENDPOINT = "storage.googleapis.com:443"
"""Google's public endpoint, HOST:PORT."""

DEFAULT_MEMORY_BYTES = 256 * _MIB
"""The memory budget. It gives four readers their full readahead, and the whole process fits into a
container of 512 MiB."""

DEFAULT_READ_AHEAD_BYTES = 64 * _MIB
"""How many bytes to fetch ahead of one reader. At a round trip of 60 ms this is enough for 1 GB/s,
which is more than this client receives from one stream."""

DEFAULT_METADATA_TTL_SECONDS = 60.0
"""How long a name, an attribute or a listing stays valid. Other programs that mount buckets use the
same time. A change that another client makes becomes visible within a minute."""

DEFAULT_NEGATIVE_TTL_SECONDS = 5.0
"""How long the cached absence of a name stays valid. A program that probes a search path repeatedly
causes few requests, and a program that waits for a new object sees the object soon."""

DEFAULT_READ_TIMEOUT_SECONDS = 120.0
"""How long a READ, a lookup or a part of a listing may take, including all retries. The kernel has
no timeout for FUSE requests, but reports a hung task after 120 s. Google's clients also retry for
120 s. A restart of the service takes less."""

DEFAULT_FILE_MODE = 0o644
"""The permissions of a file. umask 022 gives the same permissions. The owner has write permission,
although the mount is read-only, because `cp -a` gives a copy the same permissions."""

DEFAULT_DIR_MODE = 0o755
"""The permissions of a directory, for the same reason as `DEFAULT_FILE_MODE`."""

DEFAULT_LOG_LEVEL = "info"
"""The log level. At `info` the log holds a few lines for each mount and none for a request."""


def default_read_ahead(memory_bytes: int) -> int:
    """Return the default readahead of one reader in bytes: at most a quarter of the memory."""
    return min(DEFAULT_READ_AHEAD_BYTES, memory_bytes // 4)
