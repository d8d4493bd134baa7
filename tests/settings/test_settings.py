"""Tests of Settings: it refuses values out of range, and gives the source in the mount table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import default_read_ahead
from gcsmux_fs.settings.settings import Settings
from tests.support.sizes import MIB

SETTINGS = Settings(bucket="bucket", mountpoint=Path("/mnt/data"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"memory_bytes": 16 * MIB - 1}, "--memory 16777215B is too small: write at least 16MiB"),
        ({"read_ahead_bytes": 8192 * MIB}, "--read-ahead 8GiB is too large: write at most 4GiB"),
        ({"read_ahead_bytes": 257 * MIB}, "--read-ahead 257MiB is larger than --memory 256MiB"),
        ({"kernel_read_ahead_bytes": 32 * MIB}, "--kernel-read-ahead 32MiB is too large"),
        ({"read_timeout_seconds": 0.0}, "--read-timeout is out of range"),
        ({"read_timeout_seconds": 3601.0}, "--read-timeout is out of range"),
        ({"uid": 2**32 - 1}, "--uid 4294967295 is out of range"),
        ({"gid": -1}, "--gid -1 is out of range"),
        ({"log_file": Path("/mnt/data/log")}, "is inside the mount point"),
        ({"log_file": Path("/log"), "log_to": "syslog"}, "leave one of them out"),
        ({"log_to": "stderr"}, "--log-to stderr needs --foreground"),
        ({"cache_size_bytes": MIB}, "--cache-size needs a cache: .* with --cache-dir"),
        ({"cache_min_free_bytes": 0}, "--cache-min-free needs a cache"),
        ({"cache_group": 0}, "--cache-group needs a cache"),
        ({"cache_listings": True, "offline": True}, "--cache-listings needs a cache"),
        ({"offline": True}, "add --cache-listings"),
        ({"cache_dir": Path("/c"), "cache_size_bytes": 0}, "--cache-size 0B is too small: .* 64M"),
        ({"cache_dir": Path("/")}, "--cache-dir / is the root"),
        ({"cache_dir": Path("/mnt/data/c")}, "--cache-dir /mnt/data/c is inside the mount point"),
        ({"cache_dir": Path("/mnt")}, "the mount point is inside --cache-dir /mnt"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(
    change: dict[str, int | float | Path], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(SETTINGS, **change)  # type: ignore[arg-type]


def test_the_default_readahead_is_at_most_a_quarter_of_the_memory() -> None:
    assert default_read_ahead(1024 * MIB) == 64 * MIB
    assert default_read_ahead(256 * MIB) == 64 * MIB
    assert default_read_ahead(16 * MIB) == 4 * MIB


def test_the_mount_table_shows_the_written_bucket_with_percent_encoding() -> None:
    assert SETTINGS.fsname == "gs://bucket"
    assert replace(SETTINGS, written_source="bucket").fsname == "bucket"
    assert replace(SETTINGS, written_source="gs://b/a b#%c/").fsname == "gs://b/a b#%c/"
    assert replace(SETTINGS, written_source="gs://b/a,\\ä\n").fsname == "gs://b/a%2C%5C%C3%A4%0A"


def test_the_log_names_a_mount_by_bucket_and_prefix() -> None:
    assert SETTINGS.source == "gs://bucket"
    assert replace(SETTINGS, prefix="a/b/").source == "gs://bucket/a/b"
