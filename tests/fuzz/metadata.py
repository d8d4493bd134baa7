"""Fuzz target: custom metadata of objects. Any writer of the bucket can set the metadata."""

from __future__ import annotations

from gcsmux_fs.namespace.foreign_metadata import (
    MAX_TARGET_BYTES,
    is_target,
    read_foreign_metadata,
)

from .source import Source

__all__ = ["foreign_metadata"]

_KEYS = (
    "gcsfuse_mtime",
    "gcsfuse_symlink_target",
    "goog-reserved-file-atime",
    "goog-reserved-file-is-symlink",
    "goog-reserved-file-mtime",
    "goog-reserved-posix-gid",
    "goog-reserved-posix-mode",
    "goog-reserved-posix-uid",
    "team",
)
# The range of valid times: the years from 0 to 10,000, in nanoseconds since the epoch.
_TIMES = range(-62_200_000_000 * 10**9, 253_500_000_000 * 10**9)


def foreign_metadata(data: bytes) -> None:
    """Read arbitrary metadata of an object; every attribute in the result must be in its range."""
    source = Source(data)
    size = source.number(2)
    metadata: dict[str, str] = {}
    while source:
        key = source.choice(_KEYS)
        repeated = 1 + 300 * source.flag()
        metadata[key] = source.take(source.number() % 40).decode("utf-8", "replace") * repeated
    attributes = read_foreign_metadata(metadata, size)
    assert set(attributes.ill_formed) <= metadata.keys() - {"team"}
    for time_ns in (attributes.mtime_ns, attributes.atime_ns):
        assert time_ns is None or time_ns in _TIMES
    for number in (attributes.uid, attributes.gid):
        assert number is None or 0 <= number < 2**32 - 1
    assert attributes.mode is None or 0 <= attributes.mode <= 0o777
    link = attributes.link
    if link is None:
        return
    assert 0 < link.size <= MAX_TARGET_BYTES
    if link.target is None:
        assert link.size == size
    else:
        assert is_target(link.target)
        assert link.size == len(link.target)
