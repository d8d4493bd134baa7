"""The rows of the table of settings for the cache on disk."""

from __future__ import annotations

from dataclasses import replace

from gcsmux_fs.settings import value_types as types
from gcsmux_fs.settings.setting import Setting

__all__ = ["CACHE", "CACHE_SETTINGS"]

CACHE = "The cache on disk"
"""The heading of these settings in the help."""

CACHE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="cache_dir",
        field="cache_dir",
        type=types.DIRECTORY,
        heading=CACHE,
        help="Keep what was read in this directory of a local disk, so that it is not requested"
        " again after a restart. The mounts of one user can share it. It is created if it is"
        " missing.",
        default_words="none",
        reason="content stays on the disk after the unmount",
    ),
    Setting(
        name="cache_size",
        field="cache_size_bytes",
        type=replace(types.SIZE_OR_AUTO, example='"100GiB"'),
        heading=CACHE,
        help="The limit for the space on disk that all mounts with this --cache-dir take together."
        " With auto, only --cache-min-free limits it.",
        default_words="auto",
        reason="the cache gives up space when other programs need it",
    ),
    Setting(
        name="cache_min_free",
        field="cache_min_free_bytes",
        type=replace(types.SIZE_OR_AUTO, example='"10GiB"'),
        heading=CACHE,
        help="The space that the cache leaves free on its disk. auto is a fifth of the disk; on a"
        " disk that nothing else uses, 1GiB is enough.",
        default_words="auto",
        reason="Kubernetes evicts pods when less than 15 % are free",
    ),
    Setting(
        name="cache_listings",
        field="cache_listings",
        type=types.FLAG,
        heading=CACHE,
        help="Keep listings in --cache-dir, too. After a restart, names that are younger than"
        " --metadata-ttl need no request.",
        default=False,
        reason="the names of objects are then on the disk in the clear",
    ),
    Setting(
        name="offline",
        field="offline",
        type=types.FLAG,
        heading=CACHE,
        help="While the service cannot be reached, also at the start, show the names that"
        " --cache-listings has kept, however old they are. What the cache contains can be read;"
        " everything else fails.",
        default=False,
        reason="programs cannot see that names are old",
    ),
    Setting(
        name="cache_group",
        field="cache_group",
        type=types.GROUP,
        heading=CACHE,
        help="Let the mounts of all users in this group share --cache-dir. Each of these users can"
        " read everything in it.",
        default_words="none",
        reason="only the user who mounts may read the content",
    ),
)
"""The settings of the cache on disk; `settings.cache_options` has the rules between them."""
