"""The defaults of a mount: each stands here once, with its reason."""

from __future__ import annotations

__all__ = [
    "DEFAULT_ENDPOINT",
    "DEFAULT_MEMORY_BYTES",
    "DEFAULT_METADATA_TTL_SECONDS",
    "DEFAULT_NEGATIVE_TTL_SECONDS",
    "DEFAULT_READ_AHEAD_BYTES",
    "DEFAULT_READ_TIMEOUT_SECONDS",
]

_MIB = 1024 * 1024

DEFAULT_ENDPOINT = "storage.googleapis.com:443"
"""Google's public endpoint, HOST:PORT."""

DEFAULT_MEMORY_BYTES = 256 * _MIB
"""The memory budget. Four readers get their full readahead, and the whole process stays within a
container of 512 MiB."""

DEFAULT_READ_AHEAD_BYTES = 64 * _MIB
"""How far ahead of one reader to fetch. At a round trip of 60 ms this keeps 1 GB/s busy, which is
more than this client takes from one stream."""

DEFAULT_METADATA_TTL_SECONDS = 60.0
"""How long a name, an attribute or a listing stays valid. Other bucket mounts use the same time; a
change made elsewhere becomes visible within a minute."""

DEFAULT_NEGATIVE_TTL_SECONDS = 5.0
"""How long the absence of a name stays valid. This serves a search path that is probed again and
again, and a program that waits for a new object sees it soon."""

DEFAULT_READ_TIMEOUT_SECONDS = 120.0
"""How long a READ, a lookup or a part of a listing may take, with all retries. The kernel has no
timeout of its own, and reports a hung task after 120 s. Google's clients retry for as long, and a
restart of the service fits in."""
