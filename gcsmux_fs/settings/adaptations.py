"""What `gcsmux config show` prints: each setting, and each choice that a mount makes by itself.

A choice by machine, kernel, bucket or service is an `Adaptation`. Nothing of this kind may happen
without an `Adaptation` (`mount_adaptations.py` lists them), so that a user can find out why two
mounts with the same settings differ.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gcsmux_fs.settings.setting_table import FILE_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcsmux_fs.settings.setting import EffectiveSetting

__all__ = ["Adaptation", "config_report"]


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A choice of the mount: what it is about, what was chosen, and the reason as a sentence."""

    name: str
    value: str
    reason: str


def config_report(
    effective: Iterable[EffectiveSetting], adaptations: Iterable[Adaptation] = ()
) -> dict[str, Any]:
    """Return the settings and the adaptations as JSON.

    `value` and `default` are true, false, null (no value), or a text as users write it. A secret is
    never part of the result. `place` says where the value was set, see `Origin`.
    """
    return {
        "settings": [_row(each) for each in effective],
        "adaptations": [asdict(each) for each in adaptations],
    }


def _row(each: EffectiveSetting) -> dict[str, Any]:
    setting = each.setting
    return {
        "name": setting.name,
        "heading": setting.heading,
        "value": each.value if setting.type.is_flag else each.shown or None,
        "origin": each.origin.kind,
        "place": each.origin.place,
        "reason": each.reason,
        "default": setting.default if setting.type.is_flag else setting.shown_default or None,
        "default_reason": setting.reason,
        "in_file": setting.name in FILE_SETTINGS and not setting.secret,
    }
