"""Writes settings as the text of a TOML file that `config_file.parse_config` reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcsmux_fs.settings.setting_table import FILE_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.settings.setting import Setting

__all__ = ["config_text"]


def config_text(values: Mapping[str, Any]) -> str:
    """Return one line per setting, in the order of the table.

    `values` has the values by field. A setting whose value is None or an empty tuple is left out.
    """
    return "".join(
        f"{name} = {_toml(setting, values[setting.field])}\n"
        for name, setting in FILE_SETTINGS.items()
        if values.get(setting.field) not in (None, ())
    )


def _toml(setting: Setting, value: Any) -> str:
    if setting.type.is_flag:
        return "true" if value else "false"
    if setting.type.is_list:
        return f"[{', '.join(_quoted(word) for word in value)}]"
    return _quoted(setting.type.show(value))


def _quoted(text: str) -> str:
    r"""Return a basic string of TOML. JSON escapes the same characters, except for U+007F."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
