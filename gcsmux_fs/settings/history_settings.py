"""The rows of the table of settings for mounts of an earlier or a fixed state of the bucket."""

from __future__ import annotations

from gcsmux_fs.settings import value_types as types
from gcsmux_fs.settings.setting import Setting

__all__ = ["HISTORY", "HISTORY_SETTINGS"]

HISTORY = "The bucket at one time"
"""The heading of these settings in the help."""

HISTORY_SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="as_of",
        field="as_of_ns",
        type=types.TIME,
        heading=HISTORY,
        help="Show the bucket as it was at this time, such as 2026-11-30T12:00:00Z. The service"
        " must still keep the old generations: see docs/TIME.md. Names then never change.",
        default_words="none",
        reason="programs expect the newest objects",
    ),
    Setting(
        name="freeze",
        field="freeze",
        type=types.FLAG,
        heading=HISTORY,
        help="Keep the first answer about each name until the unmount: a listed directory never"
        " changes, and a name never leads to another generation. `gcsmux stats` shows one digest of"
        " all these names.",
        default=False,
        reason="programs expect the newest objects",
    ),
    Setting(
        name="freeze_file",
        field="freeze_file",
        type=types.FREEZE_FILE,
        heading=HISTORY,
        help="Like --freeze, and write all frozen names to this file. If the file exists and is"
        " complete, the mount shows exactly the names in it, and never asks the service for names.",
        default_words="none",
        reason="the names of objects are then on the disk in the clear",
    ),
)
"""The settings of fixed states; `settings.history_options` has the rules between them."""
